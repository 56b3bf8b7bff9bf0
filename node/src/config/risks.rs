//! What a configuration permits that is not safe everywhere. Each is somebody's decision, or a default of others; none goes unsaid.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use url::Url;

use super::interfaces::keeps_secrets;
use super::{Config, Grpc, Kafka, Lake, Registry, RegistryLogin};

/// The rights of others than the owner and the group.
const OTHERS: u32 = 0o007;

/// Each risk in a sentence: what is open, and to whom.
pub fn risks(config: &Config) -> Vec<String> {
    let mut risks = Vec::new();
    if !config.http_listen.ip().is_loopback() {
        risks.push(format!(
            "HTTP at {} has neither TLS nor tokens: whoever reaches it reads the metrics",
            config.http_listen
        ));
    }
    grpc(&config.grpc, &mut risks);
    config.kafka.iter().for_each(|of| kafka(of, &mut risks));
    config.registry.iter().for_each(|of| registry(of, &mut risks));
    config.lake.iter().for_each(|of| lake(of, &mut risks));
    if let Some(gateway) = config.pushgateway_url.as_deref().and_then(|url| Url::parse(url).ok())
        && gateway.password().is_some()
        && !keeps_secrets(gateway.as_str())
    {
        risks.push(in_plain_text("metrics.pushgateway_url", "its password"));
    }
    risks
}

fn in_plain_text(key: &str, what: &str) -> String {
    format!("{key} is not https and not on this machine: {what} crosses the network in plain text")
}

fn grpc(grpc: &Grpc, risks: &mut Vec<String>) {
    let tokens = grpc.viewers.are_set() || grpc.operators.are_set();
    if !grpc.listen.ip().is_loopback() && (grpc.tls.is_none() || !tokens) {
        let listen = grpc.listen;
        risks.push(format!(
            "gRPC at {listen} is without TLS or without tokens: others may read it, or its answers"
        ));
    }
    for (key, file) in [
        ("grpc.viewer_tokens_file", &grpc.viewers.file),
        ("grpc.operator_tokens_file", &grpc.operators.file),
        ("grpc.tls_key", &grpc.tls.as_ref().map(|tls| tls.key.clone())),
    ] {
        if file.as_deref().is_some_and(is_open) {
            risks.push(format!(
                "{key}: everybody on this machine may read the file, or change it"
            ));
        }
    }
}

fn is_open(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & OTHERS != 0)
}

fn kafka(kafka: &Kafka, risks: &mut Vec<String>) {
    let is_set = |name: &str, value: &str| {
        let set = kafka.properties.get(name);
        set.is_some_and(|set| set.trim().eq_ignore_ascii_case(value))
    };
    if is_set("enable.ssl.certificate.verification", "false") {
        risks.push("kafka: certificates are not verified: anybody in between may pose as the brokers".to_owned());
    } else if is_set("ssl.endpoint.identification.algorithm", "none") {
        risks.push("kafka: a certificate of any host is taken as the brokers'".to_owned());
    }
    let plain = kafka.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == "PLAIN");
    let far = |server: &str| !keeps_secrets(&format!("http://{}", server.rsplit("://").next().unwrap_or(server)));
    if plain && kafka.security_protocol == "SASL_PLAINTEXT" && kafka.bootstrap_servers.split(',').any(far) {
        risks.push("kafka: PLAIN over SASL_PLAINTEXT: the password crosses the network in plain text".to_owned());
    }
}

fn registry(registry: &Registry, risks: &mut Vec<String>) {
    if !matches!(registry.login, RegistryLogin::None) && !keeps_secrets(&registry.url) {
        risks.push(in_plain_text("schema_registry.url", "the password or token"));
    }
}

fn lake(lake: &Lake, risks: &mut Vec<String>) {
    let (uri, rest) = (&lake.catalog.uri, &lake.catalog.rest);
    let has_login = rest.token.is_some() || rest.credential.is_some();
    if uri.starts_with("http") && has_login && !keeps_secrets(uri) {
        risks.push(in_plain_text("catalog.uri", "the token"));
    }
    if let Some(place) = &rest.oauth2_server_uri
        && !keeps_secrets(place)
    {
        risks.push(in_plain_text("catalog.oauth2_server_uri", "the credential"));
    }
    if uri.starts_with("postgres") && !is_verified(uri) {
        risks.push("catalog.uri: without sslmode=verify-full anybody in between may pose as the database".to_owned());
    }
    if lake.s3.allow_http {
        risks.push("s3.allow_http: data crosses the network in plain text where the endpoint is http".to_owned());
    }
}

/// Whether the database's certificate is verified, or nobody is in between: a socket, this machine.
fn is_verified(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return true };
    let parameter = |wanted: &str| {
        let found = url.query_pairs().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.into_owned())
    };
    let host = parameter("host").or_else(|| url.host_str().map(str::to_owned));
    let host = host.unwrap_or_default();
    let near = host.is_empty() || host.starts_with('/') || keeps_secrets(&format!("http://{host}"));
    near || parameter("sslmode").is_some_and(|mode| mode == "verify-full" || mode == "verify-ca")
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Flags};
    use super::*;

    fn found(toml: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tapehouse.toml");
        std::fs::write(&file, toml).unwrap();
        let flags = Flags {
            file: Some(file),
            insecure: true,
            ..Flags::default()
        };
        risks(&Config::load_from(&flags, &[], Environment::of(&[])).unwrap())
    }

    #[test]
    fn what_stays_on_this_machine_or_is_verified_is_no_risk() {
        for safe in [
            "",
            "[schema_registry]\nurl = \"http://localhost:8081\"\nuser = \"u\"\npassword = \"p\"\n",
            "[schema_registry]\nurl = \"http://registry:8081\"\n",
            "[catalog]\nuri = \"postgresql://u:p@localhost/db\"\n[warehouse]\npath = \"/w\"\n",
            "[catalog]\nuri = \"postgresql:///db?host=/run/postgresql\"\n[warehouse]\npath = \"/w\"\n",
            "[catalog]\nuri = \"postgresql://u:p@db/x?sslmode=verify-full\"\n[warehouse]\npath = \"/w\"\n",
            "[kafka]\nbootstrap_servers = \"b:9093\"\nsecurity_protocol = \"SSL\"\n",
        ] {
            assert_eq!(found(safe), Vec::<String>::new(), "{safe}");
        }
    }

    #[test]
    fn each_risk_is_said_and_no_secret_with_it() {
        let sasl = "sasl_username = \"u\"\nsasl_password = \"hunter2\"\n";
        for (open, said) in [
            ("[http]\nlisten = \"0.0.0.0:9464\"\n".to_owned(), "metrics"),
            ("[grpc]\nlisten = \"0.0.0.0:50051\"\n".to_owned(), "gRPC"),
            (
                "[kafka]\nbootstrap_servers = \"b:9093\"\nsecurity_protocol = \"SSL\"\n[kafka.properties]\n\
                 \"enable.ssl.certificate.verification\" = false\n"
                    .to_owned(),
                "not verified",
            ),
            (
                "[kafka]\nbootstrap_servers = \"b:9093\"\nsecurity_protocol = \"SSL\"\n[kafka.properties]\n\
                 \"ssl.endpoint.identification.algorithm\" = \"none\"\n"
                    .to_owned(),
                "any host",
            ),
            (
                format!(
                    "[kafka]\nbootstrap_servers = \"b:9093\"\nsecurity_protocol = \"SASL_PLAINTEXT\"\n\
                     sasl_mechanism = \"PLAIN\"\n{sasl}"
                ),
                "plain text",
            ),
            (
                "[schema_registry]\nurl = \"http://registry:8081\"\nuser = \"u\"\npassword = \"hunter2\"\n".to_owned(),
                "schema_registry.url",
            ),
            (
                "[catalog]\nuri = \"http://rest:8181\"\ntoken = \"hunter2\"\n[warehouse]\npath = \"/w\"\n".to_owned(),
                "catalog.uri",
            ),
            (
                "[catalog]\nuri = \"postgresql://u:hunter2@db/x\"\n[warehouse]\npath = \"/w\"\n".to_owned(),
                "verify-full",
            ),
        ] {
            let risks = found(&open);
            assert!(risks.len() == 1 && risks[0].contains(said), "{open}: {risks:?}");
            assert!(!risks[0].contains("hunter2"));
        }
    }

    #[test]
    fn a_file_of_tokens_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        std::fs::write(&file, "viewer-token-0123456789\n").unwrap();
        let toml = format!("[grpc]\nviewer_tokens_file = \"{}\"\n", file.display());
        for (mode, count) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o666, 1)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(found(&toml).len(), count, "{mode:o}");
        }
    }
}
