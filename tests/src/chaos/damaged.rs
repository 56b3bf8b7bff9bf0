//! `state/` deleted and overwritten.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _};

use super::Act;
use super::performance::{PATIENCE, Performance, Story};
use crate::Error;

impl Performance<'_> {
    pub(super) fn state_deleted(&mut self) -> Result<Story, Error> {
        self.after_damage(|_, state| {
            fs::remove_dir_all(state).map_err(Error::io("deleting the state"))?;
            Ok("state/ deleted".to_owned())
        })
    }

    pub(super) fn state_corrupted(&mut self) -> Result<Story, Error> {
        self.after_damage(corrupt)
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
