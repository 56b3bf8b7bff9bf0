//! From checked values to the typed configuration; faults that only show between keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tapehouse_core::ledger::Limits;
use tapehouse_lake::{CatalogSettings, RestSettings, S3Credentials, S3Settings};

use super::fault::{Fault, Origin};
use super::interfaces;
use super::resolve::Resolved;
use super::secret::Secret;
use super::topics::Topic;
use super::values::parse_time_ms;
use super::{Config, Kafka, Lake, LogFormat, Registry, RegistryLogin, Sasl, Start};

/// Builds the configuration. `None`, with a fault added, where that is impossible.
pub fn build(
    resolved: Resolved,
    topics: Vec<Topic>,
    file: Option<PathBuf>,
    insecure: bool,
    faults: &mut Vec<Fault>,
) -> Option<Config> {
    let kafka = kafka(&resolved, faults);
    let registry = registry(&resolved, faults);
    let http_listen = interfaces::http_listen(&resolved, insecure, faults)?;
    let grpc = interfaces::grpc(&resolved, insecure, faults)?;
    let client = interfaces::client(&resolved, insecure, faults);
    let text = |key: &str| resolved.text(key).map(str::to_owned);
    Some(Config {
        file,
        cluster: text("node.cluster")?,
        node: text("node.id")?,
        state_dir: text("node.state_dir")?.into(),
        memory_budget_bytes: resolved.integer("node.memory_budget_mb")? << 20,
        kafka,
        start: start(resolved.text("kafka.start")?),
        registry,
        lake: lake(&resolved, faults),
        activity_debounce: Duration::from_millis(resolved.integer("silver.activity_debounce_ms")?),
        open_day_debounce: Duration::from_millis(resolved.integer("gold.open_day_debounce_ms")?),
        run_limits: run_limits(&resolved)?,
        commit_max_age: Duration::from_millis(resolved.integer("commit.max_age_ms")?),
        commit_max_bytes: resolved.integer("commit.max_bytes")?,
        commit_max_rows: resolved.integer("commit.max_rows"),
        compaction_target_bytes: match resolved.flag("compaction.enabled") {
            true => Some(resolved.integer("compaction.target_mb")? << 20),
            false => None,
        },
        topics,
        http_listen,
        grpc,
        client,
        pushgateway_url: text("metrics.pushgateway_url"),
        log_format: if resolved.text("log.format")? == "json" {
            LogFormat::Json
        } else {
            LogFormat::Text
        },
        log_filter: text("log.level")?,
        log_is_default: matches!(resolved.get("log.level"), Some((_, Origin::Default))),
        resolved,
    })
}

fn start(text: &str) -> Start {
    match text {
        "latest" => Start::Latest,
        time => parse_time_ms(time).map_or(Start::Earliest, Start::TimestampMs),
    }
}

fn kafka(resolved: &Resolved, faults: &mut Vec<Fault>) -> Option<Kafka> {
    let text = |key: &str| resolved.text(key).map(str::to_owned);
    let security_protocol = text("kafka.security_protocol")?;
    let sasl = sasl(resolved, &security_protocol, faults);
    if text("kafka.ssl_certificate_location").is_some() != text("kafka.ssl_key_location").is_some() {
        let (there, missing) = if text("kafka.ssl_key_location").is_some() {
            ("ssl_key_location", "kafka.ssl_certificate_location")
        } else {
            ("ssl_certificate_location", "kafka.ssl_key_location")
        };
        faults.push(resolved.fault(missing, format!("is missing: kafka.{there} is set, they go together")));
    }
    let properties: BTreeMap<String, String> = resolved
        .properties
        .iter()
        .map(|(name, (value, _))| (name.clone(), value.clone()))
        .collect();
    Some(Kafka {
        bootstrap_servers: text("kafka.bootstrap_servers")?,
        security_protocol,
        sasl,
        ssl_ca_location: text("kafka.ssl_ca_location"),
        ssl_certificate_location: text("kafka.ssl_certificate_location"),
        ssl_key_location: text("kafka.ssl_key_location"),
        ssl_key_password: text("kafka.ssl_key_password").map(Secret::new),
        properties,
    })
}

fn sasl(resolved: &Resolved, protocol: &str, faults: &mut Vec<Fault>) -> Option<Sasl> {
    const KEYS: [&str; 3] = ["kafka.sasl_mechanism", "kafka.sasl_username", "kafka.sasl_password"];
    if !protocol.starts_with("SASL") {
        for key in KEYS {
            if resolved.get(key).is_some() {
                let reason = format!("is set, but kafka.security_protocol is {protocol}: it would not be used");
                faults.push(
                    resolved
                        .fault(key, reason)
                        .example("[kafka] security_protocol = \"SASL_SSL\""),
                );
            }
        }
        return None;
    }
    for key in KEYS {
        // The mechanism of a login by other means (OAUTHBEARER) is a property of librdkafka's.
        if resolved.get(key).is_none() && !resolved.properties.contains_key("sasl.mechanisms") {
            faults.push(resolved.fault(key, format!("is missing: kafka.security_protocol is {protocol}")));
        }
    }
    Some(Sasl {
        mechanism: resolved.text(KEYS[0])?.to_owned(),
        username: resolved.text(KEYS[1])?.to_owned(),
        password: Secret::new(resolved.text(KEYS[2])?),
    })
}

fn registry(resolved: &Resolved, faults: &mut Vec<Fault>) -> Option<Registry> {
    let text = |key: &str| resolved.text(key).map(str::to_owned);
    let (user, password) = (text("schema_registry.user"), text("schema_registry.password"));
    let login = match (user, password, text("schema_registry.token")) {
        (None, None, None) => RegistryLogin::None,
        (None, None, Some(token)) => RegistryLogin::Bearer(Secret::new(token)),
        (Some(user), Some(password), None) => RegistryLogin::Basic {
            user,
            password: Secret::new(password),
        },
        (Some(_), None, None) => {
            let reason = "is missing: schema_registry.user is set";
            faults.push(resolved.fault("schema_registry.password", reason));
            return None;
        }
        (None, Some(_), None) => {
            let reason = "is missing: schema_registry.password is set";
            faults.push(resolved.fault("schema_registry.user", reason));
            return None;
        }
        (_, _, Some(_)) => {
            let reason = "is set, and user or password too: give either";
            faults.push(resolved.fault("schema_registry.token", reason));
            return None;
        }
    };
    Some(Registry {
        url: text("schema_registry.url")?,
        login,
        ca: text("schema_registry.ca").map(PathBuf::from),
        timeout: Duration::from_millis(resolved.integer("schema_registry.timeout_ms")?),
    })
}

/// What only a REST catalog needs; with another one it is a mistake.
fn rest(resolved: &Resolved, faults: &mut Vec<Fault>) -> RestSettings {
    const KEYS: [&str; 6] = [
        "catalog.warehouse",
        "catalog.token",
        "catalog.credential",
        "catalog.oauth2_server_uri",
        "catalog.scope",
        "catalog.ca",
    ];
    let text = |key: &str| resolved.text(key).map(str::to_owned);
    if text("catalog.uri").is_some_and(|uri| !uri.starts_with("http")) {
        for key in KEYS.into_iter().filter(|key| resolved.get(key).is_some()) {
            faults.push(resolved.fault(key, "is set, but catalog.uri is no REST catalog: it would not be used"));
        }
    }
    if text("catalog.token").is_some() && text("catalog.credential").is_some() {
        faults.push(resolved.fault("catalog.token", "is set, and catalog.credential too: give either"));
    }
    RestSettings {
        warehouse: text(KEYS[0]),
        token: text(KEYS[1]).map(Secret::new),
        credential: text(KEYS[2]).map(Secret::new),
        oauth2_server_uri: text(KEYS[3]),
        scope: text(KEYS[4]),
        ca: text(KEYS[5]).map(PathBuf::from),
    }
}

fn lake(resolved: &Resolved, faults: &mut Vec<Fault>) -> Option<Lake> {
    let text = |key: &str| resolved.text(key).map(str::to_owned);
    let warehouse = text("warehouse.path")?;
    let s3 = s3(resolved, warehouse.starts_with("s3"), faults)?;
    Some(Lake {
        catalog: CatalogSettings {
            uri: text("catalog.uri")?,
            name: text("catalog.name")?,
            timeout: Duration::from_millis(resolved.integer("catalog.timeout_ms")?),
            rest: rest(resolved, faults),
        },
        warehouse,
        s3,
    })
}

/// How to reach S3. Half a key pair is a fault only where S3 is `used`: AWS's variables are often set for other programs.
fn s3(resolved: &Resolved, used: bool, faults: &mut Vec<Fault>) -> Option<S3Settings> {
    const ID: &str = "s3.access_key_id";
    const SECRET: &str = "s3.secret_access_key";
    let credentials = match (resolved.text(ID), resolved.text(SECRET)) {
        (Some(id), Some(secret)) => Some(S3Credentials {
            access_key_id: id.to_owned(),
            secret_access_key: secret.into(),
            session_token: resolved.text("s3.session_token").map(Into::into),
        }),
        (None, None) => None,
        (there, _) => {
            let (set, missing) = if there.is_some() { (ID, SECRET) } else { (SECRET, ID) };
            if used {
                faults.push(resolved.fault(missing, format!("is missing: {set} is set")));
            }
            None
        }
    };
    let settings = S3Settings {
        endpoint: resolved.text("s3.endpoint").map(str::to_owned),
        region: resolved.text("s3.region").map(str::to_owned),
        path_style: resolved.get("s3.path_style").map(|_| resolved.flag("s3.path_style")),
        credentials,
        allow_http: resolved.flag("s3.allow_http"),
        timeout: Duration::from_millis(resolved.integer("s3.timeout_ms")?),
    };
    if let Err(error) = settings.checked_endpoint()
        && used
    {
        faults.push(resolved.fault("s3.endpoint", error.to_string()));
    }
    Some(settings)
}

/// How much is computed at once.
fn run_limits(resolved: &Resolved) -> Option<Limits> {
    let limit = |key: &str| usize::try_from(resolved.integer(key)?).ok();
    Some(Limits {
        all: limit("runs.max")?,
        backfill: limit("runs.max_backfill")?,
        gold: limit("runs.max_gold")?,
    })
}
