//! Usage, help, completions, and how commands end when nothing can be reached.

use std::io::Read as _;
use std::time::{Duration, Instant};

use crate::support::{command, ended_within, run, run_within, signal};

const COMMANDS: &[&str] = &[
    "demo",
    "run",
    "generate",
    "doctor",
    "offsets",
    "tables",
    "graph",
    "partitions",
    "materialize",
    "backfill",
    "runs",
    "schedules",
    "status",
    "verify",
    "explain",
    "config",
    "completions",
];

/// Nobody listens at port 1.
fn nobody_there(folder: &std::path::Path) -> Vec<(&'static str, String)> {
    vec![
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1".to_owned()),
        ("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1".to_owned()),
        (
            "ICEBERG_CATALOG_URI",
            format!("sqlite:///{}/catalog.db", folder.display()),
        ),
        (
            "ICEBERG_WAREHOUSE_PATH",
            format!("file://{}/warehouse", folder.display()),
        ),
    ]
}

#[test]
fn usage_errors_end_with_2_and_suggest() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["statu"], &[])
        .assert_code(2)
        .assert_stderr("status");
    run(folder.path(), &["run", "--until-caught-upp"], &[])
        .assert_code(2)
        .assert_stderr("--until-caught-up");
    run(folder.path(), &["run", "--layers", "platinum"], &[]).assert_code(2);
    run(folder.path(), &["demo", "--for", "soon"], &[]).assert_code(2);
    run(folder.path(), &[], &[]).assert_code(2);
}

#[test]
fn help_mentions_each_command_and_each_has_examples() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), &["--help"], &[]);
    help.assert_code(0);
    for command in COMMANDS {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command} is not in:\n{}",
            help.stdout
        );
        let own = run(folder.path(), &[command, "--help"], &[]);
        assert!(own.stdout.contains(&format!("  tapehouse {command}")), "{}", own.stdout);
    }
    assert!(!help.stdout.contains('\x1b'), "colours without a terminal");
}

#[test]
fn completions_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(folder.path(), &["completions", shell], &[]);
        script.assert_code(0);
        for command in COMMANDS {
            assert!(script.stdout.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn codes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let page = run(folder.path(), &["explain", "offset_lost"], &[]);
    assert!(page.stdout.contains("**What to do.**"), "{}", page.stdout);
    let json = run(folder.path(), &["explain", "tombstone", "-o", "json"], &[]).json();
    assert_eq!(json["code"], "tombstone");
    run(folder.path(), &["explain", "ofset_lost"], &[])
        .assert_code(2)
        .assert_stderr("did you mean `offset_lost`?");
}

#[test]
fn an_unknown_source_is_suggested() {
    let folder = tempfile::tempdir().unwrap();
    let env = nobody_there(folder.path());
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    run(folder.path(), &["run", "--source", "trade"], &env)
        .assert_code(78)
        .assert_stderr("did you mean `trades`?");
}

#[test]
fn what_cannot_be_reached_ends_with_4_within_a_bounded_time() {
    let folder = tempfile::tempdir().unwrap();
    let env = nobody_there(folder.path());
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let limit = Duration::from_secs(40);
    std::thread::scope(|scope| {
        for args in [
            &["offsets"][..],
            &["status"],
            &["run", "--until-caught-up"],
            &["run", "--dry-run"],
            &["generate", "--count", "1"],
        ] {
            let (folder, env) = (folder.path(), &env);
            scope.spawn(move || {
                let ended = run_within(limit, folder, args, env);
                ended
                    .assert_code(4)
                    .assert_stderr("error: [kafka] ")
                    .assert_stderr("tapehouse explain kafka")
                    .assert_stderr("kafka.bootstrap_servers (127.0.0.1:1)");
                assert!(ended.stdout.is_empty(), "{}", ended.stdout);
            });
        }
    });
    // No catalog where one must be.
    let elsewhere = tempfile::tempdir().unwrap();
    for args in [&["tables"][..], &["verify"]] {
        run(
            elsewhere.path(),
            args,
            &[env[2], env[3]].map(|(name, value)| {
                if name == "ICEBERG_CATALOG_URI" {
                    (name, "sqlite:////no/such/folder/catalog.db")
                } else {
                    (name, value)
                }
            }),
        )
        .assert_code(4)
        .assert_stderr("catalog");
    }
}

#[test]
fn run_waits_for_kafka_and_stops_at_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let env = nobody_there(folder.path());
    let mut env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.push(("TAPEHOUSE__HTTP__LISTEN", "127.0.0.1:0"));
    env.push(("TAPEHOUSE__GRPC__LISTEN", "127.0.0.1:0"));
    let mut child = command(folder.path(), &["run"], &env).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(child.try_wait().unwrap().is_none(), "run must keep retrying");
    let asked = Instant::now();
    signal(&child, "TERM");
    ended_within(Duration::from_secs(15), child).assert_code(0);
    assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), &["completions", "zsh"], &[]).spawn().unwrap();
    // One byte, then the pipe is closed while the rest is written.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
