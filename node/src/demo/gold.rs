//! What the demo shows of gold.

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use tapehouse_lake::derived::{DayTable, Derivation};
use tapehouse_lake::gold::positions::{PositionTable, Positions, verify_positions};
use tapehouse_lake::verify::{Violation, verify_derived};
use tapehouse_lake::{Lake, LiveRows, TableName};

use crate::connect::{derive_failure, lake_failure};
use crate::console::{Align, Style, Table, grouped};
use crate::exit::Failure;

/// Rows shown of each table.
const SHOWN: usize = 3;
/// The tables, with the columns that are shown.
const TABLES: [(&str, &[&str]); 4] = [
    (
        "gold.daily_trading_summary",
        &[
            "trading_date",
            "symbol",
            "open_price",
            "close_price",
            "total_volume",
            "trade_count",
            "vwap",
            "avg_spread",
        ],
    ),
    (
        "gold.market_overview",
        &[
            "trading_date",
            "total_market_volume",
            "advancing_symbols",
            "declining_symbols",
            "market_vwap",
        ],
    ),
    (
        "gold.trader_performance",
        &[
            "trading_date",
            "trader_id",
            "realized_pnl",
            "win_rate",
            "trade_count",
            "max_drawdown",
        ],
    ),
    (
        "gold.portfolio_positions",
        &[
            "trading_date",
            "trader_id",
            "symbol",
            "net_quantity",
            "avg_entry_price",
            "current_price",
            "unrealized_pnl",
        ],
    ),
];

/// The first rows of a table's last day.
#[derive(Clone, Debug)]
pub struct FirstRows {
    /// The table, with its namespace.
    pub table: &'static str,
    /// Rows of the whole table.
    pub rows: u64,
    columns: &'static [&'static str],
    first: Vec<Vec<String>>,
}

impl FirstRows {
    /// For people.
    pub fn as_text(&self, style: Style) -> String {
        let mut table = Table::new(
            &self
                .columns
                .iter()
                .map(|column| (*column, Align::Right))
                .collect::<Vec<_>>(),
        );
        for row in &self.first {
            table.row(row.iter().cloned());
        }
        format!(
            "{}, {} rows:\n{}",
            style.bold(self.table),
            grouped(self.rows),
            table.render(style)
        )
    }
}

/// The first rows of each gold table that there is.
///
/// # Errors
/// What cannot be read.
pub async fn first_rows(lake: &Lake) -> Result<Vec<FirstRows>, Failure> {
    let mut all = Vec::new();
    for (name, columns) in TABLES {
        let ident: TableName = name.parse().map_err(Failure::failed)?;
        let Some(table) = lake.load(&ident).await.map_err(|error| lake_failure(&error))? else {
            continue;
        };
        let days = lake.days(&table).await.map_err(|error| lake_failure(&error))?;
        let mut first = Vec::new();
        if let Some((day, _)) = days.last_key_value() {
            let mut rows = LiveRows::of_day(lake, &table, columns, *day)
                .await
                .map_err(Failure::failed)?;
            if let Some((_, batch)) = rows.next().await.map_err(Failure::failed)? {
                let options = FormatOptions::default();
                let formatters = columns.iter().filter_map(|column| batch.column_by_name(column));
                let formatters: Vec<ArrayFormatter<'_>> = formatters
                    .map(|column| ArrayFormatter::try_new(column, &options))
                    .collect::<Result<_, _>>()
                    .map_err(Failure::failed)?;
                let text = |row: usize| formatters.iter().map(|column| column.value(row).to_string()).collect();
                first = (0..batch.num_rows().min(SHOWN)).map(text).collect();
            }
        }
        all.push(FirstRows {
            table: name,
            rows: table.live_rows().unwrap_or(0),
            columns,
            first,
        });
    }
    Ok(all)
}

/// Computes gold anew, and names what is another than it must be. Days that are not current are none: all was caught up with.
///
/// # Errors
/// What cannot be read.
pub async fn violations(lake: &Lake, cluster: &str) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let named = |table: &str, violation: &Violation| format!("{table} {}: {}", violation.invariant, violation.message);
    let behind = |table: &str, days: u64| format!("{table}: {days} days are not as their sources are now");
    for table in DayTable::ALL {
        let report = verify_derived(&Derivation::new(lake.clone(), table, cluster), |_, _| ()).await;
        let Some(report) = report.map_err(|error| derive_failure(&error))? else {
            continue;
        };
        found.extend(
            report
                .violations
                .iter()
                .map(|violation| named(&report.table, violation)),
        );
        if report.days_not_current > 0 {
            found.push(behind(&report.table, report.days_not_current));
        }
    }
    let report = verify_positions(&Positions::new(lake.clone(), cluster), |_, _| ()).await;
    if let Some(report) = report.map_err(|error| derive_failure(&error))? {
        let table = PositionTable::Positions.name();
        found.extend(report.violations.iter().map(|violation| named(table, violation)));
        if report.days_not_current > 0 {
            found.push(behind(table, report.days_not_current));
        }
    }
    Ok(found)
}
