//! `tapehouse completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::console::print;

const EXAMPLES: &str = "\
Examples:
  tapehouse completions bash > /etc/bash_completion.d/tapehouse
  tapehouse completions zsh > \"${fpath[1]}/_tapehouse\"
  tapehouse completions fish > ~/.config/fish/completions/tapehouse.fish";

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions.
pub fn run(args: &Args) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tapehouse", &mut script);
    print(String::from_utf8_lossy(&script).trim_end());
}
