//! Commands by which an operator changes what a table records: each shows what it would do, asks, and commits it as a snapshot of
//! its own. A running node notices by itself.

pub mod adopt;
pub mod gap;
pub mod rebuild;

use std::io::{BufRead as _, IsTerminal as _};

use serde_json::json;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::offsets::Ranges;
use tapehouse_core::state::{OWNER_PROPERTY, StreamState};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::ConsumerError;
use tapehouse_kafka::identity::Identities;
use tapehouse_lake::commit::FirstOffsets;
use tapehouse_lake::{CommitError, DecidedOn, Lake, LoadedTable, StateChange, StateChangeKind};

use crate::cli::Global;
use crate::config::{Config, Part, Topic};
use crate::connect::{consumer_failure, kafka_settings, lake_failure, lake_settings};
use crate::console::{OutputFormat, note, print, print_json};
use crate::exit::{Exit, Failure, chain};
use crate::view::{Watermarks, table_name, watermarks};

/// What the commands have in common.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// The topic, by short name, topic or table
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show what would change; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The table that an operator decides about.
struct Subject {
    lake: Lake,
    topic: Topic,
    table: LoadedTable,
    kafka: KafkaSettings,
    cluster: String,
}

impl Subject {
    async fn open(word: &str, global: &Global) -> Result<Self, Failure> {
        let config = Config::load(&global.flags(), &[Part::Kafka, Part::Lake])?;
        super::quiet_logs(&config);
        let topics = config.topics_meant(&[word.to_owned()])?;
        let [topic] = topics.as_slice() else {
            let names: Vec<&str> = topics.iter().map(|topic| topic.topic.as_str()).collect();
            return Err(Failure::failed(format!(
                "`{word}` means several topics: {}",
                names.join(", ")
            )));
        };
        let lake = Lake::open_existing(lake_settings(&config)?)
            .await
            .map_err(|error| lake_failure(&error))?;
        let name = table_name(topic)?;
        let table = lake.load(&name).await.map_err(|error| lake_failure(&error))?;
        let table = table.ok_or_else(|| {
            Failure::failed(format!("table {name} does not exist"))
                .code("no_such_table")
                .hint("there is nothing to repair: `tapehouse run` creates it")
        })?;
        let owner = table.metadata().properties().get(OWNER_PROPERTY);
        if let Some(owner) = owner.filter(|owner| **owner != config.cluster) {
            let message = format!(
                "table {name} belongs to cluster `{owner}`, this configuration is of `{}`",
                config.cluster
            );
            let hint = "use the owner's node.cluster; or `tapehouse run --take-over` makes the table this cluster's";
            return Err(Failure::failed(message).code("foreign_owner").hint(hint));
        }
        Ok(Self {
            topic: topic.clone(),
            kafka: kafka_settings(&config)?,
            cluster: config.cluster,
            lake,
            table,
        })
    }

    /// What the table records.
    fn state(&self) -> Result<StreamState, Failure> {
        self.table
            .stream_state()
            .map_err(|error| Failure::failed(error).code("state_invalid"))
    }

    /// What Kafka says the topic is.
    async fn observe(&self) -> Result<TopicIdentity, Failure> {
        let failed = |error: ConsumerError| consumer_failure(&error, &self.kafka);
        let identities = Identities::start(&self.kafka).map_err(failed)?;
        identities.observe(&self.topic.topic).await.map_err(failed)
    }

    /// What Kafka holds, by partition.
    async fn log(&self) -> Result<Watermarks, Failure> {
        let found = watermarks(self.kafka.clone(), self.topic.topic.clone()).await;
        let found = found.map_err(Failure::failed)?;
        found.map_err(|error| consumer_failure(&error, &self.kafka))
    }

    /// Shows the decision, asks, commits, and shows what was done.
    async fn decide(self, common: &Common, output: OutputFormat, decision: Decision) -> Result<Exit, Failure> {
        let before = self.table.stream_state().ok();
        if output == OutputFormat::Table {
            print(&decision.describe(&self, before.as_ref()));
        }
        let mut snapshot_id = None;
        if !common.dry_run {
            if !common.yes {
                ask(&self.topic.topic)?;
            }
            let committed = self.lake.change_state(self.table.ident(), &decision.change).await;
            snapshot_id = Some(committed.map_err(|error| commit_failure(&error))?.snapshot_id);
        }
        match output {
            OutputFormat::Json => print_json(&json!({
                "action": decision.change.kind.name(),
                "topic": self.topic.topic,
                "table": self.topic.table,
                "dry_run": common.dry_run,
                "snapshot_id": snapshot_id,
                "before": before.map(|state| json!(state)),
                "after": decision.change.next,
                "gaps": decision.change.gaps,
                "reason": decision.change.reason,
            })),
            OutputFormat::Table => print(match snapshot_id {
                Some(_) => "done; a running node goes on within 10 s",
                None => "nothing was changed (--dry-run)",
            }),
        }
        Ok(Exit::Ok)
    }
}

/// What is to be committed.
struct Decision {
    change: StateChange,
}

impl Decision {
    fn new(kind: StateChangeKind, decided_on: DecidedOn, next: StreamState, reason: String) -> Self {
        Self {
            change: StateChange {
                kind,
                decided_on,
                next,
                reason,
                gaps: Ranges::default(),
                first: FirstOffsets::default(),
            },
        }
    }

    fn describe(&self, subject: &Subject, before: Option<&StreamState>) -> String {
        let next = &self.change.next;
        let mut lines = vec![format!(
            "{} ({}): {}",
            subject.topic.topic, subject.topic.table, self.change.reason
        )];
        if let Some(before) = before.filter(|before| before.incarnation != next.incarnation) {
            lines.push(format!("  incarnation {} -> {}", before.incarnation, next.incarnation));
        }
        let offset = |state: Option<&StreamState>, partition: &i32| {
            let next = state.and_then(|state| state.next.get(partition));
            next.map_or("from its beginning".to_owned(), i64::to_string)
        };
        let known = before
            .into_iter()
            .flat_map(|state| state.next.keys())
            .chain(next.next.keys());
        let partitions: std::collections::BTreeSet<&i32> = known.collect();
        for partition in partitions {
            let (from, to) = (offset(before, partition), offset(Some(next), partition));
            if from != to || before.is_none() {
                lines.push(format!("  partition {partition}: next offset {from} -> {to}"));
            }
        }
        for (partition, gap) in &self.change.gaps.0 {
            lines.push(format!("  partition {partition}: offsets {gap} are recorded as lost"));
        }
        lines.join("\n")
    }
}

/// Has the topic's name typed.
fn ask(topic: &str) -> Result<(), Failure> {
    type_word("the topic's name", topic)
}

/// Has `word` typed.
pub fn confirm(word: &str) -> Result<(), Failure> {
    type_word("the word", word)
}

fn type_word(what: &str, word: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::failed("nothing was changed: there is no terminal to ask at")
            .hint("say --yes to change it, --dry-run to see what would change"));
    }
    note(&format!("Type {what} ({word}) to go on:"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::failed)?;
    if line.trim() == word {
        return Ok(());
    }
    Err(Failure::with(Exit::Interrupted, "nothing was changed"))
}

fn commit_failure(error: &CommitError) -> Failure {
    let failure = Failure::failed(chain(error)).code("commit");
    match error {
        CommitError::Validation { .. } => failure.hint("call it again: it looks at the table anew"),
        _ => failure.hint("nothing is half done: `tapehouse offsets` shows what the table records"),
    }
}
