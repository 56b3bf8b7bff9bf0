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

/// `text` with the password of a URL's `user:password@` masked, and the values of parameters that hold secrets.
pub fn mask_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, format!("?{}", mask_query(query))),
        None => (rest, String::new()),
    };
    let authority_end = rest.find(['/', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        None => format!("{scheme}://{rest}{query}"),
        Some((userinfo, host)) => {
            let user = userinfo.split_once(':').map_or(MASK, |(user, _)| user);
            format!("{scheme}://{user}:{MASK}@{host}{tail}{query}")
        }
    }
}

fn mask_query(query: &str) -> String {
    let masked = query.split('&').map(|parameter| match parameter.split_once('=') {
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
        assert_eq!(mask_userinfo("http://u:p@h:1/x@y"), "http://u:***@h:1/x@y");
        assert_eq!(mask_userinfo("http://token@h"), "http://***:***@h");
        assert_eq!(mask_userinfo("http://h/a@b"), "http://h/a@b");
        assert_eq!(mask_userinfo("localhost:9092"), "localhost:9092");
        assert_eq!(
            mask_userinfo("postgresql://u:p@h/db?sslmode=require&sslPassword=x&password=y"),
            "postgresql://u:***@h/db?sslmode=require&sslPassword=***&password=***"
        );
    }
}
