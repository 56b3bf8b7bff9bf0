//! The generator itself: turns market events into records.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::avro::{self, Book, Level, TradeTexts};
use super::bars::{Bars, Print, minute_start};
use super::batch::GeneratedBatch;
use super::clock::EventTime;
use super::faults::{Fate, chance, fate, spoil_last};
use super::history::History;
use super::market::{EXCHANGES, Market};
use super::options::{GeneratorOptions, InvalidOptions, SchemaIds};
use super::recent::{RecentRecords, RecentTrades, TradeMemory};
use super::stats::GeneratorStats;
use super::topic::Topic;
use super::trade::{Nulls, Trade, uuid_text, uuid_v4};

/// Time between a trade and its event, microseconds.
const LATENCY_US: std::ops::Range<i64> = 200..50_000;
/// Time between a book's state and its event, microseconds.
const BOOK_LATENCY_US: std::ops::Range<i64> = 50..5_000;

/// Source of the three topics. See the module for what it guarantees.
pub struct Generator {
    options: GeneratorOptions,
    schema_ids: SchemaIds,
    time: EventTime,
    market: Market,
    bars: Bars,
    /// One source of chance a topic: what one topic is asked for changes no other.
    chances: [SmallRng; 3],
    trades: TradeMemory,
    /// Event time of the first trade.
    first_us: Option<i64>,
    recent_records: [RecentRecords; 3],
    bids: Vec<Level>,
    asks: Vec<Level>,
    unpublished: GeneratedBatch,
    stats: GeneratorStats,
}

impl Generator {
    /// Makes a generator whose values carry these schema ids.
    ///
    /// # Errors
    /// [`InvalidOptions`] as by [`GeneratorOptions::check`].
    pub fn new(options: GeneratorOptions, schema_ids: SchemaIds) -> Result<Self, InvalidOptions> {
        options.check()?;
        let seed = |topic: u64| SmallRng::seed_from_u64(options.seed.wrapping_mul(3).wrapping_add(topic + 1));
        Ok(Self {
            schema_ids,
            time: EventTime::new(&options),
            market: Market::new(&options),
            bars: Bars::new(options.symbols),
            chances: [seed(0), seed(1), seed(2)],
            trades: match options.remembers_all {
                true => TradeMemory::All(Box::new(History::new(&options))),
                false => TradeMemory::Recent(RecentTrades::new()),
            },
            first_us: None,
            recent_records: Default::default(),
            bids: Vec::with_capacity(options.book_levels),
            asks: Vec::with_capacity(options.book_levels),
            unpublished: GeneratedBatch::default(),
            stats: GeneratorStats::default(),
            options,
        })
    }

    /// What was generated so far.
    pub fn stats(&self) -> &GeneratorStats {
        &self.stats
    }

    /// The next `n` records of a topic. `now_us`: wall time, microseconds since 1970. Bars come only as far as trades
    /// changed them: fewer than `n` is normal.
    pub fn next_batch(&mut self, topic: Topic, n: usize, now_us: i64) -> GeneratedBatch {
        let mut batch = GeneratedBatch::default();
        self.append(topic, n, now_us, &mut batch);
        batch
    }

    /// As [`Self::next_batch`], behind what is in the batch already. Returns how many records came.
    pub fn append(&mut self, topic: Topic, n: usize, now_us: i64, batch: &mut GeneratedBatch) -> usize {
        let before = batch.len();
        for _ in 0..n {
            if self.is_over() {
                break;
            }
            match topic {
                Topic::Trades => self.append_trade(now_us, batch),
                Topic::Orderbook => self.append_book(now_us, batch),
                Topic::Marketdata => {
                    if !self.append_bar(now_us, batch) {
                        break;
                    }
                }
            }
        }
        let appended = batch.len() - before;
        self.stats.topic_mut(topic).produced += appended as u64;
        appended
    }

    /// Whether the feed has an end, and it is reached: nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.time.is_over()
    }

    /// Lets the market trade without publishing: for order books and bars on their own. The trades are those that the
    /// trades topic would have had.
    pub fn advance(&mut self, trades: usize, now_us: i64) {
        let stats = self.stats.trades;
        let mut unpublished = std::mem::take(&mut self.unpublished);
        for _ in 0..trades {
            if self.is_over() {
                break;
            }
            unpublished.clear();
            self.append_trade(now_us, &mut unpublished);
        }
        self.unpublished = unpublished;
        self.stats.trades = stats;
    }

    fn append_trade(&mut self, now_us: i64, batch: &mut GeneratedBatch) {
        let event_us = self.time.next(Topic::Trades, now_us);
        self.first_us.get_or_insert(event_us);
        self.bars.roll(event_us);
        let timestamp_ms = event_us.min(now_us).div_euclid(1_000);
        match fate(&self.options, self.options.corrections, &mut self.chances[0]) {
            Fate::Correction => {
                if let Some(trade) = self.correct(event_us) {
                    self.stats.trades.corrections += 1;
                    self.trades.sent(&trade);
                    return self.write_trade(&trade, timestamp_ms, batch);
                }
            }
            Fate::Duplicate => {
                if let Some(trade) = self.trades.pick_for_resend(&mut self.chances[0]) {
                    self.stats.trades.duplicates += 1;
                    self.trades.sent(&trade);
                    return self.write_trade(&trade, timestamp_ms, batch);
                }
            }
            Fate::Bad => {
                let trade = self.new_trade(event_us, Nulls::default(), false);
                self.write_trade(&trade, timestamp_ms, batch);
                spoil_last(batch, &self.options, &mut self.chances[0]);
                self.stats.trades.bad += 1;
                return;
            }
            Fate::New => {}
        }
        let nulls = self.draw_nulls();
        let moves_market = !nulls.symbol && !nulls.price && !nulls.negative_price;
        let mut trade = self.new_trade(event_us, nulls, moves_market);
        if moves_market {
            let quantity = if nulls.quantity { 0 } else { trade.quantity };
            let Trade {
                symbol,
                price_ticks,
                trade_us,
                ..
            } = trade;
            self.bars.add(Print {
                symbol,
                price_ticks,
                quantity,
                trade_us,
            });
            self.stats.marketdata.bars_lost = self.bars.lost;
        }
        if !nulls.id && self.options.corrections + self.options.duplicates > 0.0 {
            self.trades.remember(&mut trade, &mut self.chances[0]);
            self.trades.sent(&trade);
        }
        self.write_trade(&trade, timestamp_ms, batch);
    }

    fn draw_nulls(&mut self) -> Nulls {
        let rng = &mut self.chances[0];
        let nulls = Nulls {
            id: chance(self.options.null_ids, rng),
            symbol: chance(self.options.null_symbols, rng),
            price: chance(self.options.null_prices, rng),
            quantity: chance(self.options.null_quantities, rng),
            negative_price: chance(self.options.negative_prices, rng),
        };
        let stats = &mut self.stats.trades;
        stats.null_ids += u64::from(nulls.id);
        stats.null_symbols += u64::from(nulls.symbol);
        stats.null_prices += u64::from(nulls.price);
        stats.null_quantities += u64::from(nulls.quantity);
        stats.negative_prices += u64::from(nulls.negative_price && !nulls.price);
        nulls
    }

    fn new_trade(&mut self, event_us: i64, nulls: Nulls, moves_market: bool) -> Trade {
        let rng = &mut self.chances[0];
        let symbol = self.market.pick_symbol(rng);
        let is_buy: bool = rng.random();
        let price_ticks = if moves_market {
            self.market.execute(symbol, is_buy, rng)
        } else {
            // Nobody can read this price: it must not move quotes that the order books show.
            self.market.symbols[usize::from(symbol)].bid_ticks
        };
        let listed_on = self.market.symbols[usize::from(symbol)].exchange;
        let elsewhere = rng.random_range(0..EXCHANGES.len() as u8);
        Trade {
            id: uuid_v4(rng.random(), rng.random()),
            symbol,
            trader: rng.random_range(0..self.market.traders.len() as u16),
            venue: if rng.random_range(0..5) < 2 {
                listed_on
            } else {
                elsewhere
            },
            is_buy,
            nulls,
            price_ticks,
            quantity: self.market.size(rng),
            // Within the event's minute, so that a minute's bar is complete when the minute is over.
            trade_us: (event_us - rng.random_range(LATENCY_US)).max(minute_start(event_us)),
            event_us,
        }
    }

    fn correct(&mut self, event_us: i64) -> Option<Trade> {
        let (moves, first_us) = (self.options.moves, self.first_us.unwrap_or(event_us));
        let mut is_moved = false;
        let trade = self.trades.correct(&mut self.chances[0], |trade, rng| {
            let by_ticks = rng.random_range(1..=50);
            let is_up = rng.random::<bool>() || trade.price_ticks <= 2 * by_ticks;
            trade.price_ticks += if is_up { by_ticks } else { -by_ticks };
            trade.event_us = event_us;
            trade.nulls.negative_price = false;
            is_moved = chance(moves, rng) && trade.move_day(first_us, rng);
        });
        self.stats.trades.moved += u64::from(is_moved);
        trade
    }

    fn write_trade(&self, trade: &Trade, timestamp_ms: i64, batch: &mut GeneratedBatch) {
        let id = uuid_text(&trade.id);
        let id = (!trade.nulls.id).then(|| std::str::from_utf8(&id).unwrap_or_default());
        let texts = TradeTexts {
            trade_id: id,
            symbol: &self.market.symbols[usize::from(trade.symbol)].name,
            trader_id: &self.market.traders[usize::from(trade.trader)],
            exchange: EXCHANGES[usize::from(trade.venue)],
        };
        let schema_id = self.schema_ids.get(Topic::Trades);
        batch.push(Topic::Trades, id.map(str::as_bytes), timestamp_ms, |out| {
            avro::frame(out, schema_id);
            avro::trade(out, trade, &texts);
        });
    }

    fn append_book(&mut self, now_us: i64, batch: &mut GeneratedBatch) {
        const TOPIC: Topic = Topic::Orderbook;
        let snapshot_us = self.time.next(TOPIC, now_us);
        let timestamp_ms = snapshot_us.min(now_us).div_euclid(1_000);
        let rng = &mut self.chances[TOPIC.index()];
        let fate = fate(&self.options, 0.0, rng);
        if fate == Fate::Duplicate && self.resend(TOPIC, timestamp_ms, batch) {
            return;
        }
        let rng = &mut self.chances[TOPIC.index()];
        let symbol = &self.market.symbols[usize::from(self.market.pick_symbol(rng))];
        let gap_ticks = (symbol.spread_ticks / 2).max(1);
        self.bids.clear();
        self.asks.clear();
        for depth in 0..self.options.book_levels as i64 {
            let (bid, ask) = (
                symbol.bid_ticks - depth * gap_ticks,
                symbol.ask_ticks() + depth * gap_ticks,
            );
            // A cheap symbol has fewer bids than levels.
            if bid > 0 {
                self.bids.push(Level {
                    price_ticks: bid,
                    size: self.market.size(rng),
                });
            }
            self.asks.push(Level {
                price_ticks: ask,
                size: self.market.size(rng),
            });
        }
        let is_null = fate != Fate::Bad && chance(self.options.null_symbols, rng);
        self.stats.orderbook.null_symbols += u64::from(is_null);
        let book = Book {
            symbol: (!is_null).then_some(symbol.name.as_str()),
            exchange: EXCHANGES[usize::from(symbol.exchange)],
            snapshot_us,
            event_us: snapshot_us + rng.random_range(BOOK_LATENCY_US),
            bids: &self.bids,
            asks: &self.asks,
        };
        let schema_id = self.schema_ids.get(TOPIC);
        batch.push(TOPIC, book.symbol.map(str::as_bytes), timestamp_ms, |out| {
            avro::frame(out, schema_id);
            avro::book(out, &book);
        });
        self.finish(TOPIC, fate, batch);
    }

    /// False if no bar is due.
    fn append_bar(&mut self, now_us: i64, batch: &mut GeneratedBatch) -> bool {
        const TOPIC: Topic = Topic::Marketdata;
        let Some(passed_us) = self.time.passed(now_us) else {
            return false;
        };
        self.bars.roll(passed_us);
        let Some(bar) = self.bars.next() else { return false };
        let event_us = self.time.next(TOPIC, now_us);
        let timestamp_ms = event_us.min(now_us).div_euclid(1_000);
        let fate = fate(&self.options, 0.0, &mut self.chances[TOPIC.index()]);
        if fate == Fate::Duplicate && self.resend(TOPIC, timestamp_ms, batch) {
            self.bars.put_back(bar);
            return true;
        }
        let rng = &mut self.chances[TOPIC.index()];
        let symbol = &self.market.symbols[usize::from(bar.symbol)];
        let is_null = fate != Fate::Bad && chance(self.options.null_symbols, rng);
        let has_volume = fate == Fate::Bad || !chance(self.options.null_quantities, rng);
        self.stats.marketdata.null_symbols += u64::from(is_null);
        self.stats.marketdata.null_quantities += u64::from(!has_volume);
        let name = (!is_null).then_some(symbol.name.as_str());
        let exchange = EXCHANGES[usize::from(symbol.exchange)];
        let schema_id = self.schema_ids.get(TOPIC);
        batch.push(TOPIC, name.map(str::as_bytes), timestamp_ms, |out| {
            avro::frame(out, schema_id);
            avro::bar(out, &bar, name, exchange, event_us, has_volume.then_some(bar.volume));
        });
        self.finish(TOPIC, fate, batch);
        true
    }

    /// Sends a recent record again; false if there is none yet.
    fn resend(&mut self, topic: Topic, timestamp_ms: i64, batch: &mut GeneratedBatch) -> bool {
        let picked = self.recent_records[topic.index()].pick(&mut self.chances[topic.index()]);
        let Some((key, value)) = picked else { return false };
        batch.push(topic, key, timestamp_ms, |out| out.extend_from_slice(value));
        self.stats.topic_mut(topic).duplicates += 1;
        true
    }

    /// Spoils the record just written, or keeps it for a re-send.
    fn finish(&mut self, topic: Topic, fate: Fate, batch: &mut GeneratedBatch) {
        if fate == Fate::Bad {
            spoil_last(batch, &self.options, &mut self.chances[topic.index()]);
            self.stats.topic_mut(topic).bad += 1;
        } else if self.options.duplicates > 0.0
            && let Some(record) = batch.last()
        {
            self.recent_records[topic.index()].remember(&record);
        }
    }
}
