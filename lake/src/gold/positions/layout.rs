//! The tables: what each trader made, what each holds, and what is carried between days.

use std::sync::LazyLock;

use arrow_schema::{DataType, Field};
use iceberg::spec::{Schema, UnboundPartitionSpec};

use crate::derived::columns::{optional, required};
use crate::derived::layout;
use crate::gold::DATE_COLUMN;

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PositionTable {
    /// A row for each trader with fills that day.
    Performance,
    /// A row for each position at the day's end.
    Positions,
    /// What is carried from day to day, on some days.
    State,
}

struct Layout {
    schema: Schema,
    partition_spec: UnboundPartitionSpec,
}

static LAYOUTS: LazyLock<[Layout; 3]> = LazyLock::new(|| {
    PositionTable::ALL.map(|table| {
        let layout = layout(table.fields(), DATE_COLUMN);
        let (schema, partition_spec) =
            layout.expect("the columns are written in the program, and tests make the tables");
        Layout { schema, partition_spec }
    })
});

impl PositionTable {
    /// All of them, in the order in which they are committed: what is carried comes last, so that it never says more than the others.
    pub const ALL: [Self; 3] = [Self::Performance, Self::Positions, Self::State];

    /// Name with namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Performance => "gold.trader_performance",
            Self::Positions => "gold.portfolio_positions",
            Self::State => "ops.position_state",
        }
    }

    /// The table of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    pub(super) fn schema(self) -> &'static Schema {
        &LAYOUTS[self as usize].schema
    }

    pub(super) fn partition_spec(self) -> &'static UnboundPartitionSpec {
        &LAYOUTS[self as usize].partition_spec
    }

    fn fields(self) -> Vec<Field> {
        let day = required(
            DATE_COLUMN,
            DataType::Date32,
            "Date in America/New_York; the partition, part of the key",
        );
        match self {
            Self::Performance => performance(day),
            Self::Positions => positions(day),
            Self::State => state(day),
        }
    }
}

fn performance(day: Field) -> Vec<Field> {
    let (text, double) = (DataType::Utf8, DataType::Float64);
    vec![
        required("trader_id", text, "Trader; part of the key"),
        day,
        required(
            "realized_pnl",
            double.clone(),
            "Profit of the day's closing fills against the average cost, carried from earlier days",
        ),
        optional(
            "win_rate",
            double.clone(),
            "Closing fills with a profit above 0 over all closing fills; null without any",
        ),
        required("trade_count", DataType::Int64, "Fills"),
        required("total_volume", double.clone(), "Sum of quantity"),
        required(
            "max_drawdown",
            double.clone(),
            "Largest running peak - cumulative realized profit within the day, both from 0",
        ),
        optional(
            "sharpe_proxy",
            double.clone(),
            "Mean over sample deviation of the closing fills' profits; null for fewer than two or a deviation of 0",
        ),
        optional(
            "avg_hold_seconds",
            double,
            "Time held of what was closed, weighted by quantity, oldest lots first, nights included; null without any",
        ),
    ]
}

fn positions(day: Field) -> Vec<Field> {
    let (text, double, date) = (DataType::Utf8, DataType::Float64, DataType::Date32);
    vec![
        required("trader_id", text.clone(), "Trader; part of the key"),
        required("symbol", text, "Symbol; part of the key"),
        day,
        required(
            "net_quantity",
            double.clone(),
            "Held at the day's end; negative of a short position",
        ),
        required("avg_entry_price", double.clone(), "Average cost of one"),
        required(
            "current_price",
            double.clone(),
            "Price of the symbol's last trade, by any trader, of that day or else before",
        ),
        required("price_date", date, "Date of that trade"),
        required(
            "unrealized_pnl",
            double.clone(),
            "(current_price - avg_entry_price) * net_quantity",
        ),
        required("position_value", double, "net_quantity * current_price"),
    ]
}

fn state(day: Field) -> Vec<Field> {
    let (text, double, date) = (DataType::Utf8, DataType::Float64, DataType::Date32);
    vec![
        day,
        required(
            "kind",
            text.clone(),
            "position: what a trader holds of a symbol; price: the last price of a symbol",
        ),
        optional("trader_id", text.clone(), "Trader, of a position"),
        required("symbol", text.clone(), "Symbol"),
        optional(
            "position",
            text,
            "Net quantity (10^-8), cost (10^-16) and open lots, JSON",
        ),
        optional("price", double, "Last price"),
        optional("price_date", date, "Date of the last price"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_found_and_every_column_has_a_comment() {
        for (at, table) in PositionTable::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, at);
            assert_eq!(PositionTable::named(table.name()), Some(table));
            for field in table.schema().as_struct().fields() {
                assert!(
                    field.doc.as_ref().is_some_and(|doc| !doc.is_empty()),
                    "{table:?} {}",
                    field.name
                );
            }
        }
    }
}
