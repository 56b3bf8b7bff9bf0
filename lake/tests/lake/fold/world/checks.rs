//! What must hold.

use std::collections::BTreeSet;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use tapehouse_lake::LiveRows;
use tapehouse_lake::silver::quarantine::Quarantine;

use super::{TABLE, World};
use crate::fold::model::Row;

impl World {
    /// Merges and applies all there is, and checks.
    pub async fn settle(&mut self) {
        for _ in 0..500 {
            if self.cursor() != self.next {
                self.merge_some().await;
            } else if self.merger().state().decisions != self.model.decisions {
                self.apply().await;
            } else {
                self.check().await;
                return self.check_aside().await;
            }
        }
        panic!("seed {}: it comes to no end", self.seed);
    }

    /// Silver is the fold, wherever all decisions are applied.
    pub async fn check(&mut self) {
        if self.merger().state().decisions != self.model.decisions {
            return;
        }
        self.seen.count("checked");
        let (found, expected) = (self.live().await, self.model.fold(&self.cursor()));
        assert_eq!(found, expected, "seed {}, step {}", self.seed, self.step);
        assert_eq!(self.merger().live_rows(), expected.len() as u64, "seed {}", self.seed);
    }

    /// The table's live rows, sorted.
    async fn live(&self) -> Vec<Row> {
        let table = self.lake.load(&TABLE.name().parse().unwrap()).await.unwrap().unwrap();
        let names = [
            "trade_id",
            "kafka_partition",
            "kafka_offset",
            "price",
            "side",
            "event_timestamp",
        ];
        let mut rows = Vec::new();
        for (day, _) in self.lake.days(&table).await.unwrap().iter() {
            let mut read = LiveRows::of_day(&self.lake, &table, &names, *day).await.unwrap();
            while let Some((_, batch)) = read.next().await.unwrap() {
                let texts = |at: usize| batch.column(at).as_string::<i32>();
                let partitions = batch.column(1).as_primitive::<Int32Type>();
                let offsets = batch.column(2).as_primitive::<Int64Type>();
                let prices = batch.column(3).as_primitive::<Float64Type>();
                let events = batch.column(5).as_primitive::<TimestampMicrosecondType>();
                rows.extend((0..batch.num_rows()).map(|row| {
                    (
                        texts(0).value(row).to_owned(),
                        partitions.value(row),
                        offsets.value(row),
                        prices.value(row).to_string(),
                        texts(4).value(row).to_owned(),
                        *day,
                        events.is_valid(row).then(|| events.value(row)),
                    )
                }));
            }
        }
        rows.sort();
        rows
    }

    /// What the quarantine holds is what the rules and decisions leave aside, each once.
    async fn check_aside(&self) {
        let Some(quarantine) = Quarantine::load(&self.lake).await.unwrap() else {
            return assert!(self.model.aside().is_empty());
        };
        let entries = quarantine
            .entries(&self.lake, Some(TABLE), false, |_| true)
            .await
            .unwrap();
        let all: Vec<_> = entries
            .into_iter()
            .map(|entry| (entry.id.coordinates.1, entry.id.coordinates.2, entry.rule))
            .collect();
        let distinct: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(distinct.len(), all.len(), "seed {}: each once", self.seed);
        let held: Vec<_> = distinct
            .into_iter()
            .filter(|row| !self.model.replayed.contains(row))
            .collect();
        assert_eq!(held, self.model.aside(), "seed {}", self.seed);
    }
}
