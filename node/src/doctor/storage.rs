//! Catalog and warehouse: reached, and written to without leaving anything behind.

use tapehouse_lake::{Lake, LakeError, LakeSettings, probe_warehouse};

use super::{Check, Finding, Found};
use crate::config::Config;
use crate::connect::{lake_failure, lake_settings};

/// Both, side by side.
pub(super) async fn checks(config: &Config) -> Vec<Check> {
    let settings = match lake_settings(config) {
        Ok(settings) => settings,
        Err(failure) => return vec![Check::of("catalog", "lake", async { Err(failure) }).await],
    };
    let (catalog, warehouse) = tokio::join!(
        Check::of("catalog", "lake", catalog(settings.clone())),
        Check::of("warehouse", "lake", warehouse(settings))
    );
    vec![catalog, warehouse]
}

async fn catalog(settings: LakeSettings) -> Found {
    match Lake::open_existing(settings).await {
        Ok(lake) => {
            let probed = lake.probe_catalog().await.map_err(|error| lake_failure(&error))?;
            Ok(match probed {
                Some(tables) => Finding::Good(format!("answers and can be written; {tables} tables")),
                None => Finding::Odd(
                    "answers; its database is empty".to_owned(),
                    "the first `tapehouse run` makes the catalog's tables in it, which needs the right to; else check catalog.uri"
                        .to_owned(),
                ),
            })
        }
        Err(LakeError::Missing { path, .. }) => Ok(Finding::Odd(
            format!("{} does not exist yet", path.display()),
            "the first `tapehouse run` creates it; else check catalog.uri".to_owned(),
        )),
        Err(error) => Err(lake_failure(&error)),
    }
}

async fn warehouse(settings: LakeSettings) -> Found {
    let location = settings.warehouse.clone();
    let probed = probe_warehouse(&settings).await.map_err(|error| lake_failure(&error))?;
    Ok(match probed {
        true => Finding::Good(format!("{location}: a file was written, read and deleted")),
        false => Finding::Odd(
            format!("{location} does not exist yet"),
            "the first `tapehouse run` creates it; else check warehouse.path".to_owned(),
        ),
    })
}
