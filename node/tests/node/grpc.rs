//! A node asked over gRPC by the commands, beside the same commands that read tables and Kafka themselves.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ended, command, ended_within, run, signal};

const LIMIT: Duration = Duration::from_secs(90);
const TOKEN: &str = "viewer-token-0123456789";

/// A demo and what it says about itself.
struct Demo {
    child: Child,
    kafka: String,
    grpc: String,
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let args = [
            "demo",
            "--rate",
            "500",
            "--dir",
            "here",
            "--port",
            "0",
            "--grpc-port",
            "0",
        ];
        let mut child = command(folder, &args, &[]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut after = |name: &str| loop {
            let line = lines.next().expect("the demo ended").unwrap();
            if let Some(rest) = line.trim().strip_prefix(name) {
                return rest.trim().to_owned();
            }
        };
        let (kafka, grpc) = (after("Kafka"), after("gRPC"));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, kafka, grpc }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first answer of a command that satisfies `is_right`.
#[track_caller]
fn await_json(folder: &Path, args: &[&str], env: &[(&str, &str)], is_right: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let ended = run(folder, args, env);
        if ended.code == Some(0) && is_right(&ended.json()) {
            return ended.json();
        }
        assert!(started.elapsed() < LIMIT, "{}\n{}", ended.stdout, ended.stderr);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Committed offsets by topic and partition, and everything else that must not differ.
fn committed(offsets: &Value) -> (Vec<i64>, Value) {
    let (mut numbers, mut rest) = (Vec::new(), offsets.clone());
    for topic in rest["topics"].as_array_mut().unwrap() {
        for volatile in ["lag", "last_commit"] {
            topic[volatile] = Value::Null;
        }
        for partition in topic["partitions"].as_array_mut().unwrap() {
            numbers.push(partition["committed_next_offset"].as_i64().unwrap());
            for volatile in ["committed_next_offset", "lag", "high_watermark", "low_watermark"] {
                assert!(partition[volatile].is_i64(), "{volatile} in {partition}");
                partition[volatile] = Value::Null;
            }
        }
    }
    (numbers, rest)
}

#[test]
fn a_node_tells_what_tables_and_kafka_tell() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path());
    let here = folder.path().canonicalize().unwrap().join("here");
    let catalog = format!("sqlite:///{}/catalog.db", here.display());
    let warehouse = format!("file://{}/warehouse", here.display());
    let env = [
        ("KAFKA_BOOTSTRAP_SERVERS", demo.kafka.as_str()),
        ("ICEBERG_CATALOG_URI", catalog.as_str()),
        ("ICEBERG_WAREHOUSE_PATH", warehouse.as_str()),
        ("TAPEHOUSE__NODE__CLUSTER", "demo"),
    ];
    let node = ["--endpoint", demo.grpc.as_str(), "-o", "json"];
    let asked = |name| [&[name], &node[..]].concat();
    let all_read = |offsets: &Value| {
        let topics = offsets["topics"].as_array().unwrap();
        let partitions = |topic: &Value| topic["partitions"].as_array().unwrap().clone();
        topics.len() == 3
            && topics
                .iter()
                .flat_map(partitions)
                .all(|partition| partition["committed_next_offset"].is_i64())
    };
    await_json(folder.path(), &asked("offsets"), &[], all_read);
    // Records flow: what the node says lies between what the tables said before and after.
    let local = || run(folder.path(), &["offsets", "-o", "json"], &env).json();
    let (before, rest) = committed(&local());
    // A node knows of its own commit a moment after the table: then the table was asked in that moment.
    let knows = |offsets: &Value| {
        committed(offsets)
            .0
            .iter()
            .zip(&before)
            .all(|(told, before)| told >= before)
    };
    let (told, told_rest) = committed(&await_json(folder.path(), &asked("offsets"), &[], knows));
    let (after, _) = committed(&local());
    assert_eq!(told_rest, rest);
    assert_eq!(told.len(), 12);
    for ((before, told), after) in before.iter().zip(&told).zip(&after) {
        assert!(before <= told && told <= after, "{before} {told} {after}");
    }

    assert_the_other_views_agree(folder.path(), &demo.grpc, &env);
    let one = run(folder.path(), &["offsets", "trades", "--endpoint", &demo.grpc], &[]);
    assert!(
        one.stdout.contains("raw.trades") && !one.stdout.contains("orderbook"),
        "{}",
        one.stdout
    );
    let none = run(folder.path(), &["offsets", "nonsense", "--endpoint", &demo.grpc], &[]);
    none.assert_code(1).assert_stderr("[no_such_topic]");
    signal(&demo.child, "INT");
    demo.child.wait().unwrap();
    let gone = run(folder.path(), &["cluster", "--endpoint", &demo.grpc], &[]);
    gone.assert_code(4).assert_stderr("[node_unreachable]");
}

/// Status, tables and cluster.
#[track_caller]
fn assert_the_other_views_agree(folder: &Path, grpc: &str, env: &[(&str, &str)]) {
    let asked = |name| run(folder, &[name, "--endpoint", grpc, "-o", "json"], &[]);
    let status = asked("status");
    let status = status.assert_code(0).json();
    assert_eq!(
        (&status["cluster"], &status["stale"]),
        (&"demo".into(), &false.into()),
        "{status}"
    );
    let tables = asked("tables").json();
    let names = |tables: &Value| -> Vec<String> {
        let tables = tables["tables"].as_array().unwrap().iter();
        tables
            .map(|table| format!("{} {}", table["table"], table["location"]))
            .collect()
    };
    assert_eq!(
        names(&tables),
        names(&run(folder, &["tables", "-o", "json"], env).json())
    );
    let cluster = asked("cluster");
    let cluster = cluster.assert_code(0).json();
    let node = &cluster["nodes"][0];
    assert_eq!(
        (&node["id"], &node["health"]),
        (&"demo-1".into(), &"ready".into()),
        "{cluster}"
    );
    assert_eq!(node["grpc_address"], grpc);
    assert!(
        node["topics"][0]["freshness_ms"]["p50"].as_i64().unwrap() >= 0,
        "{cluster}"
    );
}

/// A node whose Kafka and registry are away: gRPC serves all the same.
struct Waiting {
    child: Child,
    grpc: String,
}

impl Waiting {
    fn start(folder: &Path, grpc: &str) -> Self {
        let warehouse = format!("{}/warehouse", folder.display());
        let toml = format!(
            "[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[schema_registry]\nurl = \"http://127.0.0.1:1\"\n\
             [catalog]\nuri = \"sqlite:///{0}/catalog.db\"\n[warehouse]\npath = \"{warehouse}\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"info\"\n[grpc]\n{grpc}\n",
            folder.display()
        );
        std::fs::write(folder.join("tapehouse.toml"), toml).unwrap();
        let mut child = command(folder, &["run"], &[]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let grpc = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("the node ended:\n{seen}"))
                .unwrap();
            if let Some((_, rest)) = line.split_once("\"grpc\":\"") {
                break rest.split('"').next().unwrap().to_owned();
            }
            seen.push_str(&line);
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, grpc }
    }

    fn asked(&self, folder: &Path, scheme: &str, more: &[&str]) -> Ended {
        let endpoint = format!("{scheme}{}", self.grpc.replace("127.0.0.1", "localhost"));
        // In a folder of its own: the node's configuration is not the command's.
        let elsewhere = folder.join("client");
        std::fs::create_dir_all(&elsewhere).unwrap();
        run(
            &elsewhere,
            &[&["cluster", "-o", "json", "--endpoint", &endpoint], more].concat(),
            &[],
        )
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_node_without_kafka_says_what_it_waits_for_and_asks_for_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let node = Waiting::start(
        folder.path(),
        &format!("listen = \"127.0.0.1:0\"\nviewer_tokens = \"{TOKEN}\""),
    );
    let refused = node.asked(folder.path(), "", &[]);
    refused.assert_code(4).assert_stderr("[unauthenticated]");
    let wrong = node.asked(folder.path(), "", &["--token", "another-token-0123456789"]);
    wrong.assert_code(4).assert_stderr("[unauthenticated]");
    assert!(!wrong.stderr.contains("another-token"), "{}", wrong.stderr);
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let started = Instant::now();
    let cluster = loop {
        let cluster = node.asked(folder.path(), "", &["--token-file", file.to_str().unwrap()]);
        let cluster = cluster.assert_code(3).json();
        if cluster["nodes"][0]["topics"][0]["state"] == "retrying" {
            break cluster;
        }
        assert!(started.elapsed() < LIMIT, "{cluster}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(cluster["nodes"][0]["topics"][0]["code"], "kafka", "{cluster}");
    assert_eq!(cluster["nodes"][0]["health"], "not_ready");
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca 2>/dev/null && \
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost 2>/dev/null && \
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext && \
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem 2>/dev/null";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(
        made.success(),
        "openssl, which the build needs too, made no certificates"
    );
    let path = |name: &str| folder.path().join(name).display().to_string();
    let node = Waiting::start(
        folder.path(),
        &format!(
            "listen = \"127.0.0.1:0\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\nviewer_tokens = \"{TOKEN}\"",
            path("server.pem"),
            path("server.key")
        ),
    );
    let ca = path("ca.pem");
    let asked = node.asked(folder.path(), "https://", &["--ca", &ca, "--token", TOKEN]);
    assert_eq!(asked.assert_code(3).json()["nodes"][0]["id"], "node-1");
    // The system does not know the authority; and plain text is no TLS.
    let unknown = node.asked(folder.path(), "https://", &["--token", TOKEN]);
    unknown.assert_code(4).assert_stderr("[node_unreachable]");
    let plain = node.asked(folder.path(), "", &["--token", TOKEN]);
    plain.assert_code(4).assert_stderr("[node_unreachable]");
}

#[test]
fn an_open_address_is_refused_without_protection() {
    let folder = tempfile::tempdir().unwrap();
    let env = [
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1"),
        ("ICEBERG_CATALOG_URI", "sqlite:////nowhere/catalog.db"),
        ("ICEBERG_WAREHOUSE_PATH", "file:///nowhere/warehouse"),
        ("TAPEHOUSE__GRPC__LISTEN", "0.0.0.0:50051"),
    ];
    let with = |key: &'static str, value: &'static str| [&env[..], &[(key, value)]].concat();
    for command in [&["run"][..], &["config", "validate"]] {
        let ended = run(folder.path(), command, &env);
        ended
            .assert_code(78)
            .assert_stderr("neither TLS")
            .assert_stderr("--insecure");
        let ended = run(folder.path(), command, &with("TAPEHOUSE__GRPC__VIEWER_TOKENS", TOKEN));
        ended.assert_code(78).assert_stderr("there is no TLS");
        assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
    }
    run(folder.path(), &["config", "validate", "--insecure"], &env).assert_code(0);
    run(
        folder.path(),
        &["config", "validate"],
        &with("TAPEHOUSE__GRPC__INSECURE", "true"),
    )
    .assert_code(0);
    // A token does not travel in plain text to another machine.
    let args = ["cluster", "--endpoint", "http://192.0.2.1:50051", "--token", TOKEN];
    let ended = run(folder.path(), &args, &[]);
    ended.assert_code(78).assert_stderr("plain text");
    assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
    run(folder.path(), &["cluster"], &[])
        .assert_code(78)
        .assert_stderr("client.endpoint");
}

#[test]
fn tokens_and_certificates_that_cannot_be_used_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let env = [
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1"),
        ("ICEBERG_CATALOG_URI", "sqlite:////nowhere/catalog.db"),
        ("ICEBERG_WAREHOUSE_PATH", "file:///nowhere/warehouse"),
        ("TAPEHOUSE__GRPC__LISTEN", "127.0.0.1:0"),
        ("TAPEHOUSE__HTTP__LISTEN", "127.0.0.1:0"),
    ];
    let started = |more: &[(&'static str, &'static str)]| {
        let child = command(folder.path(), &["run"], &[&env[..], more].concat())
            .spawn()
            .unwrap();
        ended_within(LIMIT, child)
    };
    let short = started(&[("TAPEHOUSE__GRPC__OPERATOR_TOKENS", "hunter2")]);
    short
        .assert_code(78)
        .assert_stderr("grpc.operator_tokens")
        .assert_stderr("less than 16");
    assert!(!short.stderr.contains("hunter2"), "{}", short.stderr);
    let files = [
        ("TAPEHOUSE__GRPC__TLS_CERTIFICATE", "nowhere.pem"),
        ("TAPEHOUSE__GRPC__TLS_KEY", "nowhere.key"),
    ];
    started(&files).assert_code(78).assert_stderr("grpc.tls_certificate");
    started(&files[..1])
        .assert_code(78)
        .assert_stderr("grpc.tls_key: is missing");
}
