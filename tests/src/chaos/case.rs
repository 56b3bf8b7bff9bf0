//! What a case is: what is done to the nodes and to what they stand on. What must hold afterwards is always the same.

use crate::Footing;

/// Which topic a case reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Trades of the generator: corrections, duplicates, nulls.
    Trades,
    /// Transactions, every fourth aborted; records without value or that are no Avro.
    Transactions,
    /// A compacted topic: most offsets have no record any more.
    Compacted,
    /// Records of two schemas, the second of which comes in the middle of every partition.
    Schemas,
    /// Trades over 60 days in both layers: corrections of any earlier trade, some to another day; re-sends.
    Silver,
    /// Trades, after a topic that is the case's own: what is done to that one would harm other cases.
    Own,
}

impl Source {
    /// The shared topic that has to be filled for it.
    pub(super) fn shared(self) -> Self {
        match self {
            Self::Own => Self::Trades,
            source => source,
        }
    }
}

/// When another engine commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After a SIGKILL at the point, before the restart.
    AfterKillAt(&'static str),
    /// After a SIGKILL at a seeded moment, before the restart.
    AfterKill,
    /// While the node is stopped at the point; then it goes on.
    WhileStoppedAt(&'static str),
}

/// In which state the node meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    /// It runs.
    Running,
    /// It was killed, and is started afterwards.
    Killed,
}

/// Whom a node cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The broker.
    Kafka,
    /// The schema registry.
    Registry,
    /// The catalog's server; of a SQLite catalog the write lock.
    Catalog,
    /// The S3 server.
    Storage,
}

/// How a neighbour goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// In good order; the node meets it running.
    Stopped,
    /// By SIGKILL, and the node with it, which is started again before the server is.
    KilledWithTheNode,
}

/// What is done to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL at the NTH time that the point is reached, then a restart.
    KillAt(&'static str),
    /// SIGKILL at one to three moments between the first and the last commit, then a restart.
    KillAtMoments,
    /// SIGKILL three times while it starts.
    KillAtStart,
    /// The catalog's answer to a swap is lost; `true`: of every swap from then on.
    LoseAnswer {
        /// Not once, but from then on.
        always: bool,
    },
    /// A node is stopped at the point, a second one takes over and finishes, the first one wakes.
    Zombie(&'static str),
    /// Killed, `state/` deleted, restarted.
    StateDeleted,
    /// Killed, every file of `state/` overwritten with random bytes, restarted.
    StateCorrupted,
    /// Two nodes on the same tables at the same time.
    TwoNodes,
    /// PyIceberg rewrites the table into fewer files, appends rows of its own and sets a property.
    Foreign(When),
    /// A neighbour goes away at a seeded moment and comes back with its data.
    Away {
        /// Which.
        who: Neighbour,
        /// How.
        how: Departure,
    },
    /// The disk of catalog, warehouse and state is full from a seeded moment on, then has room again.
    DiskFull {
        /// The node is killed while the disk is full, and started.
        is_killed: bool,
    },
    /// The node's clock is two minutes ahead for a while: from a moment on, or when it is started again after a kill.
    Clock(Meanwhile),
    /// The broker begins to compact the topic while the node reads it.
    Compaction,
    /// Records are gone before they were read; an operator accepts the gap. Other partitions and topics go on.
    Gap(Meanwhile),
    /// The topic is deleted and created again; an operator adopts it. Other topics go on.
    Recreated(Meanwhile),
}

impl Act {
    /// What it needs of the backend.
    fn footing(self) -> Option<Footing> {
        match self {
            Self::DiskFull { .. } => Some(Footing::LocalFiles),
            Self::Away {
                who: Neighbour::Storage,
                ..
            } => Some(Footing::S3),
            _ => None,
        }
    }

    /// Whether cases beside it would suffer: it has to be alone.
    pub(super) fn disturbs_others(self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// Whether the run has to last: for acts that take longer than a kill.
    pub(super) fn takes_time(self) -> bool {
        matches!(
            self,
            Self::Away { .. }
                | Self::DiskFull { .. }
                | Self::Clock(_)
                | Self::Compaction
                | Self::Gap(_)
                | Self::Recreated(_)
        )
    }
}

/// A case of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Unique; together with the seed it determines everything random.
    pub name: String,
    /// What is done.
    pub act: Act,
    /// Which topic.
    pub source: Source,
    /// A defence that is taken out: then the judges must find the harm.
    pub without: Option<&'static str>,
}

impl Case {
    /// What it needs of the backend.
    pub(super) fn footing(&self) -> Option<Footing> {
        match self.without {
            // The harm that the judges must find has to be possible.
            Some("clock") => Some(Footing::TrustfulCatalog),
            _ => self.act.footing(),
        }
    }
}
