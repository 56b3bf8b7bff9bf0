//! Named points at which the chaos suite stops a node, loses an answer or takes a defence out.
//!
//! Without the feature `chaos` every function here is an empty inline: a release cannot be told to fail. With it, the
//! environment of the process says what happens:
//!
//! - `TAPEHOUSE_FAILPOINT=NAME:ACTION[:NTH[+]]`: at the NTH (default 1st) time that NAME is reached, with `+` from then on
//!   each time, ACTION `kill` (SIGKILL), `stop` (SIGSTOP, until somebody continues the process), `lose` (the caller must
//!   treat its answer as lost) or `delay=MILLISECONDS` (the caller must wait);
//! - `TAPEHOUSE_FAILPOINT_LOG=FILE`: a line is appended when the point fires, so that a test can tell that it did;
//! - `TAPEHOUSE_DEFENCE_OFF=NAME`: the defence is not there.

/// The points, in the order in which a commit passes them.
pub const POINTS: [&str; 10] = [
    "before_file_write",
    "after_file_write",
    "before_staging",
    "after_staging",
    "before_manifest_write",
    "after_manifest_write",
    "before_swap",
    "after_swap",
    "before_acknowledge",
    "after_checkpoint",
];

/// The points of silver's own way, in order; its commits pass those of every commit too.
pub const SILVER_POINTS: [&str; 5] = [
    "after_quarantine_commit",
    "after_merge_stage",
    "before_follow",
    "compaction_staged",
    "compaction_committed",
];
/// Points beside the way of a commit: between the deletion of data files and that of the manifests that name them; between the writing of
/// compacted files and their commit.
pub const MAINTENANCE_POINTS: [&str; 2] = ["after_data_deletion", "after_compaction_write"];

/// The defences that the chaos suite takes out in turn.
pub const DEFENCES: [&str; 7] = [
    "contiguity",
    "unknown_outcome",
    "topic_identity",
    "lost_offsets",
    "read_committed",
    "clock",
    "merge_base",
];

/// Marks a point. With `kill` or `stop` set for it, the process ends or stops here.
#[inline]
pub fn reach(point: &'static str) {
    #[cfg(feature = "chaos")]
    armed::reach(point);
    #[cfg(not(feature = "chaos"))]
    let _ = point;
}

/// Whether the answer of the operation that `point` names is to be treated as lost.
#[inline]
pub fn loses_answer(point: &'static str) -> bool {
    #[cfg(feature = "chaos")]
    return armed::loses_answer(point);
    #[cfg(not(feature = "chaos"))]
    {
        let _ = point;
        false
    }
}

/// How long the operation that `point` names is to take longer.
#[inline]
pub fn delay(point: &'static str) -> Option<std::time::Duration> {
    #[cfg(feature = "chaos")]
    return armed::delay(point);
    #[cfg(not(feature = "chaos"))]
    {
        let _ = point;
        None
    }
}

/// Whether the chaos suite has taken `defence` out.
#[inline]
pub fn defence_is_off(defence: &'static str) -> bool {
    #[cfg(feature = "chaos")]
    return armed::defence_is_off(defence);
    #[cfg(not(feature = "chaos"))]
    {
        let _ = defence;
        false
    }
}

#[cfg(feature = "chaos")]
mod armed {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    struct Armed {
        point: String,
        action: String,
        nth: u64,
        is_repeated: bool,
        reached: AtomicU64,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        ARMED
            .get_or_init(|| {
                let text = std::env::var("TAPEHOUSE_FAILPOINT").ok()?;
                let mut parts = text.split(':');
                let (point, action) = (parts.next()?.to_owned(), parts.next()?.to_owned());
                let nth = parts.next().unwrap_or("1");
                Some(Armed {
                    point,
                    action,
                    nth: nth.trim_end_matches('+').parse().unwrap_or(1),
                    is_repeated: nth.ends_with('+'),
                    reached: AtomicU64::new(0),
                })
            })
            .as_ref()
    }

    fn fires(point: &str, actions: &[&str]) -> Option<&'static Armed> {
        let armed = armed()?;
        let action = armed.action.split('=').next().unwrap_or_default();
        if armed.point != point || !actions.contains(&action) {
            return None;
        }
        let nth = armed.reached.fetch_add(1, Ordering::SeqCst) + 1;
        if nth != armed.nth && !(armed.is_repeated && nth > armed.nth) {
            return None;
        }
        if let Ok(path) = std::env::var("TAPEHOUSE_FAILPOINT_LOG")
            && let Ok(mut log) = std::fs::File::options().create(true).append(true).open(path)
        {
            // The test that reads this file fails when the line is missing, so a failed write is not silent.
            let _ = writeln!(log, "{point} {} {nth} pid={}", armed.action, std::process::id());
        }
        Some(armed)
    }

    pub(super) fn reach(point: &str) {
        if let Some(armed) = fires(point, &["kill", "stop"]) {
            if armed.action == "kill" {
                let _ = kill_process(getpid(), Signal::KILL);
            } else {
                let _ = kill_process(getpid(), Signal::STOP);
                // Any thread may take the signal, and this one runs on until all are stopped: it must not pass the point.
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    pub(super) fn loses_answer(point: &str) -> bool {
        fires(point, &["lose"]).is_some()
    }

    pub(super) fn delay(point: &str) -> Option<Duration> {
        let armed = fires(point, &["delay"])?;
        let (_, delay_ms) = armed.action.split_once('=')?;
        delay_ms.parse().ok().map(Duration::from_millis)
    }

    pub(super) fn defence_is_off(defence: &str) -> bool {
        static OFF: OnceLock<Option<String>> = OnceLock::new();
        OFF.get_or_init(|| std::env::var("TAPEHOUSE_DEFENCE_OFF").ok())
            .as_deref()
            == Some(defence)
    }
}
