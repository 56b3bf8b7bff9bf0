//! `gold.market_overview`: what the market did, a row a day, derived from `gold.daily_trading_summary`.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{Array as _, ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Fields, SchemaRef as ArrowSchemaRef};
use tapehouse_core::exact_sum::ExactSum;

use super::DATE_COLUMN;
use crate::derived::columns::{Read, in_layout, optional, required};
use crate::derived::{DeriveError, SourceDay};

/// Name with namespace.
pub const TABLE: &str = "gold.market_overview";
/// Version of what is computed.
pub const LOGIC_VERSION: u32 = 1;
/// Gainers and losers named.
const NAMED: usize = 5;
const SOURCE_COLUMNS: [&str; 5] = ["symbol", "open_price", "close_price", "total_volume", "vwap"];

fn movers() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Struct(mover_fields()), true)))
}

fn mover_fields() -> Fields {
    Fields::from(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("pct_change", DataType::Float64, true),
    ])
}

/// The columns. Their ids are those that creating the table assigns.
pub(crate) fn fields() -> Vec<Field> {
    vec![
        required(
            DATE_COLUMN,
            DataType::Date32,
            "Date in America/New_York; the partition and the key",
        ),
        required(
            "total_market_volume",
            DataType::Float64,
            "Sum of total_volume of all symbols",
        ),
        required("advancing_symbols", DataType::Int64, "Symbols with close > open"),
        required("declining_symbols", DataType::Int64, "Symbols with close < open"),
        required("unchanged_symbols", DataType::Int64, "Symbols with close = open"),
        required(
            "top_5_gainers",
            movers(),
            "Largest (close - open) / open * 100 above 0, ties by symbol",
        ),
        required(
            "top_5_losers",
            movers(),
            "Smallest (close - open) / open * 100 below 0, ties by symbol",
        ),
        optional(
            "market_vwap",
            DataType::Float64,
            "Sum of vwap * volume / sum of volume; null at zero volume",
        ),
    ]
}

/// A day as far as its summary was seen. Memory follows the symbols.
#[derive(Debug, Default)]
struct Market {
    symbols: u64,
    volume: ExactSum,
    /// Of symbols with a vwap, which are those with a volume.
    notional: ExactSum,
    priced_volume: ExactSum,
    advancing: i64,
    declining: i64,
    unchanged: i64,
    changes: Vec<(f64, String)>,
}

impl Market {
    fn add(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let read = Read(rows);
        let symbols = read.text("symbol")?;
        let (opens, closes) = (read.double("open_price")?, read.double("close_price")?);
        let (volumes, vwaps) = (read.double("total_volume")?, read.double("vwap")?);
        for row in 0..rows.num_rows() {
            let (open, close, volume) = (opens.value(row), closes.value(row), volumes.value(row));
            self.symbols += 1;
            self.volume.add(volume);
            if vwaps.is_valid(row) {
                self.notional.add(vwaps.value(row) * volume);
                self.priced_volume.add(volume);
            }
            match close.total_cmp(&open) {
                std::cmp::Ordering::Greater => self.advancing += 1,
                std::cmp::Ordering::Less => self.declining += 1,
                std::cmp::Ordering::Equal => self.unchanged += 1,
            }
            // From a price of 0 there is no change in percent.
            if open > 0.0 {
                self.changes
                    .push(((close - open) / open * 100.0, symbols.value(row).to_owned()));
            }
        }
        Ok(())
    }

    /// The symbols that moved most, by `sign`: 1 upwards, -1 downwards.
    fn movers(&self, sign: f64) -> Vec<(&str, f64)> {
        let moved = self.changes.iter().filter(|(change, _)| change * sign > 0.0);
        let mut moved: Vec<(&str, f64)> = moved.map(|(change, symbol)| (symbol.as_str(), *change)).collect();
        moved.sort_unstable_by(|a, b| (b.1 * sign).total_cmp(&(a.1 * sign)).then(a.0.cmp(b.0)));
        moved.truncate(NAMED);
        moved
    }

    /// The day's row; none where no symbol was traded.
    fn finish(&self, date: i32, arrow: &ArrowSchemaRef) -> Result<RecordBatch, ArrowError> {
        if self.symbols == 0 {
            return Ok(RecordBatch::new_empty(Arc::clone(arrow)));
        }
        let volume = self.priced_volume.value();
        let vwap = (volume > 0.0).then(|| self.notional.value() / volume);
        let number = |number: i64| Arc::new(Int64Array::from(vec![number])) as ArrayRef;
        in_layout(
            vec![
                (DATE_COLUMN, Arc::new(Date32Array::from(vec![date]))),
                (
                    "total_market_volume",
                    Arc::new(Float64Array::from(vec![self.volume.value()])),
                ),
                ("advancing_symbols", number(self.advancing)),
                ("declining_symbols", number(self.declining)),
                ("unchanged_symbols", number(self.unchanged)),
                ("top_5_gainers", list_of(&self.movers(1.0))),
                ("top_5_losers", list_of(&self.movers(-1.0))),
                ("market_vwap", Arc::new(Float64Array::from(vec![vwap]))),
            ],
            arrow,
        )
    }
}

fn list_of(movers: &[(&str, f64)]) -> ArrayRef {
    let builders: Vec<Box<dyn arrow_array::builder::ArrayBuilder>> =
        vec![Box::new(StringBuilder::new()), Box::new(Float64Builder::new())];
    let fields = mover_fields();
    let element = Field::new("element", DataType::Struct(fields.clone()), true);
    let mut list = ListBuilder::new(StructBuilder::new(fields, builders)).with_field(element);
    for (symbol, change) in movers {
        let item = list.values();
        if let Some(symbols) = item.field_builder::<StringBuilder>(0) {
            symbols.append_value(symbol);
        }
        if let Some(changes) = item.field_builder::<Float64Builder>(1) {
            changes.append_value(*change);
        }
        item.append(true);
    }
    list.append(true);
    Arc::new(list.finish())
}

/// The row of a day, in the layout `arrow`.
pub(crate) async fn day(sources: &SourceDay<'_>, arrow: &ArrowSchemaRef) -> Result<RecordBatch, DeriveError> {
    let mut market = Market::default();
    if let Some(mut rows) = sources.rows(0, &SOURCE_COLUMNS).await? {
        while let Some((_, batch)) = rows.next().await? {
            market.add(&batch)?;
        }
    }
    Ok(market.finish(sources.date, arrow)?)
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Float64Type, Int64Type};
    use arrow_schema::Schema;

    use super::*;

    /// A row of the summary: symbol, open, close, volume, vwap.
    type Row<'a> = (&'a str, f64, f64, f64, Option<f64>);

    fn summary(rows: &[Row<'_>]) -> RecordBatch {
        let doubles =
            |of: fn(&Row<'_>) -> Option<f64>| Arc::new(rows.iter().map(of).collect::<Float64Array>()) as ArrayRef;
        RecordBatch::try_from_iter_with_nullable(vec![
            (
                "symbol",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))) as ArrayRef,
                true,
            ),
            ("open_price", doubles(|row| Some(row.1)), true),
            ("close_price", doubles(|row| Some(row.2)), true),
            ("total_volume", doubles(|row| Some(row.3)), true),
            ("vwap", doubles(|row| row.4), true),
        ])
        .unwrap()
    }

    fn overview(rows: &[Row<'_>]) -> RecordBatch {
        let mut market = Market::default();
        market.add(&summary(rows)).unwrap();
        market.finish(19_877, &Arc::new(Schema::new(fields()))).unwrap()
    }

    fn named(overview: &RecordBatch, column: &str) -> Vec<(String, f64)> {
        let list = overview.column_by_name(column).unwrap().as_list::<i32>().value(0);
        let movers = list.as_struct();
        let symbols = movers.column(0).as_string::<i32>();
        let changes = movers.column(1).as_primitive::<Float64Type>();
        (0..movers.len())
            .map(|row| (symbols.value(row).to_owned(), changes.value(row)))
            .collect()
    }

    #[test]
    fn each_formula_by_hand() {
        let found = overview(&[
            ("B", 10.0, 11.0, 100.0, Some(10.0)),
            ("A", 20.0, 22.0, 50.0, Some(20.0)),
            ("C", 10.0, 9.0, 50.0, Some(8.0)),
            ("D", 10.0, 10.0, 0.0, None),
            ("E", 0.0, 5.0, 0.0, None),
        ]);
        let double = |name: &str| {
            found
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Float64Type>()
                .value(0)
        };
        let long = |name: &str| found.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
        assert_eq!(double("total_market_volume"), 200.0);
        // (1000 + 1000 + 400) / 200
        assert_eq!(double("market_vwap"), 12.0);
        let counts = ["advancing_symbols", "declining_symbols", "unchanged_symbols"].map(long);
        assert_eq!(counts, [3, 1, 1]);
        // Both are 10 %; E came from 0, which is no percentage.
        let gainers = named(&found, "top_5_gainers");
        assert_eq!(gainers, [("A".to_owned(), 10.0), ("B".to_owned(), 10.0)]);
        assert_eq!(named(&found, "top_5_losers"), [("C".to_owned(), -10.0)]);
    }

    #[test]
    fn five_are_named_and_a_day_without_symbols_has_no_row() {
        let symbols = ["A", "B", "C", "D", "E", "F", "G"];
        let of = |rise: f64| -> Vec<Row<'static>> {
            (1..)
                .zip(symbols)
                .map(|(step, symbol)| (symbol, 100.0, 100.0 + rise * f64::from(step), 1.0, Some(1.0)))
                .collect()
        };
        let names = |rise: f64, column: &str| -> String {
            named(&overview(&of(rise)), column)
                .into_iter()
                .map(|(symbol, _)| symbol)
                .collect()
        };
        assert_eq!(
            (names(1.0, "top_5_gainers"), names(1.0, "top_5_losers")),
            ("GFEDC".to_owned(), String::new())
        );
        assert_eq!(
            (names(-1.0, "top_5_gainers"), names(-1.0, "top_5_losers")),
            (String::new(), "GFEDC".to_owned())
        );
        assert_eq!(overview(&[]).num_rows(), 0);
        assert!(
            overview(&[("A", 1.0, 1.0, 0.0, None)])
                .column_by_name("market_vwap")
                .unwrap()
                .is_null(0)
        );
    }
}
