use super::*;

#[test]
fn rows_in_any_order_make_the_index_of_their_latest() {
    let folder = tempfile::tempdir().unwrap();
    let (mut map, mut repeated) = (BTreeMap::<KeyHash, Entry>::new(), 0);
    let mut rng = StdRng::seed_from_u64(11);
    let mut builder = KeyIndexBuilder::create(settings(folder.path())).unwrap();
    // More than 16 pieces of 500.
    for _ in 0..20_000 {
        let entry = entry(rng.random_range(0..15_000), rng.random_range(0..1_000));
        builder.push(entry).unwrap();
        let known = map.entry(entry.key).or_insert(entry);
        if entry.order > known.order {
            *known = entry;
        }
        repeated += 1;
    }
    repeated -= map.len() as u64;
    let Built {
        mut index,
        repeated: found,
    } = builder.finish().unwrap();
    assert_eq!(found, repeated);
    assert_eq!(index.entries(), map.len() as u64);
    assert_eq!((index.runs(), runs_in(folder.path()).len()), (3, 3));
    assert_same(&index, &map, 0..30_000);
    // 48 bytes a key on disk, and in memory 11 bits for each entry that was merged: some of them had the same key.
    let keys = map.len() as u64;
    assert!(
        (48 * keys..50 * keys + 3 * 4096).contains(&index.disk_bytes()),
        "{}",
        index.disk_bytes()
    );
    assert!(
        index.memory_bytes() as u64 <= 20_000 * 11 / 8 + 3 * 256,
        "{}",
        index.memory_bytes()
    );
    // It goes on like any other.
    for round in 0..20 {
        let batch: Vec<Entry> = (0..200)
            .map(|_| entry(rng.random_range(0..20_000), 2_000 + round))
            .collect();
        map.extend(batch.iter().map(|entry| (entry.key, *entry)));
        index.record(batch, &stays).unwrap();
    }
    assert!(index.runs() > 3);
    assert_same(&index, &map, 0..30_000);
}

#[test]
fn few_rows_and_none() {
    let folder = tempfile::tempdir().unwrap();
    let index = KeyIndex::build(settings(folder.path()), [entry(4, 4)].into_iter()).unwrap();
    assert_eq!(
        index.lookup(&[entry(4, 0).key, entry(5, 0).key]).unwrap(),
        [Some(entry(4, 4)), None]
    );
    drop(index);
    let index = KeyIndex::build(settings(folder.path()), std::iter::empty()).unwrap();
    assert_eq!((index.runs(), index.entries()), (0, 0));
}
