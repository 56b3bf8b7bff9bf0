//! Avro schemas of the generated values. `avro.rs` writes exactly these, by hand.

/// Value of the trades topic.
pub const TRADE: &str = r#"{
  "type": "record", "name": "Trade", "namespace": "tapehouse", "fields": [
    {"name": "trade_id", "type": ["null", "string"], "default": null},
    {"name": "symbol", "type": ["null", "string"], "default": null},
    {"name": "price", "type": ["null", "double"], "default": null},
    {"name": "quantity", "type": ["null", "double"], "default": null},
    {"name": "side", "type": "string"},
    {"name": "trader_id", "type": "string"},
    {"name": "exchange", "type": "string"},
    {"name": "trade_timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "event_timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}}
  ]
}"#;

/// Value of the order-book topic.
pub const ORDER_BOOK: &str = r#"{
  "type": "record", "name": "OrderBook", "namespace": "tapehouse", "fields": [
    {"name": "symbol", "type": ["null", "string"], "default": null},
    {"name": "exchange", "type": "string"},
    {"name": "snapshot_timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "event_timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "best_bid", "type": "double"},
    {"name": "best_ask", "type": "double"},
    {"name": "bid_size", "type": "double"},
    {"name": "ask_size", "type": "double"},
    {"name": "bids", "type": {"type": "array", "items": {"type": "record", "name": "PriceLevel", "fields": [
      {"name": "price", "type": "double"}, {"name": "size", "type": "double"}
    ]}}},
    {"name": "asks", "type": {"type": "array", "items": "tapehouse.PriceLevel"}}
  ]
}"#;

/// Value of the market-data topic.
pub const BAR: &str = r#"{
  "type": "record", "name": "Bar", "namespace": "tapehouse", "fields": [
    {"name": "symbol", "type": ["null", "string"], "default": null},
    {"name": "exchange", "type": "string"},
    {"name": "interval_start", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "interval_end", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "event_timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "open", "type": "double"},
    {"name": "high", "type": "double"},
    {"name": "low", "type": "double"},
    {"name": "close", "type": "double"},
    {"name": "volume", "type": ["null", "double"], "default": null}
  ]
}"#;
