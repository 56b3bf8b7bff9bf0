//! The simulated market: symbols with their quotes, who trades, how much.

use std::collections::HashSet;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rand_distr::{Distribution, LogNormal};

use super::options::GeneratorOptions;

/// Exchanges; the first two list symbols, all execute trades.
pub(super) const EXCHANGES: [&str; 5] = ["NYSE", "NASDAQ", "ARCA", "BATS", "IEX"];

/// The most traded symbols carry names that people know.
const KNOWN: &str = "AAPL NVDA MSFT AMZN TSLA GOOGL META AMD INTC BAC F T PLTR AVGO NFLX JPM XOM WMT DIS CSCO PFE KO \
    ORCL VZ C WFC GM UBER BA GE CRM QCOM MU ADBE PYPL COST PEP MRK ABBV CVX HD MCD NKE SBUX TXN IBM GS MS AXP V MA UNH \
    LLY JNJ PG CAT DE LMT RTX HON UPS FDX";

/// Places of the pick table. A power of two; the rarest of 500 symbols still gets three.
const PICK_PLACES: usize = 16_384;
/// Exponent of the Zipf weights.
const ZIPF_EXPONENT: f64 = 1.1;
/// No price falls below one unit.
const LOWEST_TICKS: i64 = 100;

/// One traded symbol. Prices are in ticks of a cent.
#[derive(Debug)]
pub(super) struct Symbol {
    pub name: String,
    /// Listing exchange, index into [`EXCHANGES`].
    pub exchange: u8,
    pub bid_ticks: i64,
    pub spread_ticks: i64,
    /// What the price returns to, slowly drifting itself.
    base_ticks: i64,
    step_ticks: i64,
}

impl Symbol {
    pub fn ask_ticks(&self) -> i64 {
        self.bid_ticks + self.spread_ticks
    }

    /// Moves the quotes once: mostly not at all, else one step, towards the base the more likely the farther away.
    fn step(&mut self, bits: u64) {
        if bits & 3 != 0 {
            return;
        }
        let draw = ((bits >> 8) & 0xffff) as i64;
        // At +-15 % of the base every step leads back.
        let pull = (self.bid_ticks - self.base_ticks) * 218_453 / self.base_ticks;
        let is_up = draw >= 32_768 + pull;
        self.bid_ticks = (self.bid_ticks + if is_up { self.step_ticks } else { -self.step_ticks }).max(LOWEST_TICKS);
        if (bits >> 32) & 63 == 0 {
            let drift = if (bits >> 40) & 1 == 0 {
                self.step_ticks
            } else {
                -self.step_ticks
            };
            self.base_ticks = (self.base_ticks + drift).max(2 * LOWEST_TICKS);
        }
    }
}

/// All symbols and traders.
pub(super) struct Market {
    pub symbols: Vec<Symbol>,
    pub traders: Vec<String>,
    /// Symbol indices, each as often as its weight: a draw is one look-up.
    pick: Vec<u16>,
    sizes: LogNormal<f64>,
}

impl Market {
    pub fn new(options: &GeneratorOptions) -> Self {
        let mut rng = SmallRng::seed_from_u64(options.seed);
        let names = symbol_names(options.symbols, &mut rng);
        let symbols = names
            .into_iter()
            .enumerate()
            .map(|(rank, name)| new_symbol(rank, name, &mut rng))
            .collect();
        let traders = (1..=options.traders).map(|number| format!("T{number:04}")).collect();
        Self {
            symbols,
            traders,
            pick: pick_table(options.symbols),
            sizes: log_normal(100.0, 1.0),
        }
    }

    /// Draws a symbol by its weight.
    pub fn pick_symbol(&self, rng: &mut SmallRng) -> u16 {
        self.pick[rng.next_u64() as usize % PICK_PLACES]
    }

    /// Draws a number of shares, at least one, median 100.
    pub fn size(&self, rng: &mut SmallRng) -> u32 {
        self.sizes.sample(rng).round().clamp(1.0, 1_000_000.0) as u32
    }

    /// Moves a symbol's quotes, then gives the price at which a buyer or seller is served.
    pub fn execute(&mut self, symbol: u16, is_buy: bool, rng: &mut SmallRng) -> i64 {
        let symbol = &mut self.symbols[usize::from(symbol)];
        symbol.step(rng.next_u64());
        if is_buy { symbol.ask_ticks() } else { symbol.bid_ticks }
    }
}

fn log_normal(median: f64, sigma: f64) -> LogNormal<f64> {
    LogNormal::new(median.ln(), sigma).expect("the deviation is a positive constant")
}

fn new_symbol(rank: usize, name: String, rng: &mut SmallRng) -> Symbol {
    let base_ticks = (log_normal(8_000.0, 0.8).sample(rng) as i64).clamp(500, 150_000);
    let illiquidity = rng.random_range(0..=(rank / 40).min(12)) as i64;
    Symbol {
        name,
        exchange: rng.random_range(0..2),
        bid_ticks: base_ticks,
        spread_ticks: 1 + illiquidity + base_ticks / 20_000,
        base_ticks,
        step_ticks: (base_ticks / 10_000).max(1),
    }
}

fn symbol_names(count: usize, rng: &mut SmallRng) -> Vec<String> {
    let mut names: Vec<String> = KNOWN.split_whitespace().take(count).map(str::to_owned).collect();
    let mut seen: HashSet<String> = names.iter().cloned().collect();
    // 475 thousand names of three and four letters for at most 5,000: soon found.
    while names.len() < count {
        let letters = rng.random_range(3..=4);
        let name: String = (0..letters)
            .map(|_| char::from(rng.random_range(b'A'..=b'Z')))
            .collect();
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

fn pick_table(symbols: usize) -> Vec<u16> {
    let weights: Vec<f64> = (1..=symbols).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT)).collect();
    let total: f64 = weights.iter().sum();
    let mut table = Vec::with_capacity(PICK_PLACES);
    let mut cumulative = 0.0;
    for (index, weight) in weights.iter().enumerate() {
        cumulative += weight / total;
        let left_for_others = symbols - index - 1;
        // Everybody gets a place, also where the rounding would give none.
        let until = ((cumulative * PICK_PLACES as f64).round() as usize).min(PICK_PLACES - left_for_others);
        let until = if left_for_others == 0 {
            PICK_PLACES
        } else {
            until.max(table.len() + 1)
        };
        table.resize(until, index as u16);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_can_be_drawn() {
        for symbols in [1, 2, 500, 5_000] {
            let table = pick_table(symbols);
            assert_eq!(table.len(), PICK_PLACES);
            let distinct: HashSet<u16> = table.iter().copied().collect();
            assert_eq!(distinct.len(), symbols);
        }
    }

    #[test]
    fn weights_follow_zipf() {
        let table = pick_table(500);
        let places = |symbol: u16| table.iter().filter(|entry| **entry == symbol).count() as f64;
        let ratio = places(0) / places(9);
        assert!((ratio - 10_f64.powf(1.1)).abs() < 0.3, "{ratio}");
    }

    #[test]
    fn prices_stay_near_their_base_and_above_zero() {
        let mut market = Market::new(&GeneratorOptions {
            symbols: 20,
            ..GeneratorOptions::default()
        });
        let mut rng = SmallRng::seed_from_u64(3);
        for turn in 0..2_000_000_u32 {
            let symbol = (turn % 20) as u16;
            market.execute(symbol, turn % 2 == 0, &mut rng);
            let symbol = &market.symbols[usize::from(symbol)];
            let away = (symbol.bid_ticks - symbol.base_ticks).abs() as f64 / symbol.base_ticks as f64;
            assert!(symbol.bid_ticks >= LOWEST_TICKS && away < 0.2, "{symbol:?}");
        }
    }
}
