//! Disks that are full or read-only, and no file descriptor left: waited for, named, healed by itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tapehouse_tests::{
    Disk, Error, Feed, Footing, Node, Servers, Site, Topic, await_that, fill_disk, free_disk, run, stack,
};

use crate::status::{demand, status};
use crate::support::{PATIENCE, await_rows, equal, forever, left_out, site, stays, with};

/// Mounts a disk of `mib`; where that may not be done, the test says so and ends.
fn disk(folder: &Path, mib: u64) -> Result<Option<Disk>, Error> {
    match Disk::mount(folder, mib << 20) {
        Ok(disk) => Ok(Some(disk)),
        Err(Error::Needs(what)) => {
            eprintln!("skipped: needs {what}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Waits for a log line with this code.
fn await_code(node: &mut Node, code: &str) -> Result<(), Error> {
    await_that(&format!("a log line with code {code}"), PATIENCE, || {
        if let Some(status) = node.poll()? {
            return Err(Error::unexpected(format!(
                "the node ended with {status}:\n{}",
                node.log()
            )));
        }
        Ok(node
            .log()
            .lines()
            .any(|line| line.contains("code=") && line.contains(code)))
    })
}

/// Data files that end as Parquet files do, and those that do not.
fn data_files(folder: &Path) -> Result<(usize, usize), Error> {
    let (mut whole, mut partial) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .map_err(Error::io(folder.display().to_string()))?
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "parquet") {
                let bytes = fs::read(&path).map_err(Error::io(path.display().to_string()))?;
                if bytes.ends_with(b"PAR1") {
                    whole += 1
                } else {
                    partial += 1
                }
            }
        }
    }
    Ok((whole, partial))
}

#[test]
fn a_full_warehouse_disk_is_waited_for_and_other_topics_go_on() {
    with(stack(), "full", |servers, folder| {
        if left_out(servers, Footing::LocalFiles) {
            return Ok(());
        }
        let topics = ["full.here", "full.elsewhere"].map(Topic::named);
        let feed = Feed::of(servers);
        feed.admin(&["create", "full.here,full.elsewhere", "2"])?;
        feed.produce("full.here,full.elsewhere", 1000, &[])?;
        let site = Site::new(folder, servers, &topics, "[commit]\nmax_age_ms = 100")?;
        site.catch_up("a", PATIENCE)?;
        // The folder of one table becomes a disk of its own.
        let (of_table, aside) = (folder.join("warehouse/bronze/full_here"), folder.join("aside"));
        fs::rename(&of_table, &aside).map_err(Error::io("the table's folder"))?;
        let Some(disk) = disk(&of_table, 8)? else { return Ok(()) };
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(aside.join(".")).arg(disk.folder());
        run(copy)?.expect(&[0])?;
        let mut node = forever(&site, "a")?;
        fill_disk(disk.folder())?;
        feed.produce("full.here,full.elsewhere", 20_000, &["--first", "1000"])?;
        await_code(&mut node, "disk_full")?;
        await_rows(&site, &topics[1], &mut node, 21_000)?;
        stays(Duration::from_secs(2), || site.progress(&topics[0].table))?;
        demand(&status(&site, "a")?, "disk_full", "")?;
        equal("partial files", data_files(disk.folder())?.1, 0)?;
        free_disk(disk.folder())?;
        await_rows(&site, &topics[0], &mut node, 21_000)?;
        drop(node);
        for topic in &topics {
            site.demand(topic, Some(21_000))?;
        }
        Ok(())
    });
}

#[test]
fn a_read_only_warehouse_is_waited_for() {
    with(stack(), "readonly", |servers, folder| {
        if left_out(servers, Footing::LocalFiles) {
            return Ok(());
        }
        let Some(disk) = disk(&folder.join("warehouse"), 64)? else {
            return Ok(());
        };
        let (site, topic) = site(servers, folder, "full.readonly", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        disk.set_read_only(true)?;
        feed.produce(&topic.topic, 1000, &["--first", "1000"])?;
        await_code(&mut node, "read_only")?;
        demand(&status(&site, "a")?, "read_only", "")?;
        disk.set_read_only(false)?;
        await_rows(&site, &topic, &mut node, 2000)?;
        drop(node);
        site.demand(&topic, Some(2000)).map(|_| ())
    });
}

#[test]
fn a_full_catalog_disk_is_waited_for() {
    with(stack(), "catalogfull", |servers, folder| {
        if left_out(servers, Footing::CatalogFile) {
            return Ok(());
        }
        let Some(disk) = disk(&folder.join("disk"), 4)? else {
            return Ok(());
        };
        let (site, topic) = site(servers, folder, "full.catalog", 2)?;
        symlink(disk.folder().join("catalog.db"), site.catalog_file()).map_err(Error::io("the catalog's link"))?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        fill_disk(disk.folder())?;
        // Pages of the log that are there already are used up first.
        let mut sent = 1000;
        let stalled = |node: &mut Node| {
            node.log()
                .lines()
                .any(|line| line.contains("code=") && line.contains("disk_full"))
        };
        for _ in 0..200 {
            if stalled(&mut node) {
                break;
            }
            feed.produce(&topic.topic, 100, &["--first", &sent.to_string()])?;
            sent += 100;
        }
        await_code(&mut node, "disk_full")?;
        free_disk(disk.folder())?;
        await_rows(&site, &topic, &mut node, sent)?;
        drop(node);
        site.demand(&topic, Some(sent)).map(|_| ())
    });
}

/// Checkpoints cannot be written: ingest goes on, and the next start is none the worse.
fn without_state(servers: &Servers, folder: &Path, name: &str, full_at_start: bool) -> Result<(), Error> {
    let (site, topic) = site(servers, folder, name, 2)?;
    let Some(disk) = disk(&site.state_dir("a"), 4)? else {
        return Ok(());
    };
    let feed = Feed::of(servers);
    feed.produce(&topic.topic, 1000, &[])?;
    if full_at_start {
        fill_disk(disk.folder())?;
    }
    let mut node = forever(&site, "a")?;
    await_rows(&site, &topic, &mut node, 1000)?;
    fill_disk(disk.folder())?;
    for turn in 1..=20_u64 {
        feed.produce(&topic.topic, 100, &["--first", &(900 + turn * 100).to_string()])?;
        await_rows(&site, &topic, &mut node, 1000 + turn * 100)?;
    }
    node.signal(rustix::process::Signal::TERM)?;
    node.wait_for_code(0, PATIENCE)?;
    free_disk(disk.folder())?;
    feed.produce(&topic.topic, 100, &["--first", "3000"])?;
    site.catch_up("a", PATIENCE)?;
    site.demand(&topic, Some(3100)).map(|_| ())
}

#[test]
fn a_state_disk_that_fills_does_not_stop_ingest() {
    with(stack(), "state-disk", |servers, folder| {
        without_state(servers, folder, "full.state", false)
    });
}

#[test]
fn a_node_starts_with_a_full_state_disk() {
    with(stack(), "statestart", |servers, folder| {
        without_state(servers, folder, "full.start", true)
    });
}

/// Limits the file descriptors of a process.
fn limit_files(pid: u32, limit: usize) -> Result<(), Error> {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={pid}"), format!("--nofile={limit}:")]);
    run(prlimit)?.expect(&[0])?;
    Ok(())
}

#[test]
fn no_file_descriptor_left_is_waited_for() {
    with(stack(), "emfile", |servers, folder| {
        let (site, topic) = site(servers, folder, "full.descriptors", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        limit_files(node.pid(), 8)?;
        feed.produce(&topic.topic, 1000, &["--first", "1000"])?;
        await_code(&mut node, "too_many_open_files")?;
        limit_files(node.pid(), 1024)?;
        await_rows(&site, &topic, &mut node, 2000)?;
        drop(node);
        site.demand(&topic, Some(2000)).map(|_| ())
    });
}
