//! What only S3 has: uploads in parts, refusals with their reason, files that exist already.

use bytes::Bytes;
use tapehouse_lake::storage::{StorageError, StorageProblem};
use tapehouse_lake::{Lake, LakeError, LakeSettings, S3Settings, Warehouse};
use uuid::Uuid;

use crate::place::{Kind, Place, path_of};
use crate::support::{Rig, new_table};

const MIB: usize = 1 << 20;

async fn place() -> Option<(Place, Warehouse)> {
    let place = Place::new(Kind::S3).await?;
    let warehouse = Warehouse::at(&place.settings.warehouse, &place.settings.s3).unwrap();
    Some((place, warehouse))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_tells_the_time() {
    let Some((place, warehouse)) = place().await else {
        return;
    };
    let seen = warehouse.clock().await.unwrap().unwrap();
    assert!(
        seen.least_ahead_ms() < 1000 && seen.least_behind_ms() < 1000,
        "{seen:?}"
    );
    let mut away = place.settings.s3.clone();
    away.endpoint = Some("http://127.0.0.1:1".to_owned());
    let away = Warehouse::at(&place.settings.warehouse, &away).unwrap();
    assert!(away.clock().await.unwrap_err().is_retryable());
}

/// `size` bytes that differ from block to block.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index / 7 + index / MIB) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_file_is_written_in_parts_and_read_by_range() {
    let Some((_, warehouse)) = place().await else { return };
    let location = format!("{}/t/data/big", warehouse.root());
    let expected = content(27 * MIB + 123);
    let batch = warehouse.batch(&format!("{}/t", warehouse.root()));
    let mut writer = batch.io().new_output(&location).unwrap().writer().await.unwrap();
    for block in expected.chunks(MIB) {
        writer.write(Bytes::copy_from_slice(block)).await.unwrap();
    }
    writer.close().await.unwrap();
    batch.finish().await.unwrap();
    assert_eq!(std::fs::read(path_of(&location)).unwrap(), expected);
    let input = warehouse.io().new_input(&location).unwrap();
    assert_eq!(input.metadata().await.unwrap().size, expected.len() as u64);
    let reader = input.reader().await.unwrap();
    let (start, end) = (8 * MIB - 5, 8 * MIB + 5);
    assert_eq!(
        reader.read(start as u64..end as u64).await.unwrap(),
        expected[start..end]
    );
    assert!(input.exists().await.unwrap());
    warehouse.io().delete(&location).await.unwrap();
    warehouse.io().delete(&location).await.unwrap();
    assert!(!input.exists().await.unwrap());
    assert!(!path_of(&location).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_file_is_never_overwritten_and_the_same_one_is_no_error() {
    let Some((_, warehouse)) = place().await else { return };
    let location = format!("{}/once", warehouse.root());
    let write = |content: &'static [u8]| {
        let output = warehouse.io().new_output(&location).unwrap();
        async move { output.write(Bytes::from_static(content)).await }
    };
    write(b"first").await.unwrap();
    // As after an answer that was lost.
    write(b"first").await.unwrap();
    let error = write(b"other").await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let storage: &StorageError = source.downcast_ref().unwrap();
    assert_eq!(storage.problem, StorageProblem::AlreadyExists);
    assert_eq!(
        warehouse.io().new_input(&location).unwrap().read().await.unwrap(),
        "first"
    );
}

/// This server keeps an object's properties in files of their own, written before it: killed between the two, it refuses the
/// name as taken and has no object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_refused_and_not_there_is_no_other_content() {
    let Some((_, warehouse)) = place().await else { return };
    let location = format!("{}/half", warehouse.root());
    let object = location.strip_prefix("s3://").unwrap();
    let properties = crate::place::s3()
        .unwrap()
        .folder()
        .join("s3/sidecar")
        .join(object)
        .join("meta");
    std::fs::create_dir_all(&properties).unwrap();
    std::fs::write(properties.join("etag"), "half").unwrap();
    let write = || async {
        let output = warehouse.io().new_output(&location).unwrap();
        output.write(Bytes::from_static(b"whole")).await
    };
    let error = write().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let storage: &StorageError = source.downcast_ref().unwrap();
    assert!(storage.problem.is_retryable(), "{storage}");
    std::fs::remove_dir_all(&properties).unwrap();
    write().await.unwrap();
    assert_eq!(
        warehouse.io().new_input(&location).unwrap().read().await.unwrap(),
        "whole"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_is_deleted_and_nothing_beside_it() {
    let Some((_, warehouse)) = place().await else { return };
    let at = |name: String| format!("{}/{name}", warehouse.root());
    for name in ["t/a", "t/b/c", "t2/a"] {
        let output = warehouse.io().new_output(at(name.to_owned())).unwrap();
        output.write(Bytes::from_static(b"x")).await.unwrap();
    }
    warehouse.io().delete_prefix(at("t".to_owned())).await.unwrap();
    for (name, there) in [("t/a", false), ("t/b/c", false), ("t2/a", true)] {
        assert_eq!(
            warehouse.io().exists(at(name.to_owned())).await.unwrap(),
            there,
            "{name}"
        );
    }
}

async fn failure(settings: LakeSettings) -> LakeError {
    let lake = Lake::open(settings).await.unwrap();
    lake.create_table(&"bronze.raw_trades".parse().unwrap(), new_table())
        .await
        .unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_what_to_do() {
    let Some((place, _)) = place().await else { return };
    let with = |change: &dyn Fn(&mut LakeSettings)| {
        let mut settings = place.settings.clone();
        change(&mut settings);
        settings
    };
    let wrong_secret = failure(with(&|settings| {
        let credentials = settings.s3.credentials.as_mut().unwrap();
        credentials.secret_access_key = "hunter2-wrong".into();
    }))
    .await;
    assert_eq!(wrong_secret.code(), "s3_denied");
    assert!(
        wrong_secret.to_string().contains("SignatureDoesNotMatch"),
        "{wrong_secret}"
    );
    assert!(!format!("{wrong_secret:?}").contains("hunter2"), "{wrong_secret:?}");
    let no_bucket = failure(with(&|settings| {
        settings.warehouse = "s3://no-such-bucket/w".to_owned()
    }))
    .await;
    assert_eq!(no_bucket.code(), "s3_no_bucket", "{no_bucket}");
    let away = failure(with(&|settings| {
        settings.s3.endpoint = Some("http://127.0.0.1:9".to_owned())
    }))
    .await;
    assert_eq!(away.code(), "s3_unreachable", "{away}");
    assert!(away.to_string().contains("refused"), "{away}");
    for error in [wrong_secret, no_bucket, away] {
        assert!(error.is_retryable(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_manifest_list_is_no_reason_to_try_again() {
    let Some(rig) = Rig::new(Kind::S3).await else { return };
    let table = rig.append(&[(0, 0, 5)]).await;
    let list = table.metadata().current_snapshot().unwrap().manifest_list();
    rig.lake.io_of(&table).delete(list).await.unwrap();
    let other = rig.other().await;
    let loaded = other.load(&rig.ident).await.unwrap().unwrap();
    let error = loaded.manifests(&other.io_of(&loaded)).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("file_missing", false), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_endpoint_plain_http_is_never_spoken() {
    let s3 = S3Settings {
        endpoint: Some("http://192.0.2.1:9000".to_owned()),
        ..S3Settings::default()
    };
    let error = Warehouse::at(&format!("s3://lake/{}", Uuid::new_v4()), &s3).unwrap_err();
    assert!(error.to_string().contains("allow_http"), "{error}");
}
