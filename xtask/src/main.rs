//! Developer commands: `cargo xtask verify|fix|test|tidy|chaos|bench|fuzz`. Standard library only, so that it builds in a second.
#![allow(clippy::print_stdout, reason = "a command line program: its output is its purpose")]

mod fuzz;
mod programs;
mod servers;
mod stages;
mod test;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use stages::Failure;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask COMMAND

  verify                      what must hold before a commit; changes nothing: format, clippy, tidy, cargo deny and typos where installed
  fix                         mends what can be mended: cargo fmt, cargo clippy --fix
  test [--require-servers]    all tests in release with failpoints built in; tests that need a server that cannot run here are skipped
                              and named, with --require-servers that is a failure
  tidy                        file and function length, crate dependencies, words that have no place in the source
  chaos [ARGS]                real node processes killed at named and seeded moments; --full for all of it,
                              --backend sqlite|postgres|rest|rest-s3 for where the tables are
  bench [ARGS]                end to end on real Kafka, with the limit loop beside it
  fuzz [--seconds N] [TARGET]...
                              the targets of fuzz/, ten minutes each: what comes from outside must neither panic nor take memory or time
                              without bound; needs cargo-fuzz
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage) => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(reason)) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Failure> {
    let workspace = Workspace::locate()?;
    match arguments {
        ["verify"] => verify::verify(&workspace),
        ["fix"] => verify::fix(&workspace),
        ["test"] => test::test(&workspace, false),
        ["test", "--require-servers"] => test::test(&workspace, true),
        ["tidy"] => tidy::tidy(&workspace),
        ["chaos", rest @ ..] => programs::chaos(&workspace, rest),
        ["bench", rest @ ..] => programs::bench(&workspace, rest),
        ["fuzz", rest @ ..] => fuzz::fuzz(&workspace, rest),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(Failure::Usage),
    }
}
