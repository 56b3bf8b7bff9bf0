//! Checks of single values.

use std::net::SocketAddr;

use url::Url;

use super::file::Raw;
use super::keys::Kind;
use super::secret::mask_userinfo;

/// A value that passed the check of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, of any of the textual kinds.
    Text(String),
    /// A number.
    Integer(u64),
    /// A boolean.
    Bool(bool),
}

/// Checks `raw` against `kind`.
///
/// # Errors
/// The reason, for people; a URL in it has its password masked. Callers leave the text of secrets to `Kind::Text`, whose
/// reasons never repeat the value.
pub fn check(kind: Kind, raw: &Raw) -> Result<Value, String> {
    match kind {
        Kind::Integer { min, max } => integer(raw, min, max).map(Value::Integer),
        Kind::Bool => boolean(raw).map(Value::Bool),
        _ => text(raw).and_then(|text| textual(kind, text)).map(Value::Text),
    }
}

fn type_name(raw: &Raw) -> &'static str {
    match raw {
        Raw::Text(_) | Raw::Untyped(_) => "a string",
        Raw::Integer(_) => "an integer",
        Raw::Bool(_) => "a boolean",
        Raw::List(_) => "an array",
        Raw::Other(name) => name,
    }
}

fn text(raw: &Raw) -> Result<&str, String> {
    match raw {
        Raw::Text(text) | Raw::Untyped(text) if text.trim().is_empty() => Err("is empty".to_owned()),
        Raw::Text(text) | Raw::Untyped(text) => Ok(text),
        other => Err(format!("must be a string, is {}", type_name(other))),
    }
}

fn integer(raw: &Raw, min: u64, max: u64) -> Result<u64, String> {
    let number = match raw {
        Raw::Integer(number) => u64::try_from(*number).map_err(|_| format!("must be at least {min}, is {number}"))?,
        Raw::Untyped(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("must be an integer, is `{text}`"))?,
        other => return Err(format!("must be an integer, is {}", type_name(other))),
    };
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("must be from {min} to {max}, is {number}"))
    }
}

fn boolean(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Bool(flag) => Ok(*flag),
        Raw::Untyped(text) if text == "true" || text == "1" => Ok(true),
        Raw::Untyped(text) if text == "false" || text == "0" => Ok(false),
        Raw::Untyped(text) => Err(format!("must be true or false, is `{text}`")),
        other => Err(format!("must be true or false, is {}", type_name(other))),
    }
}

fn textual(kind: Kind, text: &str) -> Result<String, String> {
    match kind {
        Kind::Name => name(text),
        Kind::Choice(choices) => choice(text, choices),
        Kind::Hosts => hosts(text),
        Kind::HttpUrl => http_url(text),
        Kind::CatalogUri => catalog_uri(text),
        Kind::Warehouse => warehouse(text),
        Kind::Listen => listen(text),
        Kind::Endpoint => endpoint(text),
        Kind::Start => start(text),
        Kind::LogFilter => log_filter(text),
        _ => Ok(text.to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.len() <= 100 && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be at most 100 letters, digits, `_`, `-` and `.`, is `{text}`"
        ))
    }
}

fn choice(text: &str, choices: &[&str]) -> Result<String, String> {
    let found = choices.iter().find(|choice| choice.eq_ignore_ascii_case(text));
    found.map(|choice| (*choice).to_owned()).ok_or_else(|| {
        let choices = choices.join(", ");
        format!("must be one of {choices}, is `{text}`")
    })
}

fn hosts(text: &str) -> Result<String, String> {
    let servers: Vec<&str> = text.split(',').map(str::trim).collect();
    for server in &servers {
        // librdkafka accepts `PROTOCOL://host:port` too.
        let address = server.split_once("://").map_or(*server, |(_, address)| address);
        let port = address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            let shown = mask_userinfo(server);
            return Err(format!("`{shown}` is not host:port"));
        }
    }
    Ok(servers.join(","))
}

fn parse_url(text: &str) -> Result<Url, String> {
    let shown = mask_userinfo(text);
    Url::parse(text).map_err(|error| format!("`{shown}` is not a URL: {error}"))
}

fn http_url(text: &str) -> Result<String, String> {
    let url = parse_url(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        let shown = mask_userinfo(text);
        return Err(format!("`{shown}` must begin with http:// or https://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user: give user and password by the keys for them".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn catalog_uri(text: &str) -> Result<String, String> {
    let shown = mask_userinfo(text);
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| format!("`{shown}` is not a URL: it has no scheme"))?;
    // SQLAlchemy's URIs may name a driver, as postgresql+psycopg2.
    match scheme.split_once('+').map_or(scheme, |(dialect, _)| dialect) {
        "sqlite" if rest.starts_with('/') && rest.len() > 1 && !rest.ends_with('/') => Ok(text.to_owned()),
        "sqlite" => Err(format!(
            "`{shown}` must hold an absolute path of a file: three slashes, then the path"
        )),
        "postgresql" | "postgres" => postgres_uri(text, &shown),
        "http" | "https" => rest_uri(text, &shown),
        _ => Err(format!(
            "has the unknown scheme `{scheme}`, only sqlite:///absolute/path, postgresql://user:password@host:port/database and http(s)://host:port/path are supported"
        )),
    }
}

fn rest_uri(text: &str, shown: &str) -> Result<String, String> {
    let url = parse_url(text)?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{shown}` names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("holds a user or parameters: give catalog.token or catalog.credential".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn postgres_uri(text: &str, shown: &str) -> Result<String, String> {
    let url = parse_url(text)?;
    match url.path().trim_start_matches('/') {
        "" if !url.query_pairs().any(|(name, _)| name == "dbname") => Err(format!("`{shown}` names no database")),
        _ => Ok(text.to_owned()),
    }
}

fn warehouse(text: &str) -> Result<String, String> {
    let shown = mask_userinfo(text);
    match text.split_once("://") {
        None if text.starts_with('/') => Ok(text.to_owned()),
        None => Err(format!("`{shown}` must be an absolute path or a URL")),
        Some(("file", path)) if path.starts_with('/') => Ok(text.to_owned()),
        Some(("file", _)) => Err(format!(
            "`{shown}` must hold an absolute path: three slashes, then the path"
        )),
        Some(("s3" | "s3a", rest)) if !rest.starts_with('/') && !rest.is_empty() => Ok(text.to_owned()),
        Some(("s3" | "s3a", _)) => Err(format!("`{shown}` must name a bucket: s3://bucket/prefix")),
        Some((scheme, _)) => Err(format!(
            "has the unknown scheme `{scheme}`, only file:///absolute/path and s3://bucket/prefix are supported"
        )),
    }
}

fn listen(text: &str) -> Result<String, String> {
    let numeric = text.replacen("localhost", "127.0.0.1", 1);
    match numeric.parse::<SocketAddr>() {
        Ok(_) => Ok(numeric),
        Err(_) => Err(format!("`{text}` is not address:port")),
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let written = match text.contains("://") {
        true => text.trim_end_matches('/').to_owned(),
        false => format!("http://{text}"),
    };
    let shown = mask_userinfo(text);
    let wrong = || format!("`{shown}` is not host:port, http://host:port or https://host:port");
    let url = Url::parse(&written).map_err(|_| wrong())?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) if is_bare && !host.is_empty() && url.port_or_known_default().is_some() => {
            Ok(written)
        }
        _ => Err(wrong()),
    }
}

fn start(text: &str) -> Result<String, String> {
    if matches!(text, "earliest" | "latest") || parse_time_ms(text).is_some() {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be earliest, latest or a time like 2026-01-02T09:30:00Z, is `{text}`"
        ))
    }
}

/// Milliseconds since 1970-01-01 UTC of an RFC 3339 time.
pub fn parse_time_ms(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("`{text}` is not a filter: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(kind: Kind, text: &str) -> String {
        check(kind, &Raw::Text(text.into())).unwrap_err()
    }

    #[test]
    fn numbers_keep_their_type_and_bounds() {
        let kind = Kind::Integer { min: 10, max: 20 };
        assert_eq!(check(kind, &Raw::Integer(12)), Ok(Value::Integer(12)));
        assert_eq!(check(kind, &Raw::Untyped("12".into())), Ok(Value::Integer(12)));
        for raw in [
            Raw::Text("12".into()),
            Raw::Integer(9),
            Raw::Integer(-1),
            Raw::Untyped("x".into()),
            Raw::Bool(true),
        ] {
            assert!(check(kind, &raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn hosts_have_ports() {
        assert!(check(Kind::Hosts, &Raw::Text("a:1, b:2".into())).is_ok());
        for bad in ["a", "a:", ":1", "a:x", "a:0", "a:1,,b:2"] {
            assert!(reason(Kind::Hosts, bad).contains("host:port"), "{bad}");
        }
    }

    #[test]
    fn urls() {
        assert!(check(Kind::HttpUrl, &Raw::Text("http://h:8081/apis/ccompat/v7/".into())).is_ok());
        for bad in ["h:8081", "ftp://h", "http://", "not a url"] {
            assert!(!reason(Kind::HttpUrl, bad).is_empty(), "{bad}");
        }
        let with_password = reason(Kind::HttpUrl, "http://u:hunter2@h");
        assert!(!with_password.contains("hunter2"), "{with_password}");
        assert!(reason(Kind::CatalogUri, "sqlite://relative.db").contains("absolute"));
        assert!(reason(Kind::CatalogUri, "mysql://u:hunter2@h/db").contains("unknown scheme"));
        assert!(reason(Kind::CatalogUri, "https://u:p@h/").contains("catalog.token"));
        let without_database = reason(Kind::CatalogUri, "postgresql://u:hunter2@h:5432");
        assert!(
            without_database.contains("no database") && !without_database.contains("hunter2"),
            "{without_database}"
        );
        for good in [
            "postgresql://u:p@h/db",
            "postgres://h/db",
            "postgresql+psycopg2://u@h:1/db?sslmode=require",
        ] {
            assert!(check(Kind::CatalogUri, &Raw::Text(good.into())).is_ok(), "{good}");
        }
        assert!(check(Kind::Warehouse, &Raw::Text("s3://bucket/x".into())).is_ok());
        assert!(reason(Kind::Warehouse, "s3:///x").contains("bucket"));
        assert!(reason(Kind::Warehouse, "gs://bucket/x").contains("unknown scheme"));
        assert!(reason(Kind::Warehouse, "relative").contains("absolute"));
    }

    #[test]
    fn times_and_addresses() {
        assert_eq!(parse_time_ms("1970-01-01T00:00:01Z"), Some(1000));
        assert!(check(Kind::Start, &Raw::Text("yesterday".into())).is_err());
        assert_eq!(
            check(Kind::Listen, &Raw::Text("localhost:1".into())),
            Ok(Value::Text("127.0.0.1:1".into()))
        );
        assert!(check(Kind::Listen, &Raw::Text("9464".into())).is_err());
        for (text, written) in [
            ("h:1", "http://h:1"),
            ("https://h:1/", "https://h:1"),
            ("[::1]:5", "http://[::1]:5"),
        ] {
            let value = check(Kind::Endpoint, &Raw::Text(text.into()));
            assert_eq!(value, Ok(Value::Text(written.into())));
        }
        for bad in ["ftp://h:1", "http://u:hunter2@h:1", "https://h:1/path", ":1", "http://"] {
            let reason = reason(Kind::Endpoint, bad);
            assert!(
                reason.contains("host:port") && !reason.contains("hunter2"),
                "{bad}: {reason}"
            );
        }
    }
}
