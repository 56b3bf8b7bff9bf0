//! The demo's parts: built up, run, taken down in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tapehouse_actors::{CommitPolicy, NodeProgress, NodeSettings, TopicState};
use tapehouse_core::ledger::Limits;
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::StartOffsets;
use tapehouse_kafka::embedded::{EmbeddedBroker, EmbeddedRegistry};
use tapehouse_kafka::generator::{EventClock, GeneratorOptions, Topic as Feed};
use tapehouse_kafka::producer::generate::{GenerateError, GenerateOptions, GenerateReport, run as produce};
use tapehouse_kafka::registry::{RegistryClient, RegistrySettings};
use tapehouse_lake::compaction::CompactionSettings;
use tapehouse_lake::{CatalogSettings, Lake, LakeSettings, S3Settings};
use tokio::task::JoinHandle;

use super::Place;
use super::gold::{self, FirstRows};
use crate::check::{Deep, TableCheck, check};
use crate::config::Topic;
use crate::connect::{lake_failure, registry_failure};
use crate::dates::DateRange;
use crate::exit::Failure;
use crate::pipeline::{Pipeline, Servers, TICK, Totals, derived_settings, silver_settings, topic_settings};
use crate::view::table_name;

const CLUSTER: &str = "demo";
const PARTITIONS: i32 = 4;
/// The node has this long to catch up with the stopped generator.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Short, so that a demo of half a minute shows activity meanwhile.
const ACTIVITY_DEBOUNCE: Duration = Duration::from_secs(5);
const OPEN_DAY_DEBOUNCE: Duration = Duration::from_secs(5);
const MEMORY_BUDGET_BYTES: u64 = 256 << 20;

/// What is to be shown.
pub struct StageOptions {
    /// Records per second, all topics together.
    pub rate_per_s: f64,
    /// Seed of the generator.
    pub seed: u64,
    /// Past days to be published, and how many trades in each session; else a live feed.
    pub historical: Option<(DateRange, u32)>,
    /// Whether silver tables are kept too.
    pub has_silver: bool,
    /// Whether gold tables are kept too; they need silver.
    pub has_gold: bool,
    /// Where the node is asked.
    pub servers: Servers,
}

/// A running demo.
pub struct Stage {
    place: Place,
    topics: Vec<Topic>,
    kafka: KafkaSettings,
    broker: EmbeddedBroker,
    registry: EmbeddedRegistry,
    pipeline: Pipeline,
    generator: JoinHandle<Result<GenerateReport, GenerateError>>,
    stop: Arc<AtomicBool>,
    produced: Arc<AtomicU64>,
    started: Instant,
}

/// What is known when everything has been taken down.
#[derive(Debug)]
pub struct Ending {
    /// What was produced.
    pub produced: GenerateReport,
    /// What the node did.
    pub progress: NodeProgress,
    /// Each table against its files and the broker.
    pub checks: Vec<TableCheck>,
    /// What is wrong with gold.
    pub gold_violations: Vec<String>,
    /// The first rows of each gold table.
    pub gold: Vec<FirstRows>,
    /// From the first record to the commit of the last.
    pub elapsed: Duration,
}

impl Stage {
    /// Starts broker, registry, node and generator.
    ///
    /// # Errors
    /// What does not start.
    pub async fn build(place: Place, options: &StageOptions) -> Result<Self, Failure> {
        let broker = EmbeddedBroker::start().map_err(Failure::failed)?;
        let topics = Topic::built_in();
        for topic in &topics {
            broker.create_topic(&topic.topic, PARTITIONS).map_err(Failure::failed)?;
        }
        let registry = EmbeddedRegistry::start().await.map_err(Failure::failed)?;
        let registry_settings = RegistrySettings::new(&registry.url()).map_err(|error| registry_failure(&error))?;
        let client = RegistryClient::new(registry_settings.clone()).map_err(|error| registry_failure(&error))?;
        let kafka = KafkaSettings::new(broker.bootstrap_servers());
        let silver = match options.has_silver || options.has_gold {
            true => silver_settings(&topics, Some(&CompactionSettings::default()))?,
            false => Vec::new(),
        };
        let settings = NodeSettings {
            cluster: CLUSTER.to_owned(),
            node: "demo-1".to_owned(),
            state_dir: place.state_dir(),
            topics: topics.iter().map(topic_settings).collect::<Result<_, _>>()?,
            derived: derived_settings(
                &silver,
                ACTIVITY_DEBOUNCE,
                options.has_gold.then_some(OPEN_DAY_DEBOUNCE),
            ),
            positions: options.has_gold.then_some(OPEN_DAY_DEBOUNCE),
            silver,
            run_limits: Limits::default(),
            kafka: kafka.clone(),
            registry: registry_settings,
            lake: lake_settings(&place),
            commit: CommitPolicy::default(),
            compaction: Some(CompactionSettings::default()),
            memory_budget_bytes: MEMORY_BUDGET_BYTES,
            start: StartOffsets::Earliest,
            take_over: false,
            cut_at_end: false,
        };
        let pipeline = Pipeline::start(settings, &topics, &options.servers).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let produced = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&produced);
        let generator = tokio::spawn(produce(GenerateOptions {
            kafka: kafka.clone(),
            registry: client,
            targets: targets(),
            create_partitions: None,
            count: None,
            rate_per_s: options.rate_per_s,
            generator: feed(options),
            stop: Arc::clone(&stop),
            progress: Some(Box::new(move |progress| {
                counter.store(progress.produced, Ordering::Relaxed)
            })),
        }));
        Ok(Self {
            place,
            topics,
            kafka,
            broker,
            registry,
            pipeline,
            generator,
            stop,
            produced,
            started: Instant::now(),
        })
    }

    /// Where the tables are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Kafka's address.
    pub fn bootstrap_servers(&self) -> &str {
        self.broker.bootstrap_servers()
    }

    /// The registry's address.
    pub fn registry_url(&self) -> String {
        self.registry.url()
    }

    /// The HTTP server's address.
    pub fn http_address(&self) -> SocketAddr {
        self.pipeline.http_address()
    }

    /// The gRPC server's address.
    pub fn grpc_address(&self) -> SocketAddr {
        self.pipeline.grpc_address()
    }

    /// Records produced so far, and how far the node is.
    pub fn progress(&self) -> (u64, NodeProgress) {
        (self.produced.load(Ordering::Relaxed), self.pipeline.progress())
    }

    /// Whether the generator has ended by itself: past days do, a live feed only by an error.
    pub fn generator_has_ended(&self) -> bool {
        self.generator.is_finished()
    }

    /// Stops the generator, lets the node catch up, stops it and checks every table.
    ///
    /// # Errors
    /// A generator that failed, a node that does not catch up, tables that cannot be read.
    pub async fn end(self) -> Result<Ending, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let produced = self
            .generator
            .await
            .map_err(Failure::failed)?
            .map_err(Failure::failed)?;
        catch_up(&self.pipeline, produced.produced).await?;
        merge_the_rest(&self.pipeline).await?;
        let progress = self.pipeline.progress();
        let elapsed = self.started.elapsed();
        self.pipeline.stop().await;
        let lake = Lake::open_existing(lake_settings(&self.place))
            .await
            .map_err(|error| lake_failure(&error))?;
        let mut checks = Vec::with_capacity(self.topics.len());
        for topic in &self.topics {
            let name = table_name(topic)?;
            let Some(table) = lake.load(&name).await.map_err(|error| lake_failure(&error))? else {
                continue;
            };
            let deep = Deep {
                kafka: &self.kafka,
                topic: &topic.topic,
                is_compacted: false,
            };
            checks.push(check(&lake, &table, Some(deep), |_| ()).await?);
        }
        let gold_violations = gold::violations(&lake, CLUSTER).await?;
        let gold = gold::first_rows(&lake).await?;
        // Broker and registry live until here: the check reads Kafka again.
        drop((self.broker, self.registry));
        Ok(Ending {
            produced,
            progress,
            checks,
            gold_violations,
            gold,
            elapsed,
        })
    }
}

/// The feed: a realistic one.
fn feed(options: &StageOptions) -> GeneratorOptions {
    let live = GeneratorOptions::realistic(options.seed);
    match options.historical {
        None => live,
        Some((range, trades_per_day)) => GeneratorOptions {
            clock: EventClock::Sessions {
                first_day: range.first,
                last_day: range.last,
                trades_per_day,
            },
            ..live
        },
    }
}

/// Waits until silver has all that bronze has.
async fn merge_the_rest(pipeline: &Pipeline) -> Result<(), Failure> {
    let caught_up = tokio::time::timeout(CATCH_UP, pipeline.node().caught_up()).await;
    match caught_up {
        Ok(Ok(())) => Ok(()),
        Ok(Err(stopped)) => Err(Failure::failed(format!("a topic stopped: {stopped}")).code(stopped.code)),
        Err(_) => Err(Failure::failed(format!("not all rows were merged within {CATCH_UP:?}")).code("not_caught_up")),
    }
}

/// Waits until each record produced is a row.
async fn catch_up(pipeline: &Pipeline, produced: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let progress = pipeline.progress();
        let stopped = progress.topics.iter().find_map(|topic| match &topic.state {
            TopicState::Stopped(stopped) => Some(stopped.clone()),
            _ => None,
        });
        let rows = Totals::of(&progress).rows;
        match stopped {
            _ if rows >= produced => return Ok(()),
            // The broker keeps 5 MiB a partition: a node that falls behind further has lost records.
            Some(stopped) => {
                return Err(Failure::failed(format!("a topic stopped: {stopped}"))
                    .code(stopped.code)
                    .hint("the embedded broker keeps 5 MiB a partition: try a lower --rate"));
            }
            None if Instant::now() > deadline => {
                return Err(Failure::failed(format!(
                    "{rows} of {produced} records were committed within {CATCH_UP:?}"
                ))
                .code("not_caught_up"));
            }
            None => tokio::time::sleep(TICK / 4).await,
        }
    }
}

fn targets() -> BTreeMap<Feed, String> {
    Feed::ALL
        .into_iter()
        .map(|feed| (feed, feed.kafka_topic().to_owned()))
        .collect()
}

fn lake_settings(place: &Place) -> LakeSettings {
    LakeSettings {
        catalog: CatalogSettings::new(place.catalog_uri()),
        warehouse: place.warehouse(),
        s3: S3Settings::default(),
    }
}
