//! What is wrong with a broker's certificate: one TLS handshake by another client, which says so.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Certificate, Client};

use crate::KafkaSettings;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the certificate of the first broker is not to be trusted; `None` where that cannot be found out. Blocks for at most 3 s; not
/// for async threads.
pub(crate) fn why_untrusted(settings: &KafkaSettings) -> Option<String> {
    let server = settings.bootstrap_servers.split(',').next()?.trim();
    let mut builder = Client::builder().timeout(TIMEOUT).no_proxy();
    if let Some(path) = settings.properties.get("ssl.ca.location") {
        let pem = std::fs::read(path).ok()?;
        for certificate in Certificate::from_pem_bundle(&pem).ok()? {
            builder = builder.add_root_certificate(certificate);
        }
        builder = builder.tls_built_in_root_certs(false);
    }
    let client = builder.build().ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    // A broker answers no HTTP: only a failed handshake is of interest.
    let request = client.get(format!("https://{server}/"));
    // Sent within the runtime: its time-out needs one from the start, and the thread that asks may have none.
    let error = runtime.block_on(async { request.send().await }).err()?;
    let mut cause = error.source();
    let mut text = String::new();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
        if text.contains("certificate verify failed") {
            break;
        }
    }
    // `error:...:certificate verify failed:file.c:1889: (certificate has expired)`
    let (_, why) = text
        .contains("certificate verify failed")
        .then(|| text.rsplit_once('('))??;
    Some(why.trim_end_matches(')').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_a_runtime_may_ask() {
        let unreachable = KafkaSettings::new("127.0.0.1:1");
        assert_eq!(why_untrusted(&unreachable), None);
    }
}
