use super::*;

/// An index of one run of 200 entries, three blocks; the run's file, and the keys.
fn one_run(folder: &Path) -> (KeyIndex, std::path::PathBuf, Vec<KeyHash>) {
    let mut index = KeyIndex::create(one_shard(folder)).unwrap();
    index.record((0..200).map(|n| entry(n, 1)).collect(), &stays).unwrap();
    let [run] = <[_; 1]>::try_from(runs_in(folder)).unwrap();
    (index, run, (0..200).map(|n| entry(n, 1).key).collect())
}

fn assert_damaged(index: &KeyIndex, keys: &[KeyHash], how: &str) {
    let answer = index.lookup(keys);
    assert!(matches!(answer, Err(IndexError::Damaged(_))), "{how}: {answer:?}");
}

#[test]
fn damage_is_noticed_and_never_read_as_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (index, run, keys) = one_run(folder.path());
    let whole = std::fs::read(&run).unwrap();
    assert_eq!(whole.len(), 3 * 4096);
    for at in [0, 47, 4_000, 4_087, 4_095, 4_096, whole.len() - 9, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&run, bytes).unwrap();
        assert_damaged(&index, &keys, &format!("byte {at}"));
    }
    std::fs::write(&run, &whole[..whole.len() - 9]).unwrap();
    assert_damaged(&index, &keys, "cut off");
    // Each block is whole, but stands in another's place.
    let swapped = [&whole[4096..8192], &whole[..4096], &whole[8192..]].concat();
    std::fs::write(&run, swapped).unwrap();
    assert_damaged(&index, &keys, "swapped");
    std::fs::write(&run, whole).unwrap();
    assert_eq!(index.lookup(&keys).unwrap().into_iter().flatten().count(), 200);
}

#[test]
fn a_damaged_run_is_not_merged_into_a_sound_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut index, run, keys) = one_run(folder.path());
    let mut bytes = std::fs::read(&run).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&run, bytes).unwrap();
    let of_round = |round: u64| (0..200).map(|n| entry(round * 200 + n, 1)).collect();
    index.record(of_round(1), &stays).unwrap();
    let outcome = index.record(of_round(2), &stays);
    assert!(matches!(outcome, Err(IndexError::Damaged(_))), "{outcome:?}");
    assert_damaged(&index, &keys, "after the merge");
    // What the merge had begun is gone.
    assert_eq!(runs_in(folder.path()).len(), 3);
}
