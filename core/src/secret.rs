//! Values that are never shown, and texts that are shown without the secrets in them.

use std::fmt;

/// Stands for a secret wherever one would be shown.
pub const MASK: &str = "***";

/// Parameters of a URL's query whose values are secrets: names that hold one of these words.
const SECRET_PARAMETERS: [&str; 4] = ["password", "secret", "token", "credential"];

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

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
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

/// `text` with the password of a URL's `user:password@` masked, and the values of parameters that hold secrets. A password that
/// was not percent-encoded may hold what ends a URL's authority: where that is possible, too much is masked rather than too little.
pub fn mask_userinfo(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| {
        let end = scheme.len() + "://".len();
        (&text[..end], rest)
    });
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let may_have_password = rest[..authority_end].contains([':', '@']);
    let Some((userinfo, place)) = rest.rsplit_once('@').filter(|_| may_have_password) else {
        return format!("{scheme}{}", mask_query(rest));
    };
    let user = userinfo.split_once(':').map_or(MASK, |(user, _)| user);
    format!("{scheme}{user}:{MASK}@{}", mask_query(place))
}

/// The values of parameters that hold secrets, in what follows a URL's authority.
fn mask_query(text: &str) -> String {
    let masked = text.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _))
            if SECRET_PARAMETERS
                .iter()
                .any(|word| name.to_ascii_lowercase().contains(word)) =>
        {
            format!("{name}={MASK}")
        }
        _ => parameter.to_owned(),
    });
    masked.collect::<Vec<_>>().join("&")
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
    fn secrets_in_a_url_are_masked() {
        assert_eq!(mask_userinfo("http://u:p@h:1/x"), "http://u:***@h:1/x");
        assert_eq!(mask_userinfo("http://u:p@h:1/x@y"), "http://u:***@y");
        assert_eq!(mask_userinfo("http://token@h"), "http://***:***@h");
        assert_eq!(mask_userinfo("http://h/a@b"), "http://h/a@b");
        assert_eq!(mask_userinfo("localhost:9092"), "localhost:9092");
        for unescaped in [
            "http://u:hun/ter2@h",
            "postgresql://u:hun#ter2@h/db",
            "postgresql://u:hun?ter2@h/db?x=y",
            "http://u:@hunter2@h",
            "u:hunter2@h/db",
            "http://u@x:hunter2@h",
            "http://h:1/x?email=a@h&password=hunter2",
        ] {
            let shown = mask_userinfo(unescaped);
            assert!(!shown.contains("ter2") && shown.contains("@h"), "{shown}");
        }
        assert_eq!(
            mask_userinfo("postgresql://u:p@h/db?sslmode=require&sslPassword=x&password=y"),
            "postgresql://u:***@h/db?sslmode=require&sslPassword=***&password=***"
        );
    }
}
