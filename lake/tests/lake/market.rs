//! A table of trades for tests: merged as silver is, and the fold that it must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use tapehouse_core::merge::{MergeRequest, MergeState};
use tapehouse_core::new_york;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::Lake;
use tapehouse_lake::commit::Committed;
use tapehouse_lake::derived::{DayTable, Derivation};
use tapehouse_lake::index::IndexSettings;
use tapehouse_lake::silver::merge::{KeyedRows, KeyedTable, Merger};
use tapehouse_lake::silver::{SilverTable, keys, orders};

use crate::place::{Kind, Place};
use crate::support::Rig;

/// 2024-06-03T00:00:00 in New York.
pub const DAY_US: i64 = 1_717_387_200_000_000;
pub const DAY: i32 = 19_877;
pub const HOUR_US: i64 = 3_600_000_000;

/// Day, hour and trader.
pub type Hour = (i32, i64, String);
/// Trades, volume, notional, symbols.
pub type Sums = (i64, f64, f64, i64);

#[derive(Clone, Debug)]
pub struct Trade {
    pub id: u32,
    pub trader: Option<&'static str>,
    pub symbol: &'static str,
    pub price: f64,
    pub quantity: f64,
    pub side: &'static str,
    pub time_us: i64,
    /// When this version was said: the number of the message.
    pub event_us: i64,
    pub needs_review: bool,
}

pub fn trade(id: u32, trader: &'static str, time_us: i64) -> Trade {
    Trade {
        id,
        trader: Some(trader),
        symbol: if id.is_multiple_of(2) { "AAPL" } else { "MSFT" },
        price: f64::from(id) + 0.1,
        quantity: f64::from(id % 7) + 0.3,
        side: "BUY",
        time_us,
        event_us: 0,
        needs_review: false,
    }
}

/// Trades and their merger, and the fold that the trades must be.
pub struct Market {
    pub rig: Rig,
    pub merger: Merger,
    next: i64,
    pub fold: BTreeMap<u32, Trade>,
    _index: tempfile::TempDir,
}

fn batch(trades: &[Trade], first_offset: i64) -> RecordBatch {
    let texts = |of: &dyn Fn(&Trade) -> Option<String>| -> ArrayRef {
        Arc::new(trades.iter().map(of).collect::<StringArray>())
    };
    let doubles =
        |of: &dyn Fn(&Trade) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(trades.iter().map(of))) };
    let offsets: Vec<i64> = (first_offset..).take(trades.len()).collect();
    let times =
        |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00")) };
    let dates = trades.iter().map(|trade| new_york::date(trade.time_us));
    let columns: Vec<ArrayRef> = vec![
        texts(&|trade| Some(format!("T{}", trade.id))),
        texts(&|trade| Some(trade.symbol.to_owned())),
        doubles(&|trade| trade.price),
        doubles(&|trade| trade.quantity),
        texts(&|trade| Some(trade.side.to_owned())),
        texts(&|trade| trade.trader.map(str::to_owned)),
        texts(&|_| Some("NYSE".to_owned())),
        times(trades.iter().map(|trade| trade.time_us).collect()),
        times(offsets.clone()),
        Arc::new(Date32Array::from_iter_values(dates)),
        Arc::new(
            trades
                .iter()
                .map(|trade| Some(trade.needs_review))
                .collect::<BooleanArray>(),
        ),
        texts(&|trade| trade.needs_review.then(|| "null_price".to_owned())),
        Arc::new(Int32Array::from(vec![0; trades.len()])),
        Arc::new(Int32Array::from(vec![0; trades.len()])),
        Arc::new(Int64Array::from(offsets)),
    ];
    RecordBatch::try_new(Arc::clone(SilverTable::Trades.arrow()), columns).unwrap()
}

impl Market {
    pub async fn new(kind: Kind) -> Option<Self> {
        let place = Place::new(kind).await?;
        let lake = Lake::open(place.settings.clone()).await.unwrap();
        let ident = place.beside("trades");
        let keyed = KeyedTable {
            ident: ident.clone(),
            ..KeyedTable::of(SilverTable::Trades)
        };
        let state = MergeState::new("cluster-1", "bronze.raw_trades", 1);
        let index = tempfile::tempdir().unwrap();
        let settings = IndexSettings::new(index.path().to_owned());
        let merger = Merger::open(&lake, &keyed, &state, settings).await.unwrap();
        Some(Self {
            rig: Rig { place, lake, ident },
            merger,
            next: 0,
            fold: BTreeMap::new(),
            _index: index,
        })
    }

    /// Merges trades in one commit; the days that it says to have touched.
    pub async fn merge(&mut self, trades: &[Trade]) -> (Committed, BTreeSet<i32>) {
        let rows = batch(trades, self.next);
        let end = self.next + trades.len() as i64;
        let (keys, orders) = (keys(SilverTable::Trades, &rows).unwrap(), orders(&rows).unwrap());
        let rows = [KeyedRows {
            rows: &rows,
            keys: &keys,
            orders: &orders,
        }];
        let plan = self.merger.plan(&rows).unwrap();
        let files = self.merger.encode(&plan, &rows).unwrap();
        let request = MergeRequest {
            owner: "cluster-1".to_owned(),
            source: "bronze.raw_trades".to_owned(),
            rules: 1,
            ranges: [(0, Ranges([(0, OffsetRange::new(self.next, end))].into()))].into(),
            decisions: 0..0,
        };
        let staged = self.merger.stage(plan, files, request, BTreeMap::new()).await.unwrap();
        let committed = self.merger.commit(&staged).await.unwrap().unwrap();
        self.merger.follow(&staged, &committed).unwrap();
        self.next = end;
        let said = (end - trades.len() as i64..).zip(trades);
        self.fold.extend(said.map(|(event_us, trade)| {
            (
                trade.id,
                Trade {
                    event_us,
                    ..trade.clone()
                },
            )
        }));
        (committed, staged.touched_days().clone())
    }

    pub async fn derivation(&self, lake: Lake) -> Derivation {
        Derivation {
            ident: self.rig.place.beside("trader_activity"),
            sources: vec![self.rig.ident.clone()],
            ..Derivation::new(lake, DayTable::TraderActivity, "cluster-1")
        }
    }

    /// The rows that there must be: sums as decimals would be wrong, so in the order of ids, to a relative error of rounding.
    pub fn expected(&self) -> BTreeMap<Hour, Sums> {
        let mut rows: BTreeMap<Hour, (i64, f64, f64, BTreeSet<&str>)> = BTreeMap::new();
        for trade in self.fold.values().filter(|trade| !trade.needs_review) {
            let Some(trader) = trade.trader else { continue };
            let hour = trade.time_us.div_euclid(HOUR_US) * HOUR_US;
            let row = rows.entry((new_york::date(hour), hour, trader.to_owned())).or_default();
            row.0 += 1;
            row.1 += trade.quantity;
            row.2 += trade.price * trade.quantity;
            row.3.insert(trade.symbol);
        }
        rows.into_iter()
            .map(|(key, (count, volume, notional, symbols))| (key, (count, volume, notional, symbols.len() as i64)))
            .collect()
    }
}
