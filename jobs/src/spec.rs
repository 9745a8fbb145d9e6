//! What an attempt runs, and within which bounds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::collect::Globs;
use crate::limits::{
    DEFAULT_KILL_GRACE_MS, DEFAULT_OUTPUT_BYTES, DEFAULT_TIMEOUT_MS, MAX_COMMAND_BYTES,
    MAX_ENV_BYTES, MAX_SECRETS,
};

/// What the backend says to a job itself; a spec cannot say otherwise.
const RESERVED: [&str; 3] = ["POINTSMAN_ATTEMPT", "POINTSMAN_OUTPUTS", "POINTSMAN_WORK"];

/// One attempt of a job: the first spec that is given for an id is the one that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Program and arguments. The program is found by the job's `PATH`.
    pub command: Vec<String>,
    /// Environment beside what every job has: `PATH`, `HOME`, `TMPDIR`, `LC_ALL`, `CI`, and the
    /// `POINTSMAN_` facts. These can be overwritten, the facts excepted.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Name of a secret to the file that has it. The job gets a copy that only its user can read, and
    /// its path in `NAME_FILE`; the copy is removed when the attempt ends.
    #[serde(default)]
    pub secrets: BTreeMap<String, PathBuf>,
    /// Who runs it. None: whoever runs the host, and then the job can do whatever the host can.
    #[serde(default)]
    pub user: Option<User>,
    /// Groups beside that of `user`, without which they do nothing: what jobs may read together, such as the
    /// repositories that they fetch from.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Unix time in milliseconds until which the host vouches for the attempt, before any renewal.
    pub lease_until_ms: u64,
    /// Wall clock, in milliseconds.
    pub timeout_ms: u64,
    /// Milliseconds between SIGTERM and SIGKILL when the job is ended.
    pub kill_grace_ms: u64,
    /// Bytes of output that are kept: the first half and the last half of it.
    pub output_bytes: u64,
    /// What happens beyond that.
    #[serde(default)]
    pub flood: Flood,
    /// Address space of each process, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Processes and threads of the job's user, over all that it runs at the time; the kernel does not
    /// hold root to it, and without a `user` the host's own would count, so then it is not set.
    #[serde(default)]
    pub processes: Option<u64>,
    /// Bytes of each file that it writes.
    #[serde(default)]
    pub file_bytes: Option<u64>,
    /// Open files of each process.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// Globs, relative to the job's folder, of files to keep: `*` and `?` stay within a name, `**` does
    /// not, and a directory means everything in it.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Globs of JUnit XML files.
    #[serde(default)]
    pub junit: Vec<String>,
}

/// A numeric user and group; a job has no other group than those of [`Spec::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id. Whoever has it can pass through the attempt's folder, so it should be the job's alone.
    pub gid: u32,
}

/// What happens to output beyond [`Spec::output_bytes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flood {
    /// The middle of it is dropped and the job goes on.
    #[default]
    Cut,
    /// The job is ended.
    Kill,
}

impl Spec {
    /// A spec with the default bounds.
    #[must_use]
    pub fn new(command: Vec<String>, lease_until_ms: u64) -> Self {
        Self {
            command,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            user: None,
            groups: Vec::new(),
            lease_until_ms,
            timeout_ms: DEFAULT_TIMEOUT_MS,
            kill_grace_ms: DEFAULT_KILL_GRACE_MS,
            output_bytes: DEFAULT_OUTPUT_BYTES,
            flood: Flood::Cut,
            memory_bytes: None,
            processes: None,
            file_bytes: None,
            open_files: None,
            artifacts: Vec::new(),
            junit: Vec::new(),
        }
    }

    /// Whether it can be run at all, as far as the text shows.
    ///
    /// # Errors
    /// [`Error::BadSpec`] names the field.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |field, why: String| Err(Error::BadSpec { field, why });
        if self.command.first().is_none_or(String::is_empty) {
            return bad("command", "names no program".to_owned());
        }
        if self.command.iter().any(|part| part.contains('\0')) {
            return bad("command", "has a NUL".to_owned());
        }
        let bytes: usize = self.command.iter().map(|part| part.len() + 1).sum();
        if bytes > MAX_COMMAND_BYTES {
            return bad(
                "command",
                format!("has {bytes} bytes, at most {MAX_COMMAND_BYTES} can be given"),
            );
        }
        for (name, value) in &self.env {
            if !is_name(name) || value.contains('\0') {
                return bad(
                    "env",
                    format!("has {name:?}, which no environment can have"),
                );
            }
            if RESERVED.contains(&name.as_str()) {
                return bad("env", format!("sets {name}, which the backend sets itself"));
            }
        }
        let bytes: usize = self.env.iter().map(|(k, v)| k.len() + v.len() + 2).sum();
        if bytes > MAX_ENV_BYTES {
            return bad(
                "env",
                format!("has {bytes} bytes, at most {MAX_ENV_BYTES} can be given"),
            );
        }
        if self.secrets.len() > MAX_SECRETS {
            return bad("secrets", format!("are more than {MAX_SECRETS}"));
        }
        if let Some(name) = self.secrets.keys().find(|name| !is_name(name)) {
            return bad(
                "secrets",
                format!("have {name:?}, which no variable can be called"),
            );
        }
        if self.output_bytes == 0 {
            return bad(
                "output_bytes",
                "is 0; an exit code without a word helps nobody".to_owned(),
            );
        }
        Globs::new("artifacts", &self.artifacts)?;
        Globs::new("junit", &self.junit)?;
        Ok(())
    }
}

/// Whether a shell could name a variable so. Secrets are files' names too.
fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}
