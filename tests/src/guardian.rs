//! Stops servers whatever becomes of this process: a shell that waits for the end of a pipe that only this process holds.
//! A static, a failed test, Ctrl-C and SIGKILL all close the pipe.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::Error;

/// A file of this name in the servers' folder keeps it from being removed.
const KEEP: &str = "keep";
/// `$1` is a script, `$2` its action that stops all, `$3` the servers' folder.
const SCRIPT: &str = r#"trap '' INT TERM HUP; cat >/dev/null; "$1" "$2" "$3"; [ -e "$3/keep" ] || rm -rf "$3""#;

/// Handle on the shell. Dropping it stops the servers and waits until they are down.
#[derive(Debug)]
pub(crate) struct Guardian {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Watches over the servers of `folder`, which `script` stops by `action`.
    pub(crate) fn over(script: &Command, action: &str, folder: &Path) -> Result<Self, Error> {
        let mut shell = Command::new("bash")
            .args(["-c", SCRIPT, "guardian"])
            .arg(script.get_program())
            .arg(action)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C reaches this process alone; the shell then sees the pipe close.
            .process_group(0)
            .spawn()
            .map_err(Error::io("bash"))?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Keeps the servers' folder, for their logs.
    pub(crate) fn keep(folder: &Path) {
        let _ = std::fs::write(folder.join(KEEP), "");
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}
