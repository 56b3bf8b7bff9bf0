//! URIs of PostgreSQL, as SQLAlchemy and libpq write them.

use sqlx::postgres::PgConnectOptions;
use tapehouse_core::secret::mask_userinfo;
use url::Url;

use crate::error::LakeError;

/// Shown at the server's, unless the URI says otherwise.
const APPLICATION_NAME: &str = "tapehouse";
const EXPECTED: &str = "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, with special \
     characters percent-encoded, and of parameters only sslmode, sslrootcert, sslcert, sslkey, host, port, user, password, \
     dbname, options, application_name and statement-cache-capacity";
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "statement-cache-capacity",
];

/// Whether `scheme` is one of PostgreSQL's; SQLAlchemy's may name a driver (`postgresql+psycopg2`), which says nothing here.
pub(super) fn is_scheme(scheme: &str) -> bool {
    let dialect = scheme.split_once('+').map_or(scheme, |(dialect, _)| dialect);
    matches!(dialect, "postgresql" | "postgres")
}

/// How to connect to the database at `uri`.
pub(super) fn parse(uri: &str) -> Result<PgConnectOptions, LakeError> {
    let unsupported = || LakeError::Unsupported {
        what: "catalog",
        value: mask_userinfo(uri),
        expected: EXPECTED,
    };
    let (_, rest) = uri.split_once("://").ok_or_else(unsupported)?;
    let url = Url::parse(&format!("postgresql://{rest}")).map_err(|_| unsupported())?;
    let known = |name: &str| PARAMETERS.contains(&name);
    if !url.query_pairs().all(|(name, _)| known(&name)) || url.path().trim_matches('/').contains('/') {
        return Err(unsupported());
    }
    let options: PgConnectOptions = url.as_str().parse().map_err(|_| unsupported())?;
    let named = url.query_pairs().any(|(name, _)| name == "application_name");
    Ok(match named {
        true => options,
        false => options.application_name(APPLICATION_NAME),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_sqlalchemy_and_libpq() {
        for uri in [
            "postgresql://user:p%40ss@db.example:6432/lake?sslmode=require",
            "postgres://user:p%40ss@db.example:6432/lake",
            "postgresql+psycopg2://user:p%40ss@db.example:6432/lake",
        ] {
            let options = parse(uri).unwrap();
            let found = (options.get_host(), options.get_port(), options.get_username());
            assert_eq!(found, ("db.example", 6432, "user"), "{uri}");
            assert_eq!(options.get_database(), Some("lake"), "{uri}");
        }
        let socket = parse("postgresql:///lake?host=/var/run/postgresql").unwrap();
        assert_eq!(socket.get_socket().unwrap().to_str(), Some("/var/run/postgresql"));
        for uri in [
            "postgresql://u:hunter2@h/db?sslmod=require",
            "postgresql://u:hunter2@h/db?sslmode=sometimes",
            "postgresql://u:hunter2@h:port/db",
            "postgresql://u:hunter2@h/db/more",
            "postgresql://u@h/db?password=hunter2&x=y",
        ] {
            let error = parse(uri).unwrap_err().to_string();
            assert!(
                error.contains("expected postgresql://") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn schemes() {
        assert!(
            ["postgresql", "postgres", "postgresql+psycopg2"]
                .into_iter()
                .all(is_scheme)
        );
        assert!(!["postgresqlx", "mysql", "pg"].into_iter().any(is_scheme));
    }
}
