//! The ledger under commands at random, each seed the same ones.

use super::*;

struct Random(u64);

impl Random {
    /// A number below `end`; splitmix64.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        choices[usize::try_from(at).unwrap()]
    }

    fn command(&mut self, ledger: &Ledger) -> Command {
        let mut active: Vec<RunId> = ledger.active().map(|run| run.id).collect();
        active.push(RunId(1));
        let run = self.of(&active);
        match self.below(10) {
            0..4 => Command::Submit {
                partition: partition(
                    self.of(&["gold.a", "gold.b", "silver.c"]),
                    self.of(&[1, 2, 3, 4]),
                    self.of(&[1, 2, 3, 4, 5]),
                ),
                trigger: match self.one_in(2) {
                    true => Trigger::Inputs,
                    false => Trigger::Operator,
                },
                nonce: self.one_in(10).then(|| "again".to_owned()),
            },
            4..6 => Command::Start {
                runs: vec![run],
                node: "n1".to_owned(),
            },
            6..9 => Command::End {
                run,
                ended: self.ended(),
                jitter: 0.5,
            },
            _ if self.one_in(5) => Command::Lost { node: "n1".to_owned() },
            _ => Command::Cancel { run },
        }
    }

    fn ended(&mut self) -> Ended {
        match self.one_in(2) {
            true => Ended::Succeeded(Outcome {
                snapshot: None,
                changed: false,
                provisional: false,
            }),
            false => Ended::Failed(RunError {
                code: "c".to_owned(),
                message: "m".to_owned(),
                may_heal: !self.one_in(3),
            }),
        }
    }
}

/// No key runs or waits twice (I7), no day is computed by two runs, and the limits hold.
fn holds(ledger: &Ledger) -> bool {
    let running = ledger.active().filter(|run| run.state == RunState::Running);
    let mut days: Vec<(&str, i32)> = running.map(|run| (run.asset.as_str(), run.day)).collect();
    let count = days.len();
    let gold = days.iter().filter(|(asset, _)| asset.starts_with("gold")).count();
    days.sort_unstable();
    days.dedup();
    let mut keys: Vec<String> = ledger.active().map(Run::key).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    days.len() == count && keys.len() == all && count <= 5 && gold <= 2
}

#[test]
fn any_order_of_commands_keeps_one_run_a_key_within_limits_and_can_be_restored() {
    let (mut begun, mut refused) = (0, 0);
    for seed in 0..200 {
        let mut random = Random(seed);
        let (mut ledger, mut stored) = (Ledger::default(), BTreeMap::<RunId, Run>::new());
        for step in 0..300 {
            let command = random.command(&ledger);
            let before = ledger.clone();
            let starts = matches!(command, Command::Start { .. });
            match ledger.apply(command, step * 20 * S) {
                Ok(changed) => {
                    begun += usize::from(starts);
                    stored.extend(changed.into_iter().map(|run| (run.id, run)));
                }
                Err(_) => {
                    refused += 1;
                    assert_eq!(ledger, before, "seed {seed}: what is refused changes nothing");
                }
            }
            assert!(holds(&ledger), "seed {seed}");
        }
        let mut restored = Ledger::default();
        stored.into_values().for_each(|run| restored.restore(run));
        assert_eq!(restored.active, ledger.active, "seed {seed}");
    }
    assert!(begun > 1_000 && refused > 1_000, "{begun} begun, {refused} refused");
}
