//! From the configuration to the settings of the clients.

use tapehouse_kafka::consumer::ConsumerError;
use tapehouse_kafka::producer::ProducerError;
use tapehouse_kafka::registry::{RegistryAuth, RegistryClient, RegistryError, RegistrySettings};
use tapehouse_kafka::{AccessError, KafkaSettings};
use tapehouse_lake::derived::DeriveError;
use tapehouse_lake::silver::source::SourceError;
use tapehouse_lake::verify::VerifyError;
use tapehouse_lake::{LakeError, LakeSettings};

use crate::config::{Config, ConfigError, Fault, RegistryLogin};
use crate::exit::{Exit, Failure, chain};

/// How to reach Kafka.
///
/// # Errors
/// When the configuration does not say.
pub fn kafka_settings(config: &Config) -> Result<KafkaSettings, Failure> {
    let kafka = config
        .kafka
        .as_ref()
        .ok_or_else(|| not_asked_for("kafka.bootstrap_servers"))?;
    let mut settings = KafkaSettings::new(&kafka.bootstrap_servers);
    settings.properties.extend(kafka.properties.clone());
    let mut set = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            settings.properties.insert(name.to_owned(), value.to_owned());
        }
    };
    set("security.protocol", Some(&kafka.security_protocol));
    set("ssl.ca.location", kafka.ssl_ca_location.as_deref());
    set("ssl.certificate.location", kafka.ssl_certificate_location.as_deref());
    set("ssl.key.location", kafka.ssl_key_location.as_deref());
    set(
        "ssl.key.password",
        kafka.ssl_key_password.as_ref().map(|secret| secret.reveal()),
    );
    if let Some(sasl) = &kafka.sasl {
        set("sasl.mechanisms", Some(&sasl.mechanism));
        set("sasl.username", Some(&sasl.username));
        set("sasl.password", Some(sasl.password.reveal()));
    }
    Ok(settings)
}

/// How to reach the Schema Registry.
///
/// # Errors
/// When the configuration does not say.
pub fn registry_settings(config: &Config) -> Result<RegistrySettings, Failure> {
    let registry = config
        .registry
        .as_ref()
        .ok_or_else(|| not_asked_for("schema_registry.url"))?;
    let mut settings = RegistrySettings::new(&registry.url).map_err(|error| registry_failure(&error))?;
    settings.auth = match &registry.login {
        RegistryLogin::None => RegistryAuth::None,
        RegistryLogin::Basic { user, password } => RegistryAuth::Basic {
            user: user.clone(),
            password: password.clone(),
        },
        RegistryLogin::Bearer(token) => RegistryAuth::Bearer(token.clone()),
    };
    settings.ca_location = registry.ca.clone();
    settings.timeout = registry.timeout;
    Ok(settings)
}

/// A client of the Schema Registry.
///
/// # Errors
/// When the configuration does not say where it is, or its certificates cannot be read.
pub fn registry_client(config: &Config) -> Result<RegistryClient, Failure> {
    RegistryClient::new(registry_settings(config)?).map_err(|error| registry_failure(&error))
}

/// Where the tables are.
///
/// # Errors
/// When the configuration does not say.
pub fn lake_settings(config: &Config) -> Result<LakeSettings, Failure> {
    let lake = config.lake.as_ref().ok_or_else(|| not_asked_for("catalog.uri"))?;
    Ok(LakeSettings {
        catalog: lake.catalog.clone(),
        warehouse: lake.warehouse.clone(),
        s3: lake.s3.clone(),
    })
}

/// A part that the command needs and did not name when it loaded the configuration. The loader reports what is missing
/// for parts that are named, so that this is only the second line.
fn not_asked_for(key: &str) -> Failure {
    ConfigError::from(Fault::new(key, "is missing")).into()
}

/// A failure of the registry, by its class.
pub fn registry_failure(error: &RegistryError) -> Failure {
    match error {
        RegistryError::Settings(_) => ConfigError::from(Fault::new("schema_registry", error.to_string())).into(),
        RegistryError::Unauthorized { .. } => Failure::unreachable(chain(error))
            .code(error.code())
            .hint("check schema_registry.user and schema_registry.password, or schema_registry.token"),
        RegistryError::Unreachable(_) | RegistryError::Server { .. } | RegistryError::Malformed(_) => {
            Failure::unreachable(chain(error))
                .code(error.code())
                .hint("check schema_registry.url, its path included, and that it runs")
        }
        _ => Failure::failed(chain(error)).code(error.code()),
    }
}

/// A failure of Kafka, by its class.
pub fn consumer_failure(error: &ConsumerError, settings: &KafkaSettings) -> Failure {
    match error {
        ConsumerError::Kafka(_) => kafka_unreachable(chain(error), settings),
        ConsumerError::Access(refusal) => access_failure(refusal),
        _ => Failure::failed(chain(error)).code(error.code()),
    }
}

/// A failure of the producer, by its class.
pub fn producer_failure(error: &ProducerError, settings: &KafkaSettings) -> Failure {
    match error {
        ProducerError::Forbidden(_) | ProducerError::Settings(_) => {
            ConfigError::from(Fault::new("kafka.properties", chain(error))).into()
        }
        ProducerError::Access(refusal) => access_failure(refusal),
        ProducerError::Unreachable { .. } | ProducerError::Stalled => kafka_unreachable(chain(error), settings),
        _ => Failure::failed(chain(error)).code("kafka"),
    }
}

fn access_failure(refusal: &AccessError) -> Failure {
    Failure::unreachable(refusal)
        .code(refusal.code())
        .hint(refusal.way_out())
}

fn kafka_unreachable(message: String, settings: &KafkaSettings) -> Failure {
    Failure::unreachable(message).code("kafka").hint(format!(
        "check kafka.bootstrap_servers ({}), kafka.security_protocol and the credentials",
        settings.bootstrap_servers
    ))
}

/// A failure of the lake, by its class.
pub fn lake_failure(error: &LakeError) -> Failure {
    match error {
        LakeError::Missing { .. } => Failure::unreachable(chain(error))
            .code(error.code())
            .hint("check catalog.uri; the first `tapehouse run` creates the catalog"),
        LakeError::Catalog { .. } => Failure::unreachable(chain(error))
            .code(error.code())
            .hint("check catalog.uri"),
        LakeError::Rest { source, .. } if source.is_retryable() => {
            Failure::unreachable(chain(error)).code(error.code()).hint(
                "check catalog.uri, its path included, catalog.token or catalog.credential, and that the catalog runs",
            )
        }
        LakeError::Unsupported { .. } => {
            ConfigError::from(Fault::new("catalog or warehouse", error.to_string())).into()
        }
        // Its message says what to check.
        LakeError::Storage { source, .. } if source.problem.is_retryable() => {
            Failure::unreachable(chain(error)).code(error.code())
        }
        _ => Failure::failed(chain(error)).code(error.code()),
    }
}

/// A failure of a check of a silver table, by its class.
pub fn verify_failure(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Source(SourceError::Lake(error)) => lake_failure(error),
        VerifyError::Source(source) => Failure::failed(chain(error)).code(source.code()),
        VerifyError::Decisions(source) => Failure::failed(chain(error)).code(source.code()),
        _ => Failure::failed(chain(error)).code("lake"),
    }
}

/// A failure to compute days, by its class.
pub fn derive_failure(error: &DeriveError) -> Failure {
    match error {
        DeriveError::Lake(error) => lake_failure(error),
        DeriveError::Source(SourceError::Lake(error)) => lake_failure(error),
        DeriveError::Source(source) => Failure::failed(chain(error)).code(source.code()),
        DeriveError::State(_) => Failure::with(Exit::CheckFailed, error).code("state_invalid"),
        DeriveError::Calendar(_) => Failure::failed(chain(error)).code("unknown_year"),
        _ => Failure::failed(chain(error)).code("lake"),
    }
}
