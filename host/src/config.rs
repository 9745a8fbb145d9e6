//! How a host is set up.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::links::PublicUrl;
use crate::policy::CallLimits;

/// Where the record is.
#[derive(Debug, Clone)]
pub enum Database {
    /// Any PostgreSQL 15 or newer.
    Url(String),
    /// A private cluster in the data directory, made and run by the host itself.
    Embedded,
}

/// The port that a host listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 8650;
/// Days that decisions are kept unless told otherwise.
pub const DEFAULT_DECISION_DAYS: u16 = 400;
/// Days that logs and files of attempts are kept unless told otherwise.
pub const DEFAULT_ARTIFACT_DAYS: u16 = 90;
/// Days that links to them are good for unless told otherwise.
pub const DEFAULT_LINK_DAYS: u16 = 30;

/// See the module.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the record is.
    pub database: Database,
    /// The host's own directory: the embedded cluster, the first token.
    pub data_dir: PathBuf,
    /// Where compiled plugins are kept; hosts of one user on one machine may share it.
    pub plugin_cache: PathBuf,
    /// Program and arguments that compile a plugin in a process of its own; none compiles in this one.
    pub compile_command: Option<Vec<OsString>>,
    /// The program that hooks of repositories and jobs run: `pointsman` itself.
    pub program: PathBuf,
    /// Where the local forge keeps its repositories.
    pub forge_dir: PathBuf,
    /// Where jobs run.
    pub jobs_dir: PathBuf,
    /// Where logs and files of jobs are kept: a folder, or `s3://bucket/prefix`.
    pub artifacts: String,
    /// One folder a pipeline, one file a secret.
    pub secrets_dir: PathBuf,
    /// Who runs jobs.
    pub job_user: JobUser,
    /// Days that decisions are kept.
    pub decision_days: u16,
    /// Days that logs and files of attempts are kept.
    pub artifact_days: u16,
    /// Days that links to them are good for.
    pub link_days: u16,
    /// The secret that links are signed with, if hosts share one; none: the data directory's own.
    pub link_secret: Option<PathBuf>,
    /// The server's own address as people see it.
    pub public_url: Option<PublicUrl>,
    /// The most that a binding may let one call use.
    pub ceilings: CallLimits,
}

/// Who runs jobs, by user and group id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobUser {
    /// Whoever runs the host.
    Host,
    /// This one all of them.
    One {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// Each attempt a user of its own. Where this machine has no numbers for them: this one.
    Apart {
        /// User id, where there are no others.
        uid: u32,
        /// The group that may read the forge.
        gid: u32,
    },
}

impl Config {
    /// The defaults: loopback, the embedded database.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            database: Database::Embedded,
            plugin_cache: data_dir.join("plugins"),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("pointsman")),
            forge_dir: data_dir.join("forge"),
            jobs_dir: data_dir.join("jobs"),
            artifacts: data_dir.join("artifacts").display().to_string(),
            secrets_dir: data_dir.join("secrets"),
            job_user: JobUser::Host,
            data_dir,
            compile_command: None,
            decision_days: DEFAULT_DECISION_DAYS,
            artifact_days: DEFAULT_ARTIFACT_DAYS,
            link_days: DEFAULT_LINK_DAYS,
            link_secret: None,
            public_url: None,
            ceilings: CallLimits::CEILINGS,
        }
    }
}
