//! Kafka and Apicurio, started and stopped by the project's scripts.

use std::path::{Path, PathBuf};

use crate::backend::{Backend, SiteLake};
use crate::guardian::Guardian;
use crate::service::{self, script};
use crate::{Error, Service, Tools, run};

/// One of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The broker.
    Kafka,
    /// Apicurio Registry.
    Registry,
}

impl Server {
    const fn script(self) -> &'static str {
        match self {
            Self::Kafka => "kafka.sh",
            Self::Registry => "apicurio.sh",
        }
    }
}

/// A running broker and registry, of this process alone. Stopped when dropped, and when the process ends otherwise.
#[derive(Debug)]
pub struct Servers {
    tools: Tools,
    folder: PathBuf,
    bootstrap: String,
    registry: String,
    backend: Backend,
    shared: Option<Service>,
    _guardian: Guardian,
}

impl Servers {
    /// Starts both, and what the sites on `backend` share. Their folder is removed when they stop.
    ///
    /// # Errors
    /// [`Error::Needs`] when they cannot run on this machine.
    pub fn start(tools: &Tools, backend: Backend) -> Result<Self, Error> {
        let folder = service::folder()?;
        let guardian = Guardian::over(&script("stack.sh"), "down", &folder)?;
        let mut up = script("stack.sh");
        up.arg("up").arg(&folder);
        let up = run(up)?.expect(&[0])?;
        let shared = backend.start()?;
        Ok(Self {
            bootstrap: service::said(&up.stdout, "KAFKA_BOOTSTRAP_SERVERS")?,
            registry: service::said(&up.stdout, "SCHEMA_REGISTRY_URL")?,
            tools: tools.clone().with_environment(backend.for_oracles(shared.as_ref())?),
            backend,
            shared,
            folder,
            _guardian: guardian,
        })
    }

    /// `host:port` of the broker; the same over restarts.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// URL of the registry; the same over restarts.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The programs that were used.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Where the tables of the sites are.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The catalogs' server that all sites share: PostgreSQL.
    pub fn shared_catalog(&self) -> Option<&Service> {
        self.shared.as_ref().filter(|_| self.backend == Backend::Postgres)
    }

    /// The S3 server that all sites share.
    pub fn store(&self) -> Option<&Service> {
        self.shared.as_ref().filter(|_| self.backend == Backend::RestS3)
    }

    pub(crate) fn lake_for(&self, folder: &Path) -> Result<SiteLake, Error> {
        SiteLake::of(self.backend, self.shared.as_ref(), folder)
    }

    /// Where their state and logs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps their state and logs for inspection.
    pub fn keep(&self) {
        Guardian::keep(&self.folder);
    }

    /// Stops a server in good order.
    ///
    /// # Errors
    /// When the script fails.
    pub fn stop(&self, server: Server) -> Result<(), Error> {
        self.script(server, "stop")
    }

    /// Kills a server with SIGKILL.
    ///
    /// # Errors
    /// When the script fails.
    pub fn kill(&self, server: Server) -> Result<(), Error> {
        self.script(server, "kill")
    }

    /// Starts a server again, with its data and at its port; returns when it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&self, server: Server) -> Result<(), Error> {
        self.script(server, "start")
    }

    fn script(&self, server: Server, action: &str) -> Result<(), Error> {
        let mut command = script(server.script());
        command.arg(action).arg(&self.folder);
        run(command)?.expect(&[0])?;
        Ok(())
    }
}
