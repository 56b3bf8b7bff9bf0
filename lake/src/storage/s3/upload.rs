//! Writing: one request for what is small, several parts at once for what is not. A file that is reported as written is
//! durable: S3 answers only then.

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use tapehouse_core::backoff::Backoff;

use super::client::Bucket;
use super::fault::{classify, problem};
use crate::storage::error::{StorageError, StorageProblem};

/// Files above this are uploaded in parts of this size. S3 wants 5 MiB at least, and takes 10,000 parts.
const PART_BYTES: usize = 8 << 20;
/// Parts of one file under way at once.
const MAX_PARTS_IN_FLIGHT: usize = 4;
/// Attempts of one request whose answer was lost.
const MAX_ATTEMPTS: u32 = 3;
const ACTION: &str = "writing";

/// Writes a new file out of `blocks`, in order, without copying them together.
pub(super) async fn create(
    bucket: &Bucket,
    location: &str,
    key: &Path,
    blocks: Vec<Bytes>,
) -> Result<(), StorageError> {
    let size: usize = blocks.iter().map(Bytes::len).sum();
    if size <= PART_BYTES {
        return put_new(bucket, location, key, blocks.into_iter().collect()).await;
    }
    let failed = |error: Error| classify(ACTION, location, &error);
    let mut upload = bucket.client.put_multipart(key).await.map_err(failed)?;
    let result = send_parts(upload.as_mut(), blocks).await;
    let completed = match result {
        Ok(()) => upload.complete().await.map(|_| ()),
        Err(error) => Err(error),
    };
    if let Err(error) = completed {
        // Parts of an upload that is never ended are stored, and paid for. If this fails too, the bucket's lifecycle rule
        // has to end it; an upload that was completed, the answer lost, is not touched by this.
        if let Err(error) = upload.abort().await {
            tracing::debug!(location, %error, "an upload in parts was not aborted");
        }
        return Err(failed(error));
    }
    Ok(())
}

/// Replaces the file at `key`, or makes it.
pub(super) async fn replace(bucket: &Bucket, location: &str, key: &Path, content: Bytes) -> Result<(), StorageError> {
    let put = bucket.client.put(key, content.into()).await;
    put.map(|_| ()).map_err(|error| classify(ACTION, location, &error))
}

async fn send_parts(upload: &mut dyn MultipartUpload, blocks: Vec<Bytes>) -> Result<(), Error> {
    let parts = parts_of(blocks).into_iter().map(|part| upload.put_part(part));
    stream::iter(parts)
        .buffer_unordered(MAX_PARTS_IN_FLIGHT)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await
}

/// Blocks gathered into parts of exactly [`PART_BYTES`], but for the last. A block is split where it does not fit; splitting
/// copies nothing.
fn parts_of(blocks: Vec<Bytes>) -> Vec<PutPayload> {
    let (mut parts, mut part, mut free) = (Vec::new(), Vec::new(), PART_BYTES);
    for mut block in blocks {
        while !block.is_empty() {
            let taken = block.split_to(block.len().min(free));
            free -= taken.len();
            part.push(taken);
            if free == 0 {
                parts.push(std::mem::take(&mut part).into_iter().collect());
                free = PART_BYTES;
            }
        }
    }
    if !part.is_empty() {
        parts.push(part.into_iter().collect());
    }
    parts
}

/// Puts a file that must not exist yet. A request whose answer was lost may have made it: then what is there is ours, which
/// its content shows.
async fn put_new(bucket: &Bucket, location: &str, key: &Path, content: PutPayload) -> Result<(), StorageError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mode = match bucket.creates_conditionally() {
            true => PutMode::Create,
            false => PutMode::Overwrite,
        };
        let put = bucket
            .client
            .put_opts(key, content.clone(), PutOptions::from(mode))
            .await;
        let Err(error) = put else { return Ok(()) };
        let mut error = classify(ACTION, location, &error);
        if error.problem == StorageProblem::AlreadyExists {
            match holds(bucket, key, &content).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(error),
                Err(unknown) => error = StorageError::new(ACTION, location, unknown),
            }
        }
        match &error.problem {
            StorageProblem::Server(text) | StorageProblem::Rejected(text)
                if text.contains("NotImplemented") && bucket.creates_conditionally() =>
            {
                tracing::info!(
                    location,
                    "this S3 server knows no If-None-Match: names alone keep files apart"
                );
                bucket.knows_no_conditions();
            }
            StorageProblem::Unreachable(_) | StorageProblem::Server(_) => {}
            _ => return Err(error),
        }
        if attempt >= MAX_ATTEMPTS {
            return Err(error);
        }
        tokio::time::sleep(Backoff::INGEST.delay(attempt - 1, 0.5)).await;
    }
}

/// Whether the file at `key`, which the server says exists, has `content`.
async fn holds(bucket: &Bucket, key: &Path, content: &PutPayload) -> Result<bool, StorageProblem> {
    let unknown = |error: Error| match problem(&error) {
        // Another request for the same key is under way, or a server that was killed knows half of one. Nobody else writes
        // this name: it is free, or will be seen to be taken.
        StorageProblem::NotFound => StorageProblem::Server("it refuses the file as existing, and has none".to_owned()),
        other => other,
    };
    let found = bucket.client.get(key).await.map_err(unknown)?;
    if found.meta.size != content.content_length() as u64 {
        return Ok(false);
    }
    let found = found.bytes().await.map_err(unknown)?;
    let mut rest = &found[..];
    for block in content {
        match rest.strip_prefix(&block[..]) {
            Some(after) => rest = after,
            None => return Ok(false),
        }
    }
    Ok(rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_parts_of_one_size() {
        let blocks = |sizes: &[usize]| sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect();
        let sizes = |parts: Vec<PutPayload>| -> Vec<usize> { parts.iter().map(PutPayload::content_length).collect() };
        assert_eq!(
            sizes(parts_of(blocks(&[1 << 20; 17]))),
            [PART_BYTES, PART_BYTES, 1 << 20]
        );
        assert_eq!(
            sizes(parts_of(blocks(&[PART_BYTES - 1, 2, 0, PART_BYTES]))),
            [PART_BYTES, PART_BYTES, 1]
        );
        assert_eq!(sizes(parts_of(blocks(&[2 * PART_BYTES]))), [PART_BYTES, PART_BYTES]);
        assert!(parts_of(Vec::new()).is_empty());
    }
}
