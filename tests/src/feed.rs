//! Records in Kafka: by the node's own generator, and by Python for what that one does not make.

use serde_json::Value;

use crate::{Error, Servers, Site, run};

/// Topics and records for tests.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    servers: &'a Servers,
}

/// What `feeds/produce.py` sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Visible to a read_committed consumer.
    pub visible: u64,
    /// In transactions that were aborted.
    pub aborted: u64,
    /// Visible and no Avro.
    pub bad: u64,
    /// Visible and without a value.
    pub tombstones: u64,
}

impl<'a> Feed<'a> {
    /// Into the broker of `servers`.
    pub fn of(servers: &'a Servers) -> Self {
        Self { servers }
    }

    /// An action of `feeds/admin.py`; what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn admin(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut admin = self.servers.tools().python("feeds/admin.py");
        admin.arg(self.servers.bootstrap()).args(arguments);
        Ok(run(admin)?.expect(&[0])?.stdout)
    }

    /// As [`Self::admin`], with JSON as the answer.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value, Error> {
        let answer = self.admin(arguments)?;
        serde_json::from_str(&answer).map_err(|error| Error::unexpected(format!("{error}: {answer}")))
    }

    /// Sends `count` records to a topic that exists, with further options of `feeds/produce.py`.
    ///
    /// # Errors
    /// When not all were delivered.
    pub fn produce(&self, topic: &str, count: u64, options: &[&str]) -> Result<Sent, Error> {
        let mut produce = self.servers.tools().python("feeds/produce.py");
        produce
            .args([
                "--bootstrap",
                self.servers.bootstrap(),
                "--registry",
                self.servers.registry(),
            ])
            .args(["--topic", topic, "--count", &count.to_string()])
            .args(options);
        let answer = run(produce)?.expect(&[0])?.json()?;
        let figure = |name: &str| {
            let figure = answer[name].as_u64();
            figure.ok_or_else(|| Error::unexpected(format!("no {name} in {answer}")))
        };
        Ok(Sent {
            visible: figure("visible")?,
            aborted: figure("aborted")?,
            bad: figure("bad")?,
            tombstones: figure("tombstones")?,
        })
    }

    /// `tapehouse generate` with the configuration of `site`; its report.
    ///
    /// # Errors
    /// When it fails.
    pub fn generate(&self, site: &Site, options: &[&str]) -> Result<Value, Error> {
        let mut arguments = vec!["generate", "-o", "json"];
        arguments.extend(options);
        site.command(&arguments)?.expect(&[0])?.json()
    }
}
