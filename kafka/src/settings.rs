//! How to reach Kafka: brokers and librdkafka properties.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// librdkafka properties that load or run code. They never pass through from a configuration.
const FORBIDDEN: [&str; 8] = [
    "plugin.library.paths",
    "ssl.engine.location",
    "ssl.engine.id",
    "ssl.providers",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.keytab",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
];

/// Addresses and properties for every Kafka client of a node.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// librdkafka properties, passed through as they are. May hold secrets.
    pub properties: BTreeMap<String, String>,
}

/// A property that would load or run code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("librdkafka property `{0}` is not allowed: it loads or runs code")]
pub struct ForbiddenProperty(pub String);

impl KafkaSettings {
    /// Settings with brokers and no further property.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            properties: BTreeMap::new(),
        }
    }

    /// Checks that no property loads or runs code.
    ///
    /// # Errors
    /// [`ForbiddenProperty`] with the first such property.
    pub fn check(&self) -> Result<(), ForbiddenProperty> {
        match self.properties.keys().find(|key| FORBIDDEN.contains(&key.trim())) {
            Some(key) => Err(ForbiddenProperty(key.clone())),
            None => Ok(()),
        }
    }

    /// A client configuration: `base` first, then the user's properties, so that users can override what is tuned here,
    /// then `fixed`, which correctness depends on.
    pub fn client_config(&self, base: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "tapehouse");
        // Why a connection ended is said at this level; what of it is shown is the logging's to decide.
        if (config.log_level as i32) < RDKafkaLogLevel::Info as i32 {
            config.set_log_level(RDKafkaLogLevel::Info);
        }
        for (key, value) in base {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        for (key, value) in fixed {
            config.set(*key, *value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be passwords: only the keys are shown.
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_run_code_are_refused() {
        let mut settings = KafkaSettings::new("localhost:9092");
        settings.properties.insert("fetch.wait.max.ms".into(), "10".into());
        settings.check().unwrap();
        settings.properties.insert("plugin.library.paths".into(), "x.so".into());
        assert_eq!(settings.check(), Err(ForbiddenProperty("plugin.library.paths".into())));
    }

    #[test]
    fn debug_never_shows_values() {
        let mut settings = KafkaSettings::new("localhost:9092");
        settings.properties.insert("sasl.password".into(), "hunter2".into());
        let text = format!("{settings:?}");
        assert!(text.contains("sasl.password") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn what_correctness_depends_on_cannot_be_overridden() {
        let mut settings = KafkaSettings::new("localhost:9092");
        settings.properties.insert("auto.offset.reset".into(), "latest".into());
        settings.properties.insert("fetch.wait.max.ms".into(), "7".into());
        let config = settings.client_config(&[("fetch.wait.max.ms", "50")], &[("auto.offset.reset", "error")]);
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
        assert_eq!(config.get("fetch.wait.max.ms"), Some("7"));
    }
}
