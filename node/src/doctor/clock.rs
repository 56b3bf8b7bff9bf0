//! This machine's clock beside its neighbours'.

use std::collections::BTreeMap;

use tapehouse_core::clock::{MOST_AHEAD_MS, Sighting};
use tapehouse_lake::{Lake, Warehouse};

use super::{Check, Finding, Found};
use crate::config::Config;
use crate::connect::{lake_settings, registry_client};
use crate::exit::Failure;

/// What is worth a word, in milliseconds.
const NOTICEABLE_MS: i64 = 5_000;

/// Asks whoever tells the time.
pub(super) async fn check(config: &Config) -> Check {
    Check::of("clock", "clock_ahead", ask(config)).await
}

async fn ask(config: &Config) -> Found {
    let of_registry = async { registry_client(config).ok()?.clock().await.ok()? };
    let of_catalog = async {
        let lake = Lake::open_existing(lake_settings(config).ok()?).await.ok()?;
        lake.clock().await.ok()?
    };
    let of_warehouse = async {
        let settings = lake_settings(config).ok()?;
        let warehouse = Warehouse::at(&settings.warehouse, &settings.s3).ok()?;
        warehouse.clock().await.ok()?
    };
    let (registry, catalog, warehouse) = tokio::join!(of_registry, of_catalog, of_warehouse);
    let seen = [("registry", registry), ("catalog", catalog), ("warehouse", warehouse)];
    judge(
        &seen
            .into_iter()
            .filter_map(|(source, seen)| Some((source, seen?)))
            .collect(),
    )
}

fn judge(seen: &BTreeMap<&str, Sighting>) -> Found {
    let way_out = "set the clock and let NTP keep it".to_owned();
    let Some(ahead_ms) = seen.values().map(Sighting::least_ahead_ms).min() else {
        let way_out = "a clock that is wrong would not be noticed: keep it by NTP".to_owned();
        return Ok(Finding::Odd("no neighbour tells the time".to_owned(), way_out));
    };
    let sources: Vec<&str> = seen.keys().copied().collect();
    let sources = sources.join(" and ");
    let behind_ms = seen.values().map(Sighting::least_behind_ms).min().unwrap_or(0);
    let seconds = |ms: i64| ms as f64 / 1e3;
    if ahead_ms > MOST_AHEAD_MS {
        let detail = format!(
            "at least {:.1} s ahead of {sources}: a node would not commit",
            seconds(ahead_ms)
        );
        return Err(Failure::failed(detail).code("clock_ahead").hint(way_out));
    }
    if ahead_ms > NOTICEABLE_MS {
        return Ok(Finding::Odd(
            format!("at least {:.1} s ahead of {sources}", seconds(ahead_ms)),
            way_out,
        ));
    }
    if behind_ms > NOTICEABLE_MS {
        return Ok(Finding::Odd(
            format!("at least {:.1} s behind {sources}", seconds(behind_ms)),
            way_out,
        ));
    }
    Ok(Finding::Good(format!("agrees with {sources}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ahead_behind_and_nobody_to_ask() {
        let seen = |ours_ms: i64| {
            let sighting = Sighting {
                theirs_ms: 1_000_000,
                resolution_ms: 1000,
                asked_ms: ours_ms,
                answered_ms: ours_ms + 10,
            };
            judge(&[("registry", sighting)].into())
        };
        assert!(matches!(seen(1_000_500), Ok(Finding::Good(_))));
        assert!(matches!(seen(1_010_000), Ok(Finding::Odd(text, _)) if text.contains("ahead")));
        assert!(matches!(seen(990_000), Ok(Finding::Odd(text, _)) if text.contains("behind")));
        assert!(seen(1_120_000).is_err_and(|failure| failure.code == "clock_ahead"));
        assert!(matches!(judge(&BTreeMap::new()), Ok(Finding::Odd(..))));
    }
}
