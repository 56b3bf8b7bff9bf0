//! Which files of one partition become one, so that a partition has few files however many commits it has seen.
//!
//! Files are in tiers by their rows that are not deleted: small ones of up to 511, then up to 8 times as many, 64 times and so on with
//! a fan-in of 8. As soon as 8 of a tier lie there they become one, of the next tier if it has the rows. A row is thus rewritten once
//! a tier, among small files a few times more, and a partition has at most 7 files a tier beside those that are large. Rows and not
//! bytes make the tier, because small files are mostly footer.

/// A live data file, as far as planning looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Location of the file.
    pub location: String,
    /// Its age: the data sequence number.
    pub sequence_number: i64,
    /// Rows in it, deleted ones included.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Rows of it that are deleted by position.
    pub deleted_rows: u64,
}

impl Candidate {
    fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.deleted_rows)
    }

    /// Bytes that its rows will take in another file, about.
    fn live_bytes(&self) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(self.live_rows()) / u128::from(self.rows.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// When files are compacted.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionSettings {
    /// So many files of a tier become one; at least 2.
    pub fan_in: usize,
    /// Files are made no larger than this, in bytes; one of half the size is not touched any more.
    pub target_bytes: u64,
    /// Files with fewer rows than this are all of one tier: what they cost is that they are files.
    pub small_rows: u64,
    /// A file is rewritten, alone if need be, when so large a part of its rows is deleted; above 1 = never for that.
    pub max_deleted_share: f64,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            fan_in: 8,
            target_bytes: 256 << 20,
            small_rows: 512,
            max_deleted_share: 0.3,
        }
    }
}

/// So many files are taken by [`plan_rest`] into one at most.
const MAX_INPUTS: usize = 64;

impl CompactionSettings {
    fn tier(&self, file: &Candidate) -> u32 {
        let unit = self.small_rows.max(1);
        match file.live_rows() / unit {
            0 => 0,
            units => 1 + units.ilog(self.fan_in.max(2) as u64),
        }
    }

    fn is_large(&self, file: &Candidate) -> bool {
        file.bytes >= self.target_bytes / 2
    }

    fn is_worn(&self, file: &Candidate) -> bool {
        file.deleted_rows > 0 && file.deleted_rows as f64 >= file.rows as f64 * self.max_deleted_share
    }
}

/// Files that become one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Indices of the files, in ascending order of sequence numbers.
    pub inputs: Vec<usize>,
    /// Rows that the new file will have.
    pub rows: u64,
    /// Bytes that are read.
    pub bytes: u64,
}

/// The groups of `files`, which are all live files of one partition; disjoint, cheapest first. Empty where nothing is to be done.
pub fn plan(files: &[Candidate], settings: &CompactionSettings) -> Vec<Group> {
    let is_candidate = |file: &Candidate| !settings.is_large(file) || settings.is_worn(file);
    let mut tiers: Vec<(u32, usize)> = (0..files.len())
        .filter(|index| is_candidate(&files[*index]))
        .map(|index| (settings.tier(&files[index]), index))
        .collect();
    tiers.sort_by_key(|(tier, index)| (*tier, files[*index].sequence_number, *index));
    let mut groups = Vec::new();
    for tier in tiers.chunk_by(|left, right| left.0 == right.0) {
        let inputs: Vec<usize> = tier.iter().map(|(_, index)| *index).collect();
        let (full, rest) = cut(files, &inputs, settings.target_bytes, settings.fan_in.max(2));
        groups.extend(full);
        // What is mostly deleted costs every reader; it does not wait for seven others.
        let worn: Vec<usize> = rest.into_iter().filter(|at| settings.is_worn(&files[*at])).collect();
        if !worn.is_empty() {
            groups.push(worn);
        }
    }
    finished(files, groups)
}

/// As [`plan`], of a partition that gets no further files: all that are not large become as few as may be, whatever their tier.
pub fn plan_rest(files: &[Candidate], settings: &CompactionSettings) -> Vec<Group> {
    let is_candidate = |file: &Candidate| !settings.is_large(file) || settings.is_worn(file);
    let mut inputs: Vec<usize> = (0..files.len()).filter(|at| is_candidate(&files[*at])).collect();
    inputs.sort_by_key(|index| (files[*index].sequence_number, *index));
    let (mut groups, rest) = cut(files, &inputs, settings.target_bytes, MAX_INPUTS);
    if rest.len() > 1 || rest.iter().any(|at| settings.is_worn(&files[*at])) {
        groups.push(rest);
    }
    finished(files, groups)
}

/// Cuts `inputs` into groups that are full: of `most` files, or of as many as `target_bytes` take. The rest is not full.
fn cut(files: &[Candidate], inputs: &[usize], target_bytes: u64, most: usize) -> (Vec<Vec<usize>>, Vec<usize>) {
    let (mut full, mut open, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    for &index in inputs {
        let more = files[index].live_bytes();
        if open.len() > 1 && bytes.saturating_add(more) > target_bytes {
            full.push(std::mem::take(&mut open));
            bytes = 0;
        }
        open.push(index);
        bytes = bytes.saturating_add(more);
        if open.len() == most {
            full.push(std::mem::take(&mut open));
            bytes = 0;
        }
    }
    (full, open)
}

fn finished(files: &[Candidate], groups: Vec<Vec<usize>>) -> Vec<Group> {
    let describe = |inputs: Vec<usize>| Group {
        rows: inputs.iter().map(|at| files[*at].live_rows()).sum(),
        bytes: inputs.iter().map(|at| files[*at].bytes).sum(),
        inputs,
    };
    let mut groups: Vec<Group> = groups.into_iter().map(describe).collect();
    groups.sort_by_key(|group| (group.bytes, group.inputs.first().copied()));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sequence_number: i64, rows: u64) -> Candidate {
        Candidate {
            location: format!("f{sequence_number}"),
            sequence_number,
            rows,
            bytes: rows * 40 + 5_000,
            deleted_rows: 0,
        }
    }

    /// Replaces each group by one file, as often as there is any; returns the rows written.
    fn compact(files: &mut Vec<Candidate>, settings: &CompactionSettings) -> u64 {
        let mut written = 0;
        for _ in 0..64 {
            let groups = plan(files, settings);
            if groups.is_empty() {
                return written;
            }
            let mut made = Vec::new();
            let mut gone = std::collections::HashSet::new();
            for group in &groups {
                let sequence_number = group.inputs.iter().map(|at| files[*at].sequence_number).max();
                made.push(file(sequence_number.unwrap(), group.rows));
                written += group.rows;
                for at in &group.inputs {
                    assert!(gone.insert(files[*at].location.clone()), "two groups take one file");
                }
            }
            files.retain(|file| !gone.contains(&file.location));
            files.extend(made);
        }
        panic!("planning finds no end");
    }

    #[test]
    fn ten_thousand_commits_leave_few_files_and_each_row_is_written_a_few_times() {
        for rows_of in [|_| 1, |_| 2_500, |commit: i64| 1 + (commit * 7_919 % 5_000) as u64] {
            let settings = CompactionSettings::default();
            let (mut files, mut most, mut written, mut total) = (Vec::new(), 0, 0, 0);
            for commit in 0..10_000 {
                files.push(file(commit, rows_of(commit)));
                total += rows_of(commit);
                written += compact(&mut files, &settings);
                most = most.max(files.len());
            }
            assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), total);
            assert!(most <= 64, "{most} files");
            // Small files are written again with every seven that come.
            let of_small = 10_000 / 7 * settings.small_rows;
            assert!(written <= total * 7 + of_small, "{written} rows written of {total}");
            let largest = files.iter().map(|file| file.bytes).max().unwrap();
            assert!(largest <= settings.target_bytes, "{largest} bytes");
        }
    }

    #[test]
    fn files_grow_to_the_target_and_are_left_then() {
        let settings = CompactionSettings {
            target_bytes: 1_000_000,
            ..CompactionSettings::default()
        };
        let mut files = Vec::new();
        let mut written = 0;
        for commit in 0..5_000 {
            files.push(file(commit, 1_000));
            written += compact(&mut files, &settings);
        }
        let large = files.iter().filter(|file| settings.is_large(file)).count();
        assert!(large >= 200 && files.len() - large <= 30, "{large} of {}", files.len());
        assert!(files.iter().all(|file| file.bytes <= 1_000_000));
        assert!(written <= 5_000_000 * 4, "{written}");
    }

    #[test]
    fn the_oldest_of_one_tier_are_taken() {
        let settings = CompactionSettings::default();
        let mut files: Vec<Candidate> = (0..9).rev().map(|at| file(at, 100)).collect();
        files.push(file(20, 100_000));
        assert!(plan(&files[..7], &settings).is_empty(), "seven are not enough");
        let groups = plan(&files, &settings);
        assert_eq!(groups.len(), 1);
        let taken: Vec<i64> = groups[0].inputs.iter().map(|at| files[*at].sequence_number).collect();
        assert_eq!(taken, (0..8).collect::<Vec<_>>());
        assert_eq!((groups[0].rows, groups[0].bytes), (800, 8 * 9_000));
    }

    #[test]
    fn what_is_mostly_deleted_goes_even_alone_and_even_when_large() {
        let settings = CompactionSettings::default();
        let worn = |rows, deleted_rows| Candidate {
            deleted_rows,
            ..file(1, rows)
        };
        assert!(plan(&[worn(1_000, 299)], &settings).is_empty());
        assert_eq!(plan(&[worn(1_000, 300)], &settings)[0].rows, 700);
        assert_eq!(plan(&[worn(10_000_000, 4_000_000)], &settings)[0].rows, 6_000_000);
        assert!(plan(&[worn(10_000_000, 4)], &settings).is_empty());
        // Nothing is left of it.
        assert_eq!(plan(&[worn(5, 5)], &settings)[0].rows, 0);
    }

    #[test]
    fn what_is_left_of_a_past_day_becomes_one() {
        let settings = CompactionSettings::default();
        let files = [file(1, 5), file(2, 70_000), file(3, 900), file(4, 10_000_000)];
        assert!(plan(&files, &settings).is_empty());
        let groups = plan_rest(&files, &settings);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].inputs, [0, 1, 2]);
        assert!(plan_rest(&files[..1], &settings).is_empty());
        let many: Vec<Candidate> = (0..200).map(|at| file(at, 1)).collect();
        let groups = plan_rest(&many, &settings);
        assert_eq!(groups.iter().map(|group| group.inputs.len()).sum::<usize>(), 200);
        assert!(groups.iter().all(|group| group.inputs.len() <= MAX_INPUTS));
    }
}
