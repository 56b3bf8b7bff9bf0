//! The silver layer in `tapehouse status`.

use serde_json::{Value, json};
use tapehouse_core::clock::now_ms;
use tapehouse_proto::v1;

use super::status::{reason_json, reason_lines};
use crate::answer::{duration_ms, standing_from, time_ms};
use crate::console::{Align, Style, Table, ago, grouped, rfc3339};
use crate::diagnosis::Standing;

fn standing_name(silver: &v1::SilverOffsets) -> &'static str {
    standing_from(silver.standing()).map_or("unknown", Standing::name)
}

/// One table.
pub(super) fn as_json(silver: &v1::SilverOffsets) -> Value {
    let freshness = silver.freshness.as_ref().map(|freshness| {
        let ms = |duration: &Option<prost_types::Duration>| duration.as_ref().map(duration_ms);
        json!({ "p50": ms(&freshness.p50), "p99": ms(&freshness.p99), "max": ms(&freshness.max) })
    });
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(time_ms).and_then(rfc3339);
    let partitions = silver.partitions.iter().map(|partition| {
        json!({
            "incarnation": partition.incarnation,
            "partition": partition.partition,
            "merged_next_offset": partition.merged_next_offset,
            "source_next_offset": partition.source_next_offset,
            "lag": partition.lag,
        })
    });
    json!({
        "table": silver.table,
        "source": silver.source,
        "standing": standing_name(silver).replace(' ', "_"),
        "reason": silver.reason,
        "reasons": silver.reasons.iter().map(reason_json).collect::<Vec<_>>(),
        "stale": silver.stale,
        "lag": silver.lag,
        "behind_since": time(&silver.behind_since_time),
        "rows": silver.rows,
        "files": silver.files,
        "delete_files": silver.delete_files,
        "deduplicated": silver.deduplicated,
        "dropped": silver.dropped,
        "quarantined": silver.quarantined,
        "last_commit": time(&silver.last_commit_time),
        "freshness_ms": freshness,
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

/// All tables with their reasons; empty where there is none.
pub(super) fn as_table(topics: &[v1::TopicOffsets], style: Style) -> String {
    let tables: Vec<&v1::SilverOffsets> = topics.iter().filter_map(|topic| topic.silver.as_ref()).collect();
    if tables.is_empty() {
        return String::new();
    }
    let right = Align::Right;
    let mut text = Table::new(&[
        ("SILVER TABLE", Align::Left),
        ("ROWS", right),
        ("LAG", right),
        ("FILES", right),
        ("DELETE FILES", right),
        ("QUARANTINED", right),
        ("FRESHNESS P50 / P99", right),
        ("LAST COMMIT", Align::Left),
        ("STANDING", Align::Left),
    ]);
    for silver in &tables {
        let ms = |duration: &Option<prost_types::Duration>| {
            let ms = duration.as_ref().map(duration_ms);
            ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0))
        };
        let freshness = silver.freshness.as_ref();
        let last = silver.last_commit_time.as_ref().map(time_ms);
        text.row([
            silver.table.clone(),
            silver.rows.map_or("-".to_owned(), grouped),
            grouped(silver.lag),
            grouped(silver.files),
            grouped(silver.delete_files),
            grouped(silver.quarantined.values().sum()),
            freshness.map_or("-".to_owned(), |delays| {
                format!("{} / {}", ms(&delays.p50), ms(&delays.p99))
            }),
            last.map_or("never".to_owned(), |last| ago(last, now_ms())),
            standing_name(silver).to_owned(),
        ]);
    }
    let lines = tables.iter().map(|silver| {
        let reason = match standing_from(silver.standing()) {
            Some(Standing::UpToDate) => style.good(&silver.reason),
            Some(Standing::Waiting | Standing::CatchingUp) | None => silver.reason.clone(),
            Some(Standing::Behind) => style.warn(&silver.reason),
            Some(Standing::Halted) => style.bad(&silver.reason),
        };
        let rules = silver
            .quarantined
            .iter()
            .map(|(rule, rows)| format!("{rule} {}", grouped(*rows)));
        let rules: Vec<String> = rules.collect();
        let quarantined = match rules.is_empty() {
            true => String::new(),
            false => format!("\n  quarantined in the retained commits: {}", rules.join(", ")),
        };
        format!(
            "{}: {reason}{quarantined}{}",
            silver.table,
            reason_lines(&silver.reasons, style)
        )
    });
    format!("\n\n{}\n\n{}", text.render(style), lines.collect::<Vec<_>>().join("\n"))
}
