//! CPU and memory of processes, as the kernel counts them under /proc.

use std::fs;

use crate::Outcome;

/// The kernel reports times in these ticks (USER_HZ) on every architecture that Rust supports on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Where the times stand in `/proc/PID/stat`, counted behind the command's name.
const OWN_TIMES: usize = 11;
const CHILDREN_TIMES: usize = 13;

/// User and system seconds of this process so far, all threads, exact to 10 ms.
///
/// # Errors
/// Where there is no /proc.
pub fn own_cpu_seconds() -> Outcome<f64> {
    cpu_seconds(&fs::read_to_string("/proc/self/stat")?, OWN_TIMES)
}

/// User and system seconds of all ended and awaited descendants so far, exact to 10 ms.
///
/// # Errors
/// Where there is no /proc.
pub fn children_cpu_seconds() -> Outcome<f64> {
    cpu_seconds(&fs::read_to_string("/proc/self/stat")?, CHILDREN_TIMES)
}

/// User and system seconds of a running process.
///
/// # Errors
/// When it does not run.
pub fn cpu_seconds_of(pid: u32) -> Outcome<f64> {
    cpu_seconds(&fs::read_to_string(format!("/proc/{pid}/stat"))?, OWN_TIMES)
}

/// Largest resident set so far, in MiB; `None` where the process is gone.
pub fn peak_rss_mib(pid: u32) -> Option<f64> {
    vm_hwm_mib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// The machine's load average over one minute.
///
/// # Errors
/// Where there is no /proc.
pub fn load_1min() -> Outcome<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The processor's name and how many of its cores this process may use.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{cores} cores, {model}")
}

fn cpu_seconds(stat: &str, first: usize) -> Outcome<f64> {
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no command name")?;
    let mut fields = rest.split_ascii_whitespace().skip(first);
    let mut ticks = 0.0;
    for _ in 0..2 {
        ticks += fields.next().ok_or("/proc/PID/stat is short")?.parse::<f64>()?;
    }
    Ok(ticks / TICKS_PER_SECOND)
}

fn vm_hwm_mib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 700 1 20 0 4 0 1 2 3";
        assert_eq!(cpu_seconds(stat, OWN_TIMES).unwrap(), 3.0);
        assert_eq!(cpu_seconds(stat, CHILDREN_TIMES).unwrap(), 7.01);
        assert_eq!(vm_hwm_mib("Name:\tx\nVmHWM:\t  2048 kB\n"), Some(2.0));
        assert!(cpu_seconds("42 (a) S 1", OWN_TIMES).is_err());
    }
}
