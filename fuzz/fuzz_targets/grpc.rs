//! Requests to a node's gRPC interface: through the gate and the services to a lake and a broker, without a network in between.
//! Every request has an answer with a status, within its limits, and the answer of a page leads on.
//!
//! The first byte of an input says which method, the second who asks and how the message is framed; what follows is the message.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::fuzz_target;
use prometheus::Registry;
use tapehouse_actors::{NodeProgress, TopicProgress};
use tapehouse_core::append::AppendRequest;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::state::{STATE_PROPERTY, StreamState};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::decode::arrow_schema;
use tapehouse_kafka::embedded::EmbeddedBroker;
use tapehouse_kafka::generator::schemas;
use tapehouse_lake::bronze::{partition_spec, table_schema};
use tapehouse_lake::{CatalogSettings, Lake, LakeSettings, NewTable, S3Settings, StagedAppend};
use tapehouse_node::config::{Grpc, Secret, Topic};
use tapehouse_node::grpc::{CODE_KEY, Gate, Guard, Identity, Logs, Source, service};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, header};
use uuid::Uuid;

const VIEWER: &str = "viewer-token-0123456789";
const OPERATOR: &str = "operator-token-0123456789";
/// The first five answer with a list or a table, the others with a stream, or are none.
const PATHS: [&str; 12] = [
    "/tapehouse.v1.Cluster/GetCluster",
    "/tapehouse.v1.Offsets/ListOffsets",
    "/tapehouse.v1.Tables/ListTables",
    "/tapehouse.v1.Tables/GetTable",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/tapehouse.v1.Offsets/WatchOffsets",
    "/grpc.health.v1.Health/Watch",
    "/tapehouse.v1.Admin/Drain",
    "//",
];
/// Those that do not end by themselves.
const ENDLESS: [&str; 2] = [PATHS[8], PATHS[9]];
/// Longest wait for an answer: the interface's own deadline, and what a busy machine adds.
const PATIENCE: Duration = Duration::from_secs(8);
/// The code of a panic somewhere below. (`INTERNAL` alone is also the transport's word for a frame that is none.)
const PANIC: &str = "panic";

struct Node {
    runtime: Runtime,
    gate: Mutex<Gate>,
    // The source's files and broker, as long as it is asked.
    _ground: (tempfile::TempDir, EmbeddedBroker, watch::Sender<bool>),
}

static NODE: LazyLock<Node> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = EmbeddedBroker::start().expect("the embedded broker");
    for topic in Topic::built_in() {
        broker.create_topic(&topic.topic, 2).expect("a topic");
    }
    let kafka = KafkaSettings::new(broker.bootstrap_servers());
    let (drain, draining) = watch::channel(false);
    let gate = runtime.block_on(async {
        let lake = lake(folder.path()).await;
        let names = Topic::built_in().into_iter().map(|topic| topic.topic);
        let logs = Logs::new(kafka, names).expect("clients of the broker");
        let source = Source::new(identity(), Topic::built_in(), lake, logs, Box::new(progress), draining);
        let tokens = |text: &str| Some(Secret::new(text));
        let mut config = Grpc::local(0);
        config.viewers.values = tokens(VIEWER);
        config.operators.values = tokens(OPERATOR);
        let guard = Guard::of(&config).expect("tokens");
        let (gate, reporter) = service(&Arc::new(source), guard, &Registry::new()).expect("the services");
        // Health answers as long as its reporter lives.
        std::mem::forget(reporter);
        gate
    });
    Node {
        runtime,
        gate: Mutex::new(gate),
        _ground: (folder, broker, drain),
    }
});

fn identity() -> Identity {
    Identity {
        cluster: "cluster-1".to_owned(),
        node: "node-1".to_owned(),
        run_id: "run-1".to_owned(),
        started_ms: 0,
        grpc_address: ([127, 0, 0, 1], 0).into(),
        http_address: ([127, 0, 0, 1], 0).into(),
    }
}

fn progress() -> NodeProgress {
    let topics = Topic::built_in().into_iter().map(|topic| TopicProgress {
        topic: topic.topic,
        table: topic.table,
        ..TopicProgress::default()
    });
    NodeProgress {
        topics: topics.collect(),
        ..NodeProgress::default()
    }
}

/// A lake with the table of the first topic, and one commit in it.
async fn lake(folder: &std::path::Path) -> Lake {
    let settings = LakeSettings {
        catalog: CatalogSettings::new(format!("sqlite://{}/catalog.db", folder.display())),
        warehouse: format!("{}/warehouse", folder.display()),
        s3: S3Settings::default(),
    };
    let lake = Lake::open(settings).await.expect("a lake in a folder");
    let source = arrow_schema(1, schemas::TRADE, &[]).expect("the schema of trades");
    let schema = table_schema(&source).expect("a table for it");
    let state = StreamState::new("cluster-1", "raw.trades");
    let table = NewTable {
        partition_spec: partition_spec(&schema).expect("its partitions"),
        schema,
        properties: [(STATE_PROPERTY.to_owned(), state.to_json())].into(),
    };
    let ident = "bronze.raw_trades".parse().expect("a table's name");
    let table = lake.create_table(&ident, table).await.expect("a table");
    let append = StagedAppend {
        files: Vec::new(),
        request: AppendRequest {
            topic: state.topic,
            incarnation: 0,
            owner: state.owner,
            identity: Default::default(),
            ranges: Ranges([(0, OffsetRange::new(0, 5))].into()),
        },
        summary: Default::default(),
        commit_id: Uuid::new_v4(),
        schema_id: table.metadata().current_schema_id(),
    };
    lake.append(&ident, &append).await.expect("a commit");
    lake
}

/// Who asks, and the message as the wire has it.
fn headers_and_body(how: u8, message: &[u8]) -> (Option<HeaderValue>, Vec<u8>) {
    let (given, message) = match (how & 7, message.iter().position(|byte| *byte == b'\n')) {
        // A header of the fuzzer's.
        (7, Some(end)) => (HeaderValue::from_bytes(&message[..end]).ok(), &message[end + 1..]),
        (5, _) => (None, message),
        (6, _) => (HeaderValue::from_str(&format!("Bearer {VIEWER}")).ok(), message),
        _ => (HeaderValue::from_str(&format!("bearer {OPERATOR}")).ok(), message),
    };
    let framed = match how & 8 {
        0 => {
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
            [&[0], &length[..], message].concat()
        }
        // Its own frames: any length, any flag, several, none.
        _ => message.to_vec(),
    };
    (given, framed)
}

async fn ask(mut gate: Gate, path: &'static str, who: Option<HeaderValue>, body: Vec<u8>) -> HeaderMap {
    let mut request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::new(Full::new(body.into())))
        .expect("a request");
    if let Some(who) = who {
        request.headers_mut().insert(header::AUTHORIZATION, who);
    }
    std::future::poll_fn(|context| gate.poll_ready(context)).await.expect("never an error");
    let answer = gate.call(request).await.expect("never an error");
    let mut told = answer.headers().clone();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("an answer's body");
        if let Some(trailers) = frame.trailers_ref() {
            told.extend(trailers.clone());
        }
        if ENDLESS.contains(&path) {
            break;
        }
    }
    told
}

fuzz_target!(|data: &[u8]| {
    let [method, how, message @ ..] = data else { return };
    let path = PATHS[usize::from(*method) % PATHS.len()];
    let (who, body) = headers_and_body(*how, message);
    let node = &*NODE;
    let gate = node.gate.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let told = node.runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(gate, path, who, body)).await });
    let told = told.unwrap_or_else(|_| panic!("{path}: no answer within {PATIENCE:?}"));
    let status = told.get("grpc-status").and_then(|status| status.to_str().ok());
    let code = told.get(CODE_KEY).and_then(|code| code.to_str().ok());
    assert_ne!(code, Some(PANIC), "{path}: {told:?}");
    assert!(status.is_some() || ENDLESS.contains(&path), "{path}: {told:?}");
});
