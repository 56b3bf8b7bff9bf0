//! In which order the topics' records follow each other.

use crate::generator::{GeneratedBatch, Generator, Topic};

/// Parts of twenty: 14 trades, 5 order books, 1 bar, as evenly as that goes.
const PATTERN: [Topic; 20] = {
    const T: Topic = Topic::Trades;
    const B: Topic = Topic::Orderbook;
    const M: Topic = Topic::Marketdata;
    [T, T, T, B, T, T, T, B, T, T, T, B, T, T, T, B, T, T, B, M]
};

/// Trades that the market makes unpublished, at most, until a bar changes: only nulls and faults change none.
const MAX_TRADES_A_BAR: usize = 10_000;

/// A fixed cycle over the wanted topics: which record follows which does not depend on how many are asked for at once.
pub(super) struct Mix {
    cycle: Vec<Topic>,
    at: usize,
    publishes_trades: bool,
}

impl Mix {
    /// `topics` must not be empty.
    pub fn new(topics: &[Topic]) -> Self {
        let cycle: Vec<Topic> = PATTERN.into_iter().filter(|topic| topics.contains(topic)).collect();
        Self {
            cycle,
            at: 0,
            publishes_trades: topics.contains(&Topic::Trades),
        }
    }

    /// Appends the next `n` records of the cycle, fewer where the feed ends. Where no bar is due, a trade takes its place.
    pub fn append(&mut self, generator: &mut Generator, n: usize, now_us: i64, batch: &mut GeneratedBatch) {
        let mut left = n;
        while left > 0 && !generator.is_over() {
            let topic = self.cycle[self.at];
            let run = self.run_length().min(left);
            self.at = (self.at + run) % self.cycle.len();
            left -= run;
            if !self.publishes_trades {
                for _ in 0..run {
                    append_alone(generator, topic, now_us, batch);
                }
                continue;
            }
            let appended = generator.append(topic, run, now_us, batch);
            generator.append(Topic::Trades, run - appended, now_us, batch);
        }
    }

    /// Records of the same topic from here to the end of the cycle.
    fn run_length(&self) -> usize {
        let rest = &self.cycle[self.at..];
        rest.iter().take_while(|topic| **topic == rest[0]).count()
    }
}

/// One record of a topic without published trades: the market goes on by itself.
fn append_alone(generator: &mut Generator, topic: Topic, now_us: i64, batch: &mut GeneratedBatch) {
    for _ in 0..MAX_TRADES_A_BAR {
        generator.advance(1, now_us);
        if generator.append(topic, 1, now_us, batch) > 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{EventClock, GeneratorOptions, SchemaIds};

    fn generator() -> Generator {
        let options = GeneratorOptions {
            start_us: Some(1_700_000_000_000_000),
            clock: EventClock::Synthetic {
                trades_per_second: 1_000.0,
            },
            ..GeneratorOptions::realistic(9)
        };
        Generator::new(options, SchemaIds::new(1, 2, 3)).unwrap()
    }

    type Owned = (Topic, Option<Vec<u8>>, Option<Vec<u8>>);

    fn records(topics: &[Topic], steps: &[usize]) -> Vec<Owned> {
        let (mut generator, mut mix, mut batch) = (generator(), Mix::new(topics), GeneratedBatch::default());
        for (turn, step) in steps.iter().enumerate() {
            mix.append(&mut generator, *step, i64::MAX / 2 + turn as i64, &mut batch);
        }
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        batch
            .iter()
            .map(|record| (record.topic, owned(record.key), owned(record.value)))
            .collect()
    }

    #[test]
    fn the_sequence_does_not_depend_on_how_it_is_cut() {
        let whole = records(&Topic::ALL, &[10_000]);
        let cut = records(&Topic::ALL, &[1, 7, 992, 3_000, 13, 5_987]);
        assert_eq!(whole.len(), 10_000);
        assert!(whole == cut);
        let share = |topic| whole.iter().filter(|record| record.0 == topic).count() / 500;
        assert_eq!(Topic::ALL.map(share), [14, 5, 1]);
    }

    #[test]
    fn topics_can_be_had_alone() {
        for topic in Topic::ALL {
            let alone = records(&[topic], &[3_000]);
            assert_eq!(alone.len(), 3_000);
            assert!(alone.iter().all(|record| record.0 == topic));
        }
    }

    #[test]
    fn the_counts_are_those_of_the_published_records() {
        let (mut generator, mut mix, mut batch) =
            (generator(), Mix::new(&[Topic::Orderbook]), GeneratedBatch::default());
        mix.append(&mut generator, 500, 0, &mut batch);
        assert_eq!(generator.stats().produced(), 500);
        assert_eq!(generator.stats().trades, Default::default());
    }
}
