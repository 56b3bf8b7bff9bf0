//! Decisions about rows set aside: made, and applied.

use std::collections::HashMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use rand::Rng as _;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::silver::quarantine::{
    Entry, NewDecision, Quarantine, Standing, Verdict, decide, refusal, standings,
};

use super::{OWNER, TABLE, World};
use crate::fold::model::DAY_US;
use crate::raw_trades::NOON_US;

impl World {
    /// People decide about some of what is set aside.
    pub async fn decide(&mut self) {
        let Some(quarantine) = Quarantine::load(&self.lake).await.unwrap() else {
            return;
        };
        let entries = quarantine
            .entries(&self.lake, Some(TABLE), true, |_| true)
            .await
            .unwrap();
        let known = quarantine.decisions(&self.lake, TABLE).await.unwrap();
        let state = quarantine.of(TABLE).unwrap();
        let verdict = if self.rng.random_bool(0.7) {
            Verdict::Replay
        } else {
            Verdict::Drop
        };
        let standings: Vec<Standing> = standings(&entries, &known.all);
        let may = |entry: &Entry, standing: Standing| {
            standing.permits(verdict).is_ok() && refusal(entry, NOON_US + 30 * DAY_US).is_none()
        };
        let candidates = entries.into_iter().zip(standings).filter(|(entry, at)| may(entry, *at));
        let chosen: Vec<Entry> = candidates
            .map(|(entry, _)| entry)
            .filter(|_| self.rng.random_bool(0.3))
            .collect();
        if chosen.is_empty() {
            return;
        }
        for entry in &chosen {
            let (_, partition, offset) = entry.id.coordinates;
            self.model.decisions += 1;
            if verdict == Verdict::Replay {
                self.model.replayed.insert((partition, offset, entry.rule.clone()));
            }
        }
        let new = NewDecision {
            owner: OWNER.to_owned(),
            table: TABLE,
            known: state.decisions,
            generation: state.generation,
            verdict,
            entries: chosen,
            decided_at_us: 0,
            decided_by: "test".to_owned(),
            note: None,
        };
        assert!(decide(&self.lake, &new).await.unwrap().is_ok());
        self.seen.count("decided");
    }

    /// Applies what is decided.
    pub async fn apply(&mut self) {
        let Some(quarantine) = Quarantine::load(&self.lake).await.unwrap() else {
            return;
        };
        let known = quarantine.decisions(&self.lake, TABLE).await.unwrap();
        let first = self.merger().state().decisions;
        let end = known.waivers.known();
        if first == end {
            return;
        }
        let open = known.all.iter().filter(|decision| decision.number >= first);
        let replayed: HashMap<_, _> = open
            .filter(|decision| decision.verdict == Verdict::Replay)
            .map(|decision| (decision.id.coordinates, decision.number))
            .collect();
        let all = self.next.iter().map(|(at, end)| (*at, OffsetRange::new(0, *end)));
        let mut rows = Vec::new();
        for batch in self.read(Ranges(all.collect())).await {
            let ints = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().clone();
            let (partitions, offsets) = (ints("kafka_partition"), batch.column_by_name("kafka_offset").unwrap());
            let offsets = offsets.as_primitive::<Int64Type>();
            let is_meant = |row: &usize| replayed.contains_key(&(0, partitions.value(*row), offsets.value(*row)));
            rows.extend((0..batch.num_rows()).filter(is_meant).map(|row| batch.slice(row, 1)));
        }
        self.seen.count("applied");
        self.merge(rows, &known.waivers, Ranges::default(), first..end, &replayed)
            .await;
    }
}
