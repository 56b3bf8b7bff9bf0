//! Why Kafka lets nobody in. The client library tries again for ever and answers with a time-out; what the brokers said in between
//! it reports aside, and here it is kept for whoever asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::KafkaSettings;
use crate::tls_probe::why_untrusted;

/// Kafka is there, and the connection or the request is refused: by the brokers, or by this side because it cannot trust them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// User, password or mechanism.
    #[error("Kafka refuses the credentials: {0}")]
    Authentication(String),
    /// No TLS connection comes about.
    #[error("no secure connection to Kafka: {0}")]
    Tls(String),
    /// The user may not read the topic.
    #[error("this user is not permitted to read topic `{0}`")]
    Topic(String),
}

impl AccessError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Authentication(_) => "kafka_authentication",
            Self::Tls(_) => "kafka_tls",
            Self::Topic(_) => "kafka_authorization",
        }
    }

    /// What to look at.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Authentication(_) => {
                "check kafka.security_protocol, kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password"
            }
            Self::Tls(reason) if reason.contains("certificate required") => {
                "the brokers ask for a client certificate: set kafka.ssl_certificate_location and kafka.ssl_key_location"
            }
            Self::Tls(reason) if reason.contains("listener?") => {
                "check that kafka.security_protocol is the one of this port: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
            }
            Self::Tls(_) => {
                "check kafka.ssl_ca_location, and that kafka.bootstrap_servers names the hosts as the brokers' certificates do"
            }
            Self::Topic(_) => {
                "grant the user READ and DESCRIBE on the topic (kafka-acls --add --operation Read --topic ...)"
            }
        }
    }

    /// What the client library reports, if it is a refusal.
    fn of(code: RDKafkaErrorCode, reason: &str) -> Option<Self> {
        use RDKafkaErrorCode::{
            Authentication, BrokerTransportFailure, IllegalSASLState, SSL, SaslAuthenticationFailed,
            UnsupportedSASLMechanism,
        };
        let is_tls = ["SSL routines", "SSL handshake", "certificate", "listener?"];
        match code {
            Authentication | SaslAuthenticationFailed | UnsupportedSASLMechanism | IllegalSASLState => {
                Some(Self::Authentication(shortened(reason)))
            }
            SSL => Some(Self::Tls(shortened(reason))),
            BrokerTransportFailure if reason.contains("require SASL authentication") => Some(Self::Authentication(
                "the port asks for SASL, and kafka.security_protocol has none".to_owned(),
            )),
            BrokerTransportFailure if is_tls.iter().any(|part| reason.contains(part)) => {
                Some(Self::Tls(shortened(reason)))
            }
            _ => None,
        }
    }
}

/// Longest wait for one answer while what the brokers say is not looked at.
const SLICE: Duration = Duration::from_secs(1);
/// A refusal explains what fails within so long: the client library says the same again only after 30 s.
const FRESH: Duration = Duration::from_secs(60);
/// Of a reason.
const MAX_REASON_CHARS: usize = 300;

/// `ssl://host:1/bootstrap: SASL authentication error: REASON (after 3ms in state AUTH_REQ)` without what is the client's own.
fn shortened(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or(reason);
    let reason = reason.rsplit("SASL authentication error: ").next().unwrap_or(reason);
    reason.chars().take(MAX_REASON_CHARS).collect()
}

/// The last refusal that a client heard of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<(Instant, AccessError)>>>);

impl Heard {
    /// Keeps what is a refusal.
    pub(crate) fn note(&self, error: &KafkaError, reason: &str) {
        let refusal = error
            .rdkafka_error_code()
            .and_then(|code| AccessError::of(code, reason));
        if let Some(refusal) = refusal {
            // Whole at every step.
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The brokers' word on the credentials is not covered by the lines about the connection that ends then.
            if !matches!(*heard, Some((at, AccessError::Authentication(_))) if at.elapsed() < FRESH) {
                *heard = Some((Instant::now(), refusal));
            }
        }
    }

    /// Keeps what is a refusal of a log line: disconnections are not always reported otherwise.
    pub(crate) fn note_log(&self, facility: &str, message: &str) {
        if facility == "FAIL" {
            self.note(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), message);
        }
    }

    /// What was heard not long ago.
    pub(crate) fn recent(&self) -> Option<AccessError> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = heard.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        recent.map(|(_, refusal)| refusal.clone())
    }

    /// An answer came: nothing is refused any more.
    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why there is no answer: what was heard not long ago, with what is wrong with a certificate, else `error`. Blocks for at most
    /// 3 s.
    pub(crate) fn cause(&self, error: KafkaError, settings: &KafkaSettings) -> Unanswered {
        match self.recent() {
            Some(refusal) => Unanswered::Refused(detailed(refusal, settings)),
            None => Unanswered::Kafka(error),
        }
    }

    /// Asks until there is an answer, a refusal, or `timeout` has passed. `serve` has to dispatch what the client library reports.
    pub(crate) fn ask<T>(
        &self,
        settings: &KafkaSettings,
        timeout: Duration,
        ask: impl Fn(Duration) -> Result<T, KafkaError>,
        serve: impl Fn(),
    ) -> Result<T, Unanswered> {
        let started = Instant::now();
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            let error = match ask(left.min(SLICE)) {
                Ok(answer) => {
                    self.clear();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            serve();
            match self.cause(error, settings) {
                Unanswered::Kafka(_) if left > SLICE => {}
                unanswered => return Err(unanswered),
            }
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Unanswered {
    Refused(AccessError),
    Kafka(KafkaError),
}

/// The client library does not say what is wrong with a certificate.
fn detailed(refusal: AccessError, settings: &KafkaSettings) -> AccessError {
    match &refusal {
        AccessError::Tls(reason) if reason.contains("certificate verify failed") => match why_untrusted(settings) {
            Some(why) => AccessError::Tls(format!("the broker's certificate is not accepted: {why}")),
            None => refusal,
        },
        _ => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_what_heals_by_itself() {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, BrokerTransportFailure, SSL};
        let of = |code, reason: &str| AccessError::of(code, reason).map(|error| (error.code(), error.to_string()));
        let sasl = "sasl_ssl://h:1/bootstrap: SASL authentication error: Invalid username or password (after 302ms in state AUTH_REQ)";
        assert_eq!(
            of(Authentication, sasl),
            Some((
                "kafka_authentication",
                "Kafka refuses the credentials: Invalid username or password".to_owned()
            ))
        );
        assert_eq!(
            of(SSL, "x: SSL handshake failed (after 1ms in state S)").map(|of| of.0),
            Some("kafka_tls")
        );
        let alert =
            "ssl://h:1/bootstrap: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required";
        assert_eq!(of(BrokerTransportFailure, alert).map(|of| of.0), Some("kafka_tls"));
        assert_eq!(
            of(
                BrokerTransportFailure,
                "Connect to ipv4#127.0.0.1:1 failed: Connection refused"
            ),
            None
        );
        assert_eq!(of(AllBrokersDown, "1/1 brokers are down"), None);
    }
}
