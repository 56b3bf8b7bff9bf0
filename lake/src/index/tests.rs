use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

mod build;
mod damage;
mod disk_full;

fn settings(folder: &Path) -> IndexSettings {
    IndexSettings {
        shards: 3,
        threads: 2,
        entries_in_memory: 600,
        fan_in: 3,
        entries_in_memory_while_built: 500,
        ..IndexSettings::new(folder.to_owned())
    }
}

fn one_shard(folder: &Path) -> IndexSettings {
    IndexSettings {
        shards: 1,
        entries_in_memory: 200,
        ..settings(folder)
    }
}

fn entry(n: u64, event_us: i64) -> Entry {
    Entry {
        key: KeyHash::of(&n.to_le_bytes()),
        order: Order {
            event_us,
            incarnation: 0,
            partition: 1,
            offset: event_us,
        },
        location: Location {
            file: n as u32 % 7,
            position: event_us as u32,
        },
    }
}

fn stays(location: Location) -> Location {
    location
}

fn runs_in(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect()
}

/// Compares what the index says of the keys of `numbers` with what the map says.
fn assert_same(index: &KeyIndex, map: &BTreeMap<KeyHash, Entry>, numbers: impl Iterator<Item = u64>) {
    let keys: Vec<KeyHash> = numbers.map(|n| entry(n, 0).key).collect();
    let expected: Vec<Option<Entry>> = keys.iter().map(|key| map.get(key).copied()).collect();
    assert_eq!(index.lookup(&keys).unwrap(), expected);
}

#[test]
fn it_knows_what_a_map_knows() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = KeyIndex::create(settings(folder.path())).unwrap();
    let (mut map, mut most_runs) = (BTreeMap::new(), 0);
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..400 {
        let batch: Vec<Entry> = (0..rng.random_range(0..150))
            .map(|_| entry(rng.random_range(0..9_000), round))
            .collect();
        map.extend(batch.iter().map(|entry| (entry.key, *entry)));
        index.record(batch, &stays).unwrap();
        most_runs = most_runs.max(index.runs());
        if round % 25 == 0 {
            // More than one thread takes part; keys come twice, and in no order.
            assert_same(&index, &map, (0..18_000).rev().chain(0..100));
        }
    }
    // Some 30,000 entries are 50 runs of 600; three shards, three tiers of two runs.
    assert!((4..=24).contains(&most_runs), "{most_runs} runs");
    assert_eq!(runs_in(folder.path()).len(), index.runs());
    let on_disk: u64 = runs_in(folder.path())
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(on_disk, index.disk_bytes());
    drop(index);
    assert!(runs_in(folder.path()).is_empty());
}

#[test]
fn an_empty_index_and_an_empty_question() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = KeyIndex::create(settings(&folder.path().join("made/here"))).unwrap();
    assert_eq!(index.lookup(&[]).unwrap(), []);
    index.record(Vec::new(), &stays).unwrap();
    assert_eq!(index.lookup(&[entry(1, 1).key]).unwrap(), [None]);
    assert_eq!((index.entries(), index.runs(), index.disk_bytes()), (0, 0, 0));
}

#[test]
fn merged_entries_are_where_their_rows_went() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = KeyIndex::create(one_shard(folder.path())).unwrap();
    let moved = |location: Location| Location {
        file: location.file + 100,
        ..location
    };
    for round in 0..3_u64 {
        let batch = (0..200).map(|n| entry(round * 200 + n, 1)).collect();
        index.record(batch, &moved).unwrap();
    }
    assert_eq!(index.runs(), 1);
    let found = index.lookup(&[entry(5, 1).key]).unwrap();
    assert_eq!(found[0].unwrap().location.file, 105);
}

#[test]
fn keys_that_have_half_of_their_hash_in_common_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let key = |high: u64, low: u64| KeyHash((u128::from(high) << 64) | u128::from(low));
    // 300 hashes with one high half fill more than three blocks, which begin in the middle of them.
    let keys: Vec<KeyHash> = (0..40)
        .map(|n| key(n, 5))
        .chain((0..300).map(|n| key(40, n * 2)))
        .chain((41..60).map(|n| key(n, 5)))
        .collect();
    let entries: Vec<Entry> = keys.iter().map(|&key| Entry { key, ..entry(3, 3) }).collect();
    let mut index = KeyIndex::create(one_shard(folder.path())).unwrap();
    index.record(entries.clone(), &stays).unwrap();
    assert_eq!(index.runs(), 1);
    assert!(index.lookup(&keys).unwrap().into_iter().flatten().eq(entries));
    let others: Vec<KeyHash> = (0..301)
        .map(|n| key(40, n * 2 + 1))
        .chain([key(0, 0), key(99, 0)])
        .collect();
    assert!(index.lookup(&others).unwrap().iter().all(Option::is_none));
}

#[test]
fn runs_have_a_limit_whatever_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let settings = IndexSettings {
        fan_in: 1_000,
        entries_in_memory: 1,
        ..one_shard(folder.path())
    };
    let mut index = KeyIndex::create(settings).unwrap();
    let mut map = BTreeMap::new();
    for n in 0..500 {
        index.record(vec![entry(n, 1)], &stays).unwrap();
        map.insert(entry(n, 1).key, entry(n, 1));
        assert!(index.runs() <= 48, "{} runs", index.runs());
    }
    assert_same(&index, &map, 0..1_000);
}

#[test]
fn runs_of_a_process_that_ended_are_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["000-00000001.run", "of-the-user.txt"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let mut index = KeyIndex::create(one_shard(folder.path())).unwrap();
    assert_eq!(runs_in(folder.path()), [folder.path().join("of-the-user.txt")]);
    index.record((0..200).map(|n| entry(n, 1)).collect(), &stays).unwrap();
    assert_eq!(index.runs(), 1);
}
