//! Every key of the configuration: its type, default, short environment name and example, in one table.

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// A name of letters, digits, `_` and `-`.
    Name,
    /// A path of the file system.
    Path,
    /// An integer within bounds.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// `true` or `false`.
    Bool,
    /// One of a list.
    Choice(&'static [&'static str]),
    /// `host:port[,host:port...]`.
    Hosts,
    /// A URL with scheme http or https.
    HttpUrl,
    /// Where the Iceberg catalog is.
    CatalogUri,
    /// Where the tables' files are.
    Warehouse,
    /// Where a node serves gRPC: `host:port`, `http://host:port` or `https://host:port`.
    Endpoint,
    /// `address:port` to listen at.
    Listen,
    /// `earliest`, `latest` or a time.
    Start,
    /// A filter of tracing: `info`, `tapehouse=debug,warn`.
    LogFilter,
}

/// Which part of the world a key is about. A command names the parts that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Kafka.
    Kafka,
    /// The Schema Registry.
    Registry,
    /// The Iceberg catalog and warehouse.
    Lake,
    /// The process itself.
    Node,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted path: `section.key`.
    pub path: &'static str,
    /// What a value must be.
    pub kind: Kind,
    /// Short environment name.
    pub env: Option<&'static str>,
    /// Value where none is given. A key without one is optional unless `required`.
    pub default: Option<&'static str>,
    /// Whether a command that needs `part` cannot do without.
    pub required: bool,
    /// Whether it is never shown.
    pub secret: bool,
    /// The part of the world that it is about.
    pub part: Part,
    /// A value, as in TOML.
    pub example: &'static str,
    /// What it means.
    pub about: &'static str,
}

impl Key {
    const fn new(path: &'static str, part: Part, kind: Kind, example: &'static str, about: &'static str) -> Self {
        Self {
            path,
            kind,
            env: None,
            default: None,
            required: false,
            secret: false,
            part,
            example,
            about,
        }
    }

    const fn env(mut self, name: &'static str) -> Self {
        self.env = Some(name);
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The key without its section.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The section.
    pub fn section(&self) -> &'static str {
        self.path.split('.').next().unwrap_or(self.path)
    }

    /// How the key is written, in the file and in the environment.
    pub fn written(&self) -> String {
        let mut text = format!("[{}] {} = {}", self.section(), self.name(), self.example);
        if let Some(env) = self.env {
            text.push_str(&format!("   or {env}={}", self.example.trim_matches('"')));
        }
        text
    }
}

/// Prefix of librdkafka's properties.
pub const PROPERTIES: &str = "kafka.properties.";

const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

use Kind::{
    Bool, CatalogUri, Choice, Endpoint, Hosts, HttpUrl, Integer, Listen, LogFilter, Name, Path, Start, Text, Warehouse,
};
use Part::{Kafka, Lake, Node, Registry};

/// All keys, in the order in which they are shown.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    Key::new("node.cluster", Node, Name, "\"tapehouse\"", "Name of the cluster; the tables remember it as their owner").default("tapehouse"),
    Key::new("node.id", Node, Name, "\"node-1\"", "Name of this node within the cluster").default("node-1"),
    Key::new("node.state_dir", Node, Path, "\"/var/lib/tapehouse\"", "Folder of checkpoints; `state/` in it may be deleted at any time").default("./tapehouse-state"),
    Key::new("node.memory_budget_mb", Node, Integer { min: 64, max: 1 << 20 }, "256", "Resident memory of the whole process, in MiB").default("256"),
    Key::new("kafka.bootstrap_servers", Kafka, Hosts, "\"localhost:9092\"", "Kafka brokers").env("KAFKA_BOOTSTRAP_SERVERS").required(),
    Key::new("kafka.security_protocol", Kafka, Choice(PROTOCOLS), "\"SASL_SSL\"", "How to talk to Kafka").env("KAFKA_SECURITY_PROTOCOL").default("PLAINTEXT"),
    Key::new("kafka.sasl_mechanism", Kafka, Choice(MECHANISMS), "\"SCRAM-SHA-512\"", "How to log in at Kafka").env("KAFKA_SASL_MECHANISM"),
    Key::new("kafka.sasl_username", Kafka, Text, "\"tapehouse\"", "User at Kafka").env("KAFKA_SASL_USERNAME"),
    Key::new("kafka.sasl_password", Kafka, Text, "\"${KAFKA_SASL_PASSWORD}\"", "Password at Kafka").env("KAFKA_SASL_PASSWORD").secret(),
    Key::new("kafka.ssl_ca_location", Kafka, Path, "\"/etc/ssl/kafka-ca.pem\"", "Certificate authority of the brokers").env("KAFKA_SSL_CA_LOCATION"),
    Key::new("kafka.ssl_certificate_location", Kafka, Path, "\"/etc/ssl/client.pem\"", "Certificate of this client").env("KAFKA_SSL_CERTIFICATE_LOCATION"),
    Key::new("kafka.ssl_key_location", Kafka, Path, "\"/etc/ssl/client.key\"", "Key of this client").env("KAFKA_SSL_KEY_LOCATION"),
    Key::new("kafka.ssl_key_password", Kafka, Text, "\"${KAFKA_SSL_KEY_PASSWORD}\"", "Password of the key of this client").env("KAFKA_SSL_KEY_PASSWORD").secret(),
    Key::new("kafka.start", Kafka, Start, "\"2026-01-02T09:30:00Z\"", "Where a partition starts that the table has never seen: earliest, latest or a time").default("earliest"),
    Key::new("schema_registry.url", Registry, HttpUrl, "\"http://localhost:8081\"", "Schema Registry (Confluent's API); a path prefix is kept").env("SCHEMA_REGISTRY_URL").required(),
    Key::new("schema_registry.user", Registry, Text, "\"tapehouse\"", "User of basic authentication").env("SCHEMA_REGISTRY_USER"),
    Key::new("schema_registry.password", Registry, Text, "\"${SCHEMA_REGISTRY_PASSWORD}\"", "Password of basic authentication").env("SCHEMA_REGISTRY_PASSWORD").secret(),
    Key::new("schema_registry.token", Registry, Text, "\"${SCHEMA_REGISTRY_TOKEN}\"", "Bearer token, instead of user and password").env("SCHEMA_REGISTRY_TOKEN").secret(),
    Key::new("schema_registry.ca", Registry, Path, "\"/etc/ssl/registry-ca.pem\"", "Certificate authority of the registry").env("SCHEMA_REGISTRY_CA"),
    Key::new("schema_registry.timeout_ms", Registry, Integer { min: 100, max: 300_000 }, "5000", "Longest wait for one answer, in ms").default("5000"),
    Key::new("catalog.uri", Lake, CatalogUri, "\"sqlite:///var/lib/tapehouse/catalog.db\"", "Iceberg catalog").env("ICEBERG_CATALOG_URI").required(),
    Key::new("catalog.name", Lake, Name, "\"default\"", "Name of the catalog within its database").env("ICEBERG_CATALOG_NAME").default("default"),
    Key::new("catalog.timeout_ms", Lake, Integer { min: 100, max: 300_000 }, "30000", "Longest wait for one answer of the catalog, in ms; SQLite has limits of its own").default("30000"),
    Key::new("catalog.warehouse", Lake, Text, "\"prod\"", "A REST catalog's own name of the warehouse").env("ICEBERG_CATALOG_WAREHOUSE"),
    Key::new("catalog.token", Lake, Text, "\"${ICEBERG_CATALOG_TOKEN}\"", "Bearer token at a REST catalog").env("ICEBERG_CATALOG_TOKEN").secret(),
    Key::new("catalog.credential", Lake, Text, "\"${ICEBERG_CATALOG_CREDENTIAL}\"", "OAuth2 client credentials at a REST catalog, ID:SECRET, instead of a token").env("ICEBERG_CATALOG_CREDENTIAL").secret(),
    Key::new("catalog.oauth2_server_uri", Lake, HttpUrl, "\"https://login.example.com/oauth2/token\"", "Where credentials become a token; not set: the catalog's own v1/oauth/tokens"),
    Key::new("catalog.scope", Lake, Text, "\"catalog\"", "Scope of the token that credentials become; not set: catalog"),
    Key::new("catalog.ca", Lake, Path, "\"/etc/ssl/catalog-ca.pem\"", "Certificate authority of a REST catalog"),
    Key::new("warehouse.path", Lake, Warehouse, "\"file:///var/lib/tapehouse/warehouse\"", "Folder of the tables: file:// or s3://").env("ICEBERG_WAREHOUSE_PATH").required(),
    Key::new("s3.endpoint", Lake, HttpUrl, "\"http://localhost:9000\"", "Address of S3, for all locations in it; not set: AWS").env("MINIO_ENDPOINT"),
    Key::new("s3.region", Lake, Name, "\"us-east-1\"", "Region that requests are signed for").env("AWS_REGION").default("us-east-1"),
    Key::new("s3.path_style", Lake, Bool, "true", "Whether the bucket stands in the path; not set: with an endpoint yes, with AWS no"),
    Key::new("s3.access_key_id", Lake, Text, "\"${AWS_ACCESS_KEY_ID}\"", "Name of the key; not set: web identity, container or instance profile of AWS").env("AWS_ACCESS_KEY_ID"),
    Key::new("s3.secret_access_key", Lake, Text, "\"${AWS_SECRET_ACCESS_KEY}\"", "The key").env("AWS_SECRET_ACCESS_KEY").secret(),
    Key::new("s3.session_token", Lake, Text, "\"${AWS_SESSION_TOKEN}\"", "Session token of temporary credentials").env("AWS_SESSION_TOKEN").secret(),
    Key::new("s3.allow_http", Lake, Bool, "true", "Permits plain HTTP to an endpoint that is not on this machine").default("false"),
    Key::new("s3.timeout_ms", Lake, Integer { min: 100, max: 300_000 }, "30000", "Longest wait for one answer, in ms").default("30000"),
    Key::new("commit.max_age_ms", Node, Integer { min: 10, max: 60_000 }, "500", "A commit is cut when its oldest record is this old, in ms").default("500"),
    Key::new("commit.max_bytes", Node, Integer { min: 1 << 16, max: 1 << 34 }, "268435456", "A commit is cut at this many bytes of records").default("268435456"),
    Key::new("commit.max_rows", Node, Integer { min: 1, max: 1 << 40 }, "1000000", "A commit is cut at this many rows; not set: no such limit"),
    Key::new("compaction.enabled", Node, Bool, "false", "Whether small files become larger ones while tables are written").default("true"),
    Key::new("compaction.target_mb", Node, Integer { min: 16, max: 1024 }, "128", "Size up to which files are made, in MiB").default("256"),
    Key::new("silver.activity_debounce_ms", Node, Integer { min: 100, max: 3_600_000 }, "60000", "silver.trader_activity: a touched day is computed so long after the first touch, in ms").default("60000"),
    Key::new("gold.open_day_debounce_ms", Node, Integer { min: 100, max: 3_600_000 }, "10000", "Gold: the day that is not over is computed no more often than so, in ms; it is provisional until 17:15 in New York").default("10000"),
    Key::new("runs.max", Node, Integer { min: 1, max: 1000 }, "8", "Units of work at once: what one commit takes in of days that are computed").default("5"),
    Key::new("runs.max_backfill", Node, Integer { min: 1, max: 1000 }, "1", "Of these, those that an operator asked for").default("3"),
    Key::new("runs.max_gold", Node, Integer { min: 1, max: 1000 }, "4", "Of these, those of gold tables").default("2"),
    Key::new("http.listen", Node, Listen, "\"127.0.0.1:9464\"", "Address of /metrics, /healthz and /readyz").default("127.0.0.1:9464"),
    Key::new("http.insecure", Node, Bool, "true", "Permits an address other than loopback: HTTP has no TLS and no tokens").default("false"),
    Key::new("grpc.listen", Node, Listen, "\"127.0.0.1:50051\"", "Address of the gRPC server").default("127.0.0.1:50051"),
    Key::new("grpc.insecure", Node, Bool, "true", "Permits an address other than loopback without TLS and tokens").default("false"),
    Key::new("grpc.tls_certificate", Node, Path, "\"/etc/tapehouse/server.pem\"", "Certificate chain of the gRPC server"),
    Key::new("grpc.tls_key", Node, Path, "\"/etc/tapehouse/server.key\"", "Key of that certificate"),
    Key::new("grpc.tls_client_ca", Node, Path, "\"/etc/tapehouse/clients-ca.pem\"", "Authority of the clients' certificates; with it every client needs one"),
    Key::new("grpc.viewer_tokens", Node, Text, "\"${TAPEHOUSE_VIEWER_TOKEN}\"", "Tokens of those who may look, separated by commas").secret(),
    Key::new("grpc.viewer_tokens_file", Node, Path, "\"/etc/tapehouse/viewer-tokens\"", "File of such tokens, one a line"),
    Key::new("grpc.operator_tokens", Node, Text, "\"${TAPEHOUSE_OPERATOR_TOKEN}\"", "Tokens of those who may look and change things, separated by commas").secret(),
    Key::new("grpc.operator_tokens_file", Node, Path, "\"/etc/tapehouse/operator-tokens\"", "File of such tokens, one a line"),
    Key::new("grpc.connection_max_age_s", Node, Integer { min: 1, max: 86_400 }, "900", "A connection is told to go at this age, in s, so that balancers can spread clients anew").default("900"),
    Key::new("client.endpoint", Node, Endpoint, "\"https://node-1:50051\"", "The node that offsets, status, tables and cluster ask; not set: they read tables and Kafka themselves"),
    Key::new("client.token", Node, Text, "\"${TAPEHOUSE_VIEWER_TOKEN}\"", "Token that they show").secret(),
    Key::new("client.token_file", Node, Path, "\"/run/secrets/tapehouse-token\"", "File that holds it"),
    Key::new("client.ca", Node, Path, "\"/etc/tapehouse/ca.pem\"", "Certificate authority of the nodes; not set: the system's"),
    Key::new("client.certificate", Node, Path, "\"/etc/tapehouse/client.pem\"", "Certificate that commands show to a node"),
    Key::new("client.key", Node, Path, "\"/etc/tapehouse/client.key\"", "Key of that certificate"),
    Key::new("client.timeout_ms", Node, Integer { min: 100, max: 300_000 }, "10000", "Longest wait for a node's answer, in ms").default("10000"),
    Key::new("metrics.pushgateway_url", Node, HttpUrl, "\"http://localhost:9091\"", "Prometheus push gateway that the metrics are pushed to every 15 s; not set: none").env("PROMETHEUS_PUSHGATEWAY_URL"),
    Key::new("log.format", Node, Choice(&["text", "json"]), "\"json\"", "How log lines on stderr are written").default("text"),
    Key::new("log.level", Node, LogFilter, "\"info\"", "Which log lines are written: a level, or filters as of RUST_LOG").env("RUST_LOG").default("info"),
];

/// The key at `path`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_there_once_and_says_what_it_is() {
        let mut paths: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), KEYS.len());
        for key in KEYS {
            assert!(!key.about.is_empty() && !key.example.is_empty(), "{}", key.path);
            assert!(
                !(key.required && key.default.is_some()),
                "{}: required with a default",
                key.path
            );
        }
    }
}
