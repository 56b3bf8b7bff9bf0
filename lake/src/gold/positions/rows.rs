//! Rows of the tables.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, SchemaRef as ArrowSchemaRef};
use tapehouse_core::position::{Performance, Position, PositionError, Price};

use super::desk::{Carried, Desk, LastPrice};
use crate::derived::columns::{Read, in_layout};
use crate::gold::DATE_COLUMN;

const POSITION: &str = "position";
const PRICE: &str = "price";

/// Why rows could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    #[error(transparent)]
    Rows(#[from] ArrowError),
    #[error("{0}: {1}")]
    Position(String, PositionError),
    /// Nobody holds what was never traded.
    #[error("{0} is held and has no price")]
    Price(String),
}

/// What traders made, in the layout `arrow`.
pub(super) fn performance(
    made: &[(String, Performance)],
    date: i32,
    arrow: &ArrowSchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let doubles = |of: fn(&Performance) -> Option<f64>| -> ArrayRef {
        Arc::new(
            made.iter()
                .map(|(_, performance)| of(performance))
                .collect::<Float64Array>(),
        )
    };
    let counts = made
        .iter()
        .map(|(_, made)| i64::try_from(made.trade_count).unwrap_or(i64::MAX));
    in_layout(
        vec![
            (
                "trader_id",
                Arc::new(StringArray::from_iter_values(made.iter().map(|(trader, _)| trader))),
            ),
            (DATE_COLUMN, Arc::new(Date32Array::from(vec![date; made.len()]))),
            ("realized_pnl", doubles(|made| Some(made.realized_pnl))),
            ("win_rate", doubles(|made| made.win_rate)),
            ("trade_count", Arc::new(Int64Array::from_iter_values(counts))),
            ("total_volume", doubles(|made| Some(made.total_volume))),
            ("max_drawdown", doubles(|made| Some(made.max_drawdown))),
            ("sharpe_proxy", doubles(|made| made.sharpe_proxy)),
            ("avg_hold_seconds", doubles(|made| made.avg_hold_seconds)),
        ],
        arrow,
    )
}

fn held(desk: &Desk) -> impl Iterator<Item = (&str, &str, &Position)> {
    desk.books.iter().flat_map(|(trader, book)| {
        book.positions()
            .map(move |(symbol, position)| (trader.as_str(), symbol, position))
    })
}

/// What traders hold, sorted by trader and symbol, in the layout `arrow`.
pub(super) fn positions(desk: &Desk, date: i32, arrow: &ArrowSchemaRef) -> Result<RecordBatch, RowsError> {
    let rows: Vec<(&str, &str, &Position)> = held(desk).collect();
    let mut numbers: [Vec<f64>; 5] = std::array::from_fn(|_| Vec::with_capacity(rows.len()));
    let mut price_dates = Vec::with_capacity(rows.len());
    for (trader, symbol, position) in &rows {
        let last = desk
            .prices
            .get(*symbol)
            .ok_or_else(|| RowsError::Price((*symbol).to_owned()))?;
        let failed = |error| RowsError::Position(format!("{trader} {symbol}"), error);
        let price = Price::from_f64(last.price).map_err(failed)?;
        numbers[0].push(position.net_quantity().to_f64());
        numbers[1].push(position.avg_entry_price().unwrap_or_default());
        numbers[2].push(last.price);
        numbers[3].push(position.unrealized_pnl(price).map_err(failed)?.to_f64());
        numbers[4].push(position.value(price).to_f64());
        price_dates.push(last.date);
    }
    let [net, entry, current, unrealized, value] =
        numbers.map(|column| Arc::new(Float64Array::from(column)) as ArrayRef);
    Ok(in_layout(
        vec![
            (
                "trader_id",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
            ),
            (
                "symbol",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
            ),
            (DATE_COLUMN, Arc::new(Date32Array::from(vec![date; rows.len()]))),
            ("net_quantity", net),
            ("avg_entry_price", entry),
            ("current_price", current),
            ("price_date", Arc::new(Date32Array::from(price_dates))),
            ("unrealized_pnl", unrealized),
            ("position_value", value),
        ],
        arrow,
    )?)
}

/// All that is carried: positions by trader and symbol, then prices by symbol.
pub(super) fn state(desk: &Desk, date: i32, arrow: &ArrowSchemaRef) -> Result<RecordBatch, ArrowError> {
    let positions: Vec<(&str, &str, &Position)> = held(desk).collect();
    let (held, rows) = (positions.len(), positions.len() + desk.prices.len());
    let text = |position: &Position| {
        serde_json::to_string(position).map_err(|error| ArrowError::ExternalError(Box::new(error)))
    };
    let texts: Vec<String> = positions.iter().map(|row| text(row.2)).collect::<Result<_, _>>()?;
    let symbols = positions
        .iter()
        .map(|row| row.1)
        .chain(desk.prices.keys().map(String::as_str));
    let kinds = (0..rows).map(|row| if row < held { POSITION } else { PRICE });
    let none = std::iter::repeat_n(None, held);
    let absent = std::iter::repeat_n(None::<&str>, desk.prices.len());
    let prices = none.clone().chain(desk.prices.values().map(|last| Some(last.price)));
    let dates = std::iter::repeat_n(None, held).chain(desk.prices.values().map(|last| Some(last.date)));
    in_layout(
        vec![
            (DATE_COLUMN, Arc::new(Date32Array::from(vec![date; rows]))),
            ("kind", Arc::new(StringArray::from_iter_values(kinds))),
            (
                "trader_id",
                Arc::new(
                    positions
                        .iter()
                        .map(|row| Some(row.0))
                        .chain(absent.clone())
                        .collect::<StringArray>(),
                ),
            ),
            ("symbol", Arc::new(StringArray::from_iter_values(symbols))),
            (
                "position",
                Arc::new(
                    texts
                        .iter()
                        .map(|text| Some(text.as_str()))
                        .chain(absent)
                        .collect::<StringArray>(),
                ),
            ),
            ("price", Arc::new(prices.collect::<Float64Array>())),
            ("price_date", Arc::new(dates.collect::<Date32Array>())),
        ],
        arrow,
    )
}

/// Adds what [`state`] wrote to an empty desk.
pub(super) fn restore(desk: &mut Desk, rows: &RecordBatch) -> Result<(), Carried> {
    let read = Read(rows);
    let (kinds, traders, symbols) = (read.text("kind")?, read.text("trader_id")?, read.text("symbol")?);
    let (texts, prices, dates) = (read.text("position")?, read.double("price")?, read.dates("price_date")?);
    for row in 0..rows.num_rows() {
        let symbol = symbols.value(row).to_owned();
        match kinds.value(row) {
            POSITION if traders.is_valid(row) && texts.is_valid(row) => {
                let position: Position =
                    serde_json::from_str(texts.value(row)).map_err(|error| Carried(error.to_string()))?;
                match desk.books.get_mut(traders.value(row)) {
                    Some(book) => book.restore(symbol, position),
                    None => desk
                        .books
                        .entry(traders.value(row).to_owned())
                        .or_default()
                        .restore(symbol, position),
                }
            }
            PRICE if prices.is_valid(row) && dates.is_valid(row) => {
                let last = LastPrice {
                    price: prices.value(row),
                    date: dates.value(row),
                };
                desk.prices.insert(symbol, last);
            }
            other => return Err(Carried(format!("a row of kind {other} is not whole"))),
        }
    }
    Ok(())
}
