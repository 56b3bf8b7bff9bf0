//! `tapehouse config`

use serde_json::json;

use crate::cli::Global;
use crate::config::{Config, Part, schema, show};
use crate::console::{Align, OutputFormat, Style, Table, print, print_json};
use crate::exit::Failure;

const EXAMPLES: &str = "\
Examples:
  tapehouse config validate --config deploy/config/production.toml
  tapehouse config show
  KAFKA_BOOTSTRAP_SERVERS=broker:9092 tapehouse config show -o json
  tapehouse config schema > tapehouse.schema.json          for editors and CI";

const PARTS: &[Part] = &[Part::Node, Part::Kafka, Part::Registry, Part::Lake];

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check every key; nothing is connected to
    Validate,
    /// Show every key, its value and where it came from; secrets are masked
    Show,
    /// Print the JSON Schema of the file
    Schema,
}

/// Checks or shows the configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let config = || Config::load(&global.flags(), PARTS);
    match args.action {
        Action::Validate => validate(&config()?, global.output),
        Action::Show => show(&config()?, global.output),
        Action::Schema => print_json(&schema::schema()),
    }
    Ok(())
}

fn validate(config: &Config, output: OutputFormat) {
    let file = config.file.as_ref().map(|file| file.display().to_string());
    match output {
        OutputFormat::Json => print_json(&json!({ "valid": true, "file": file, "topics": config.topics.len() })),
        OutputFormat::Table => {
            let source = file.map_or("environment and flags, no file".to_owned(), |file| {
                format!("file {file}")
            });
            print(&format!("valid: {source}, {} topics", config.topics.len()));
        }
    }
}

fn show(config: &Config, output: OutputFormat) {
    if output == OutputFormat::Json {
        print_json(&show::json(config));
        return;
    }
    let left = Align::Left;
    let mut settings = Table::new(&[("KEY", left), ("VALUE", left), ("FROM", left)]);
    for line in show::lines(config) {
        let value = match line.value {
            None => "-".to_owned(),
            Some(serde_json::Value::String(text)) => text,
            Some(other) => other.to_string(),
        };
        settings.row([line.key, value, line.origin]);
    }
    let mut topics = Table::new(&[
        ("TOPIC", left),
        ("TABLE", left),
        ("GROUP", left),
        ("TIMESTAMP FIELDS", left),
    ]);
    for topic in &config.topics {
        let fields = topic.timestamp_fields.join(", ");
        topics.row([topic.topic.clone(), topic.table.clone(), topic.group.clone(), fields]);
    }
    let style = Style::of_stdout();
    print(&format!("{}\n\n{}", settings.render(style), topics.render(style)));
}
