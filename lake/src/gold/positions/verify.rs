//! Checks the tables: I5 (each day is what the trades give, computed from the first one on), I6 (profit and loss add up) and I9.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use serde::Serialize;
use tapehouse_core::clock::now_us;
use tapehouse_core::exact_sum::ExactSum;

use super::desk::Desk;
use super::{LOGIC_VERSION, PositionTable, Positions, PositionsLook};
use crate::days::date_text;
use crate::derived::DeriveError;
use crate::derived::columns::Read;
use crate::derived::day_file::is_there;
use crate::verify::Violation;

/// Days and traders named one by one.
const MAX_NAMED: usize = 100;
/// Sums of that many parts of their terms are equal: terms are rounded to 64-bit numbers one by one.
const TOLERANCE: f64 = 1e-9;

/// What [`verify_positions`] found.
#[derive(Clone, Debug, Serialize)]
pub struct PositionsReport {
    /// The tables.
    pub tables: Vec<String>,
    /// Rows computed anew: of performance, and of positions.
    pub rows: [u64; 2],
    /// Days that were computed anew and compared.
    pub days: u64,
    /// Days that rest on other trades than there are now: they are about to be computed.
    pub days_not_current: u64,
    /// Traders whose profit and loss were added up.
    pub traders: u64,
    /// Empty when all holds.
    pub violations: Vec<Violation>,
}

/// One trader's account.
#[derive(Default)]
struct Account {
    /// Money paid and received.
    cash: ExactSum,
    realized: ExactSum,
    unrealized: ExactSum,
    value: ExactSum,
    /// Of all terms.
    size: ExactSum,
}

impl Account {
    fn add(&mut self, sum: fn(&mut Self) -> &mut ExactSum, term: f64) {
        sum(self).add(term);
        self.size.add(term.abs());
    }
}

#[derive(Default)]
struct Accounts(BTreeMap<String, Account>);

impl Accounts {
    fn of(&mut self, trader: &str) -> &mut Account {
        self.0.entry(trader.to_owned()).or_default()
    }

    fn add_trades(&mut self, trades: &RecordBatch) -> Result<(), DeriveError> {
        let read = Read(trades);
        let (traders, symbols, sides) = (read.text("trader_id")?, read.text("symbol")?, read.text("side")?);
        let (prices, quantities, reviews) = (
            read.double("price")?,
            read.double("quantity")?,
            read.boolean("needs_review")?,
        );
        for row in 0..trades.num_rows() {
            use arrow_array::Array as _;
            let paid = match sides.value(row) {
                "BUY" => -1.0,
                "SELL" => 1.0,
                _ => continue,
            };
            if !reviews.value(row) && traders.is_valid(row) && symbols.is_valid(row) {
                let term = paid * prices.value(row) * quantities.value(row);
                self.of(traders.value(row)).add(|account| &mut account.cash, term);
            }
        }
        Ok(())
    }

    fn add_rows(
        &mut self,
        rows: &RecordBatch,
        name: &str,
        sum: fn(&mut Account) -> &mut ExactSum,
    ) -> Result<(), DeriveError> {
        let read = Read(rows);
        let (traders, terms) = (read.text("trader_id")?, read.double(name)?);
        for row in 0..rows.num_rows() {
            self.of(traders.value(row)).add(sum, terms.value(row));
        }
        Ok(())
    }

    /// realized + unrealized = cash + inventory at the mark.
    fn violations(&self) -> impl Iterator<Item = Violation> {
        self.0.iter().filter_map(|(trader, account)| {
            let made = account.realized.value() + account.unrealized.value();
            let held = account.cash.value() + account.value.value();
            ((made - held).abs() > TOLERANCE * account.size.value()).then(|| Violation {
                invariant: "I6",
                message: format!("{trader}: realized and unrealized profit are {made}, cash and positions {held}"),
            })
        })
    }
}

/// Computes all days anew, from the first one on, and compares those that are current with what the tables have; `None` while there are no
/// trades or tables. `progress` is told how many of how many days are done. Nothing is written.
///
/// # Errors
/// [`DeriveError`]: what cannot be read.
pub async fn verify_positions(
    positions: &Positions,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Option<PositionsReport>, DeriveError> {
    for ident in &positions.tables {
        if positions.lake.load(ident).await?.is_none() {
            return Ok(None);
        }
    }
    let Some(mut look) = positions.look(now_us()).await? else {
        return Ok(None);
    };
    let dirty = look.days().first().copied().unwrap_or(i32::MAX);
    let mut report = PositionsReport {
        tables: positions.tables.iter().map(ToString::to_string).collect(),
        rows: [0, 0],
        days: 0,
        days_not_current: look.days().len() as u64,
        traders: 0,
        violations: ahead_of_trades(positions, &look)?,
    };
    look.take_all();
    let days = look.days().to_vec();
    let (mut desk, mut accounts) = (Desk::default(), Accounts::default());
    for day in days.iter().copied().take_while(|day| *day < dirty) {
        let trades = super::walk::trades_of(positions.lake.clone(), look.trades.clone(), day).await?;
        let made = positions.day(&look, &mut desk, day, &trades)?;
        trades.iter().try_for_each(|rows| accounts.add_trades(rows))?;
        accounts.add_rows(&made.performance, "realized_pnl", |account| &mut account.realized)?;
        for (at, rows) in [&made.performance, &made.positions].into_iter().enumerate() {
            let target = &look.targets[at];
            report.rows[at] += rows.num_rows() as u64;
            let same = is_there(&positions.lake, &target.table, &target.layout, day, rows).await?;
            if !same && report.violations.len() < MAX_NAMED {
                report.violations.push(Violation {
                    invariant: "I5",
                    message: format!(
                        "{}: {} has other rows than the trades give",
                        positions.tables[at],
                        date_text(day)
                    ),
                });
            }
        }
        report.days += 1;
        progress(report.days, days.len() as u64);
        if days.get(report.days as usize).is_none_or(|next| *next >= dirty) {
            accounts.add_rows(&made.positions, "unrealized_pnl", |account| &mut account.unrealized)?;
            accounts.add_rows(&made.positions, "position_value", |account| &mut account.value)?;
        }
    }
    report.traders = accounts.0.len() as u64;
    report.violations.extend(accounts.violations().take(MAX_NAMED));
    Ok(Some(report))
}

/// I9: tables that rest on trades that the table of trades no longer has.
fn ahead_of_trades(positions: &Positions, look: &PositionsLook) -> Result<Vec<Violation>, DeriveError> {
    let mut violations = Vec::new();
    for table in PositionTable::ALL {
        let state = look.table(table).derived_state()?;
        let at = state.source(&positions.trades.to_string()).at;
        if at > look.at && state.logic == LOGIC_VERSION {
            violations.push(Violation {
                invariant: "I9",
                message: format!(
                    "{} rests on snapshot number {at} of {}, which is at {}: was it rolled back?",
                    positions.tables[table as usize], positions.trades, look.at
                ),
            });
        }
    }
    Ok(violations)
}
