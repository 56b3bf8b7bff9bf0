//! Who may call what: tokens, roles, and the role that each method asks for.

use subtle::{Choice, ConstantTimeEq as _};
use tonic::codegen::http::{HeaderMap, header};

use super::refusal::{Reason, Refusal};
use crate::config::{ConfigError, Fault, Grpc, Tokens};

/// A token has at least so many bytes: shorter ones can be guessed.
const TOKEN_MIN_BYTES: usize = 16;
/// A token has at most so many bytes.
const TOKEN_MAX_BYTES: usize = 256;
/// Tokens of one role; each request is compared with all.
const TOKENS_MAX: usize = 100;

/// What a caller may do. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Anybody who can connect.
    Anybody,
    /// Look.
    Viewer,
    /// Change things.
    Operator,
}

/// A method, and who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Full name of its service.
    pub service: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Who may call it.
    pub role: Role,
}

const fn method(service: &'static str, name: &'static str, role: Role) -> Method {
    Method { service, name, role }
}

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "ServerReflectionInfo";

/// Every method that is served. Health is open: balancers have no tokens, and it tells nothing else.
pub const METHODS: &[Method] = &[
    method("tapehouse.v1.Cluster", "GetCluster", Role::Viewer),
    method("tapehouse.v1.Offsets", "ListOffsets", Role::Viewer),
    method("tapehouse.v1.Offsets", "WatchOffsets", Role::Viewer),
    method("tapehouse.v1.Runs", "ListRuns", Role::Viewer),
    method("tapehouse.v1.Runs", "GetRun", Role::Viewer),
    method("tapehouse.v1.Runs", "WatchRuns", Role::Viewer),
    method("tapehouse.v1.Runs", "RetryRun", Role::Operator),
    method("tapehouse.v1.Runs", "CancelRun", Role::Operator),
    method("tapehouse.v1.Backfills", "CreateBackfill", Role::Operator),
    method("tapehouse.v1.Backfills", "ListBackfills", Role::Viewer),
    method("tapehouse.v1.Backfills", "GetBackfill", Role::Viewer),
    method("tapehouse.v1.Backfills", "PauseBackfill", Role::Operator),
    method("tapehouse.v1.Backfills", "ResumeBackfill", Role::Operator),
    method("tapehouse.v1.Backfills", "CancelBackfill", Role::Operator),
    method("tapehouse.v1.Schedules", "ListSchedules", Role::Viewer),
    method("tapehouse.v1.Schedules", "PauseSchedule", Role::Operator),
    method("tapehouse.v1.Schedules", "ResumeSchedule", Role::Operator),
    method("tapehouse.v1.Schedules", "TriggerSchedule", Role::Operator),
    method("tapehouse.v1.Tables", "ListTables", Role::Viewer),
    method("tapehouse.v1.Tables", "GetTable", Role::Viewer),
    method(HEALTH, "Check", Role::Anybody),
    method(HEALTH, "Watch", Role::Anybody),
    method(HEALTH, "List", Role::Anybody),
    method("grpc.reflection.v1.ServerReflection", REFLECTION, Role::Viewer),
    method("grpc.reflection.v1alpha.ServerReflection", REFLECTION, Role::Viewer),
];

/// Stands for every method that is not served; only operators learn that it is not.
pub const UNKNOWN: Method = method("unknown", "unknown", Role::Operator);

/// The method of a request's path.
pub fn method_of(path: &str) -> Method {
    let (service, name) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let found = METHODS
        .iter()
        .find(|method| method.service == service && method.name == name);
    found.copied().unwrap_or(UNKNOWN)
}

/// A token, padded so that comparing takes the same time whatever its length.
#[derive(Clone)]
struct Padded {
    bytes: [u8; TOKEN_MAX_BYTES],
    length: u64,
}

impl Padded {
    fn of(token: &str) -> Option<Self> {
        let mut bytes = [0; TOKEN_MAX_BYTES];
        bytes.get_mut(..token.len())?.copy_from_slice(token.as_bytes());
        let length = token.len() as u64;
        Some(Self { bytes, length })
    }

    fn same(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&other.bytes) & self.length.ct_eq(&other.length)
    }
}

/// The tokens of all roles. No `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub struct Guard {
    viewers: Vec<Padded>,
    operators: Vec<Padded>,
}

impl Guard {
    /// Reads the tokens that the configuration names.
    ///
    /// # Errors
    /// Files that cannot be read, tokens that are too short or too long, too many of them.
    pub fn of(config: &Grpc) -> Result<Self, ConfigError> {
        Ok(Self {
            viewers: read("grpc.viewer_tokens", &config.viewers)?,
            operators: read("grpc.operator_tokens", &config.operators)?,
        })
    }

    /// Whether tokens are asked for at all.
    fn is_open(&self) -> bool {
        self.viewers.is_empty() && self.operators.is_empty()
    }

    /// Lets a request pass that may call `method`.
    ///
    /// # Errors
    /// `unauthenticated` or `permission_denied`.
    pub fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.is_open() || method.role == Role::Anybody {
            return Ok(());
        }
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown.and_then(bearer).and_then(Padded::of);
        let role = token.map_or(Role::Anybody, |token| self.role_of(&token));
        if role >= method.role {
            return Ok(());
        }
        Err(match (role, shown) {
            (Role::Anybody, None) => refused("a token is needed: authorization: Bearer TOKEN"),
            (Role::Anybody, Some(_)) => refused("the token is not known"),
            _ => Refusal::new(
                Reason::PermissionDenied,
                "the token is a viewer's, and this call is not for viewers",
            ),
        })
    }

    /// Compares with every token, also after one was found.
    fn role_of(&self, token: &Padded) -> Role {
        let among = |known: &[Padded]| {
            known
                .iter()
                .fold(Choice::from(0), |found, each| found | each.same(token))
        };
        let (viewer, operator) = (among(&self.viewers), among(&self.operators));
        match (bool::from(operator), bool::from(viewer)) {
            (true, _) => Role::Operator,
            (false, true) => Role::Viewer,
            (false, false) => Role::Anybody,
        }
    }
}

fn refused(message: &str) -> Refusal {
    Refusal::new(Reason::Unauthenticated, message)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn read(key: &'static str, tokens: &Tokens) -> Result<Vec<Padded>, ConfigError> {
    let mut read = Vec::new();
    if let Some(values) = &tokens.values {
        read.extend(padded(key, values.reveal().split(','))?);
    }
    if let Some(file) = &tokens.file {
        let key = format!("{key}_file");
        let fault = |reason: String| Fault::new(&key, format!("{} {reason}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| fault(format!("cannot be read: {error}")))?;
        let of_file = padded(&key, text.lines())?;
        if of_file.is_empty() {
            return Err(fault("holds no token: one a line".to_owned()).into());
        }
        read.extend(of_file);
    }
    if read.len() > TOKENS_MAX {
        return Err(Fault::new(
            key,
            format!("has {} tokens, at most {TOKENS_MAX} are taken", read.len()),
        )
        .into());
    }
    Ok(read)
}

fn padded<'t>(key: &str, tokens: impl Iterator<Item = &'t str>) -> Result<Vec<Padded>, ConfigError> {
    let fault = |what: &str| {
        let fault = Fault::new(key, format!("holds a token of {what} bytes"));
        ConfigError::from(fault.example("openssl rand -hex 32"))
    };
    let mut padded = Vec::new();
    for token in tokens.map(str::trim).filter(|token| !token.is_empty()) {
        if token.len() < TOKEN_MIN_BYTES {
            return Err(fault(&format!("less than {TOKEN_MIN_BYTES}")));
        }
        padded.push(Padded::of(token).ok_or_else(|| fault(&format!("more than {TOKEN_MAX_BYTES}")))?);
    }
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tonic::{Code, Status};

    use super::*;
    use crate::config::Secret;

    const VIEWER: &str = "viewer-token-0123456789";
    const OPERATOR: &str = "operator-token-0123456789";

    fn guard() -> Guard {
        let tokens = |text: &str| Tokens {
            values: Some(Secret::new(text)),
            file: None,
        };
        Guard {
            viewers: read(
                "grpc.viewer_tokens",
                &tokens(&format!("another-token-0123456789,{VIEWER}")),
            )
            .unwrap(),
            operators: read("grpc.operator_tokens", &tokens(OPERATOR)).unwrap(),
        }
    }

    fn answer(guard: &Guard, path: &str, authorization: Option<&str>) -> Option<Code> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let refusal = guard.admit(&method_of(path), &headers).err();
        refusal.map(|refusal| Status::from(refusal).code())
    }

    #[test]
    fn roles() {
        let guard = guard();
        let bearer = |token: &str| format!("Bearer {token}");
        let (list, health) = ("/tapehouse.v1.Offsets/ListOffsets", "/grpc.health.v1.Health/Check");
        assert_eq!(answer(&guard, health, None), None);
        assert_eq!(answer(&guard, list, None), Some(Code::Unauthenticated));
        assert_eq!(answer(&guard, list, Some(VIEWER)), Some(Code::Unauthenticated));
        assert_eq!(
            answer(&guard, list, Some("Bearer viewer-token")),
            Some(Code::Unauthenticated)
        );
        assert_eq!(
            answer(&guard, list, Some(&bearer(&"x".repeat(300)))),
            Some(Code::Unauthenticated)
        );
        assert_eq!(answer(&guard, list, Some(&bearer(VIEWER))), None);
        assert_eq!(answer(&guard, list, Some(&format!("bearer {OPERATOR}"))), None);
        let unknown = "/tapehouse.v1.Admin/Drain";
        assert_eq!(
            answer(&guard, unknown, Some(&bearer(VIEWER))),
            Some(Code::PermissionDenied)
        );
        assert_eq!(answer(&guard, unknown, Some(&bearer(OPERATOR))), None);
        assert_eq!(answer(&Guard::default(), list, None), None);
    }

    #[test]
    fn tokens_that_are_none() {
        let of = |text: &str| Tokens {
            values: Some(Secret::new(text)),
            file: None,
        };
        let fault = read("grpc.viewer_tokens", &of("short-hunter2"))
            .err()
            .unwrap()
            .to_string();
        assert!(fault.contains("less than 16") && !fault.contains("hunter2"), "{fault}");
        assert!(read("grpc.viewer_tokens", &of(&"x".repeat(257))).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let of_file = Tokens {
            values: None,
            file: Some(path.clone()),
        };
        assert!(read("grpc.viewer_tokens", &of_file).is_err());
        std::fs::write(&path, "\n").unwrap();
        assert!(read("grpc.viewer_tokens", &of_file).is_err());
        std::fs::write(&path, format!("{VIEWER}\n\n{OPERATOR}\n")).unwrap();
        assert_eq!(read("grpc.viewer_tokens", &of_file).unwrap().len(), 2);
    }

    #[test]
    fn each_method_of_the_interface_has_a_role() {
        let files = prost_types::FileDescriptorSet::decode(tapehouse_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = 0;
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    assert_ne!(method_of(&path), UNKNOWN, "{path}");
                    methods += 1;
                }
            }
        }
        assert_eq!(
            methods,
            METHODS
                .iter()
                .filter(|method| method.service.starts_with("tapehouse."))
                .count()
        );
    }
}
