//! A thousand commits: the manifests stay few, their entries complete and unique, the time of a commit flat.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::place::{Kind, on_each_catalog};
use crate::support::Rig;

on_each_catalog! {
    a_thousand_commits,
}

async fn a_thousand_commits(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    // The REST catalog's own time for a commit would make it minutes.
    let commits = if kind == Kind::Rest { 250 } else { 1000 };
    let times = commit_many(rig, commits).await;
    let (early, late) = (median(&times[50..100]), median(&times[times.len() - 50..]));
    // Far from the 1.5 that the commit bench holds at 5,000 commits on a quiet machine: here others may be busy.
    assert!(late <= early.mul_f64(3.0), "{early:?} at 50-100, {late:?} at the end");
}

/// Commits, checks what the table lists, and returns how long each commit took.
async fn commit_many(rig: Rig, commits: i64) -> Vec<Duration> {
    let mut written = HashSet::new();
    let mut times = Vec::new();
    for commit in 0..commits {
        let staged = rig.stage(&[(0, commit, commit + 1)]).await;
        written.extend(staged.files.iter().map(|file| file.file_path().to_owned()));
        let started = Instant::now();
        crate::support::committed(rig.lake.append(&rig.ident, &staged).await.unwrap());
        times.push(started.elapsed());
    }
    let table = rig.table().await;
    let manifests = table.manifests(rig.lake.file_io()).await.unwrap();
    assert!(manifests.len() <= 50, "{} manifests", manifests.len());
    assert!(table.metadata_bytes() < 1_000_000, "{} bytes", table.metadata_bytes());
    // Each entry keeps its own snapshot's sequence number, through all merges.
    let mut entries = Vec::new();
    for manifest in manifests.iter() {
        let loaded = manifest.load_manifest(rig.lake.file_io()).await.unwrap();
        let counted = manifest.added_files_count.unwrap() + manifest.existing_files_count.unwrap();
        assert_eq!(loaded.entries().len() as u32, counted);
        for entry in loaded.entries() {
            entries.push((entry.sequence_number().unwrap(), entry.file_path().to_owned()));
        }
    }
    entries.sort();
    let numbers: Vec<i64> = entries.iter().map(|entry| entry.0).collect();
    assert_eq!(numbers, (1..=commits).collect::<Vec<_>>());
    let listed: HashSet<String> = entries.into_iter().map(|entry| entry.1).collect();
    assert_eq!(listed, written);
    eprintln!(
        "median commit: {:?} at 50-100, {:?} at the end; slowest {:?}; metadata {} bytes",
        median(&times[50..100]),
        median(&times[times.len() - 50..]),
        times.iter().max().unwrap(),
        table.metadata_bytes()
    );
    times
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}
