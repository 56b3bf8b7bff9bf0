//! What only a REST catalog does.

use std::time::Duration;

use tapehouse_core::secret::Secret;
use tapehouse_lake::{CatalogSettings, Lake, LakeError, catalog};

use crate::place::Kind;
use crate::support::{Rig, committed, stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_credentials_become_a_token_and_are_not_shown() {
    let Some(rig) = Rig::new(Kind::Rest).await else { return };
    let mut settings = rig.place.settings.clone();
    settings.catalog.rest.credential = Some(Secret::new("tapehouse:hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
    let lake = Lake::open(settings.clone()).await.unwrap();
    let staged = stage(&lake, &rig.ident, &[(0, 0, 3)]).await;
    committed(lake.append(&rig.ident, &staged).await.unwrap());
    assert_eq!(rig.rows().await.len(), 3);
    assert!(!format!("{lake:?}").contains("hunter2"));
    // The place where tokens are made is away: nothing was sent to the catalog.
    settings.catalog.rest.oauth2_server_uri = Some("http://127.0.0.1:1/token".to_owned());
    let error = Lake::open(settings).await.unwrap_err();
    assert!(
        error.is_retryable() && !format!("{error} {error:?}").contains("hunter2"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_tells_the_time() {
    let Some(rig) = Rig::new(Kind::Rest).await else { return };
    let seen = rig.lake.clock().await.unwrap().unwrap();
    assert!(
        seen.least_ahead_ms() < 1000 && seen.least_behind_ms() < 1000,
        "{seen:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    for (uri, word) in [
        ("http://127.0.0.1:1", "127.0.0.1:1 cannot be reached"),
        ("http://u:hunter2@127.0.0.1:1", "neither user nor parameters"),
        ("http://", "URL"),
    ] {
        let mut settings = CatalogSettings::new(uri);
        settings.timeout = Duration::from_millis(500);
        let error = catalog::open(&settings, true).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(matches!(error, LakeError::Rest { .. }), "{said}");
        assert!(said.contains(word) && !said.contains("hunter2"), "{said}");
    }
}
