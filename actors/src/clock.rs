//! ClockWatch: compares this node's clock with its neighbours' and keeps a node from committing that is too far ahead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::GaugeVec;
use tapehouse_core::clock::{MOST_AHEAD_MS, Sighting, now_ms};
use tapehouse_kafka::registry::RegistryClient;
use tapehouse_lake::Lake;
use tokio::sync::watch;

/// How often the neighbours are asked while all is well.
const EVERY: Duration = Duration::from_secs(30);
/// How often while this clock is ahead, or nobody has answered yet.
const EVERY_WHILE_AHEAD: Duration = Duration::from_secs(2);
/// Longest time of one round of questions.
const ROUND: Duration = Duration::from_secs(3);
/// A look that is older says nothing any more.
const KEPT: Duration = Duration::from_secs(600);
/// How often a committer that is held looks again.
const HELD_TURN: Duration = Duration::from_millis(250);

/// What the neighbours' clocks say about this one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ClockWatch {
    seen: Arc<Mutex<BTreeMap<&'static str, Seen>>>,
}

/// A look, and both our clocks when it was made: a step of the wall clock since then shows against the other.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sighting: Sighting,
    at: Instant,
}

impl Seen {
    fn ahead_ms(&self, now: Instant, now_ms: i64) -> i64 {
        let passed = i64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(i64::MAX);
        let stepped = now_ms - self.sighting.answered_ms - passed;
        // What a neighbour says is any number.
        self.sighting.least_ahead_ms().saturating_add(stepped)
    }
}

impl ClockWatch {
    /// Notes a look that was just made.
    pub fn note(&self, source: &'static str, sighting: Sighting) {
        let at = Instant::now();
        // One insertion: a panic elsewhere leaves the map whole.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(source, Seen { sighting, at });
    }

    /// How far this clock is ahead at least, by each neighbour that answered lately, in milliseconds; negative where it is
    /// not known to be ahead.
    pub fn ahead_by_source_ms(&self) -> BTreeMap<&'static str, i64> {
        self.ahead_at(Instant::now(), now_ms())
    }

    fn ahead_at(&self, now: Instant, now_ms: i64) -> BTreeMap<&'static str, i64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen
            .iter()
            .filter(|(_, seen)| now.saturating_duration_since(seen.at) <= KEPT);
        fresh
            .map(|(source, seen)| (*source, seen.ahead_ms(now, now_ms)))
            .collect()
    }

    /// How far this clock is too far ahead, in milliseconds, if it is. Where neighbours disagree, the one that accuses it least
    /// counts: the clock that is wrong is then not this one.
    pub fn too_far_ahead_ms(&self) -> Option<i64> {
        too_far(&self.ahead_by_source_ms())
    }

    /// Waits while this clock is too far ahead; returns at once where it is not.
    pub async fn hold(&self) {
        while self.too_far_ahead_ms().is_some() {
            tokio::time::sleep(HELD_TURN).await;
        }
    }

    /// Asks every neighbour once, side by side, within 3 s. One that is away, or does not tell the time, is passed over.
    pub async fn ask(&self, registry: &RegistryClient, lake: &Lake) {
        let of_registry = async {
            match registry.clock().await {
                Ok(Some(sighting)) => self.note("registry", sighting),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the registry does not tell the time"),
            }
        };
        let of_catalog = async {
            match lake.clock().await {
                Ok(Some(sighting)) => self.note("catalog", sighting),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the catalog does not tell the time"),
            }
        };
        // Whoever has not answered by then is asked again in the next round.
        let _ = tokio::time::timeout(ROUND, async { tokio::join!(of_registry, of_catalog) }).await;
    }

    /// Asks now and then, until the node stops.
    pub(crate) async fn watch(
        self,
        registry: RegistryClient,
        lake: Lake,
        ahead_seconds: GaugeVec,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut was_ahead = false;
        loop {
            let by_source = self.ahead_by_source_ms();
            for (source, ahead_ms) in &by_source {
                ahead_seconds
                    .with_label_values(&[source])
                    .set((*ahead_ms).max(0) as f64 / 1e3);
            }
            let ahead = too_far(&by_source);
            match (ahead, was_ahead) {
                (Some(ahead_ms), false) => {
                    tracing::error!(
                        code = "clock_ahead",
                        ahead_ms,
                        ?by_source,
                        alert = true,
                        "this node's clock is ahead of its neighbours': nothing is committed until it is right"
                    );
                }
                (None, true) => tracing::info!(?by_source, "this node's clock is right again"),
                _ => {}
            }
            was_ahead = ahead.is_some();
            let every = if was_ahead || by_source.is_empty() {
                EVERY_WHILE_AHEAD
            } else {
                EVERY
            };
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            self.ask(&registry, &lake).await;
        }
    }
}

fn too_far(by_source: &BTreeMap<&'static str, i64>) -> Option<i64> {
    let least = by_source.values().copied().min()?;
    (least > MOST_AHEAD_MS).then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(ahead_ms: i64) -> Sighting {
        let now = now_ms();
        Sighting {
            theirs_ms: now - ahead_ms,
            resolution_ms: 0,
            asked_ms: now,
            answered_ms: now,
        }
    }

    #[test]
    fn the_neighbour_that_accuses_least_counts() {
        let watch = ClockWatch::default();
        assert_eq!(watch.too_far_ahead_ms(), None);
        watch.note("registry", sighting(120_000));
        assert!(
            watch
                .too_far_ahead_ms()
                .is_some_and(|ahead| (119_000..125_000).contains(&ahead))
        );
        watch.note("catalog", sighting(10));
        assert_eq!(watch.too_far_ahead_ms(), None);
    }

    #[test]
    fn a_step_of_the_clock_shows_without_asking_again() {
        let watch = ClockWatch::default();
        watch.note("registry", sighting(0));
        let (now, wall) = (Instant::now(), now_ms());
        let ahead = |step_ms: i64, later: Duration| {
            let later_ms = i64::try_from(later.as_millis()).unwrap();
            too_far(&watch.ahead_at(now + later, wall + later_ms + step_ms))
        };
        assert_eq!(ahead(0, Duration::from_secs(300)), None);
        assert!(ahead(120_000, Duration::from_secs(1)).is_some());
        assert_eq!(ahead(-120_000, Duration::from_secs(1)), None);
        // What was seen long ago says nothing.
        assert_eq!(ahead(120_000, KEPT + Duration::from_secs(1)), None);
    }

    #[tokio::test]
    async fn a_committer_is_held_until_the_clock_is_right() {
        let watch = ClockWatch::default();
        watch.note("registry", sighting(120_000));
        let held = watch.clone();
        let task = tokio::spawn(async move { held.hold().await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!task.is_finished());
        watch.note("registry", sighting(0));
        tokio::time::timeout(Duration::from_secs(5), task)
            .await
            .unwrap()
            .unwrap();
    }
}
