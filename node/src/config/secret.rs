//! Values that are never shown.

use std::fmt;

/// Stands for a secret wherever one would be shown.
pub const MASK: &str = "***";

/// A password, token or key. `Debug` and `Display` show [`MASK`]; only [`Secret::reveal`] gives the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the client that has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// `text` with the password of a URL's `user:password@` masked.
pub fn mask_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        None => text.to_owned(),
        Some((userinfo, host)) => {
            let user = userinfo.split_once(':').map_or(MASK, |(user, _)| user);
            format!("{scheme}://{user}:{MASK}@{host}{tail}")
        }
    }
}

/// Whether the librdkafka property `name` holds a secret.
pub fn is_secret_property(name: &str) -> bool {
    const MARKS: [&str; 5] = ["password", "secret", "token", "oauthbearer.config", ".pem"];
    MARKS.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_formatted() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn a_password_in_a_url_is_masked() {
        assert_eq!(mask_userinfo("http://u:p@h:1/x@y"), "http://u:***@h:1/x@y");
        assert_eq!(mask_userinfo("http://token@h"), "http://***:***@h");
        assert_eq!(mask_userinfo("http://h/a@b"), "http://h/a@b");
        assert_eq!(mask_userinfo("localhost:9092"), "localhost:9092");
    }

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
