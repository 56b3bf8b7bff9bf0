//! iceberg's `Storage` on the local file system.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{MAX_WHOLE_FILE_BYTES, local_path};

/// Files of the local file system. Writing creates missing folders and never overwrites: names are unique per attempt, so
/// an existing file means that something is wrong.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LocalStorage;

#[async_trait]
#[typetag::serde(name = "TapehouseLocalStorage")]
impl Storage for LocalStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        blocking(path, "looking for", |path| path.try_exists()).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        blocking(path, "looking at", |path| {
            Ok(FileMetadata {
                size: fs::metadata(path)?.len(),
            })
        })
        .await
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        blocking(path, "reading", |path| read_whole(&path)).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let file = blocking(path, "opening", |path| open(&path)).await?;
        Ok(Box::new(LocalRead {
            location: path.to_owned(),
            file: Arc::new(file),
        }))
    }

    async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        blocking(path, "writing", move |path| {
            let mut file = create(path.clone())?;
            file.write_all(&content).inspect_err(|_| discard(&path))
        })
        .await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let file = blocking(path, "creating", create).await?;
        Ok(Box::new(LocalWrite {
            location: path.to_owned(),
            file: Some(file),
        }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        blocking(path, "deleting", |path| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        blocking(path, "deleting", |path| match fs::remove_dir_all(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            other => other,
        })
        .await
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct LocalRead {
    location: String,
    file: Arc<File>,
}

#[async_trait]
impl FileRead for LocalRead {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let file = Arc::clone(&self.file);
        blocking(&self.location, "reading", move |_| {
            // Ends come from other files, and no buffer is made for what is not there.
            if range.end > file.metadata()?.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, range.start)?;
            Ok(Bytes::from(buffer))
        })
        .await
    }
}

struct LocalWrite {
    location: String,
    file: Option<File>,
}

#[async_trait]
impl FileWrite for LocalWrite {
    async fn write(&mut self, content: Bytes) -> Result<()> {
        let file = self.file.take().ok_or_else(|| closed(&self.location))?;
        let file = blocking(&self.location, "writing", move |path| {
            let mut file = file;
            file.write_all(&content).inspect_err(|_| discard(&path))?;
            Ok(file)
        })
        .await?;
        self.file = Some(file);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.file.take().map(drop).ok_or_else(|| closed(&self.location))
    }
}

/// Opens a file to be read; a device or a pipe, which could hold the reader for ever, is none.
fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
    }
}

fn read_whole(path: &Path) -> io::Result<Bytes> {
    let mut content = Vec::new();
    open(path)?.take(MAX_WHOLE_FILE_BYTES + 1).read_to_end(&mut content)?;
    match content.len() as u64 > MAX_WHOLE_FILE_BYTES {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(content.into()),
    }
}

/// Writes the file at `path`, whatever was there: a reader sees the old content or the new one, never half of one. Blocks.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_file_name(format!(".replacing-{}.tmp", Uuid::new_v4().simple()));
    fs::write(&temporary, content)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

fn create(path: PathBuf) -> io::Result<File> {
    match File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create_new(&path)
        }
        other => other,
    }
}

/// Removes a file that could not be written whole. Its name was never told to anybody, and on a full disk each new attempt
/// would leave another.
fn discard(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a partial file stays behind; no table refers to it");
    }
}

fn closed(location: &str) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        format!("{location} is closed, or a write to it failed"),
    )
}

async fn blocking<T, F>(location: &str, action: &'static str, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
{
    let path = local_path(location);
    let failed = |kind: ErrorKind, error: String| Error::new(kind, format!("{action} {location}: {error}"));
    match tokio::task::spawn_blocking(move || work(path)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err(failed(ErrorKind::DataInvalid, error.to_string()).with_source(error))
        }
        Ok(Err(error)) => Err(failed(ErrorKind::Unexpected, error.to_string()).with_source(error)),
        Err(error) => Err(failed(ErrorKind::Unexpected, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_reads_ranges_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let location = format!("file://{}/a/b/c.bin", dir.path().display());
        LocalStorage
            .write(&location, Bytes::from_static(b"hello world"))
            .await
            .unwrap();
        assert_eq!(LocalStorage.metadata(&location).await.unwrap().size, 11);
        let reader = LocalStorage.reader(&location).await.unwrap();
        assert_eq!(reader.read(6..11).await.unwrap(), "world");
        assert!(reader.read(6..12).await.is_err());
        assert!(reader.read(0..u64::MAX / 2).await.is_err());
        assert!(LocalStorage.write(&location, Bytes::from_static(b"x")).await.is_err());
        assert_eq!(LocalStorage.read(&location).await.unwrap(), "hello world");
        LocalStorage.delete(&location).await.unwrap();
        LocalStorage.delete(&location).await.unwrap();
        assert!(!LocalStorage.exists(&location).await.unwrap());
    }
    #[tokio::test]
    async fn what_is_no_file_or_too_large_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large");
        File::create(&large)
            .and_then(|file| file.set_len(MAX_WHOLE_FILE_BYTES + 1))
            .unwrap();
        for path in [
            "/dev/zero",
            &large.display().to_string(),
            &dir.path().display().to_string(),
        ] {
            assert!(LocalStorage.read(path).await.is_err(), "{path}");
        }
        assert!(LocalStorage.reader("/dev/zero").await.is_err());
    }
}
