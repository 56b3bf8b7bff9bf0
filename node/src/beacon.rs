//! Where the node of a state folder is asked: it leaves its address there while it runs, so that `status` finds it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tapehouse_proto::v1;
use tokio::net::TcpStream;

use crate::client::NodeClient;
use crate::config::Client;

/// In the state folder.
const FILE: &str = "node.json";
/// Longest text that is read.
const MAX_BYTES: u64 = 4096;
/// Longest wait for a connection: the node is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for an answer: the node waits 2 s for Kafka.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Address {
    grpc: SocketAddr,
    tls: bool,
    run_id: String,
}

/// The file of a running node; it is removed when this is dropped.
#[derive(Debug)]
pub struct Beacon {
    path: PathBuf,
    address: Address,
}

impl Beacon {
    /// Leaves the address. Nothing depends on it: a folder that cannot be written is passed over.
    pub fn light(state_dir: &Path, grpc: SocketAddr, tls: bool, run_id: &str) -> Option<Self> {
        let path = state_dir.join(FILE);
        let address = Address {
            grpc,
            tls,
            run_id: run_id.to_owned(),
        };
        let written = serde_json::to_vec(&address)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&path, text));
        match written {
            Ok(()) => Some(Self { path, address }),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "the node's address could not be left in its state folder");
                None
            }
        }
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        // Another node's is left alone.
        if read(&self.path).as_ref() == Some(&self.address) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn read(path: &Path) -> Option<Address> {
    let size = std::fs::metadata(path).ok()?.len();
    let text = (size <= MAX_BYTES).then(|| std::fs::read(path).ok())??;
    serde_json::from_slice(&text).ok()
}

/// What is found by a state folder.
#[derive(Debug)]
pub enum Found {
    /// A node, and what it says of its topics.
    Answer(v1::ListOffsetsResponse),
    /// A node that cannot be asked so: why.
    Silent(String),
    /// No node: why that is believed.
    Nobody(String),
}

/// Looks for the node of this state folder and asks it how its topics stand.
pub async fn ask(state_dir: &Path) -> Found {
    let (address, client) = match find(state_dir).await {
        Ok(found) => found,
        Err(nothing) => return nothing,
    };
    match client.offsets(&[]).await {
        Ok(answer) => Found::Answer(answer),
        Err(failure) => silent(address, &failure.message),
    }
}

/// The node that runs with this state folder; `None` where none does.
///
/// # Errors
/// Why the one that runs cannot be asked so.
pub async fn node(state_dir: &Path) -> Result<Option<NodeClient>, String> {
    match find(state_dir).await {
        Ok((_, client)) => Ok(Some(client)),
        Err(Found::Silent(why)) => Err(why),
        Err(_) => Ok(None),
    }
}

async fn find(state_dir: &Path) -> Result<(SocketAddr, NodeClient), Found> {
    let Some(address) = read(&state_dir.join(FILE)) else {
        let folder = state_dir.display();
        return Err(Found::Nobody(format!("none has left its address in {folder}")));
    };
    let grpc = reachable(address.grpc);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(grpc)).await;
    if !matches!(connected, Ok(Ok(_))) {
        return Err(Found::Nobody(format!(
            "the one that listened at {grpc} does not answer: it was killed"
        )));
    }
    if address.tls {
        return Err(silent(grpc, "it asks for TLS"));
    }
    let client = Client {
        endpoint: format!("http://{grpc}"),
        token: None,
        ca: None,
        identity: None,
        timeout: ANSWER_TIMEOUT,
    };
    match NodeClient::connect(&client).await {
        Ok(client) => Ok((grpc, client)),
        Err(failure) => Err(silent(grpc, &failure.message)),
    }
}

fn silent(grpc: SocketAddr, why: &str) -> Found {
    Found::Silent(format!("a node listens at {grpc}: {why}; ask it with --endpoint"))
}

/// An address that listens everywhere is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_beacon_is_found_while_it_burns() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(ask(folder.path()).await, Found::Nobody(why) if why.contains("address")));
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let killed = Beacon::light(folder.path(), nobody, false, "run").unwrap();
        assert!(matches!(ask(folder.path()).await, Found::Nobody(why) if why.contains("killed")));
        // One that cannot be asked is not taken for absent.
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let next = Beacon::light(folder.path(), listener.local_addr().unwrap(), true, "next").unwrap();
        assert!(matches!(ask(folder.path()).await, Found::Silent(why) if why.contains("TLS")));
        drop(killed);
        assert!(
            folder.path().join(FILE).exists(),
            "the file of the next one was removed"
        );
        drop(next);
        assert!(!folder.path().join(FILE).exists());
    }
}
