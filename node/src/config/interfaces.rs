//! Where a node listens and how a command reaches one: who may, from where, under which protection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use super::fault::Fault;
use super::resolve::Resolved;
use super::secret::{Secret, mask_userinfo};

/// The gRPC server.
#[derive(Clone, Debug)]
pub struct Grpc {
    /// Address.
    pub listen: SocketAddr,
    /// Certificate and key; without them the server speaks plain text.
    pub tls: Option<ServerTls>,
    /// Who may look.
    pub viewers: Tokens,
    /// Who may change things.
    pub operators: Tokens,
    /// A connection is told to go at this age, so that balancers can spread clients anew.
    pub connection_max_age: Duration,
}

impl Grpc {
    /// On this machine alone, without TLS and tokens.
    pub fn local(port: u16) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            tls: None,
            viewers: Tokens::default(),
            operators: Tokens::default(),
            connection_max_age: Duration::from_secs(900),
        }
    }
}

/// TLS of the gRPC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authority of the clients' certificates, PEM; with it every client needs one.
    pub client_ca: Option<PathBuf>,
}

/// Tokens of one role.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Separated by commas.
    pub values: Option<Secret>,
    /// One a line.
    pub file: Option<PathBuf>,
}

impl Tokens {
    /// Whether any are given.
    pub fn are_set(&self) -> bool {
        self.values.is_some() || self.file.is_some()
    }
}

/// How a command reaches a node.
#[derive(Clone, Debug)]
pub struct Client {
    /// `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// What it shows to be let in.
    pub token: Option<ClientToken>,
    /// Authority of the node's certificate, PEM; the system's where none is given.
    pub ca: Option<PathBuf>,
    /// Certificate and key of this client, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

/// The token of a client.
#[derive(Clone, Debug)]
pub enum ClientToken {
    /// The token.
    Value(Secret),
    /// A file that holds it.
    File(PathBuf),
}

/// The rule of every listener: an address other than loopback needs protection, or `insecure` said aloud. `lack` says what is
/// missing, `None` where nothing is.
fn check_listen(
    resolved: &Resolved,
    section: &str,
    key: &'static str,
    insecure: bool,
    lack: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Option<SocketAddr> {
    let address: SocketAddr = resolved.text(key)?.parse().ok()?;
    let allowed = insecure || resolved.flag(&format!("{section}.insecure"));
    if let (false, false, Some(lack)) = (address.ip().is_loopback(), allowed, lack) {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        let reason = format!("{address} is not a loopback address, and {lack}");
        let example = format!("[{section}] listen = \"{local}\", or insecure = true beside it, or the flag --insecure");
        faults.push(resolved.fault(key, reason).example(example));
    }
    Some(address)
}

/// Address of the HTTP server.
pub fn http_listen(resolved: &Resolved, insecure: bool, faults: &mut Vec<Fault>) -> Option<SocketAddr> {
    let lack = Some("HTTP has neither TLS nor tokens");
    check_listen(resolved, "http", "http.listen", insecure, lack, faults)
}

/// The gRPC server.
pub fn grpc(resolved: &Resolved, insecure: bool, faults: &mut Vec<Fault>) -> Option<Grpc> {
    let path = |key: &str| resolved.text(key).map(PathBuf::from);
    let tokens = |values: &str, file: &str| Tokens {
        values: resolved.text(values).map(Secret::new),
        file: path(file),
    };
    let (certificate, key) = (path("grpc.tls_certificate"), path("grpc.tls_key"));
    let client_ca = path("grpc.tls_client_ca");
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ServerTls {
            certificate,
            key,
            client_ca,
        }),
        (Some(_), None) => {
            faults.push(resolved.fault(
                "grpc.tls_key",
                "is missing: grpc.tls_certificate is set, they go together",
            ));
            None
        }
        (None, Some(_)) => {
            let reason = "is missing: grpc.tls_key is set, they go together";
            faults.push(resolved.fault("grpc.tls_certificate", reason));
            None
        }
        (None, None) if client_ca.is_some() => {
            let reason = "is missing: grpc.tls_client_ca is set, and certificates of clients need TLS";
            faults.push(resolved.fault("grpc.tls_certificate", reason));
            None
        }
        (None, None) => None,
    };
    let viewers = tokens("grpc.viewer_tokens", "grpc.viewer_tokens_file");
    let operators = tokens("grpc.operator_tokens", "grpc.operator_tokens_file");
    let lack = match (tls.is_some(), viewers.are_set() || operators.are_set()) {
        (true, true) => None,
        (true, false) => Some("no tokens are set: grpc.viewer_tokens or grpc.operator_tokens"),
        (false, true) => Some("there is no TLS: grpc.tls_certificate and grpc.tls_key"),
        (false, false) => Some(
            "there are neither TLS (grpc.tls_certificate, grpc.tls_key) nor tokens (grpc.viewer_tokens, grpc.operator_tokens)",
        ),
    };
    let listen = check_listen(resolved, "grpc", "grpc.listen", insecure, lack, faults)?;
    Some(Grpc {
        listen,
        tls,
        viewers,
        operators,
        connection_max_age: Duration::from_secs(resolved.integer("grpc.connection_max_age_s")?),
    })
}

/// How to reach a node; `None` where commands read tables and Kafka themselves.
pub fn client(resolved: &Resolved, insecure: bool, faults: &mut Vec<Fault>) -> Option<Client> {
    let path = |key: &str| resolved.text(key).map(PathBuf::from);
    let token = match (resolved.text("client.token"), path("client.token_file")) {
        (Some(_), Some(_)) => {
            faults.push(resolved.fault("client.token_file", "is set, and client.token too: give either"));
            None
        }
        (Some(token), None) => Some(ClientToken::Value(Secret::new(token))),
        (None, file) => file.map(ClientToken::File),
    };
    let identity = match (path("client.certificate"), path("client.key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            faults.push(resolved.fault("client.key", "is missing: client.certificate is set, they go together"));
            None
        }
        (None, Some(_)) => {
            faults.push(resolved.fault("client.certificate", "is missing: client.key is set, they go together"));
            None
        }
    };
    let endpoint = resolved.text("client.endpoint")?.to_owned();
    if token.is_some() && !insecure && !keeps_secrets(&endpoint) {
        let reason = format!(
            "{} is neither https nor this machine: the token would travel in plain text",
            mask_userinfo(&endpoint)
        );
        let fault = resolved.fault("client.endpoint", reason);
        faults.push(fault.example("--endpoint https://node-1:50051, or the flag --insecure"));
    }
    Some(Client {
        endpoint,
        token,
        ca: path("client.ca"),
        identity,
        timeout: Duration::from_millis(resolved.integer("client.timeout_ms")?),
    })
}

/// Whether nobody else can read what is sent to `endpoint`.
pub(super) fn keeps_secrets(endpoint: &str) -> bool {
    let Ok(url) = Url::parse(endpoint) else { return false };
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Domain(name)) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_token_may_go() {
        for safe in [
            "https://h:1",
            "http://localhost:1",
            "http://127.0.0.1:50051",
            "http://[::1]:1",
        ] {
            assert!(keeps_secrets(safe), "{safe}");
        }
        for open in [
            "http://h:1",
            "http://10.0.0.1:1",
            "http://localhost.example.com:1",
            "nonsense",
        ] {
            assert!(!keeps_secrets(open), "{open}");
        }
    }
}
