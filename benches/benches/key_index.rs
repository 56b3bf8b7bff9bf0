//! The key index: built from a table's rows, then batches as a silver table gets them, beside what it could have been instead.
//!
//! `cargo bench -p tapehouse-benches --bench key_index [-- KEYS] [NAME]`, NAME being part of a variant's name. Needs disk for some 150
//! bytes a key, and the map in memory 110.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use tapehouse_benches::{Outcome, usage};
use tapehouse_lake::index::{Entry, IndexSettings, KeyFilter, KeyHash, KeyIndex, Location, Order};

const KEYS: u64 = 10_000_000;
const BATCHES: u64 = 100;
const KEYS_PER_BATCH: u64 = 50_000;
/// Of 50 keys of a batch: those that are new, then updates of any key; the rest is sent again.
const NEW_OF_50: u64 = 44;
const UPDATES_OF_50: u64 = 5;
const MIB: f64 = (1 << 20) as f64;

/// Something that can be asked where keys are.
trait Index {
    fn lookup(&self, keys: &[KeyHash]) -> Outcome<Vec<Option<Entry>>>;
    fn record(&mut self, entries: Vec<Entry>) -> Outcome<()>;
    /// Memory, disk, runs.
    fn size(&self) -> (usize, u64, usize);
}

impl Index for KeyIndex {
    fn lookup(&self, keys: &[KeyHash]) -> Outcome<Vec<Option<Entry>>> {
        Ok(KeyIndex::lookup(self, keys)?)
    }

    fn record(&mut self, entries: Vec<Entry>) -> Outcome<()> {
        Ok(KeyIndex::record(self, entries, &|location| location)?)
    }

    fn size(&self) -> (usize, u64, usize) {
        (self.memory_bytes(), self.disk_bytes(), self.runs())
    }
}

/// One filter for all runs, which have none. It is made as large as it gets, which nobody knows in reality.
struct OneFilter {
    filter: KeyFilter,
    index: KeyIndex,
}

impl Index for OneFilter {
    fn lookup(&self, keys: &[KeyHash]) -> Outcome<Vec<Option<Entry>>> {
        let places: Vec<usize> = (0..keys.len())
            .filter(|&place| self.filter.may_contain(keys[place]))
            .collect();
        let passed: Vec<KeyHash> = places.iter().map(|&place| keys[place]).collect();
        let mut answers = vec![None; keys.len()];
        for (place, answer) in places.into_iter().zip(self.index.lookup(&passed)?) {
            answers[place] = answer;
        }
        Ok(answers)
    }

    fn record(&mut self, entries: Vec<Entry>) -> Outcome<()> {
        entries.iter().for_each(|entry| self.filter.insert(entry.key));
        Index::record(&mut self.index, entries)
    }

    fn size(&self) -> (usize, u64, usize) {
        let (memory, disk, runs) = self.index.size();
        (memory + self.filter.memory_bytes(), disk, runs)
    }
}

/// All in memory, with the standard library's own hasher.
struct InMemory(HashMap<KeyHash, (Order, Location)>);

impl Index for InMemory {
    fn lookup(&self, keys: &[KeyHash]) -> Outcome<Vec<Option<Entry>>> {
        let known = |&key: &KeyHash| {
            let &(order, location) = self.0.get(&key)?;
            Some(Entry { key, order, location })
        };
        Ok(keys.iter().map(known).collect())
    }

    fn record(&mut self, entries: Vec<Entry>) -> Outcome<()> {
        self.0.extend(
            entries
                .into_iter()
                .map(|entry| (entry.key, (entry.order, entry.location))),
        );
        Ok(())
    }

    fn size(&self) -> (usize, u64, usize) {
        let slot = size_of::<(KeyHash, (Order, Location))>() + 1;
        (self.0.capacity() * slot * 8 / 7, 0, 0)
    }
}

fn key(n: u64) -> KeyHash {
    KeyHash::of(&n.to_le_bytes())
}

fn entry(key: KeyHash, event: u64) -> Entry {
    Entry {
        key,
        order: Order {
            event_us: event as i64,
            incarnation: 0,
            partition: (event % 4) as i32,
            offset: event as i64,
        },
        location: Location {
            file: (event >> 20) as u32,
            position: event as u32,
        },
    }
}

/// The keys of all batches, which come after the first `keys`; how many are among them that no one knows yet.
fn batches(keys: u64) -> (Vec<Vec<KeyHash>>, u64) {
    let mut known = keys;
    let batches = (0..BATCHES)
        .map(|_| {
            let before = known;
            (0..KEYS_PER_BATCH)
                .map(|at| {
                    // Uniform, and the same in each run.
                    let random = key(u64::MAX - known - at * KEYS_PER_BATCH).0 as u64;
                    match at % 50 {
                        of_50 if of_50 < NEW_OF_50 => {
                            known += 1;
                            key(known - 1)
                        }
                        of_50 if of_50 < NEW_OF_50 + UPDATES_OF_50 => key(random % before),
                        _ => key(before - 1 - random % KEYS_PER_BATCH.min(before)),
                    }
                })
                .collect()
        })
        .collect();
    (batches, known - keys)
}

/// What the batches took.
struct Took {
    built: Duration,
    built_cpu_seconds: f64,
    lookups: Duration,
    records: Duration,
    slowest: Duration,
    cpu_seconds: f64,
}

fn measure(keys: u64, batches: &[Vec<KeyHash>], build: Build) -> Outcome<(Took, Box<dyn Index>)> {
    let (started, cpu_before) = (Instant::now(), usage::own_cpu_seconds()?);
    let mut index = build(&mut (0..keys).map(|n| entry(key(n), n)))?;
    let cpu_built = usage::own_cpu_seconds()?;
    let mut took = Took {
        built: started.elapsed(),
        built_cpu_seconds: cpu_built - cpu_before,
        lookups: Duration::ZERO,
        records: Duration::ZERO,
        slowest: Duration::ZERO,
        cpu_seconds: 0.0,
    };
    let (mut event, mut found) = (keys, 0);
    for batch in batches {
        let began = Instant::now();
        let known = index.lookup(batch)?;
        let looked_up = began.elapsed();
        found += known.iter().flatten().count() as u64;
        let changes = batch.iter().map(|&key| {
            event += 1;
            entry(key, event)
        });
        let changes = changes.collect();
        index.record(changes)?;
        let all = began.elapsed();
        took.lookups += looked_up;
        took.records += all - looked_up;
        took.slowest = took.slowest.max(all);
    }
    took.cpu_seconds = usage::own_cpu_seconds()? - cpu_built;
    let expected = BATCHES * KEYS_PER_BATCH * (50 - NEW_OF_50) / 50;
    match found == expected {
        true => Ok((took, index)),
        false => Err(format!("{found} keys were known, not {expected}").into()),
    }
}

fn report(name: &str, keys: u64, (took, index): (Took, Box<dyn Index>), new: u64) -> Outcome<()> {
    let (memory, disk, runs) = index.size();
    let looked_up = (BATCHES * KEYS_PER_BATCH) as f64;
    writeln!(
        std::io::stdout(),
        "{name:<28} build {:5.2} M keys/s, CPU {:5.3} us a key; batches {:5.2} M keys/s, lookup {:5.3} us and record {:5.3} us a key, CPU {:5.3} us; \
         slowest {:5.0} ms; {:6.1} MiB, {:5.1} bytes on disk a key, {runs} runs",
        keys as f64 / took.built.as_secs_f64() / 1e6,
        took.built_cpu_seconds * 1e6 / keys as f64,
        looked_up / (took.lookups + took.records).as_secs_f64() / 1e6,
        took.lookups.as_secs_f64() * 1e6 / looked_up,
        took.records.as_secs_f64() * 1e6 / looked_up,
        took.cpu_seconds * 1e6 / looked_up,
        took.slowest.as_secs_f64() * 1e3,
        memory as f64 / MIB,
        disk as f64 / (keys + new) as f64,
    )?;
    Ok(())
}

/// How an index is made of the entries it begins with.
type Build = Box<dyn FnOnce(&mut dyn Iterator<Item = Entry>) -> Outcome<Box<dyn Index>>>;

/// What is measured, by name; `most` keys is what each will hold in the end.
fn variants(base: &IndexSettings, most: u64) -> Vec<(&'static str, Build)> {
    let runs = |change: fn(&mut IndexSettings)| -> Build {
        let mut settings = base.clone();
        change(&mut settings);
        Box::new(move |entries| Ok(Box::new(KeyIndex::build(settings, entries)?)))
    };
    let mut unfiltered = base.clone();
    unfiltered.filter_bits_per_key = 0;
    let mut filter = KeyFilter::for_keys(most as usize, base.filter_bits_per_key);
    let one_filter: Build = Box::new(move |entries| {
        let entries = entries.inspect(|entry| filter.insert(entry.key));
        let index = KeyIndex::build(unfiltered, entries)?;
        Ok(Box::new(OneFilter { filter, index }))
    });
    let in_memory: Build = Box::new(|entries| {
        let entries = entries.map(|entry| (entry.key, (entry.order, entry.location)));
        Ok(Box::new(InMemory(entries.collect())))
    });
    vec![
        ("key index", runs(|_| {})),
        ("one thread", runs(|settings| settings.threads = 1)),
        ("fan-in 8", runs(|settings| settings.fan_in = 8)),
        ("14 bits a key", runs(|settings| settings.filter_bits_per_key = 14)),
        ("no filter", runs(|settings| settings.filter_bits_per_key = 0)),
        ("one filter for all runs", one_filter),
        ("map in memory", in_memory),
    ]
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says `--bench` where it is to be measured; else it is only seen to work.
    let usual = match arguments.iter().any(|argument| argument == "--bench") {
        true => KEYS,
        false => KEYS / 100,
    };
    let keys = arguments
        .iter()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(usual);
    let wanted = arguments
        .iter()
        .find(|argument| argument.starts_with(char::is_alphabetic));
    let folder = tempfile::tempdir()?;
    let (batches, new) = batches(keys);
    writeln!(
        std::io::stdout(),
        "{keys} keys, then {BATCHES} batches of {KEYS_PER_BATCH}; {}, load {:.1}",
        usage::machine(),
        usage::load_1min()?
    )?;
    for (name, build) in variants(&IndexSettings::new(folder.path().to_owned()), keys + new) {
        if wanted.is_none_or(|wanted| name.contains(wanted)) {
            report(name, keys, measure(keys, &batches, build)?, new)?;
        }
    }
    let peak = usage::peak_rss_mib(std::process::id()).unwrap_or_default();
    writeln!(std::io::stdout(), "peak resident set of all: {peak:.0} MiB")?;
    Ok(())
}
