//! The gRPC interface, judged by a client that shares nothing with the node: Python's grpcio, with messages from reflection.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tapehouse_tests::{Error, Scratch, Tools, run, unless_missing, until};

use crate::support::{PATIENCE, equal};

const VIEWER: &str = "viewer-token-0123456789";
const OPERATOR: &str = "operator-token-0123456789";
const LIST_OFFSETS: &str = "tapehouse.v1.Offsets/ListOffsets";
const GET_CLUSTER: &str = "tapehouse.v1.Cluster/GetCluster";

/// A process that serves gRPC, killed when dropped.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    /// Starts `command`, whose standard error names the address behind `mark`.
    fn start(mut command: Command, mark: &str) -> Result<Self, Error> {
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.map_err(Error::io("the node"))?;
        let stderr = child.stderr.take().ok_or_else(|| Error::unexpected("no stderr"))?;
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut seen = String::new();
        let named = lines.by_ref().find_map(|line| {
            seen.push_str(&line);
            line.split_once(mark)
                .map(|(_, rest)| rest.trim().split('"').next().unwrap_or_default().to_owned())
        });
        let address = named.ok_or_else(|| Error::unexpected(format!("the node ended: {seen}")))?;
        // A full pipe would block the node.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address })
    }

    fn demo(tools: &Tools, folder: &Path) -> Result<Self, Error> {
        let mut command = Command::new(tools.node());
        command.current_dir(folder);
        command.args([
            "demo",
            "--rate",
            "1000",
            "--dir",
            "demo",
            "--port",
            "0",
            "--grpc-port",
            "0",
        ]);
        Self::start(command, "gRPC ")
    }

    /// A node whose Kafka is away: what is asked here needs none.
    fn waiting(tools: &Tools, folder: &Path, grpc: &str) -> Result<Self, Error> {
        let place = folder.display();
        let toml = format!(
            "[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[schema_registry]\nurl = \"http://127.0.0.1:1\"\n\
             [catalog]\nuri = \"sqlite:///{place}/catalog.db\"\n[warehouse]\npath = \"{place}/warehouse\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"info\"\n\
             [grpc]\nlisten = \"127.0.0.1:0\"\n{grpc}\n"
        );
        std::fs::write(folder.join("tapehouse.toml"), toml).map_err(Error::io("tapehouse.toml"))?;
        let mut command = Command::new(tools.node());
        command.current_dir(folder).arg("run");
        Self::start(command, "\"grpc\":\"")
    }

    /// What the probe says.
    fn asked(&self, tools: &Tools, arguments: &[&str]) -> Result<Value, Error> {
        let mut probe = tools.python("oracle/grpc_probe.py");
        probe
            .arg(self.address.replace("127.0.0.1", "localhost"))
            .args(arguments);
        run(probe)?.expect(&[0])?.json()
    }

    fn code(&self, tools: &Tools, arguments: &[&str]) -> Result<(String, String), Error> {
        let answer = self.asked(tools, arguments)?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Ok((text("code"), text("tapehouse_code")))
    }

    fn interrupt(&self) -> Result<(), Error> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::unexpected("no pid"))?;
        kill_process(pid, Signal::INT).map_err(|error| Error::unexpected(format!("SIGINT: {error}")))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_tools(label: &str, test: impl FnOnce(&Tools, &Path) -> Result<(), Error>) {
    let located = Tools::locate();
    let Some(tools) = unless_missing(located.as_ref()) else {
        return;
    };
    let scratch = Scratch::new(label).unwrap_or_else(|error| panic!("{error}"));
    test(tools, scratch.path()).unwrap_or_else(|error| panic!("{error}"));
}

fn pair(code: &str, tapehouse_code: &str) -> (String, String) {
    (code.to_owned(), tapehouse_code.to_owned())
}

#[test]
fn another_client_is_answered_within_limits() {
    with_tools("grpc", |tools, folder| {
        let node = Serving::demo(tools, folder)?;
        let services = node.asked(tools, &["services"])?;
        for service in ["Cluster", "Offsets", "Tables"] {
            let name = format!("tapehouse.v1.{service}");
            let is_listed = services
                .as_array()
                .is_some_and(|all| all.contains(&name.as_str().into()));
            equal(&format!("{name} in {services}"), is_listed, true)?;
        }
        until("the node serves", PATIENCE, || {
            Ok((node.asked(tools, &["health"])? == "SERVING").then_some(()))
        })?;
        until("all tables", PATIENCE, || {
            let tables = node.asked(tools, &["call", "tapehouse.v1.Tables/ListTables"])?;
            let listed = tables["answer"]["tables"].as_array().cloned().unwrap_or_default();
            let of_demo = listed.iter().filter(|table| table["table"] != "ops.quarantine");
            Ok((of_demo.count() == TABLES.len()).then_some(()))
        })?;
        assert_pages(&node, tools)?;
        let table = node.asked(
            tools,
            &[
                "call",
                "tapehouse.v1.Tables/GetTable",
                r#"{"table":"bronze.raw_trades"}"#,
            ],
        )?;
        equal(
            "partitioning",
            &table["answer"]["partition_fields"][0]["name"],
            &"ingestion_date".into(),
        )?;
        equal("owner", &table["answer"]["state"]["owner"], &"demo".into())?;
        let stream = tools_stream(&node, tools, 2)?;
        equal("answers to a watcher", stream.lines().count(), 2)?;

        let code = |arguments: &[&str]| node.code(tools, arguments);
        let no_table = code(&["call", "tapehouse.v1.Tables/GetTable", r#"{"table":"no.such"}"#])?;
        equal("an absent table", no_table, pair("NOT_FOUND", "no_such_table"))?;
        let no_topic = code(&["call", LIST_OFFSETS, r#"{"topics":["no-such"]}"#])?;
        equal("an absent topic", no_topic, pair("NOT_FOUND", "no_such_topic"))?;
        let too_large = code(&["bytes", LIST_OFFSETS, "=70000"])?;
        equal("a large request", too_large, pair("OUT_OF_RANGE", "message_too_large"))?;
        equal(
            "no request",
            code(&["bytes", LIST_OFFSETS, "ffff"])?,
            pair("INTERNAL", "malformed_request"),
        )?;
        let unknown = code(&["bytes", "tapehouse.v1.Nothing/Nothing", "=0"])?;
        equal("an unknown method", unknown, pair("UNIMPLEMENTED", "no_such_method"))?;

        let flood = node.asked(tools, &["flood", "tapehouse.v1.Tables/ListTables", "1000"])?;
        let count = |code: &str| flood["codes"][code].as_u64().unwrap_or(0);
        let answered = count("OK") + count("RESOURCE_EXHAUSTED");
        equal(
            &format!("1000 at once: {flood}"),
            (answered, count("OK") >= 256),
            (1000, true),
        )?;
        equal("after them", node.code(tools, &["call", GET_CLUSTER])?, pair("OK", ""))
    });
}

/// The tables of a demo; `ops.quarantine` joins them with the first row that is set aside.
const TABLES: [&str; 12] = [
    "bronze.raw_marketdata",
    "bronze.raw_orderbook",
    "bronze.raw_trades",
    "gold.daily_trading_summary",
    "gold.market_overview",
    "gold.portfolio_positions",
    "gold.trader_performance",
    "ops.position_state",
    "silver.market_data",
    "silver.orderbook_snapshots",
    "silver.trader_activity",
    "silver.trades",
];

/// Pages of one table each list what one large page lists.
fn assert_pages(node: &Serving, tools: &Tools) -> Result<(), Error> {
    let (mut token, mut names) = (String::new(), Vec::new());
    for _ in 0..20 {
        let request = format!(r#"{{"page_size":1,"page_token":"{token}"}}"#);
        let page = node.asked(tools, &["call", "tapehouse.v1.Tables/ListTables", &request])?;
        let tables = page["answer"]["tables"].as_array().cloned().unwrap_or_default();
        names.extend(
            tables
                .iter()
                .filter_map(|table| table["table"].as_str().map(str::to_owned)),
        );
        token = page["answer"]["next_page_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            break;
        }
    }
    names.retain(|name| name != "ops.quarantine");
    equal("tables, page by page", names, TABLES.map(str::to_owned).to_vec())
}

fn tools_stream(node: &Serving, tools: &Tools, answers: u32) -> Result<String, Error> {
    let mut probe = tools.python("oracle/grpc_probe.py");
    let method = "tapehouse.v1.Offsets/WatchOffsets";
    probe.args([
        &node.address,
        "stream",
        method,
        &answers.to_string(),
        r#"{"interval":"0.2s"}"#,
    ]);
    Ok(run(probe)?.expect(&[0])?.stdout)
}

#[test]
fn health_says_that_the_node_stops_before_it_does() {
    with_tools("grpc-health", |tools, folder| {
        let node = Serving::demo(tools, folder)?;
        let mut watch = tools.python("oracle/grpc_probe.py");
        watch.args([&node.address, "watch-health"]).stdout(Stdio::piped());
        let mut watch = watch.spawn().map_err(Error::io("grpc_probe.py"))?;
        let stdout = watch.stdout.take().ok_or_else(|| Error::unexpected("no stdout"))?;
        let mut statuses = Vec::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line == "\"SERVING\"" {
                node.interrupt()?;
            }
            statuses.push(line);
        }
        watch.wait().map_err(Error::io("grpc_probe.py"))?;
        // The last line says how the stream ended.
        statuses.pop();
        statuses.dedup();
        equal(
            "statuses",
            statuses.ends_with(&["\"SERVING\"".to_owned(), "\"NOT_SERVING\"".to_owned()]),
            true,
        )
    });
}

#[test]
fn tokens_by_role() {
    with_tools("grpc-tokens", |tools, folder| {
        let tokens = format!("viewer_tokens = \"{VIEWER}\"\noperator_tokens = \"{OPERATOR}\"");
        let node = Serving::waiting(tools, folder, &tokens)?;
        let code = |arguments: &[&str]| node.code(tools, arguments);
        let call = ["bytes", GET_CLUSTER, "=0"];
        equal("no token", code(&call)?, pair("UNAUTHENTICATED", "unauthenticated"))?;
        let wrong = code(&[&["--token", "wrong-token-0123456789"], &call[..]].concat())?;
        equal("a wrong token", wrong, pair("UNAUTHENTICATED", "unauthenticated"))?;
        let reflection = code(&["call", GET_CLUSTER])?;
        equal("reflection without a token", reflection.0.as_str(), "UNAUTHENTICATED")?;
        for token in [VIEWER, OPERATOR] {
            equal(
                "a token",
                code(&["--token", token, "call", GET_CLUSTER])?,
                pair("OK", ""),
            )?;
        }
        let unknown = ["bytes", "tapehouse.v1.Admin/Drain", "=0"];
        let of = |token: &'static str| [&["--token", token], &unknown[..]].concat();
        equal(
            "a viewer",
            code(&of(VIEWER))?,
            pair("PERMISSION_DENIED", "permission_denied"),
        )?;
        equal(
            "an operator",
            code(&of(OPERATOR))?,
            pair("UNIMPLEMENTED", "no_such_method"),
        )?;
        equal(
            "health is open; Kafka is away",
            node.asked(tools, &["health"])?,
            "NOT_SERVING".into(),
        )
    });
}

#[test]
fn tls_and_certificates_of_clients() {
    with_tools("grpc-tls", |tools, folder| {
        let script = "set -e; new() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr -subj /CN=localhost; \
            openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $1.pem; }; \
            openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca; \
            printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext; new server; new client";
        let mut openssl = Command::new("sh");
        openssl.args(["-c", script]).current_dir(folder);
        run(openssl)?.expect(&[0])?;
        let path = |name: &str| folder.join(name).display().to_string();
        let settings = format!(
            "tls_certificate = \"{}\"\ntls_key = \"{}\"\ntls_client_ca = \"{}\"\nviewer_tokens = \"{VIEWER}\"",
            path("server.pem"),
            path("server.key"),
            path("ca.pem")
        );
        let node = Serving::waiting(tools, folder, &settings)?;
        let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
        let with_ca = ["--ca", &ca, "--token", VIEWER];
        let with_all = [&with_ca[..], &["--cert", &certificate, "--key", &key]].concat();
        let asked = |before: &[&str]| node.code(tools, &[before, &["bytes", GET_CLUSTER, "=0"]].concat());
        equal("certificate and token", asked(&with_all)?, pair("OK", ""))?;
        equal("no certificate", asked(&with_ca)?.0.as_str(), "UNAVAILABLE")?;
        equal("plain text", asked(&["--token", VIEWER])?.0.as_str(), "UNAVAILABLE")
    });
}
