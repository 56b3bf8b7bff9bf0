//! What the process has used so far, as the kernel counts it.

use std::fs;

/// The kernel reports times in these ticks (USER_HZ) on every architecture that Rust supports on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU and memory of this process, all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, in seconds, exact to 10 ms.
    pub cpu_seconds: f64,
    /// Resident set now, in MiB.
    pub rss_mib: f64,
    /// Largest resident set so far, in MiB.
    pub peak_rss_mib: f64,
}

impl Usage {
    /// The usage until now; `None` where there is no /proc.
    pub fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        Some(Self {
            cpu_seconds: cpu_seconds(&fs::read_to_string("/proc/self/stat").ok()?)?,
            rss_mib: mib_of("VmRSS:", &status)?,
            peak_rss_mib: mib_of("VmHWM:", &status)?,
        })
    }
}

/// Fields 14 and 15 of `stat`, counted behind the command's name, which may hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn mib_of(name: &str, status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(mib_of("VmHWM:", "Name:\tx\nVmHWM:\t  2048 kB\n"), Some(2.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let usage = Usage::now().unwrap();
        assert!(usage.peak_rss_mib > 0.5, "{usage:?}");
    }
}
