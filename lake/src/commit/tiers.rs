//! Which manifests a commit merges, so that a table has few of them however many commits it has seen.
//!
//! Manifests are in tiers by their number of live files: up to 15, up to 255, up to 511. As soon as 16 of one of the lower
//! tiers lie there, or 4 of the third, they become one of the next. A file's entry is thus rewritten at most three times in
//! its life, a snapshot lists at most some 35 manifests and one more for each 1,024 files, and no merge takes more than
//! some 2,000 entries, so that the slowest commit stays bounded too.

use iceberg::spec::{ManifestContentType, ManifestFile};

/// Each tier's manifests hold so many times the files of the tier below.
const TIER_FACTOR: u64 = 16;
/// Manifests with more live files are left as they are.
const MAX_MERGEABLE_FILES: u64 = 512;

/// Live files of a manifest; `None` where its writer did not count.
fn live_files(manifest: &ManifestFile) -> Option<u64> {
    Some(u64::from(manifest.added_files_count?) + u64::from(manifest.existing_files_count?))
}

fn tier(live_files: u64) -> u32 {
    live_files.max(1).ilog(TIER_FACTOR)
}

/// So many manifests of a tier are merged into one.
fn fan_in(tier: u32) -> usize {
    if tier < 2 { 16 } else { 4 }
}

/// Indices of the manifests to merge into one, all of data or all of deletes: the oldest of the lowest tier that is full; empty
/// when none is.
pub(super) fn merge_group(manifests: &[ManifestFile]) -> Vec<usize> {
    let mut candidates: Vec<((bool, u32, i32), i64, usize)> = manifests
        .iter()
        .enumerate()
        .filter(|(_, manifest)| manifest.key_metadata.is_none())
        .filter_map(|(index, manifest)| {
            let live = live_files(manifest)?;
            let holds_deletes = manifest.content == ManifestContentType::Deletes;
            let group = (holds_deletes, tier(live), manifest.partition_spec_id);
            (live <= MAX_MERGEABLE_FILES).then_some((group, manifest.sequence_number, index))
        })
        .collect();
    candidates.sort_unstable();
    candidates
        .chunk_by(|left, right| left.0 == right.0)
        .find_map(|group| {
            let ((_, tier, _), ..) = group[0];
            let oldest = group.get(..fan_in(tier))?;
            Some(oldest.iter().map(|candidate| candidate.2).collect())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(sequence_number: i64, live: u32) -> ManifestFile {
        ManifestFile {
            manifest_path: format!("m{sequence_number}"),
            manifest_length: 1,
            partition_spec_id: 0,
            content: ManifestContentType::Data,
            sequence_number,
            min_sequence_number: sequence_number,
            added_snapshot_id: 1,
            added_files_count: Some(live),
            existing_files_count: Some(0),
            deleted_files_count: Some(0),
            added_rows_count: Some(0),
            existing_rows_count: Some(0),
            deleted_rows_count: Some(0),
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        }
    }

    #[test]
    fn ten_thousand_commits_leave_few_manifests_and_cheap_merges() {
        let mut manifests: Vec<ManifestFile> = Vec::new();
        let (mut most, mut rewritten, mut largest) = (0, 0, 0u64);
        for commit in 0..10_000 {
            let group = merge_group(&manifests);
            if !group.is_empty() {
                let live: u64 = group.iter().filter_map(|&index| live_files(&manifests[index])).sum();
                rewritten += live;
                largest = largest.max(live);
                let mut index = 0;
                manifests.retain(|_| {
                    index += 1;
                    !group.contains(&(index - 1))
                });
                manifests.push(manifest(commit, u32::try_from(live).unwrap()));
            }
            manifests.push(manifest(commit, 1));
            most = most.max(manifests.len());
        }
        let total: u64 = manifests.iter().filter_map(live_files).sum();
        assert_eq!(total, 10_000, "no entry is lost or doubled");
        assert!(most <= 55, "{most} manifests");
        assert!(rewritten <= 30_000, "{rewritten} entries rewritten");
        assert!(largest <= 2048, "{largest} entries in one merge");
    }

    #[test]
    fn the_oldest_of_one_tier_and_spec_are_merged() {
        let mut manifests: Vec<_> = (0..20).rev().map(|n| manifest(n, 1)).collect();
        manifests[19].partition_spec_id = 1;
        manifests[18].content = ManifestContentType::Deletes;
        manifests[17].added_files_count = None;
        let merged: Vec<i64> = merge_group(&manifests)
            .iter()
            .map(|&i| manifests[i].sequence_number)
            .collect();
        assert_eq!(merged, (3..19).collect::<Vec<_>>());
        assert!(merge_group(&manifests[..15]).is_empty());
    }
}
