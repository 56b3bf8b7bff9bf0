//! Delays of records as a histogram that costs nothing a record: producer times are kept per tick of 10 ms until the commit
//! that makes them visible is known.

use std::collections::BTreeMap;

const FINEST_TICK_MS: i64 = 10;
/// More distinct ticks than this are merged into coarser ones: a backlog of hours does not need 10 ms.
const MAX_TICKS: usize = 4096;

/// Producer times of records that are not yet visible: how many in each tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducedAt {
    tick_ms: i64,
    /// Start of the tick in milliseconds -> records.
    ticks: BTreeMap<i64, u64>,
}

impl Default for ProducedAt {
    fn default() -> Self {
        Self {
            tick_ms: FINEST_TICK_MS,
            ticks: BTreeMap::new(),
        }
    }
}

impl ProducedAt {
    /// Counts `records` with the Kafka timestamp `timestamp_ms`.
    pub fn add(&mut self, timestamp_ms: i64, records: u64) {
        let tick = timestamp_ms.div_euclid(self.tick_ms).saturating_mul(self.tick_ms);
        *self.ticks.entry(tick).or_default() += records;
        while self.ticks.len() > MAX_TICKS {
            self.coarsen();
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (&tick, &records) in &other.ticks {
            self.add(tick, records);
        }
    }

    /// Delays against `visible_ms`, in milliseconds, each with its number of records. Clock skew shows as 0, never negative.
    pub fn delays_ms(&self, visible_ms: i64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ticks.iter().map(move |(&tick, &records)| {
            let delay = visible_ms.saturating_sub(tick).saturating_sub(self.tick_ms / 2);
            (u64::try_from(delay).unwrap_or(0), records)
        })
    }

    fn coarsen(&mut self) {
        self.tick_ms = self.tick_ms.saturating_mul(2);
        for (tick, records) in std::mem::take(&mut self.ticks) {
            let coarser = tick.div_euclid(self.tick_ms).saturating_mul(self.tick_ms);
            *self.ticks.entry(coarser).or_default() += records;
        }
    }
}

/// Quantiles over delays in milliseconds, exact to the tick.
#[derive(Clone, Debug, Default)]
pub struct DelayQuantiles {
    by_delay: BTreeMap<u64, u64>,
    records: u64,
}

impl DelayQuantiles {
    /// Counts `records` with `delay_ms`.
    pub fn add(&mut self, delay_ms: u64, records: u64) {
        // Above a second, 1 % steps are enough and bound the map.
        let step = (delay_ms / 100).next_power_of_two().max(1);
        *self.by_delay.entry(delay_ms / step * step).or_default() += records;
        self.records += records;
    }

    /// Counts all of `other` too.
    pub fn merge(&mut self, other: &Self) {
        for (&delay_ms, &records) in &other.by_delay {
            self.add(delay_ms, records);
        }
    }

    /// The delay that `quantile` (0..=1) of the records do not exceed; `None` without records.
    pub fn quantile_ms(&self, quantile: f64) -> Option<u64> {
        let rank = (quantile.clamp(0.0, 1.0) * self.records as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.by_delay.iter().find_map(|(&delay, &records)| {
            seen += records;
            (seen >= rank).then_some(delay)
        })
    }

    /// Records counted.
    pub fn records(&self) -> u64 {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_delays() {
        let mut produced = ProducedAt::default();
        for ms in 0..1000 {
            produced.add(1_000_000 + ms, 1);
        }
        let mut quantiles = DelayQuantiles::default();
        for (delay, records) in produced.delays_ms(1_001_000) {
            quantiles.add(delay, records);
        }
        assert_eq!(quantiles.records(), 1000);
        let p50 = quantiles.quantile_ms(0.5).unwrap();
        assert!((480..=520).contains(&p50), "{p50}");
        assert!((985..=1000).contains(&quantiles.quantile_ms(1.0).unwrap()));
        assert_eq!(DelayQuantiles::default().quantile_ms(0.5), None);
    }

    #[test]
    fn a_long_backlog_stays_bounded() {
        let mut produced = ProducedAt::default();
        for second in 0..100_000 {
            produced.add(second * 1000, 1);
        }
        assert!(produced.ticks.len() <= MAX_TICKS);
        assert_eq!(produced.ticks.values().sum::<u64>(), 100_000);
    }
}
