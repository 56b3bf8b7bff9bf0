use tapehouse_lake::find::FoundRow;

use super::*;

const NOW: i64 = 1_000_000;

/// A table that has read 10..20 of partition 0, without a row; gap 12..14.
fn table() -> TableFacts {
    let mut state = StreamState::new("c", "t");
    state.next.insert(0, 20);
    TableFacts {
        search: Search::default(),
        state: Ok(state),
        incarnation: 0,
        gaps: vec![OffsetRange::new(12, 14)],
        first: Some(10),
    }
}

/// A log of 5..30, with an open transaction from 30 to 35.
fn held(at: At) -> Held {
    Held {
        visible: OffsetRange::new(5, 30),
        open: Some(OpenTransaction {
            first: 30,
            stored_end: 35,
            since_ms: None,
        }),
        at,
        mismatch: None,
    }
}

fn facts(offset: Offset, at: At) -> Facts {
    Facts {
        partition: 0,
        offset,
        table: Ok(Some(table())),
        log: Ok(LogFacts::Held(held(at))),
        reasons: vec![
            Reason::new("registry", "away"),
            Reason::new("offset_lost", "gone").of_partition(7),
        ],
    }
}

fn place(facts: &Facts) -> Place {
    decide(facts, NOW).place
}

fn codes(facts: &Facts) -> Vec<&'static str> {
    decide(facts, NOW).reasons.iter().map(|reason| reason.code).collect()
}

#[test]
fn a_row_is_where_it_is_found() {
    let mut found = facts(15, At::Unknown);
    let mut with = |decode_error: Option<&str>| {
        let row = FoundRow {
            decode_error: decode_error.map(str::to_owned),
            ..FoundRow::default()
        };
        let mut table = table();
        table.search.row = Some(row);
        found.table = Ok(Some(table));
        (place(&found), codes(&found))
    };
    assert_eq!(with(None), (Place::Committed, vec![]));
    assert_eq!(
        with(Some("truncated: at byte 3")),
        (Place::Undecodable, vec!["truncated"])
    );
}

#[test]
fn covered_offsets_without_a_row() {
    let nothing = |compacted| At::Nothing { compacted };
    for (offset, at, expected) in [
        (15, At::Visible, Place::Missing),
        (15, At::Hidden, Place::Aborted),
        (15, nothing(Some(true)), Place::Compacted),
        (15, nothing(Some(false)), Place::ControlRecord),
        (15, nothing(None), Place::NoRow),
        (15, At::Unknown, Place::NoRow),
        (12, At::Visible, Place::AcceptedGap),
        (9, At::Visible, Place::BeforeStart),
    ] {
        assert_eq!(place(&facts(offset, at)), expected, "{offset} {at:?}");
    }
    // Kafka can no longer tell: nothing is called a fault.
    let mut trimmed = facts(15, At::Visible);
    if let Ok(LogFacts::Held(held)) = &mut trimmed.log {
        held.visible = OffsetRange::new(16, 30);
    }
    assert_eq!(place(&trimmed), Place::NoRow);
    let mut recreated = facts(15, At::Visible);
    if let Ok(LogFacts::Held(held)) = &mut recreated.log {
        held.mismatch = Some(("topic_recreated", "another".into()));
    }
    assert_eq!(place(&recreated), Place::NoRow);
    let mut away = facts(15, At::Unknown);
    away.log = Err(Failure::unreachable("away").code("kafka"));
    assert_eq!((place(&away), codes(&away)), (Place::NoRow, vec!["kafka"]));
}

#[test]
fn what_is_not_committed_says_why() {
    // Of another partition's stop nothing is said.
    assert_eq!(place(&facts(20, At::Visible)), Place::NotCommitted);
    assert_eq!(codes(&facts(20, At::Visible)), ["registry"]);
    assert_eq!(codes(&facts(31, At::Unknown)), ["open_transaction", "registry"]);
    assert_eq!(place(&facts(35, At::Unknown)), Place::NotProduced);
    let mut trimmed = facts(22, At::Unknown);
    if let Ok(LogFacts::Held(held)) = &mut trimmed.log {
        held.visible = OffsetRange::new(25, 30);
    }
    assert_eq!(place(&trimmed), Place::Lost);
    trimmed.table = Ok(None);
    assert_eq!(place(&trimmed), Place::BeforeStart);
    let mut away = facts(22, At::Unknown);
    away.log = Err(Failure::unreachable("away").code("kafka"));
    assert_eq!((place(&away), codes(&away)), (Place::NotCommitted, vec!["kafka"]));
}

#[test]
fn without_a_table_kafka_alone_is_believed_as_far_as_it_goes() {
    let mut unknown = facts(22, At::Visible);
    unknown.table = Err(Failure::unreachable("away").code("lake"));
    assert_eq!((place(&unknown), codes(&unknown)), (Place::Unknown, vec!["lake"]));
    unknown.offset = 99;
    assert_eq!(place(&unknown), Place::NotProduced);
    unknown.log = Ok(LogFacts::NoPartition(3));
    assert_eq!(place(&unknown), Place::NoSuchPartition);
    unknown.log = Ok(LogFacts::NoTopic);
    assert_eq!(place(&unknown), Place::TopicAbsent);
    let mut unbelievable = facts(15, At::Visible);
    let mut broken = table();
    broken.state = Err("rolled back".into());
    unbelievable.table = Ok(Some(broken));
    assert_eq!(codes(&unbelievable), ["state_invalid"]);
}
