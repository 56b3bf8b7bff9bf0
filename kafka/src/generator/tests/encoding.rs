//! Each field of the hand-written encoding, read back.

use super::super::avro::{self, Book, Level, TradeTexts};
use super::super::bars::{Bars, MINUTE_US, Print, minute_start};
use super::super::trade::{Nulls, Trade};
use super::*;

fn framed(topic: Topic, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    avro::frame(&mut out, IDS.get(topic));
    write(&mut out);
    out
}

#[test]
fn every_field_of_a_trade() {
    let trade = Trade {
        id: [0; 16],
        symbol: 0,
        trader: 0,
        venue: 0,
        is_buy: true,
        nulls: Nulls::default(),
        price_ticks: 123_457,
        quantity: 250,
        trade_us: 1_709_649_000_123_456,
        event_us: -1,
    };
    let texts = TradeTexts {
        trade_id: Some("id-1"),
        symbol: "AAPL",
        trader_id: "T0042",
        exchange: "IEX",
    };
    let all_null = Nulls {
        id: true,
        symbol: true,
        price: true,
        quantity: true,
        negative_price: false,
    };
    let bare = Trade {
        nulls: all_null,
        is_buy: false,
        ..trade
    };
    let bare_texts = TradeTexts {
        trade_id: None,
        ..texts
    };
    let values = [
        framed(Topic::Trades, |out| avro::trade(out, &trade, &texts)),
        framed(Topic::Trades, |out| avro::trade(out, &bare, &bare_texts)),
    ];
    let batch = decode(values.iter().map(Vec::as_slice));
    assert_eq!(batch.num_columns(), 9);
    assert_eq!(strings(&batch, "trade_id"), [Some("id-1"), None]);
    assert_eq!(strings(&batch, "symbol"), [Some("AAPL"), None]);
    assert_eq!(doubles(&batch, "price"), [Some(1_234.57), None]);
    assert_eq!(doubles(&batch, "quantity"), [Some(250.0), None]);
    assert_eq!(strings(&batch, "side"), [Some("BUY"), Some("SELL")]);
    assert_eq!(strings(&batch, "trader_id"), [Some("T0042"); 2]);
    assert_eq!(strings(&batch, "exchange"), [Some("IEX"); 2]);
    assert_eq!(times(&batch, "trade_timestamp"), [1_709_649_000_123_456; 2]);
    assert_eq!(times(&batch, "event_timestamp"), [-1; 2]);
}

#[test]
fn every_field_of_an_order_book() {
    let level = |price_ticks, size| Level { price_ticks, size };
    let (bids, asks) = ([level(999, 10), level(998, 20)], [level(1_001, 30)]);
    let book = Book {
        symbol: Some("XOM"),
        exchange: "NYSE",
        snapshot_us: 11,
        event_us: 22,
        bids: &bids,
        asks: &asks,
    };
    let nameless = Book {
        symbol: None,
        bids: &asks,
        asks: &bids,
        ..book
    };
    let values = [&book, &nameless].map(|book| framed(Topic::Orderbook, |out| avro::book(out, book)));
    let batch = decode(values.iter().map(Vec::as_slice));
    assert_eq!(batch.num_columns(), 10);
    assert_eq!(strings(&batch, "symbol"), [Some("XOM"), None]);
    assert_eq!(strings(&batch, "exchange"), [Some("NYSE"); 2]);
    assert_eq!(times(&batch, "snapshot_timestamp"), [11; 2]);
    assert_eq!(times(&batch, "event_timestamp"), [22; 2]);
    assert_eq!(doubles(&batch, "best_bid"), [Some(9.99), Some(10.01)]);
    assert_eq!(doubles(&batch, "best_ask"), [Some(10.01), Some(9.99)]);
    assert_eq!(doubles(&batch, "bid_size"), [Some(10.0), Some(30.0)]);
    assert_eq!(doubles(&batch, "ask_size"), [Some(30.0), Some(10.0)]);
    let (deep, flat) = (vec![(9.99, 10.0), (9.98, 20.0)], vec![(10.01, 30.0)]);
    assert_eq!(levels(&batch, "bids"), [deep.clone(), flat.clone()]);
    assert_eq!(levels(&batch, "asks"), [flat, deep]);
}

#[test]
fn every_field_of_a_bar() {
    let mut bars = Bars::new(1);
    bars.roll(START_US);
    for (price_ticks, at) in [(500, 1), (700, 2), (300, 3), (400, 4)] {
        bars.add(Print {
            symbol: 0,
            price_ticks,
            quantity: 5,
            trade_us: START_US + at,
        });
    }
    let bar = bars.next().unwrap();
    let values = [(Some("KO"), Some(bar.volume)), (None, None)].map(|(symbol, volume)| {
        framed(Topic::Marketdata, |out| {
            avro::bar(out, &bar, symbol, "NASDAQ", START_US + 9, volume)
        })
    });
    let batch = decode(values.iter().map(Vec::as_slice));
    assert_eq!(batch.num_columns(), 10);
    assert_eq!(strings(&batch, "symbol"), [Some("KO"), None]);
    assert_eq!(strings(&batch, "exchange"), [Some("NASDAQ"); 2]);
    assert_eq!(times(&batch, "interval_start"), [minute_start(START_US); 2]);
    assert_eq!(times(&batch, "interval_end"), [minute_start(START_US) + MINUTE_US; 2]);
    assert_eq!(times(&batch, "event_timestamp"), [START_US + 9; 2]);
    for (column, value) in [("open", 5.0), ("high", 7.0), ("low", 3.0), ("close", 4.0)] {
        assert_eq!(doubles(&batch, column), [Some(value); 2], "{column}");
    }
    assert_eq!(doubles(&batch, "volume"), [Some(20.0), None]);
}

#[test]
fn schemas_are_those_of_the_contract() {
    for (topic, fields) in [
        (
            Topic::Trades,
            "trade_id symbol price quantity side trader_id exchange trade_timestamp event_timestamp",
        ),
        (
            Topic::Orderbook,
            "symbol exchange snapshot_timestamp event_timestamp best_bid best_ask bid_size ask_size bids asks",
        ),
        (
            Topic::Marketdata,
            "symbol exchange interval_start interval_end event_timestamp open high low close volume",
        ),
    ] {
        let schema: serde_json::Value = serde_json::from_str(topic.schema()).unwrap();
        let names: Vec<&str> = schema["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.join(" "), fields);
    }
}
