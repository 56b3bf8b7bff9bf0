//! Merging runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::run::Run;
use super::{Entry, IndexError};

/// Hands the entries of `runs` to `sink`, key by key in order of their hashes: all those of one key at once, in the order of
/// the runs.
pub(super) fn merge(runs: &[Run], mut sink: impl FnMut(&[Entry]) -> Result<(), IndexError>) -> Result<(), IndexError> {
    let mut scans: Vec<_> = runs.iter().map(Run::scan).collect();
    let mut heads = Vec::with_capacity(runs.len());
    let mut heap = BinaryHeap::with_capacity(runs.len());
    for (run, scan) in scans.iter_mut().enumerate() {
        let head = scan.next_entry()?;
        heap.extend(head.map(|entry| Reverse((entry.key, run))));
        heads.push(head);
    }
    let mut of_one_key: Vec<Entry> = Vec::with_capacity(runs.len());
    while let Some(mut top) = heap.peek_mut() {
        let Reverse((key, run)) = *top;
        if of_one_key.first().is_some_and(|entry| entry.key != key) {
            sink(&of_one_key)?;
            of_one_key.clear();
        }
        of_one_key.extend(heads[run]);
        heads[run] = scans[run].next_entry()?;
        match heads[run] {
            Some(entry) => *top = Reverse((entry.key, run)),
            None => drop(PeekMut::pop(top)),
        }
    }
    match of_one_key.is_empty() {
        true => Ok(()),
        false => sink(&of_one_key),
    }
}
