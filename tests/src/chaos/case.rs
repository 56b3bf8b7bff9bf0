//! One case: what is done to the nodes. What must hold afterwards is always the same.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rustix::process::Signal;

use crate::chaos::ground::Ground;
use crate::{Error, Node, NodeOptions, Progress, Site, await_that};

/// No node of a case takes longer than this.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest delay between the moment that was chosen and the kill.
const JITTER_MS: u64 = 40;
/// Kills during start-up come within this time.
const START_UP_MS: u64 = 300;

/// Which topic a case reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Trades of the generator: corrections, duplicates, nulls.
    Trades,
    /// Transactions, every fourth aborted; records without value or that are no Avro.
    Transactions,
}

/// What is done to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL at the NTH time that the point is reached, then a restart.
    KillAt(&'static str),
    /// SIGKILL at one to three moments between the first and the last commit, then a restart.
    KillAtMoments,
    /// SIGKILL three times while it starts.
    KillAtStart,
    /// The catalog's answer to a swap is lost; `true`: of every swap from then on.
    LoseAnswer {
        /// Not once, but from then on.
        always: bool,
    },
    /// A node is stopped at the point, a second one takes over and finishes, the first one wakes.
    Zombie(&'static str),
    /// Killed, `state/` deleted, restarted.
    StateDeleted,
    /// Killed, every file of `state/` overwritten with random bytes, restarted.
    StateCorrupted,
    /// Two nodes on the same tables at the same time.
    TwoNodes,
}

/// A case of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Unique; together with the seed it determines everything random.
    pub name: String,
    /// What is done.
    pub act: Act,
    /// Which topic.
    pub source: Source,
    /// A defence that is taken out: then the judges must find the harm.
    pub without: Option<&'static str>,
}

/// What a case did, in words for the table.
pub(super) type Story = String;

/// A case on its way.
pub(super) struct Performance<'a> {
    case: &'a Case,
    site: &'a Site,
    rows: u64,
    rng: StdRng,
}

impl<'a> Performance<'a> {
    pub(super) fn new(case: &'a Case, site: &'a Site, ground: &Ground, seed: u64) -> Self {
        Self {
            case,
            site,
            rows: ground.rows(case.source),
            rng: StdRng::seed_from_u64(seed ^ hash(&case.name)),
        }
    }

    /// Does what the case says and lets a node catch up in the end, without any manual step.
    pub(super) fn perform(mut self) -> Result<Story, Error> {
        match self.case.act {
            Act::KillAt(point) => self.kill_at(point),
            Act::KillAtMoments => self.kill_at_moments(),
            Act::KillAtStart => self.kill_at_start(),
            Act::LoseAnswer { always } => self.lose_answer(always),
            Act::Zombie(point) => self.zombie(point),
            Act::StateDeleted => self.after_damage(|_, state| {
                fs::remove_dir_all(state).map_err(Error::io("deleting the state"))?;
                Ok("state/ deleted".to_owned())
            }),
            Act::StateCorrupted => self.after_damage(corrupt),
            Act::TwoNodes => self.two_nodes(),
        }
    }

    fn start(&self, name: &str, failpoint: Option<String>) -> Result<Node, Error> {
        let options = NodeOptions {
            failpoint,
            defence_off: self.case.without.map(str::to_owned),
            ..NodeOptions::default()
        };
        Node::start(self.site, name, &options)
    }

    fn finish(&self, name: &str) -> Result<(), Error> {
        self.start(name, None)?.wait_for_code(0, PATIENCE)
    }

    fn progress(&self) -> Progress {
        let table = self.site.topics().first().map(|topic| topic.table.as_str());
        table.and_then(|table| self.site.progress(table)).unwrap_or_default()
    }

    /// A number of commits that the run certainly reaches, and that leaves work for afterwards.
    fn nth(&mut self) -> u64 {
        self.rng.random_range(1..=6)
    }

    fn kill_at(&mut self, point: &str) -> Result<Story, Error> {
        let nth = self.nth();
        let mut node = self.start("a", Some(format!("{point}:kill:{nth}")))?;
        node.wait_for_death(PATIENCE)?;
        let at = self.progress();
        self.finish("a")?;
        Ok(format!("time {nth}, at {}", self.shown(at)))
    }

    /// Waits until `rows` are committed and a little longer, then kills.
    fn kill_after(&mut self, node: &mut Node, rows: u64) -> Result<Progress, Error> {
        await_that(&format!("{rows} rows"), PATIENCE, || {
            let ended = node.poll()?;
            let at = self.progress();
            if at.rows < rows && ended.is_some() {
                return Err(Error::unexpected(format!("a node ended at {} rows by itself", at.rows)));
            }
            Ok(at.rows >= rows)
        })?;
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..JITTER_MS)));
        node.kill()?;
        Ok(self.progress())
    }

    fn kill_at_moments(&mut self) -> Result<Story, Error> {
        let kills = self.rng.random_range(1..=3);
        let mut moments: Vec<u64> = (0..kills)
            .map(|_| self.rng.random_range(self.rows / 50..self.rows * 3 / 4))
            .collect();
        moments.sort_unstable();
        let mut story = Vec::new();
        for rows in moments {
            let started = Instant::now();
            // Where the kill before came later than this moment, the next one comes in the middle of what is left.
            let at = self.progress().rows;
            let rows = if at < rows { rows } else { at + (self.rows - at) / 3 };
            let mut node = self.start("a", None)?;
            let at = self.kill_after(&mut node, rows)?;
            if at.rows == 0 || at.rows >= self.rows {
                return Err(Error::unexpected(format!(
                    "the kill missed: {} of {} rows",
                    at.rows, self.rows
                )));
            }
            story.push(format!("{} {:.1} s", self.shown(at), started.elapsed().as_secs_f64()));
        }
        self.finish("a")?;
        Ok(format!("killed at {}", story.join("; ")))
    }

    fn kill_at_start(&mut self) -> Result<Story, Error> {
        let mut story = Vec::new();
        for _ in 0..3 {
            let delay_ms = self.rng.random_range(0..START_UP_MS);
            let mut node = self.start("a", None)?;
            std::thread::sleep(Duration::from_millis(delay_ms));
            node.kill()?;
            story.push(format!("{delay_ms} ms ({} rows)", self.progress().rows));
        }
        self.finish("a")?;
        Ok(format!("killed after {}", story.join(", ")))
    }

    fn lose_answer(&mut self, always: bool) -> Result<Story, Error> {
        let (nth, sign) = (self.nth(), if always { "+" } else { "" });
        let mut node = self.start("a", Some(format!("swap:lose:{nth}{sign}")))?;
        self.wait_for_end(&mut node)?;
        match node.fired().len() {
            0 => Err(Error::unexpected("no answer was lost: the point did not fire")),
            1 if always => Err(Error::unexpected("only one answer was lost")),
            lost => Ok(format!("{lost} answers lost, the first of swap {nth}")),
        }
    }

    fn zombie(&mut self, point: &str) -> Result<Story, Error> {
        let nth = self.nth();
        let mut zombie = self.start("a", Some(format!("{point}:stop:{nth}")))?;
        zombie.wait_for_stop(PATIENCE)?;
        let at = self.progress();
        self.finish("b")?;
        zombie.signal(Signal::CONT)?;
        self.wait_for_end(&mut zombie)?;
        Ok(format!("stopped time {nth}, at {}", self.shown(at)))
    }

    /// A success, unless a defence is out: then it is only over.
    fn wait_for_end(&self, node: &mut Node) -> Result<(), Error> {
        match self.case.without {
            None => node.wait_for_code(0, PATIENCE),
            Some(_) => node.wait(PATIENCE).map(|_| ()),
        }
    }

    fn after_damage(&mut self, damage: impl Fn(&mut StdRng, &Path) -> Result<Story, Error>) -> Result<Story, Error> {
        let mut node = self.start("a", None)?;
        let rows = self.rng.random_range(self.rows / 10..self.rows / 2);
        let at = self.kill_after(&mut node, rows)?;
        let state = self.site.state_dir("a").join("state");
        let done = damage(&mut self.rng, &state)?;
        let mut node = self.start("a", None)?;
        node.wait_for_code(0, PATIENCE)?;
        let log = node.log();
        let is_said = self.case.act != Act::StateCorrupted || log.contains("checkpoints were damaged: set aside");
        if !is_said {
            return Err(Error::unexpected(format!(
                "the node does not say that its state was damaged:\n{log}"
            )));
        }
        Ok(format!("killed at {}, {done}", self.shown(at)))
    }

    fn two_nodes(&mut self) -> Result<Story, Error> {
        let mut a = self.start("a", None)?;
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..JITTER_MS)));
        let mut b = self.start("b", None)?;
        self.wait_for_end(&mut a)?;
        self.wait_for_end(&mut b)?;
        let commits = |node: &Node| node.json().map(|json| json["commits"].to_string());
        match (commits(&a), commits(&b)) {
            (Ok(a), Ok(b)) => Ok(format!("{a} and {b} commits")),
            // Without a defence a node may end in an error, and say nothing.
            (a, b) if self.case.without.is_none() => a.and(b),
            _ => Ok("both ended".to_owned()),
        }
    }

    fn shown(&self, at: Progress) -> String {
        format!("{} of {} rows, commit {}", at.rows, self.rows, at.commits)
    }
}

/// Overwrites each file of the state with as many random bytes.
fn corrupt(rng: &mut StdRng, state: &Path) -> Result<Story, Error> {
    let mut folders = vec![state.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io(folder.display().to_string()))? {
            let path = entry.map_err(Error::io("the state folder"))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let size = fs::metadata(&path).map_err(Error::io("a state file"))?.len();
            // sled reserves half a MiB at once: overwriting all of it takes no longer than some of it.
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(1 << 20).max(64)];
            rng.fill_bytes(&mut bytes);
            fs::write(&path, bytes).map_err(Error::io("a state file"))?;
            files += 1;
        }
    }
    if files == 0 {
        return Err(Error::unexpected("there is no state to corrupt"));
    }
    Ok(format!("{files} files of state/ overwritten"))
}

/// FNV-1a: the same over builds, unlike the standard library's hashes.
fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}
