//! The limit: what one thread needs to bring a topic into one Parquet file, without commits, catalog or anything that makes
//! it safe. Same topic, columns, encodings, compression and queue settings as the pipeline that is measured beside it.

mod columns;
mod properties;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::{ReaderOptions, TopicReader};
use tapehouse_kafka::raw_batch::RawBatch;
use tapehouse_kafka::registry::{RegistryClient, RegistrySettings};
use tapehouse_lake::bronze::{BronzeLayout, table_schema};

use crate::{Outcome, usage};
use columns::Constants;

/// Payload and key bytes at which the pipeline seals a batch.
const BATCH_BYTES: usize = 4 << 20;
/// As the node's with its default budget for one topic.
const FETCH_BYTES: u64 = 4 << 20;
const LINGER: Duration = Duration::from_millis(50);
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);
/// With nothing from Kafka for so long, something is wrong.
const STALLED: Duration = Duration::from_secs(30);

/// How far the loop goes with each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Takes it from the queue, key, value and headers: what kcat does.
    Consume,
    /// And decodes it.
    Decode,
    /// And writes the decoded fields, without the columns that bronze adds.
    Fields,
    /// And writes all columns of bronze: the limit.
    Write,
}

/// What to read and where to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kafka's address.
    pub bootstrap: String,
    /// Schema Registry's address.
    pub registry: String,
    /// The topic; all its partitions are read from their beginning to their end.
    pub topic: String,
    /// Bound of librdkafka's prefetch queue, in KiB.
    pub queue_kib: usize,
    /// Rows of a record batch at most.
    pub batch_rows: usize,
    /// How far to go.
    pub mode: Mode,
    /// The Parquet file.
    pub output: PathBuf,
}

/// What the loop did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Records consumed.
    pub records: u64,
    /// Bytes of their keys and values.
    pub payload_bytes: u64,
    /// Rows in the closed file, by its footer.
    pub rows: u64,
    /// Size of the file.
    pub size_bytes: u64,
    /// From the start of the process's work to the closed file.
    pub seconds: f64,
    /// User and system time of the process.
    pub cpu_seconds: f64,
    /// Largest resident set.
    pub peak_rss_mib: f64,
}

/// Runs the loop on the calling thread.
///
/// # Errors
/// Anything unexpected: an undecodable record, a header, a second schema. The limit handles none of it.
pub fn run(options: &Options) -> Outcome<Report> {
    let started = Instant::now();
    let (schema_id, json) = schema_of(&options.registry, &options.topic)?;
    let mut reader = reader_of_all(options)?;
    let mut sink = Sink::new(options, schema_id, &json)?;
    let (mut records, mut payload_bytes) = (0, 0);
    loop {
        let batch = reader
            .next_batch(Instant::now() + STALLED)?
            .ok_or("Kafka went silent")?;
        records += batch.len() as u64;
        payload_bytes += batch.size_bytes() as u64;
        let at_end = batch.at_end;
        sink.take(batch)?;
        if at_end {
            break;
        }
    }
    let rows = sink.finish()?;
    Ok(Report {
        records,
        payload_bytes,
        rows,
        size_bytes: std::fs::metadata(&options.output).map_or(0, |file| file.len()),
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: usage::own_cpu_seconds()?,
        peak_rss_mib: usage::peak_rss_mib(std::process::id()).unwrap_or_default(),
    })
}

fn schema_of(registry: &str, topic: &str) -> Outcome<(u32, Arc<str>)> {
    let client = RegistryClient::new(RegistrySettings::new(registry)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let latest = runtime.block_on(client.latest(&format!("{topic}-value")))?;
    latest.ok_or_else(|| format!("the registry has no subject {topic}-value").into())
}

/// The pipeline's own reader, with its queue settings, on the whole topic.
fn reader_of_all(options: &Options) -> Outcome<TopicReader> {
    let reader_options = ReaderOptions {
        group: "tapehouse-limit".to_owned(),
        queue_bytes: options.queue_kib as u64 * 1024,
        fetch_bytes: FETCH_BYTES,
        max_records: options.batch_rows,
        max_bytes: BATCH_BYTES,
        linger: LINGER,
    };
    let settings = KafkaSettings::new(&options.bootstrap);
    let mut reader = TopicReader::open(&settings, &options.topic, reader_options)?;
    let logs = reader.log_ends(KAFKA_TIMEOUT)?;
    let next = logs.iter().map(|(&partition, log)| (partition, log.start)).collect();
    reader.assign(&next, &logs)?;
    Ok(reader)
}

/// Where records go, by mode.
struct Sink {
    mode: Mode,
    decoder: Decoder,
    constants: Constants,
    layout: BronzeLayout,
    output: PathBuf,
    writer: Option<ArrowWriter<BufWriter<File>>>,
}

impl Sink {
    fn new(options: &Options, schema_id: u32, json: &str) -> Outcome<Self> {
        let decoder = decoder(schema_id, json, options.batch_rows)?;
        let layout = BronzeLayout::new(Arc::new(table_schema(&decoder.schema())?))?;
        Ok(Self {
            mode: options.mode,
            constants: Constants::new(&options.topic, schema_id, options.batch_rows),
            decoder,
            layout,
            output: options.output.clone(),
            writer: None,
        })
    }

    fn take(&mut self, batch: RawBatch) -> Outcome<()> {
        if self.mode == Mode::Consume || batch.is_empty() {
            return Ok(());
        }
        let Some(decoded) = self.decode(&batch)? else {
            return Ok(());
        };
        match self.mode {
            Mode::Consume | Mode::Decode => Ok(()),
            Mode::Fields => self.write(&decoded),
            Mode::Write => {
                let rows = self.layout.rows(Some(&decoded), &self.constants.beside(batch)?)?;
                self.write(&rows)
            }
        }
    }

    fn decode(&mut self, batch: &RawBatch) -> Outcome<Option<RecordBatch>> {
        for index in 0..batch.len() {
            let payload = batch
                .payload(index)
                .ok_or("a tombstone: the limit takes decodable records")?;
            if self.decoder.decode(payload)? != payload.len() {
                return Err("a record with trailing bytes".into());
            }
        }
        Ok(self.decoder.flush()?)
    }

    fn write(&mut self, rows: &RecordBatch) -> Outcome<()> {
        if self.writer.is_none() {
            self.writer = Some(open_file(&self.output, rows)?);
        }
        if let Some(writer) = &mut self.writer {
            writer.write(rows)?;
        }
        Ok(())
    }

    /// Closes the file; its rows by the footer.
    fn finish(self) -> Outcome<u64> {
        let Some(writer) = self.writer else { return Ok(0) };
        Ok(u64::try_from(writer.close()?.file_metadata().num_rows())?)
    }
}

fn open_file(path: &Path, first: &RecordBatch) -> Outcome<ArrowWriter<BufWriter<File>>> {
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    Ok(ArrowWriter::try_new(
        file,
        first.schema(),
        Some(properties::of(first)?),
    )?)
}

fn decoder(schema_id: u32, json: &str, batch_rows: usize) -> Outcome<Decoder> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(schema_id), AvroSchema::new(json.to_owned()))?;
    Ok(ReaderBuilder::new()
        .with_batch_size(batch_rows)
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(schema_id))
        .build_decoder()?)
}
