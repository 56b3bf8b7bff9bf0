//! A broker that asks for credentials: each way to be let in, each way to be kept out, and that no secret is ever said.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tapehouse_tests::{
    Error, Node, NodeOptions, Servers, Service, Site, Topic, await_that, run, stack, unless_missing,
};

use crate::support::{PATIENCE, await_rows, equal, with};

/// As kafka-secure.sh sets them.
const READER: &str = "reader-secret-7c1f";
const KEY_PASSWORD: &str = "client-key-secret";
const RECORDS: u64 = 300;

static SECURED: OnceLock<Result<Service, Error>> = OnceLock::new();

/// The broker, one for all tests.
struct Secured(&'static Service);

impl Secured {
    fn get() -> Option<Self> {
        let started = SECURED.get_or_init(|| Service::start("kafka-secure.sh", "SECURE_PLAINTEXT", &[]));
        unless_missing(started.as_ref()).map(Self)
    }

    /// Address of a listener, or the folder of the certificates.
    fn value(&self, key: &str) -> Result<String, Error> {
        let env = std::fs::read_to_string(self.0.folder().join("env")).map_err(Error::io("the servers' env"))?;
        let key = format!("SECURE_{key}=");
        let found = env.lines().find_map(|line| line.strip_prefix(&key));
        found
            .map(str::to_owned)
            .ok_or_else(|| Error::unexpected(format!("no {key} in {env}")))
    }

    /// A topic with records, and a site whose configuration for Kafka is `kafka`, lines of TOML.
    fn site(&self, servers: &Servers, folder: &Path, topic: &str, kafka: &str) -> Result<(Site, Topic), Error> {
        let topic = Topic::named(topic);
        let certs = self.value("CERTS")?;
        let settings = format!(
            "[commit]\nmax_age_ms = 100\n[kafka]\nssl_ca_location = \"{certs}/ca.pem\"\n{}",
            kafka.replace("CERTS", &certs)
        );
        let site = Site::new(folder, servers, std::slice::from_ref(&topic), &settings)?;
        Ok((site.with_broker(self.0.address()), topic))
    }

    fn admin(&self, site: &Site, arguments: &[&str]) -> Result<(), Error> {
        let mut admin = site.tools().python("feeds/admin.py");
        admin.arg(self.0.address()).args(arguments);
        run(admin)?.expect(&[0]).map(|_| ())
    }

    fn produce(&self, servers: &Servers, site: &Site, topic: &Topic) -> Result<(), Error> {
        self.admin(site, &["create", &topic.topic, "2"])?;
        let mut produce = site.tools().python("feeds/produce.py");
        produce.args(["--bootstrap", self.0.address(), "--registry", servers.registry()]);
        produce.args(["--topic", &topic.topic, "--count", &RECORDS.to_string()]);
        run(produce)?.expect(&[0]).map(|_| ())
    }

    fn produce_more(&self, servers: &Servers, topic: &Topic) -> Result<(), Error> {
        let mut produce = servers.tools().python("feeds/produce.py");
        produce.args(["--bootstrap", self.0.address(), "--registry", servers.registry()]);
        produce.args([
            "--topic",
            &topic.topic,
            "--count",
            &RECORDS.to_string(),
            "--first",
            &RECORDS.to_string(),
        ]);
        run(produce)?.expect(&[0]).map(|_| ())
    }

    /// Arguments that send a command to `listener`: the address comes by flag, all else stands in the file.
    fn at(&self, listener: &str) -> Result<[String; 2], Error> {
        let address = format!("kafka.bootstrap_servers={}", self.value(listener)?);
        Ok(["--set".to_owned(), address])
    }
}

fn with_secured(label: &str, test: impl FnOnce(&Secured, &Servers, &Path) -> Result<(), Error>) {
    let Some(secured) = Secured::get() else { return };
    with(stack(), label, |servers, folder| test(&secured, servers, folder));
}

fn sasl(protocol: &str, mechanism: &str, user: &str, password: &str) -> String {
    format!(
        "security_protocol = \"{protocol}\"\nsasl_mechanism = \"{mechanism}\"\nsasl_username = \"{user}\"\nsasl_password = \"{password}\"\n"
    )
}

const CERTIFICATE: &str = "security_protocol = \"SSL\"\nssl_certificate_location = \"CERTS/client.pem\"\nssl_key_location = \"CERTS/client.key\"\nssl_key_password = \"client-key-secret\"\n";
const TLS: &str = "security_protocol = \"SSL\"\n";

#[test]
fn every_way_to_be_let_in_reads_everything() {
    with_secured("let-in", |secured, servers, folder| {
        let (site, topic) = secured.site(servers, &folder.join("first"), "secure.read", "")?;
        secured.produce(servers, &site, &topic)?;
        let mut ways = vec![("TLS", TLS.to_owned()), ("MTLS", CERTIFICATE.to_owned())];
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            ways.push(("SASL", sasl("SASL_PLAINTEXT", mechanism, "reader", READER)));
            ways.push(("SASL_TLS", sasl("SASL_SSL", mechanism, "reader", READER)));
        }
        for (way, (listener, kafka)) in ways.iter().enumerate() {
            let (site, topic) = secured.site(servers, &folder.join(way.to_string()), "secure.read", kafka)?;
            let at = secured.at(listener)?;
            let options = NodeOptions {
                arguments: at.to_vec(),
                ..NodeOptions::default()
            };
            Node::start(&site, "a", &options)?.wait_for_code(0, PATIENCE)?;
            site.demand(&topic, Some(RECORDS))?;
            for command in [&["offsets"][..], &["status"], &["run", "--dry-run"]] {
                let arguments: Vec<&str> = command.iter().copied().chain(at.iter().map(String::as_str)).collect();
                site.command(&arguments)?.expect(&[0])?;
            }
        }
        Ok(())
    });
}

#[test]
fn the_generator_is_let_in_too() {
    with_secured("generate", |secured, servers, folder| {
        let kafka = sasl("SASL_SSL", "SCRAM-SHA-512", "reader", READER);
        let topic = Topic {
            topic: "secure.trades".to_owned(),
            table: "bronze.raw_trades".to_owned(),
        };
        let (site, _) = secured.site(servers, folder, &topic.topic, &kafka)?;
        let at = secured.at("SASL_TLS")?;
        let generate = [
            "generate", "--topic", "trades", "--count", "500", "-o", "json", &at[0], &at[1],
        ];
        let report: Value = site.command(&generate)?.expect(&[0])?.json()?;
        equal("records", report["topics"]["trades"]["produced"].as_u64(), Some(500))
    });
}

/// What is wrong, where, with which settings, and what must be said.
const REFUSALS: [(&str, &str, &str, &str, &str); 10] = [
    ("no-login", "SASL", "", "kafka", "kafka.security_protocol"),
    (
        "password",
        "SASL",
        "PLAIN SASL_PLAINTEXT",
        "kafka_authentication",
        "Invalid username or password",
    ),
    (
        "scram",
        "SASL_TLS",
        "SCRAM-SHA-256 SASL_SSL",
        "kafka_authentication",
        "invalid credentials",
    ),
    (
        "stranger",
        "TLS",
        "security_protocol = \"SSL\"\nssl_ca_location = \"CERTS/stranger.pem\"\n",
        "kafka_tls",
        "self-signed certificate",
    ),
    ("expired", "EXPIRED", TLS, "kafka_tls", "certificate has expired"),
    ("other-host", "OTHER_HOST", TLS, "kafka_tls", "mismatch"),
    (
        "no-certificate",
        "MTLS",
        TLS,
        "kafka_tls",
        "kafka.ssl_certificate_location",
    ),
    ("plaintext-at-tls", "TLS", "", "kafka", "kafka.security_protocol"),
    (
        "tls-at-plaintext",
        "PLAINTEXT",
        TLS,
        "kafka_tls",
        "kafka.security_protocol",
    ),
    ("not-permitted", "SASL", "limited", "kafka_authorization", "READ"),
];

#[test]
fn every_refusal_is_named_within_seconds() {
    with_secured("refused", |secured, servers, folder| {
        let (site, topic) = secured.site(servers, &folder.join("first"), "secure.refused", "")?;
        secured.produce(servers, &site, &topic)?;
        for (name, listener, kafka, code, said) in REFUSALS {
            let kafka = match kafka.split_once(' ') {
                Some((mechanism, protocol)) if !kafka.contains('=') => {
                    sasl(protocol, mechanism, "reader", "wrong-secret")
                }
                None if kafka == "limited" => sasl("SASL_PLAINTEXT", "PLAIN", "limited", "limited-secret-7c1f"),
                _ => kafka.to_owned(),
            };
            let own = folder.join(name);
            let (site, _) = secured.site(servers, &own, "secure.refused", &kafka)?;
            if kafka.contains("ssl_ca_location") {
                // The key stands once: the stranger's authority instead of ours.
                let file = own.join("tapehouse.toml");
                let text = std::fs::read_to_string(&file).map_err(Error::io("the configuration"))?;
                let certs = secured.value("CERTS")?;
                let text = text.replacen(&format!("ssl_ca_location = \"{certs}/ca.pem\"\n"), "", 1);
                std::fs::write(&file, text).map_err(Error::io("the configuration"))?;
            }
            let (at, started) = (secured.at(listener)?, Instant::now());
            let output = site
                .command(&["run", "--until-caught-up", &at[0], &at[1]])?
                .expect(&[4])?;
            let is_named = output.stderr.contains(&format!("[{code}]")) && output.stderr.contains(said);
            if !is_named || started.elapsed() > Duration::from_secs(15) {
                return Err(Error::unexpected(format!(
                    "{name}, after {:?}: {}",
                    started.elapsed(),
                    output.stderr
                )));
            }
        }
        Ok(())
    });
}

#[test]
fn a_node_that_is_kept_out_tries_again_for_ever() {
    with_secured("again", |secured, servers, folder| {
        let kafka = sasl("SASL_SSL", "SCRAM-SHA-512", "reader", "wrong-secret");
        let (site, _) = secured.site(servers, folder, "secure.again", &kafka)?;
        let options = NodeOptions {
            for_ever: true,
            arguments: secured.at("SASL_TLS")?.to_vec(),
            ..NodeOptions::default()
        };
        let mut node = Node::start(&site, "a", &options)?;
        await_that("three attempts, each with its cause", PATIENCE, || {
            let said = node.log().matches("code=\"kafka_authentication\"").count();
            Ok(node.poll()?.is_none() && said >= 3)
        })
    });
}

#[test]
fn a_topic_without_permission_leaves_the_others_alone() {
    with_secured("permission", |secured, servers, folder| {
        let (open, closed) = (Topic::named("secure.open"), Topic::named("secure.closed"));
        let kafka =
            sasl("SASL_TLS_PLACE", "PLAIN", "limited", "limited-secret-7c1f").replace("SASL_TLS_PLACE", "SASL_SSL");
        let settings = format!(
            "[kafka]\nssl_ca_location = \"{}/ca.pem\"\n{kafka}",
            secured.value("CERTS")?
        );
        let site =
            Site::new(folder, servers, &[open.clone(), closed.clone()], &settings)?.with_broker(secured.0.address());
        for topic in [&open, &closed] {
            secured.produce(servers, &site, topic)?;
        }
        // Nothing is granted for consumer groups: their offsets are for lag tools only.
        secured.admin(&site, &["grant", "limited", &open.topic])?;
        let options = NodeOptions {
            for_ever: true,
            arguments: secured.at("SASL_TLS")?.to_vec(),
            ..NodeOptions::default()
        };
        let mut node = Node::start(&site, "a", &options)?;
        await_rows(&site, &open, &mut node, RECORDS)?;
        await_that("the closed topic's cause", PATIENCE, || {
            let log = node.log();
            Ok(log
                .lines()
                .any(|line| line.contains("code=\"kafka_authorization\"") && line.contains(&closed.topic)))
        })?;
        equal(
            "restarts of the open topic",
            node.log().contains("topic=\"secure.open\" code="),
            false,
        )?;
        drop(node);
        // What ends does the others too, and then names the one that is left.
        secured.produce_more(servers, &open)?;
        let at = secured.at("SASL_TLS")?;
        let run = site
            .command(&["run", "--until-caught-up", &at[0], &at[1]])?
            .expect(&[4])?;
        let rows = site.progress(&open.table).map_or(0, |progress| progress.rows);
        equal("rows of the open topic", rows, 2 * RECORDS)?;
        for command in ["status", "offsets"] {
            let output = site.command(&[command, &at[0], &at[1]])?.expect(&[4])?;
            equal("the open topic is shown", output.stdout.contains(&open.topic), true)?;
            equal("the cause", output.stderr.contains("[kafka_authorization]"), true)?;
            equal("the topic's name", output.stderr.contains(&closed.topic), true)?;
        }
        let is_named = run.stderr.contains("[kafka_authorization]") && run.stderr.contains(&closed.topic);
        equal("the run names the closed topic", is_named, true)
    });
}

#[test]
fn secrets_are_not_said_at_any_level() {
    with_secured("secrets", |secured, servers, folder| {
        let ways = [
            ("SASL_TLS", sasl("SASL_SSL", "PLAIN", "reader", READER)),
            ("SASL", sasl("SASL_PLAINTEXT", "SCRAM-SHA-256", "reader", READER)),
            ("MTLS", CERTIFICATE.to_owned()),
        ];
        let (site, topic) = secured.site(servers, &folder.join("first"), "secure.secrets", "")?;
        secured.produce(servers, &site, &topic)?;
        for (way, (listener, kafka)) in ways.iter().enumerate() {
            let kafka = format!("{kafka}[kafka.properties]\ndebug = \"all\"\n");
            let (site, _) = secured.site(servers, &folder.join(way.to_string()), "secure.secrets", &kafka)?;
            let at = secured.at(listener)?;
            let mut said = String::new();
            for command in [
                &["run", "--until-caught-up", "--log-level", "trace"][..],
                &["run", "--dry-run", "--log-level", "trace"],
                &["config", "show"],
                &["doctor"],
            ] {
                let arguments: Vec<&str> = command.iter().copied().chain(at.iter().map(String::as_str)).collect();
                let output = site.command(&arguments)?.expect(&[0, 1])?;
                said.push_str(&output.stdout);
                said.push_str(&output.stderr);
            }
            equal("librdkafka's own lines", said.contains("librdkafka"), true)?;
            for secret in [READER, KEY_PASSWORD] {
                let line = said.lines().find(|line| line.contains(secret));
                equal("a line with a secret", line, None)?;
            }
        }
        Ok(())
    });
}
