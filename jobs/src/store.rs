//! The artifact store: what attempts left, kept after their folders are gone. A directory, or a bucket.
//! An object is written once: history is not rewritten, not even by the attempt it is of.
//!
//! The content of an object is not trusted by anyone who reads it: serve it with a type that no browser
//! runs.

mod error;

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload, RetryConfig, WriteMultipart,
};
use sha2::{Digest, Sha256};

pub use error::{Retry, StoreError};

use crate::limits::{MAX_ARTIFACT_BYTES, STORE_PART_BYTES};

/// What is tried again within one call, and for how long: the caller records a failure and comes back.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// One request, its body included. At 8 MiB a part that is a slow line indeed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Parts of one upload that are on their way at once: this times the part's size is held in memory.
const PARTS_AT_ONCE: usize = 4;
/// Large objects are made here and then moved to their key, if that is free.
const STAGING: &str = "staging";

/// A place for artifacts and logs.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
}

/// An object that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
}

/// An object on its way out.
pub struct Object {
    /// Size of the whole object, also if a part was asked for.
    pub bytes: u64,
    /// The content, or the part of it.
    pub content: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl Store {
    /// Opens `s3://BUCKET/PREFIX`, or a directory, which is made if need be. For S3, region, endpoint and
    /// credentials come from `AWS_` variables; `AWS_ACCESS_KEY_ID_FILE` and
    /// `AWS_SECRET_ACCESS_KEY_FILE` name files instead, and a web identity or an instance's role works too.
    ///
    /// # Errors
    /// [`StoreError::BadAddress`], [`StoreError::Other`]. A bucket is not asked for here.
    pub fn open(address: &str) -> Result<Self, StoreError> {
        Self::open_with(address, &[])
    }

    /// As [`Store::open`], with settings of S3 by name (`endpoint`, `region`, ...) over the environment's.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(address: &str, settings: &[(&str, &str)]) -> Result<Self, StoreError> {
        let bad = |why: String| StoreError::BadAddress {
            address: address.to_owned(),
            why,
        };
        let Some(rest) = address.strip_prefix("s3://") else {
            if address.contains("://") {
                return Err(bad("only s3:// and paths are known".to_owned()));
            }
            // What jobs left is for those whom the API lets see it. A directory that is there keeps its rights.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(address)
                .map_err(|error| bad(error.to_string()))?;
            let directory = LocalFileSystem::new_with_prefix(address)
                .map_err(|error| bad(error.to_string()))?;
            return Ok(Self {
                objects: Arc::new(directory.with_fsync(true)),
                prefix: ObjectPath::default(),
            });
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(bad("it names no bucket".to_owned()));
        }
        // reqwest has no cryptography of its own here; the host may have chosen the same already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRY_TIMEOUT,
            })
            .with_client_options(ClientOptions::new().with_timeout(REQUEST_TIMEOUT));
        for (variable, key) in [
            ("AWS_ACCESS_KEY_ID_FILE", AmazonS3ConfigKey::AccessKeyId),
            (
                "AWS_SECRET_ACCESS_KEY_FILE",
                AmazonS3ConfigKey::SecretAccessKey,
            ),
        ] {
            if let Some(path) = std::env::var_os(variable) {
                let secret = std::fs::read_to_string(&path)
                    .map_err(|error| bad(format!("{variable}: {error}")))?;
                builder = builder.with_config(key, secret.trim());
            }
        }
        for (name, value) in settings {
            let key: AmazonS3ConfigKey = name
                .parse()
                .map_err(|_| bad(format!("S3 has no setting {name:?}")))?;
            builder = builder.with_config(key, *value);
        }
        Ok(Self {
            objects: Arc::new(builder.build().map_err(|error| bad(error.to_string()))?),
            prefix: ObjectPath::from(prefix),
        })
    }

    /// Keeps a file under `key` (the attempt's) and `path`. If there is an object already, it stays; that
    /// is a success if the content is the same.
    ///
    /// # Errors
    /// [`StoreError::Differs`] if it is not; otherwise what kept it from being stored:
    /// [`StoreError::retry`] says whether to come back.
    pub async fn put(&self, key: &str, path: &str, file: File) -> Result<Stored, StoreError> {
        let object = self.object(key, path)?;
        let source = Source::new(file);
        let (source, first) = source.part().await?;
        if first.len() < STORE_PART_BYTES {
            let stored = source.stored();
            let options = PutOptions::from(PutMode::Create);
            let put = self
                .objects
                .put_opts(&object, PutPayload::from(first), options);
            return self.settle(put.await.map(drop), &object, stored).await;
        }
        self.put_large(&object, source, first).await
    }

    /// In parts, to a name that nobody has, and from there to its own if that is free.
    async fn put_large(
        &self,
        object: &ObjectPath,
        mut source: Source,
        first: Bytes,
    ) -> Result<Stored, StoreError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| StoreError::Other(error.to_string()))?;
        let staging = self.prefix.clone().join(STAGING).join(hex::encode(random));
        let upload = self.objects.put_multipart(&staging).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, STORE_PART_BYTES);
        let mut part = first;
        while !part.is_empty() {
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                let _ = upload.abort().await;
                return Err(error.into());
            }
            upload.put(part);
            match source.part().await {
                Ok((rest, next)) => (source, part) = (rest, next),
                Err(error) => {
                    let _ = upload.abort().await;
                    return Err(error);
                }
            }
        }
        upload.finish().await?;
        let moved = self.objects.rename_if_not_exists(&staging, object).await;
        let is_moved = moved.is_ok();
        let settled = self.settle(moved, object, source.stored()).await;
        if !is_moved {
            let _ = self.objects.delete(&staging).await;
        }
        settled
    }

    /// What became of a write that must not overwrite.
    async fn settle(
        &self,
        written: Result<(), object_store::Error>,
        object: &ObjectPath,
        stored: Stored,
    ) -> Result<Stored, StoreError> {
        match written {
            Ok(()) => Ok(stored),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => {
                if self.stored(object).await? == stored {
                    Ok(stored)
                } else {
                    Err(StoreError::Differs(object.to_string()))
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Size and digest of an object that is there, read as a stream.
    async fn stored(&self, object: &ObjectPath) -> Result<Stored, StoreError> {
        let mut content = self.objects.get(object).await?.into_stream();
        let mut digest = Sha256::new();
        let mut bytes = 0;
        while let Some(part) = content.try_next().await? {
            digest.update(&part);
            bytes += part.len() as u64;
        }
        Ok(Stored {
            bytes,
            sha256: hex::encode(digest.finalize()),
        })
    }

    /// The content, whole or in part, as a stream.
    ///
    /// # Errors
    /// [`StoreError::NotThere`], and what keeps it from being read; the stream may fail later too.
    pub async fn get(
        &self,
        key: &str,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError> {
        let object = self.object(key, path)?;
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self.objects.get_opts(&object, options).await?;
        Ok(Object {
            bytes: found.meta.size,
            content: found.into_stream().map_err(StoreError::from).boxed(),
        })
    }

    /// Removes all objects of an attempt, for retention. Says how many there were.
    ///
    /// # Errors
    /// What keeps it from being done; it can be repeated.
    pub async fn remove(&self, key: &str) -> Result<usize, StoreError> {
        let under = self.object(key, "")?;
        let mut removed = 0;
        loop {
            // Collected first, a page at a time: a list that is deleted from while it is read may skip.
            let found: Vec<_> = self
                .objects
                .list(Some(&under))
                .take(1_000)
                .try_collect()
                .await?;
            if found.is_empty() {
                return Ok(removed);
            }
            for object in found {
                match self.objects.delete(&object.location).await {
                    Ok(()) => removed += 1,
                    // Somebody else removes it too.
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// Every part of key and path becomes a part of the object's; odd characters are percent-encoded.
    fn object(&self, key: &str, path: &str) -> Result<ObjectPath, StoreError> {
        let mut object = self.prefix.clone();
        let parts = || {
            key.split('/')
                .chain(path.split('/').filter(|_| !path.is_empty()))
        };
        if parts().any(|part| matches!(part, "" | "." | "..")) || key == STAGING {
            return Err(StoreError::BadKey(format!("{key}/{path}")));
        }
        for part in parts() {
            object = object.join(part);
        }
        Ok(object)
    }
}

/// A file that is read in parts and digested on the way.
struct Source {
    file: File,
    digest: Sha256,
    bytes: u64,
}

impl Source {
    fn new(file: File) -> Self {
        Self {
            file,
            digest: Sha256::new(),
            bytes: 0,
        }
    }

    /// The next part; empty at the end. Read where it may block.
    async fn part(mut self) -> Result<(Self, Bytes), StoreError> {
        let read = tokio::task::spawn_blocking(move || {
            let mut part = Vec::new();
            let read = (&self.file)
                .take(STORE_PART_BYTES as u64)
                .read_to_end(&mut part);
            if let Err(error) = read {
                return Err(StoreError::Other(format!("the file: {error}")));
            }
            self.digest.update(&part);
            self.bytes += part.len() as u64;
            if self.bytes > MAX_ARTIFACT_BYTES {
                return Err(StoreError::TooLarge {
                    max: MAX_ARTIFACT_BYTES,
                });
            }
            Ok((self, Bytes::from(part)))
        });
        match read.await {
            Ok(read) => read,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn stored(&self) -> Stored {
        Stored {
            bytes: self.bytes,
            sha256: hex::encode(self.digest.clone().finalize()),
        }
    }
}
