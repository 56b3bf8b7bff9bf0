//! `cargo xtask fuzz`: the targets of `fuzz/`, each for a while, from the seeds that are in the repository.

use std::fs;

use crate::stages::{Failure, Stages, execute};
use crate::workspace::Workspace;

/// Time for each target where nothing is said.
const DEFAULT_SECONDS: u64 = 600;
/// What one input may cost before it counts as a finding: memory in MiB, of which one allocation, and seconds.
/// Leaks are not looked for: `rdkafka` keeps 24 bytes of every client that it makes.
const LIMITS: [&str; 4] = [
    "-rss_limit_mb=2048",
    "-malloc_limit_mb=512",
    "-timeout=10",
    "-detect_leaks=0",
];

/// Runs the targets (all, or those named) with the seeds of `fuzz/seeds/TARGET` and what earlier runs found.
///
/// # Errors
/// When cargo-fuzz is missing, or a target found an input that panics, hangs or takes too much memory.
pub fn fuzz(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    let (seconds, wanted) = match arguments {
        ["--seconds", seconds, wanted @ ..] => (seconds.parse().map_err(|_| Failure::Usage)?, wanted),
        wanted => (DEFAULT_SECONDS, wanted),
    };
    let known = targets(workspace)?;
    if wanted
        .iter()
        .any(|name| name.starts_with('-') || !known.iter().any(|target| target == name))
    {
        println!("targets: {}", known.join(", "));
        return Err(Failure::Usage);
    }
    let mut stages = Stages::start();
    for target in known
        .iter()
        .filter(|name| wanted.is_empty() || wanted.contains(&name.as_str()))
    {
        stages.run(target, || run(workspace, target, seconds));
    }
    stages.finish()
}

fn targets(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let folder = workspace.root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|e| Failure::failed(format!("{}: {e}", folder.display())))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn run(workspace: &Workspace, target: &str, seconds: u64) -> Result<(), Failure> {
    let fuzz = workspace.root.join("fuzz");
    let corpus = fuzz.join("corpus").join(target);
    fs::create_dir_all(&corpus).map_err(|e| Failure::failed(format!("{}: {e}", corpus.display())))?;
    let mut command = workspace.cargo(&["fuzz", "run", target]);
    command
        .current_dir(&fuzz)
        // The sanitizer's flag is not stable; the compiler that is here knows it all the same.
        .env("RUSTC_BOOTSTRAP", "1")
        // At its end the sanitizer would look for leaks by itself.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        // With the sanitizer everything is another build, in fuzz/target: nothing of the main one is disturbed.
        .env_remove("CARGO_TARGET_DIR")
        .arg(&corpus);
    let seeds = fuzz.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg("--").args(LIMITS).arg(format!("-max_total_time={seconds}"));
    let dictionary = fuzz.join("seeds").join(format!("{target}.dict"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    execute(command).map_err(|failure| match failure {
        Failure::Failed(reason) => Failure::failed(format!(
            "{reason} (cargo-fuzz is needed: cargo install --locked cargo-fuzz)"
        )),
        Failure::Usage => Failure::Usage,
    })
}
