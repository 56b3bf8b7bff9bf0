//! This machine: space, memory, file descriptors, ports.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use tapehouse_lake::storage::local_path;

use super::{Check, Finding, Found};
use crate::config::Config;
use crate::console::sized;
use crate::exit::Failure;

/// Free space below which a disk is said to be nearly full, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;
/// Free space below which nothing can be written for long, in bytes.
const NO_SPACE: u64 = 64 << 20;
/// File descriptors that a node with many partitions and brokers may need.
const MANY_FILES: u64 = 4096;
/// File descriptors that any node needs.
const FEW_FILES: u64 = 256;
/// What a process needs besides its budget: code, threads, clients, allocator.
const BESIDES_BUDGET: u64 = 128 << 20;

/// All of them.
pub(super) async fn checks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for (what, folder) in folders(config) {
        checks.push(Check::of(format!("disk {what}"), "lake", async { space(&folder) }).await);
    }
    checks.push(Check::of("memory", "internal", async { memory(config.memory_budget_bytes) }).await);
    checks.push(Check::of("file descriptors", "internal", async { Ok(file_descriptors()) }).await);
    checks.push(
        Check::of("port http", "port_taken", async {
            port("http.listen", config.http_listen)
        })
        .await,
    );
    let grpc = async { port("grpc.listen", config.grpc.listen) };
    checks.push(Check::of("port grpc", "port_taken", grpc).await);
    checks
}

/// Folders that a node writes, on this machine.
fn folders(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut folders = vec![("state", config.state_dir.clone())];
    if let Some(lake) = &config.lake {
        let is_local = lake.warehouse.starts_with(['/']) || lake.warehouse.starts_with("file:");
        if is_local {
            folders.push(("warehouse", local_path(&lake.warehouse)));
        }
        if let Some(path) = lake.catalog.uri.strip_prefix("sqlite://") {
            folders.extend(Path::new(path).parent().map(|folder| ("catalog", folder.to_owned())));
        }
    }
    folders
}

/// Free space where `folder` is, or will be.
fn space(folder: &Path) -> Found {
    let there = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(there).map_err(|error| {
        Failure::failed(format!("{}: {error}", there.display()))
            .hint("check that the folder can be reached by this user")
    })?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} free at {}", sized(free), there.display());
    let way_out = "free space; where the disk is full, commits wait and go on by themselves".to_owned();
    match free {
        0..NO_SPACE => Err(Failure::failed(detail).code("lake").hint(way_out)),
        NO_SPACE..LITTLE_SPACE => Ok(Finding::Odd(detail, way_out)),
        _ => Ok(Finding::Good(detail)),
    }
}

fn memory(budget: u64) -> Found {
    let Some(limit) = memory_limit() else {
        return Ok(Finding::Good(format!(
            "budget {}; this system does not tell its memory",
            sized(budget)
        )));
    };
    let detail = format!("budget {} of {}", sized(budget), sized(limit));
    let way_out = "lower node.memory_budget_mb, or give the process more memory".to_owned();
    match budget + BESIDES_BUDGET {
        needed if needed > limit => Err(Failure::failed(detail).hint(way_out)),
        needed if needed > limit / 2 => Ok(Finding::Odd(detail, way_out)),
        _ => Ok(Finding::Good(detail)),
    }
}

/// Memory that this process may use, in bytes: the machine's, or its control group's where that is less.
fn memory_limit() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine: u64 = line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? << 10;
    let files = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let group = files.iter().find_map(|file| std::fs::read_to_string(file).ok());
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    Some(group.map_or(machine, |group| group.min(machine)))
}

fn file_descriptors() -> Finding {
    let way_out = "raise the limit: `ulimit -n`, or LimitNOFILE= of the service".to_owned();
    match getrlimit(Resource::Nofile).current {
        None => Finding::Good("no limit".to_owned()),
        Some(limit) if limit >= MANY_FILES => Finding::Good(format!("{limit}")),
        Some(limit) if limit >= FEW_FILES => {
            Finding::Odd(format!("{limit}: enough for few partitions and brokers"), way_out)
        }
        Some(limit) => Finding::Odd(format!("{limit}: connections and files will fail"), way_out),
    }
}

/// Whether the address can be listened at. A node that runs already holds it, which is as it should be.
fn port(key: &str, address: std::net::SocketAddr) -> Found {
    match TcpListener::bind(address) {
        Ok(_) => Ok(Finding::Good(format!("{address} is free"))),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(Finding::Odd(
            format!("{address} is in use"),
            format!("fine where this node runs already; else set another address: {key}"),
        )),
        Err(error) => Err(Failure::failed(format!("{address}: {error}"))
            .code("port_taken")
            .hint(format!("set another address: {key}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_to_be_made_is_measured_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let found = space(&folder.path().join("not/there/yet"));
        let (Ok(Finding::Good(text) | Finding::Odd(text, _)) | Err(Failure { message: text, .. })) = found;
        assert!(text.contains(&folder.path().display().to_string()), "{text}");
    }

    #[test]
    fn a_budget_above_the_memory_fails() {
        let limit = memory_limit().unwrap();
        assert!(memory(limit).is_err());
        assert!(matches!(memory(1 << 20), Ok(Finding::Good(_))));
    }

    #[test]
    fn a_taken_port_is_odd() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(matches!(
            port("http.listen", taken.local_addr().unwrap()),
            Ok(Finding::Odd(..))
        ));
    }
}
