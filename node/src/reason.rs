//! Why data is not visible, or what else is out of order: one reason of perhaps several.

use tapehouse_core::codes::{self, Code};
use tapehouse_core::offsets::PartitionId;
use tapehouse_kafka::look::OpenTransaction;
use tapehouse_proto::v1;

use crate::console::ago;
use crate::view::Undecodable;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable code.
    pub code: &'static str,
    /// What it is, for people.
    pub message: String,
    /// The partition, where it is one partition's alone.
    pub partition: Option<PartitionId>,
}

/// Reasons that are no error of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OpenTransaction,
    NodeNotRunning,
    Undecodable,
    MemoryWait,
}

impl Kind {
    fn code(&self) -> &'static str {
        match self {
            Self::OpenTransaction => "open_transaction",
            Self::NodeNotRunning => "node_not_running",
            Self::Undecodable => "undecodable",
            Self::MemoryWait => "memory_wait",
        }
    }
}

impl Reason {
    /// A reason of the whole topic.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            partition: None,
        }
    }

    /// The same of one partition alone.
    pub fn of_partition(mut self, partition: PartitionId) -> Self {
        self.partition = Some(partition);
        self
    }

    /// A transaction that is open.
    pub fn open_transaction(partition: PartitionId, open: &OpenTransaction, now_ms: i64) -> Self {
        let since = open
            .since_ms
            .map_or(String::new(), |since| format!(", begun {}", ago(since, now_ms)));
        let message = format!(
            "partition {partition}: an open transaction{since} holds back what lies behind offset {} ({} offsets so far): nobody who \
             reads committed records sees them before it ends",
            open.first,
            open.stored_end - open.first
        );
        Self::new(Kind::OpenTransaction.code(), message).of_partition(partition)
    }

    /// No node runs.
    pub fn node_not_running(message: impl Into<String>) -> Self {
        Self::new(Kind::NodeNotRunning.code(), message)
    }

    /// Rows without decoded columns; `None` where there are none.
    pub fn undecodable(undecodable: Undecodable, now_ms: i64) -> Option<Self> {
        let Undecodable { rows, since_ms } = undecodable;
        let message = format!(
            "{rows} records of the retained commits (the first one {}) could not be decoded: their rows have decode_error and raw_value",
            ago(since_ms, now_ms)
        );
        (rows > 0).then(|| Self::new(Kind::Undecodable.code(), message))
    }

    /// The pipeline waits for memory.
    pub fn memory_wait(since_ms: i64, now_ms: i64) -> Self {
        let message = format!("the pipeline waits for memory, since {}", ago(since_ms, now_ms));
        Self::new(Kind::MemoryWait.code(), message)
    }

    /// As a node told it; `None` for a code that this version does not know.
    pub fn of(answer: &v1::Reason) -> Option<Self> {
        Some(Self {
            code: codes::find(&answer.code)?.name,
            message: answer.message.clone(),
            partition: answer.partition,
        })
    }

    /// What can be done about it.
    pub fn way_out(&self) -> String {
        codes::find(self.code).map(Code::way_out).unwrap_or_default()
    }

    /// In the words of `tapehouse.v1`.
    pub fn answer(&self) -> v1::Reason {
        v1::Reason {
            code: self.code.to_owned(),
            message: self.message.clone(),
            way_out: self.way_out(),
            partition: self.partition,
        }
    }
}
