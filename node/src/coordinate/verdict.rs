//! Where a record is, or why it is nowhere: a pure function of what table, Kafka and node say.

use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};
use tapehouse_core::state::StreamState;
use tapehouse_kafka::look::OpenTransaction;
use tapehouse_lake::find::Search;

use crate::exit::Failure;
use crate::reason::Reason;

#[cfg(test)]
mod tests;

/// What is known.
pub struct Facts {
    /// The record's partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
    /// What the table says; `None` where there is none yet.
    pub table: Result<Option<TableFacts>, Failure>,
    /// What Kafka says; not asked where the table has the row.
    pub log: Result<LogFacts, Failure>,
    /// The topic's reasons, as its node or tables and Kafka tell them.
    pub reasons: Vec<Reason>,
}

/// What the table says.
pub struct TableFacts {
    /// What was found of the row.
    pub search: Search,
    /// Recorded offsets, or why they cannot be believed.
    pub state: Result<StreamState, String>,
    /// Incarnation that was asked for.
    pub incarnation: i32,
    /// Gaps of the partition that an operator accepted.
    pub gaps: Vec<OffsetRange>,
    /// First offset of the partition that was ever read.
    pub first: Option<Offset>,
}

/// What Kafka says.
pub enum LogFacts {
    /// It has no such topic.
    NoTopic,
    /// It has no such partition, but so many.
    NoPartition(usize),
    /// It has the partition.
    Held(Held),
}

/// A partition's log.
pub struct Held {
    /// What readers of committed records see.
    pub visible: OffsetRange,
    /// Why nothing is visible behind that, if anything is stored.
    pub open: Option<OpenTransaction>,
    /// What is there at the offset.
    pub at: At,
    /// Why Kafka's topic is not the one that the table was filled from: code and text.
    pub mismatch: Option<(&'static str, String)>,
}

/// What a log has at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A record.
    Visible,
    /// A record of a transaction that was aborted.
    Hidden,
    /// None; whether the topic is compacted, where the brokers say.
    Nothing { compacted: Option<bool> },
    /// Not known.
    Unknown,
}

/// Where the record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the table.
    Committed,
    /// In the table, undecoded.
    Undecodable,
    /// Nowhere: gone from Kafka before it was read, which an operator accepted.
    AcceptedGap,
    /// Nowhere: its transaction was aborted.
    Aborted,
    /// There is no record: the offset is a transaction's marker.
    ControlRecord,
    /// Nowhere: Kafka compacted it away before it was read.
    Compacted,
    /// The table covers the offset and has no row; why cannot be told any more.
    NoRow,
    /// The table covers the offset and lacks a visible record: a fault.
    Missing,
    /// In Kafka, and not yet in the table.
    NotCommitted,
    /// Nowhere: gone from Kafka before it was read, and nobody has decided about it.
    Lost,
    /// Before the first offset that was read.
    BeforeStart,
    /// Not yet produced.
    NotProduced,
    /// Kafka has no such partition.
    NoSuchPartition,
    /// Kafka has no such topic.
    TopicAbsent,
    /// Whoever knows could not be asked.
    Unknown,
}

impl Place {
    /// For output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Undecodable => "undecodable",
            Self::AcceptedGap => "accepted_gap",
            Self::Aborted => "aborted",
            Self::ControlRecord => "control_record",
            Self::Compacted => "compacted",
            Self::NoRow => "no_row",
            Self::Missing => "missing",
            Self::NotCommitted => "not_committed",
            Self::Lost => "lost",
            Self::BeforeStart => "before_start",
            Self::NotProduced => "not_produced",
            Self::NoSuchPartition => "no_such_partition",
            Self::TopicAbsent => "topic_absent",
            Self::Unknown => "unknown",
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where the record is.
    pub place: Place,
    /// The same, for people.
    pub text: String,
    /// Why it is not further, each with a code.
    pub reasons: Vec<Reason>,
}

fn verdict(place: Place, text: impl Into<String>) -> Verdict {
    Verdict {
        place,
        text: text.into(),
        reasons: Vec::new(),
    }
}

impl Verdict {
    fn because(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.reasons.extend(reasons);
        self
    }
}

/// Where the record is.
pub fn decide(facts: &Facts, now_ms: i64) -> Verdict {
    let table = match &facts.table {
        Err(failure) => return without_table(facts, failure),
        Ok(None) => return not_in_table(facts, None, now_ms),
        Ok(Some(table)) => table,
    };
    if let Some(row) = &table.search.row {
        return match &row.decode_error {
            None => verdict(Place::Committed, "the record is in the table"),
            Some(error) => verdict(
                Place::Undecodable,
                format!("the record is in the table as it came; it could not be decoded: {error}"),
            )
            .because(code_of(error).map(|code| Reason::new(code, error.clone()))),
        };
    }
    let state = match &table.state {
        Ok(state) => state,
        Err(error) => {
            let text = "the table has no such row, and what it records of its offsets cannot be believed";
            return verdict(Place::Unknown, text).because([Reason::new("state_invalid", error.clone())]);
        }
    };
    if table.incarnation != state.incarnation {
        let text = format!(
            "the table has no such row of incarnation {}; the topic's incarnation now is {}",
            table.incarnation, state.incarnation
        );
        return verdict(Place::NoRow, text);
    }
    if let Some(gap) = table.gaps.iter().find(|gap| gap.contains(facts.offset)) {
        let text = format!("offsets {gap} were gone from Kafka before they were read; an operator accepted that");
        return verdict(Place::AcceptedGap, text);
    }
    match state.next.get(&facts.partition) {
        Some(next) if facts.offset < *next => covered(facts, table, *next),
        next => not_in_table(facts, next.copied(), now_ms),
    }
}

/// The code that a `decode_error` begins with.
fn code_of(error: &str) -> Option<&'static str> {
    let word = error.split([':', ' ']).next()?;
    tapehouse_core::codes::find(word).map(|code| code.name)
}

/// The table cannot be asked: Kafka alone knows what there is not.
fn without_table(facts: &Facts, failure: &Failure) -> Verdict {
    if let Ok(log) = &facts.log
        && let Some(verdict) = not_there(log, facts.offset)
    {
        return verdict;
    }
    verdict(Place::Unknown, "the table could not be asked")
        .because([Reason::new(failure.code, failure.message.clone())])
}

/// What Kafka does not have, whatever the table says.
fn not_there(log: &LogFacts, offset: Offset) -> Option<Verdict> {
    match log {
        LogFacts::NoTopic => Some(
            verdict(Place::TopicAbsent, "Kafka has no such topic")
                .because([Reason::new("topic_absent", "Kafka has no such topic")]),
        ),
        LogFacts::NoPartition(partitions) => {
            let text = format!("Kafka has no such partition: the topic has {partitions}, numbered from 0");
            Some(verdict(Place::NoSuchPartition, text))
        }
        LogFacts::Held(held) => {
            let end = held.open.map_or(held.visible.end, |open| open.stored_end);
            let text = format!("nothing was produced at this offset yet: the log ends at {end}");
            (offset >= end).then(|| verdict(Place::NotProduced, text))
        }
    }
}

/// The committed ranges cover the offset, and there is no row.
fn covered(facts: &Facts, table: &TableFacts, next: Offset) -> Verdict {
    let offset = facts.offset;
    if let Some(first) = table.first.filter(|first| offset < *first) {
        let text = format!("reading began at offset {first} of this partition: what lies before it was never read");
        return verdict(Place::BeforeStart, text);
    }
    let no_row = |why: &str| {
        let text =
            format!("the table has read this partition up to offset {next} and has no row of this offset: {why}");
        verdict(Place::NoRow, text)
    };
    let never_visible =
        "it never was a visible record (a transaction's marker, an aborted transaction), or was compacted away";
    let held = match &facts.log {
        Err(failure) => {
            let reason = Reason::new(failure.code, failure.message.clone());
            return no_row(&format!("{never_visible}; Kafka could not be asked which")).because([reason]);
        }
        Ok(LogFacts::Held(held)) => held,
        Ok(_) => return no_row(&format!("{never_visible}; Kafka no longer has the log that would tell")),
    };
    if let Some((code, mismatch)) = &held.mismatch {
        let reason = Reason::new(code, mismatch.clone());
        return no_row(&format!("{never_visible}; Kafka has another topic now")).because([reason]);
    }
    if offset < held.visible.start {
        return no_row(&format!("{never_visible}; Kafka no longer holds the offset"));
    }
    match held.at {
        At::Visible => verdict(
            Place::Missing,
            "Kafka has a visible record here, the table has read beyond it and has no row: this must not be; \
             `tapehouse verify --deep` shows all that is missing",
        ),
        At::Hidden => verdict(
            Place::Aborted,
            "the record's transaction was aborted: no reader of committed records ever sees it",
        ),
        At::Nothing { compacted: Some(true) } => verdict(
            Place::Compacted,
            "Kafka compacted the record away before it was read, or the offset is a transaction's marker: there is no record here",
        ),
        At::Nothing { compacted: Some(false) } => verdict(
            Place::ControlRecord,
            "the offset is a transaction's marker: there is no record here, and the topic is not compacted",
        ),
        At::Nothing { compacted: None } => {
            no_row("Kafka has no record here: a transaction's marker, or compacted away")
        }
        At::Unknown => no_row(&format!("{never_visible}; what Kafka has here could not be read")),
    }
}

/// The table does not cover the offset; `next` is what it records of the partition.
fn not_in_table(facts: &Facts, next: Option<Offset>, now_ms: i64) -> Verdict {
    let offset = facts.offset;
    let so_far = match next {
        Some(next) => format!("the table has this partition up to offset {next}"),
        None => "the table has nothing of this partition yet".to_owned(),
    };
    let log = match &facts.log {
        Ok(log) => log,
        Err(failure) => {
            let text = format!("{so_far}; whether Kafka has the record could not be asked");
            return verdict(Place::NotCommitted, text).because([Reason::new(failure.code, failure.message.clone())]);
        }
    };
    let LogFacts::Held(held) = log else {
        return not_there(log, offset).unwrap_or_else(|| verdict(Place::Unknown, so_far));
    };
    if let Some((code, mismatch)) = &held.mismatch {
        let reason = Reason::new(code, mismatch.clone());
        return verdict(Place::NotCommitted, format!("{so_far}; the topic is stopped")).because([reason]);
    }
    if offset < held.visible.start {
        let start = held.visible.start;
        return match next {
            Some(_) => verdict(
                Place::Lost,
                format!("{so_far}; the log begins at {start}: the record was gone before it was read"),
            )
            .because(of_partition(facts)),
            None => verdict(
                Place::BeforeStart,
                format!("{so_far}, and the log begins at {start}: the record was gone before anybody read"),
            ),
        };
    }
    if let Some(verdict) = not_there(log, offset) {
        return verdict;
    }
    let open = held.open.filter(|open| offset >= open.first);
    let mut reasons: Vec<Reason> = open
        .iter()
        .map(|open| Reason::open_transaction(facts.partition, open, now_ms))
        .collect();
    reasons.extend(of_partition(facts));
    let before = offset - next.unwrap_or(held.visible.start);
    let text = match open {
        Some(_) => format!("{so_far}; the record is not visible yet"),
        None => format!("{so_far}; {before} offsets come before this one"),
    };
    verdict(Place::NotCommitted, text).because(reasons)
}

/// The topic's reasons as far as they keep this partition from going on.
fn of_partition(facts: &Facts) -> impl Iterator<Item = Reason> {
    let concerns = |reason: &&Reason| reason.partition.is_none_or(|partition| partition == facts.partition);
    let reasons = facts.reasons.iter().filter(concerns);
    reasons
        .filter(|reason| !matches!(reason.code, "open_transaction" | "undecodable"))
        .cloned()
}
