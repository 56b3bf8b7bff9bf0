//! Nodes that do not know what happened: lost answers, zombies, a second node.

use std::time::Duration;

use rand::Rng as _;
use rustix::process::Signal;

use super::performance::{JITTER_MS, PATIENCE, Performance, Story};
use crate::{Error, Node};

impl Performance<'_> {
    pub(super) fn lose_answer(&mut self, always: bool) -> Result<Story, Error> {
        let (nth, sign) = (self.nth(), if always { "+" } else { "" });
        let mut node = self.start("a", Some(format!("swap:lose:{nth}{sign}")))?;
        self.wait_for_end(&mut node)?;
        match node.fired().len() {
            0 => Err(Error::unexpected("no answer was lost: the point did not fire")),
            1 if always => Err(Error::unexpected("only one answer was lost")),
            lost => Ok(format!("{lost} answers lost, the first of swap {nth}")),
        }
    }

    pub(super) fn zombie(&mut self, point: &str) -> Result<Story, Error> {
        let nth = self.nth();
        let mut zombie = self.start("a", Some(format!("{point}:stop:{nth}")))?;
        zombie.wait_for_stop(PATIENCE)?;
        let at = self.progress();
        self.finish("b")?;
        zombie.signal(Signal::CONT)?;
        self.wait_for_end(&mut zombie)?;
        Ok(format!("stopped time {nth}, at {}", self.shown(at)))
    }

    pub(super) fn two_nodes(&mut self) -> Result<Story, Error> {
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
}
