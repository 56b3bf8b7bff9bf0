//! Which cases there are.

use tapehouse_core::failpoint::{DEFENCES, POINTS, SILVER_POINTS};

use super::Source::{self, Compacted, Own, Schemas, Silver, Trades, Transactions};
use super::{Act, Case, Departure, Meanwhile, Neighbour, When};
use crate::Backend;

/// Where a node can be stopped for ever so long and then go on.
const ZOMBIE_POINTS: [&str; 3] = ["before_staging", "after_manifest_write", "before_swap"];
/// Points that the sources with holes in their offsets pass in CI too.
const POINTS_AROUND_THE_SWAP: [&str; 2] = ["before_swap", "after_swap"];
/// Seeded moments in CI, and with --full.
const MOMENTS: (usize, usize) = (6, 30);
/// Of both layers in CI.
const SILVER_MOMENTS: usize = 2;

/// What of the suite is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Thirty seeded moments instead of six.
    pub full: bool,
    /// Only cases at this point.
    pub point: Option<String>,
    /// Only cases without this defence.
    pub defence: Option<String>,
    /// Only cases with one of these in their name; empty: all.
    pub cases: Vec<String>,
    /// Part I of N: every N-th case, from the I-th on; from 1.
    pub part: Option<(usize, usize)>,
}

/// The cases that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(pub Vec<Case>);

impl Plan {
    /// The cases of `selection`.
    pub fn of(selection: &Selection) -> Self {
        let is_wanted = |case: &Case| {
            let at_point =
                |wanted: &String| matches!(case.act, Act::KillAt(point) | Act::Zombie(point) if point == wanted);
            selection.point.as_ref().is_none_or(at_point)
                && selection
                    .defence
                    .as_deref()
                    .is_none_or(|wanted| case.without == Some(wanted))
                && (selection.cases.is_empty() || selection.cases.iter().any(|wanted| case.name.contains(wanted)))
        };
        let wanted = all(selection.full).into_iter().filter(is_wanted);
        let (part, parts) = selection.part.unwrap_or((1, 1));
        Self(wanted.skip(part.saturating_sub(1)).step_by(parts.max(1)).collect())
    }

    /// Takes out what cannot be played on `backend`; names and reasons.
    pub fn leave_out(&mut self, backend: Backend) -> Vec<String> {
        let mut left_out = Vec::new();
        self.0.retain(|case| {
            let reason = case.footing().and_then(|footing| backend.lacks(footing));
            left_out.extend(reason.iter().map(|reason| format!("{}: {reason}", case.name)));
            reason.is_none()
        });
        left_out
    }
}

/// Cases as they are listed.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, act: Act, source: Source) {
        self.0.push(Case {
            name: name.into(),
            act,
            source,
            without: None,
        });
    }

    /// SIGKILL, wherever and whenever.
    fn kills(&mut self, full: bool) {
        for point in POINTS {
            self.add(format!("point/{point}"), Act::KillAt(point), Trades);
        }
        for source in [Transactions, Compacted] {
            let label = format!("{source:?}").to_lowercase();
            for point in if full { &POINTS[..] } else { &POINTS_AROUND_THE_SWAP[..] } {
                self.add(format!("point/{label}/{point}"), Act::KillAt(point), source);
            }
        }
        for number in 1..=if full { MOMENTS.1 } else { MOMENTS.0 } {
            let source = [Compacted, Trades, Trades, Transactions, Trades, Trades][number % 6];
            self.add(format!("moment/{number}"), Act::KillAtMoments, source);
        }
        self.add("start-up/trades", Act::KillAtStart, Trades);
        self.add("start-up/transactions", Act::KillAtStart, Transactions);
    }

    /// Nodes that do not know what happened.
    fn misled(&mut self) {
        for (name, always) in [("once", false), ("always", true)] {
            self.add(format!("lost-answer/{name}"), Act::LoseAnswer { always }, Trades);
        }
        for point in ZOMBIE_POINTS {
            self.add(format!("zombie/{point}"), Act::Zombie(point), Trades);
        }
        self.add("zombie/transactions", Act::Zombie("before_swap"), Transactions);
        self.add("two-nodes/trades", Act::TwoNodes, Trades);
        self.add("two-nodes/transactions", Act::TwoNodes, Transactions);
    }

    /// What a node stands on: its state, the table that others write too, the disk, the clock, the servers.
    fn surroundings(&mut self, full: bool) {
        self.add("state/deleted", Act::StateDeleted, Trades);
        self.add("state/corrupted", Act::StateCorrupted, Trades);
        for when in foreign(full) {
            let name = match when {
                When::AfterKillAt(point) => format!("foreign/killed-{point}"),
                When::AfterKill => "foreign/killed".to_owned(),
                When::WhileStoppedAt(point) => format!("foreign/stopped-{point}"),
            };
            self.add(name, Act::Foreign(when), Trades);
        }
        self.add("disk-full/waits", Act::DiskFull { is_killed: false }, Trades);
        self.add("disk-full/killed", Act::DiskFull { is_killed: true }, Trades);
        self.add("compaction/meanwhile", Act::Compaction, Own);
        for (name, meanwhile) in [("running", Meanwhile::Running), ("killed", Meanwhile::Killed)] {
            self.add(format!("gap/{name}"), Act::Gap(meanwhile), Own);
            self.add(format!("recreated/{name}"), Act::Recreated(meanwhile), Own);
            self.add(format!("clock/{name}"), Act::Clock(meanwhile), Trades);
        }
        for (name, who, source) in [
            ("broker", Neighbour::Kafka, Transactions),
            ("registry", Neighbour::Registry, Schemas),
            ("catalog", Neighbour::Catalog, Trades),
            ("storage", Neighbour::Storage, Trades),
        ] {
            for (manner, how) in [
                ("stopped", Departure::Stopped),
                ("killed", Departure::KilledWithTheNode),
            ] {
                self.add(format!("away/{name}-{manner}"), Act::Away { who, how }, source);
            }
        }
    }

    /// Both layers, on the stream that silver is judged with.
    fn silver(&mut self, full: bool) {
        let of_commits = if full { &POINTS[..] } else { &POINTS_AROUND_THE_SWAP[..] };
        for point in SILVER_POINTS.iter().chain(of_commits) {
            self.add(format!("silver/point/{point}"), Act::KillAt(point), Silver);
        }
        for number in 1..=if full { MOMENTS.1 } else { SILVER_MOMENTS } {
            self.add(format!("silver/moment/{number}"), Act::KillAtMoments, Silver);
        }
        for (name, always) in [("once", false), ("always", true)] {
            self.add(format!("silver/lost-answer/{name}"), Act::LoseAnswer { always }, Silver);
        }
        self.add("silver/zombie", Act::Zombie("after_merge_stage"), Silver);
        self.add("silver/two-nodes", Act::TwoNodes, Silver);
        self.add("silver/state/corrupted", Act::StateCorrupted, Silver);
        if full {
            self.add("silver/zombie/before_swap", Act::Zombie("before_swap"), Silver);
            self.add("silver/state/deleted", Act::StateDeleted, Silver);
            self.add("silver/start-up", Act::KillAtStart, Silver);
        }
    }

    fn without_defences(&mut self) {
        for defence in DEFENCES {
            for (name, act, source) in harmful(defence) {
                self.0.push(Case {
                    name: format!("without-{defence}/{name}"),
                    act,
                    source,
                    without: Some(defence),
                });
            }
        }
    }
}

fn all(full: bool) -> Vec<Case> {
    let mut cases = Cases::default();
    cases.kills(full);
    cases.misled();
    cases.surroundings(full);
    cases.silver(full);
    cases.without_defences();
    cases.0
}

/// When another engine commits; with --full around every point of a commit.
fn foreign(full: bool) -> Vec<When> {
    let mut whens = vec![
        When::AfterKill,
        When::AfterKillAt("after_swap"),
        When::WhileStoppedAt("before_swap"),
    ];
    if full {
        whens.extend(
            POINTS
                .into_iter()
                .filter(|point| *point != "after_swap")
                .map(When::AfterKillAt),
        );
        whens.extend(["before_staging", "after_manifest_write"].map(When::WhileStoppedAt));
    }
    whens
}

/// What does harm as soon as the defence is gone. A defence for which nothing is known here would be no defence, and the
/// suite could not show that it works.
fn harmful(defence: &str) -> Vec<(String, Act, Source)> {
    let one = |name: &str, act, source| vec![(name.to_owned(), act, source)];
    match defence {
        "contiguity" => {
            let zombies = ZOMBIE_POINTS.map(|point| (format!("zombie-{point}"), Act::Zombie(point), Trades));
            zombies
                .into_iter()
                .chain(one("two-nodes", Act::TwoNodes, Trades))
                .collect()
        }
        // Of every swap, it would never end: each blind repetition is repeated.
        "unknown_outcome" => one("lost-answer", Act::LoseAnswer { always: false }, Trades),
        "topic_identity" => one("recreated", Act::Recreated(Meanwhile::Killed), Own),
        "lost_offsets" => one("gap", Act::Gap(Meanwhile::Killed), Own),
        "read_committed" => one("aborted", Act::KillAtMoments, Transactions),
        "merge_base" => one("zombie", Act::Zombie("after_merge_stage"), Silver),
        "clock" => one("ahead", Act::Clock(Meanwhile::Running), Trades),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_every_defence_has_its_cases() {
        let plan = Plan::of(&Selection::default());
        for point in POINTS.into_iter().chain(SILVER_POINTS) {
            assert!(plan.0.iter().any(|case| case.act == Act::KillAt(point)), "{point}");
        }
        for defence in DEFENCES {
            assert!(plan.0.iter().any(|case| case.without == Some(defence)), "{defence}");
        }
        let mut names: Vec<_> = plan.0.iter().map(|case| &case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), plan.0.len(), "a name determines its case");
    }

    #[test]
    fn only_what_a_backend_cannot_bear_is_left_out() {
        for (backend, names) in [
            (Backend::Sqlite, &["away/storage-stopped", "away/storage-killed"][..]),
            (Backend::Postgres, &["away/storage-stopped", "away/storage-killed"]),
            (
                Backend::RestS3,
                &["disk-full/waits", "disk-full/killed", "without-clock/ahead"],
            ),
        ] {
            let mut plan = Plan::of(&Selection::default());
            let all = plan.0.len();
            let left_out = plan.leave_out(backend);
            assert_eq!(left_out.len(), names.len(), "{left_out:?}");
            assert_eq!(plan.0.len() + names.len(), all);
            assert!(left_out.iter().zip(names).all(|(said, name)| said.starts_with(name)));
        }
    }

    #[test]
    fn the_parts_are_the_whole() {
        let whole = Plan::of(&Selection {
            full: true,
            ..Selection::default()
        });
        let mut parts: Vec<Case> = (1..=4)
            .flat_map(|part| {
                Plan::of(&Selection {
                    full: true,
                    part: Some((part, 4)),
                    ..Selection::default()
                })
                .0
            })
            .collect();
        assert_eq!(parts.len(), whole.0.len());
        parts.retain(|case| !whole.0.contains(case));
        assert_eq!(parts, []);
        let moments = |case: &&Case| case.act == Act::KillAtMoments && case.source != Silver && case.without.is_none();
        assert_eq!(whole.0.iter().filter(moments).count(), 30);
    }

    #[test]
    fn selections_narrow() {
        let selected = |selection| {
            Plan::of(&selection)
                .0
                .into_iter()
                .map(|case| case.name)
                .collect::<Vec<_>>()
        };
        let at_swap = selected(Selection {
            point: Some("after_swap".into()),
            ..Selection::default()
        });
        assert_eq!(
            at_swap,
            [
                "point/after_swap",
                "point/transactions/after_swap",
                "point/compacted/after_swap",
                "silver/point/after_swap"
            ]
        );
        let without = selected(Selection {
            defence: Some("unknown_outcome".into()),
            ..Selection::default()
        });
        assert!(!without.is_empty() && without.iter().all(|name| name.starts_with("without-unknown_outcome/")));
    }
}
