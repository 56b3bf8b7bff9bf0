//! Which cases there are.

use tapehouse_core::failpoint::{DEFENCES, POINTS};

use super::{Act, Case, Source};

/// Where a node can be stopped for ever so long and then go on.
const ZOMBIE_POINTS: [&str; 3] = ["before_staging", "after_manifest_write", "before_swap"];
/// Seeded moments in CI, and with --full.
const MOMENTS: (usize, usize) = (6, 30);

/// What of the suite is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Thirty seeded moments instead of six.
    pub full: bool,
    /// Only cases at this point.
    pub point: Option<String>,
    /// Only cases without this defence.
    pub defence: Option<String>,
    /// Only cases with this in their name.
    pub case: Option<String>,
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
                && selection
                    .case
                    .as_ref()
                    .is_none_or(|wanted| case.name.contains(wanted.as_str()))
        };
        let wanted = all(selection.full).into_iter().filter(is_wanted);
        let (part, parts) = selection.part.unwrap_or((1, 1));
        Self(wanted.skip(part.saturating_sub(1)).step_by(parts.max(1)).collect())
    }
}

fn all(full: bool) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |name: String, act: Act, source: Source, without: Option<&'static str>| {
        cases.push(Case {
            name,
            act,
            source,
            without,
        });
    };
    use Source::{Trades, Transactions};
    for point in POINTS {
        add(format!("point/{point}"), Act::KillAt(point), Trades, None);
    }
    for number in 1..=if full { MOMENTS.1 } else { MOMENTS.0 } {
        let source = if number % 3 == 0 { Transactions } else { Trades };
        add(format!("moment/{number}"), Act::KillAtMoments, source, None);
    }
    add("start-up/trades".into(), Act::KillAtStart, Trades, None);
    add("start-up/transactions".into(), Act::KillAtStart, Transactions, None);
    for (name, always) in [("once", false), ("always", true)] {
        add(format!("lost-answer/{name}"), Act::LoseAnswer { always }, Trades, None);
    }
    for point in ZOMBIE_POINTS {
        add(format!("zombie/{point}"), Act::Zombie(point), Trades, None);
    }
    add(
        "zombie/transactions".into(),
        Act::Zombie("before_swap"),
        Transactions,
        None,
    );
    add("state/deleted".into(), Act::StateDeleted, Trades, None);
    add("state/corrupted".into(), Act::StateCorrupted, Trades, None);
    add("two-nodes/trades".into(), Act::TwoNodes, Trades, None);
    add("two-nodes/transactions".into(), Act::TwoNodes, Transactions, None);
    for defence in DEFENCES {
        for (name, act) in harmful(defence) {
            add(format!("without-{defence}/{name}"), act, Trades, Some(defence));
        }
    }
    cases
}

/// What does harm as soon as the defence is gone. A defence for which nothing is known here would be no defence, and the
/// suite could not show that it works.
fn harmful(defence: &str) -> Vec<(String, Act)> {
    match defence {
        "contiguity" => {
            let zombies = ZOMBIE_POINTS.map(|point| (format!("zombie-{point}"), Act::Zombie(point)));
            zombies
                .into_iter()
                .chain([("two-nodes".to_owned(), Act::TwoNodes)])
                .collect()
        }
        // Of every swap, it would never end: each blind repetition is repeated.
        "unknown_outcome" => vec![("lost-answer".to_owned(), Act::LoseAnswer { always: false })],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_every_defence_has_its_cases() {
        let plan = Plan::of(&Selection::default());
        for point in POINTS {
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
        assert_eq!(whole.0.iter().filter(|case| case.act == Act::KillAtMoments).count(), 30);
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
        assert_eq!(at_swap, ["point/after_swap"]);
        let without = selected(Selection {
            defence: Some("unknown_outcome".into()),
            ..Selection::default()
        });
        assert!(!without.is_empty() && without.iter().all(|name| name.starts_with("without-unknown_outcome/")));
    }
}
