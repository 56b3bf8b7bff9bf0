//! Where rows came from and when: the rules that all tables share.

use std::sync::Arc;

use arrow_array::temporal_conversions::timestamp_us_to_datetime;
use arrow_array::{Array, ArrayRef, Date32Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use tapehouse_core::new_york::Dates;

use super::bronze::Bronze;
use super::verdicts::Verdicts;
use super::waivers::{Waived, Waivers};
use super::{CleanError, Rules};

/// A row's own time may be so much later than its Kafka record: clocks differ, records do not come from the future.
const MAX_AHEAD_US: i64 = 86_400_000_000;
/// 2100-01-01. A decision may take in a time after its record, whose clock may have been wrong, but none that no calendar has.
const END_OF_CALENDAR: i32 = 47_482;

pub(super) struct Origin {
    incarnation: Int32Array,
    partition: Int32Array,
    offset: Int64Array,
    record_time: TimestampMicrosecondArray,
    decode_error: StringArray,
}

impl Origin {
    pub(super) fn read(bronze: &Bronze) -> Result<Self, CleanError> {
        Ok(Self {
            incarnation: bronze.ints("topic_incarnation")?,
            partition: bronze.ints("kafka_partition")?,
            offset: bronze.longs("kafka_offset")?,
            record_time: bronze.times("kafka_timestamp")?,
            decode_error: bronze.texts("decode_error")?,
        })
    }

    /// Of these rows the waivers.
    pub(super) fn waived(&self, waivers: &Waivers) -> Waived {
        Waived::new(waivers, &self.incarnation, &self.partition, &self.offset)
    }

    /// Foreign and undecodable rows are not consumed.
    pub(super) fn judge(&self, verdicts: &mut Verdicts) {
        let nulls = [self.incarnation.nulls(), self.partition.nulls(), self.offset.nulls()];
        for nulls in nulls.into_iter().flatten().filter(|nulls| nulls.null_count() > 0) {
            verdicts.drop_where("foreign", |row| nulls.is_null(row));
        }
        if self.decode_error.null_count() < self.decode_error.len() {
            verdicts.drop_where("undecodable", |row| self.decode_error.is_valid(row));
        }
    }

    /// Judges rows by their own times, the column `name`, and says their dates in New York.
    pub(super) fn judge_times(
        &self,
        verdicts: &mut Verdicts,
        rules: &Rules,
        name: &str,
        times: &TimestampMicrosecondArray,
    ) -> ArrayRef {
        let mut of = Dates::new();
        let dates: Vec<i32> = times.values().iter().map(|&time_us| of.date(time_us)).collect();
        if times.null_count() > 0 {
            verdicts.quarantine_where(
                "null_timestamp",
                |row| times.is_null(row),
                |_| format!("{name} is null"),
            );
        }
        verdicts.quarantine_where(
            "before_first_date",
            |row| dates[row] < rules.first_date,
            |row| {
                format!(
                    "{name} {} is before the first date of the table",
                    shown(times.value(row))
                )
            },
        );
        let (own, records) = (times.values(), self.record_time.values());
        let is_after =
            |row: usize| own[row] > records[row].saturating_add(MAX_AHEAD_US) && self.record_time.is_valid(row);
        let reason = |row: usize| {
            let record = shown(self.record_time.value(row));
            format!(
                "{name} {} is more than a day after kafka_timestamp {record}",
                shown(times.value(row))
            )
        };
        verdicts.quarantine_always(
            "after_record",
            |row| is_after(row) && dates[row] >= END_OF_CALENDAR,
            reason,
        );
        verdicts.quarantine_where("after_record", is_after, reason);
        Arc::new(Date32Array::from(dates))
    }

    /// The last columns of every table.
    pub(super) fn coordinates(self) -> [ArrayRef; 3] {
        [
            Arc::new(self.incarnation),
            Arc::new(self.partition),
            Arc::new(self.offset),
        ]
    }
}

/// An instant for people; as the number that it is where no calendar reaches.
fn shown(time_us: i64) -> String {
    timestamp_us_to_datetime(time_us).map_or_else(|| format!("{time_us} us"), |time| format!("{time} UTC"))
}
