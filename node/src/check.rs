//! Checks of a bronze table: from its own files, and against Kafka.

use std::collections::BTreeMap;

use tapehouse_core::coverage::OffsetSet;
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::ConsumerError;
use tapehouse_kafka::identity::Identities;
use tapehouse_kafka::replay::{Visible, visible_offsets};
use tapehouse_lake::verify::{VerifyReport, Violation, verify};
use tapehouse_lake::{Lake, LoadedTable};

use crate::connect::{consumer_failure, lake_failure};
use crate::exit::Failure;

/// Offsets named one by one, of each kind and partition.
const NAMED: usize = 20;

/// What Kafka is asked for a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Deep<'a> {
    /// Kafka.
    pub kafka: &'a KafkaSettings,
    /// The topic.
    pub topic: &'a str,
    /// Whether the topic is compacted: rows without a record in Kafka are then what is to be expected.
    pub is_compacted: bool,
}

/// What was compared with Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Records that Kafka still holds of the covered ranges.
    pub records: u64,
    /// Covered offsets that Kafka no longer holds, so that they could not be compared.
    pub gone_from_kafka: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct TableCheck {
    /// From the table's own files; its violations include those of the comparison.
    pub report: VerifyReport,
    /// The comparison with Kafka, if one was made.
    pub compared: Option<Compared>,
}

/// Checks `table`; with `deep` reads Kafka again. `progress` is told the rows read so far.
///
/// # Errors
/// When the table cannot be read, or Kafka cannot be reached.
pub async fn check(
    lake: &Lake,
    table: &LoadedTable,
    deep: Option<Deep<'_>>,
    progress: impl FnMut(u64) + Send + 'static,
) -> Result<TableCheck, Failure> {
    let verified = verify(lake, table, progress)
        .await
        .map_err(|error| lake_failure(&error))?;
    let mut report = verified.report;
    let Some(deep) = deep else {
        return Ok(TableCheck { report, compared: None });
    };
    if let Some(violation) = another_topic(table, deep).await? {
        report.violations.push(violation);
        return Ok(TableCheck { report, compared: None });
    }
    // Without offsets that can be believed there is nothing to compare with: that violation is in the report already.
    let incarnation = table.stream_state().map_or(0, |state| state.incarnation);
    let asked: BTreeMap<PartitionId, OffsetRange> = report
        .partitions
        .iter()
        .filter(|partition| partition.incarnation == incarnation)
        .filter_map(|partition| Some((partition.partition, OffsetRange::new(partition.first, partition.next?))))
        .collect();
    let (kafka, topic, ranges) = (deep.kafka.clone(), deep.topic.to_owned(), asked.clone());
    let replayed = tokio::task::spawn_blocking(move || visible_offsets(&kafka, &topic, &ranges));
    let visible = replayed
        .await
        .map_err(Failure::failed)?
        .map_err(|error| consumer_failure(&error, deep.kafka))?;
    let mut compared = Compared::default();
    for (partition, range) in asked {
        let Some(seen) = visible.get(&partition) else { continue };
        compared.records += seen.offsets.len();
        compared.gone_from_kafka += range.len() - seen.range.len();
        let rows = verified.offsets.get(&(incarnation, partition));
        report
            .violations
            .extend(differences(partition, rows, seen, deep.is_compacted));
    }
    Ok(TableCheck {
        report,
        compared: Some(compared),
    })
}

/// Why there is nothing to compare the table with: Kafka has another topic under this name.
async fn another_topic(table: &LoadedTable, deep: Deep<'_>) -> Result<Option<Violation>, Failure> {
    let failed = |error: ConsumerError| consumer_failure(&error, deep.kafka);
    let Ok(state) = table.stream_state() else {
        return Ok(None);
    };
    let observed = Identities::start(deep.kafka).map_err(failed)?.observe(deep.topic).await;
    let mismatch = state.identity().check(&observed.map_err(failed)?).err();
    Ok(mismatch.map(|mismatch| Violation {
        invariant: "I1",
        message: format!("cannot be compared with Kafka: {mismatch}"),
    }))
}

/// What table and Kafka do not have in common, of the offsets that Kafka still holds.
fn differences(partition: PartitionId, rows: Option<&OffsetSet>, seen: &Visible, is_compacted: bool) -> Vec<Violation> {
    let (mut missing, mut extra) = (Named::default(), Named::default());
    for offset in seen.range.start..seen.range.end {
        match (
            seen.offsets.contains(offset),
            rows.is_some_and(|rows| rows.contains(offset)),
        ) {
            (true, false) => missing.add(offset),
            (false, true) if !is_compacted => extra.add(offset),
            _ => {}
        }
    }
    let violation = |named: Named, what: &str| {
        (named.count > 0).then(|| Violation {
            invariant: "I1",
            message: format!("partition {partition}: {} {what}: {}", named.count, named.text()),
        })
    };
    let extra_what = "rows without a visible record in Kafka (if the topic is compacted, say --compacted), offsets";
    [
        violation(missing, "records of Kafka have no row, offsets"),
        violation(extra, extra_what),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The first of many offsets.
#[derive(Debug, Default)]
struct Named {
    first: Vec<Offset>,
    count: u64,
}

impl Named {
    fn add(&mut self, offset: Offset) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(offset);
        }
    }

    fn text(&self) -> String {
        let first: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        let more = if self.count > self.first.len() as u64 {
            " ..."
        } else {
            ""
        };
        format!("{}{more}", first.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(first: Offset, offsets: &[Offset]) -> OffsetSet {
        let mut set = OffsetSet::starting_at(first);
        for offset in offsets {
            set.insert(*offset);
        }
        set
    }

    #[test]
    fn missing_and_extra_offsets_are_named_where_kafka_still_holds_them() {
        let seen = Visible {
            range: OffsetRange::new(10, 16),
            offsets: set(10, &[10, 11, 13, 15]),
        };
        assert_eq!(differences(0, Some(&set(0, &[3, 10, 11, 13, 15])), &seen, false), []);
        let found = differences(2, Some(&set(0, &[3, 10, 12, 13])), &seen, false);
        let messages: Vec<&str> = found.iter().map(|violation| violation.message.as_str()).collect();
        assert_eq!(
            messages[0],
            "partition 2: 2 records of Kafka have no row, offsets: 11 15"
        );
        assert!(messages[1].starts_with("partition 2: 1 rows without"), "{messages:?}");
        assert!(messages[1].ends_with(": 12"), "{messages:?}");
        assert_eq!(differences(2, Some(&set(0, &[10, 11, 12, 13, 15])), &seen, true), []);
        assert_eq!(differences(2, None, &seen, false).len(), 1);
    }
}
