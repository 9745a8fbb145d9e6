//! Compiled plugins, kept on the node.
//!
//! An artifact is native code that this process will run, so a file is believed only if it was written
//! by this node: it carries an HMAC under a secret that lies beside it, readable by this user alone.
//! Whoever can read the secret can already run code as this user. Artifacts are never kept in the
//! database, where everyone who may write a row would gain native code on every node.
//!
//! Losing the cache costs time only. So every trouble with it is a warning, and a file that is not
//! right to the last bit is removed and made anew.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What the cache may hold, in bytes; the least recently used artifacts go first. A Rust plugin
/// compiles to some 1 MiB, a Python one to some 60.
const MAX_CACHE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Marks the format of a file; a change of format is a new mark.
const MARK: &[u8; 8] = b"pmplug01";

/// The node's secret, beside the artifacts.
const SECRET_FILE: &str = "secret";

const TAG_BYTES: usize = 32;
const SECRET_BYTES: usize = 32;

/// Length of everything before the artifact.
const HEADER_BYTES: usize = MARK.len() + TAG_BYTES;

/// The artifacts that one engine made.
pub(super) struct Cache {
    dir: PathBuf,
    secret: [u8; SECRET_BYTES],
    engine: String,
}

impl Cache {
    /// Opens the cache in `dir`, making the directory and the secret where they are missing.
    pub(super) fn open(dir: &Path, engine: &str) -> anyhow::Result<Cache> {
        own_directory(dir)
            .with_context(|| format!("cannot use {} as plugin cache", dir.display()))?;
        let secret = secret(dir)
            .with_context(|| format!("cannot read or make the secret in {}", dir.display()))?;
        let cache = Cache {
            dir: dir.to_owned(),
            secret,
            engine: engine.to_owned(),
        };
        cache.shrink();
        Ok(cache)
    }

    /// The artifact for this digest; `None` where there is none that can be trusted.
    pub(super) fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot open a compiled plugin");
                return None;
            }
        };
        match self.read(&mut file, digest) {
            Ok(artifact) => {
                // The time of the last use decides what goes first; a failure only ages it.
                let _ = file.set_modified(SystemTime::now());
                Some(artifact)
            }
            Err(error) => {
                self.discard(digest, &format!("{error:#}"));
                None
            }
        }
    }

    /// Keeps an artifact. A failure is logged: it costs a compilation at the next start.
    pub(super) fn put(&self, digest: &str, artifact: &[u8]) {
        if let Err(error) = self.write(digest, artifact) {
            tracing::warn!(
                digest,
                error = format!("{error:#}"),
                "cannot cache a compiled plugin"
            );
        }
        self.shrink();
    }

    /// Removes an artifact that turned out to be wrong.
    pub(super) fn discard(&self, digest: &str, reason: &str) {
        tracing::warn!(
            digest,
            reason,
            "a compiled plugin on disk is not as it was written: compiling it anew"
        );
        let _ = std::fs::remove_file(self.path(digest));
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{}.cwasm", self.engine))
    }

    fn read(&self, file: &mut File, digest: &str) -> anyhow::Result<Vec<u8>> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).context("it is cut short")?;
        let (mark, tag) = header.split_at(MARK.len());
        if mark != MARK {
            bail!("it has another format");
        }
        let mut artifact = Vec::new();
        file.read_to_end(&mut artifact).context("cannot read it")?;
        // Compares in constant time.
        self.mac(digest, &artifact)
            .verify_slice(tag)
            .context("its seal is broken")?;
        Ok(artifact)
    }

    fn write(&self, digest: &str, artifact: &[u8]) -> anyhow::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".writing-")
            .tempfile_in(&self.dir)?;
        file.write_all(MARK)?;
        file.write_all(&self.mac(digest, artifact).finalize().into_bytes())?;
        file.write_all(artifact)?;
        file.as_file().sync_all()?;
        file.persist(self.path(digest))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }

    /// The seal covers which plugin and which engine an artifact is for, so that a file under another
    /// file's name is noticed.
    fn mac(&self, digest: &str, artifact: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        for name in [digest, &self.engine] {
            mac.update(&(name.len() as u64).to_le_bytes());
            mac.update(name.as_bytes());
        }
        mac.update(artifact);
        mac
    }

    /// Removes the least recently used files until the rest fits. What a crash left half written is
    /// never used, so it goes in its turn.
    fn shrink(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            return;
        };
        let mut artifacts: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.file_name() != SECRET_FILE)
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        artifacts.sort();
        let mut total: u64 = artifacts.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in artifacts {
            if total <= MAX_CACHE_BYTES {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }
}

/// Makes `dir` a directory of this user that nobody else can enter.
fn own_directory(dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = std::fs::symlink_metadata(dir)?;
    if !metadata.is_dir() {
        bail!("it is not a directory");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "it belongs to another user; native code is only taken from a directory of one's own"
        );
    }
    if metadata.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Reads the secret, or makes one. Two processes that start at once agree on one of theirs.
fn secret(dir: &Path) -> anyhow::Result<[u8; SECRET_BYTES]> {
    let path = dir.join(SECRET_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(secret) => return Ok(secret),
            Err(_) => {
                tracing::warn!(path = %path.display(), "the secret is damaged: making a new one");
                std::fs::remove_file(&path)?;
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).context("the system gives no random bytes")?;
    // Made under another name, 0600, and linked: whoever sees it sees all of it.
    let mut file = tempfile::Builder::new()
        .prefix(".secret-")
        .tempfile_in(dir)?;
    file.write_all(&secret)?;
    file.as_file().sync_all()?;
    match std::fs::hard_link(file.path(), &path) {
        Ok(()) => File::open(dir)?.sync_all()?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let bytes = std::fs::read(&path)?;
    bytes
        .try_into()
        .ok()
        .context("the secret was changed while it was made; start again")
}
