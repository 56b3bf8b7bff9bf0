use std::io::ErrorKind;

use tapehouse_tests::{Disk, fill_disk, free_disk};

use super::*;

fn disk(folder: &Path) -> Option<Disk> {
    match Disk::mount(&folder.join("disk"), 2 << 20) {
        Ok(disk) => Some(disk),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn is_full(outcome: &Result<(), IndexError>) -> bool {
    matches!(outcome, Err(IndexError::Io { source, .. }) if source.kind() == ErrorKind::StorageFull)
}

fn batch(round: u64) -> Vec<Entry> {
    (0..200).map(|n| entry(round * 200 + n, round as i64)).collect()
}

fn record(index: &mut KeyIndex, map: &mut BTreeMap<KeyHash, Entry>, round: u64) -> Result<(), IndexError> {
    map.extend(batch(round).into_iter().map(|entry| (entry.key, entry)));
    index.record(batch(round), &stays)
}

#[test]
fn a_full_disk_costs_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = disk(folder.path()) else { return };
    let mut index = KeyIndex::create(one_shard(disk.folder())).unwrap();
    let mut map = BTreeMap::new();
    record(&mut index, &mut map, 0).unwrap();
    fill_disk(disk.folder()).unwrap();
    for round in 1..5 {
        let outcome = record(&mut index, &mut map, round);
        assert!(is_full(&outcome), "{outcome:?}");
        assert_same(&index, &map, 0..2_000);
    }
    // The run, and what fills the disk: what could not be written to its end is gone.
    assert_eq!(runs_in(disk.folder()).len(), 2);
    free_disk(disk.folder()).unwrap();
    for round in 5..9 {
        record(&mut index, &mut map, round).unwrap();
        assert_same(&index, &map, 0..2_000);
    }
    assert_eq!(runs_in(disk.folder()).len(), index.runs());
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_merge_costs_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = disk(folder.path()) else { return };
    let mut index = KeyIndex::create(one_shard(disk.folder())).unwrap();
    let mut map = BTreeMap::new();
    record(&mut index, &mut map, 0).unwrap();
    record(&mut index, &mut map, 1).unwrap();
    // Room for the third run of three blocks, and for part of what the three make.
    std::fs::write(disk.folder().join("room"), vec![0; 5 * 4096]).unwrap();
    fill_disk(disk.folder()).unwrap();
    std::fs::remove_file(disk.folder().join("room")).unwrap();
    let outcome = record(&mut index, &mut map, 2);
    assert!(is_full(&outcome), "{outcome:?}");
    assert_eq!(index.runs(), 3);
    assert_same(&index, &map, 0..1_000);
    assert_eq!(runs_in(disk.folder()).len(), 4);
    free_disk(disk.folder()).unwrap();
    record(&mut index, &mut map, 3).unwrap();
    assert_eq!(index.runs(), 1);
    assert_same(&index, &map, 0..1_000);
}

#[test]
fn an_index_that_cannot_hold_more_says_so_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = disk(folder.path()) else { return };
    let mut index = KeyIndex::create(one_shard(disk.folder())).unwrap();
    let mut map = BTreeMap::new();
    fill_disk(disk.folder()).unwrap();
    for round in 0..8 {
        let outcome = record(&mut index, &mut map, round);
        assert!(is_full(&outcome), "{outcome:?}");
        assert_same(&index, &map, 0..2_000);
    }
    for round in 8..10 {
        let outcome = record(&mut index, &mut map, round);
        assert!(matches!(outcome, Err(IndexError::Behind)), "{outcome:?}");
        // It does not know the last ones; so it may not say anything, room or no room.
        assert!(matches!(index.lookup(&[entry(0, 0).key]), Err(IndexError::Behind)));
        let _ = free_disk(disk.folder());
    }
}
