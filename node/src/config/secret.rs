//! Values that are never shown.

pub use tapehouse_core::secret::{MASK, Secret, mask_userinfo};

/// Whether the librdkafka property `name` holds a secret.
pub fn is_secret_property(name: &str) -> bool {
    const MARKS: [&str; 5] = ["password", "secret", "token", "oauthbearer.config", ".pem"];
    MARKS.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_with_secrets_are_known() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "sasl.oauthbearer.client.secret",
            "ssl.key.pem",
        ] {
            assert!(is_secret_property(name), "{name}");
        }
        assert!(!is_secret_property("sasl.username"));
    }
}
