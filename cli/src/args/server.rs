//! Verbs about the server itself, and about who may use it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use pointsman_api::token::Role as ApiRole;
use pointsman_host::config::{DEFAULT_ARTIFACT_DAYS, DEFAULT_DECISION_DAYS, DEFAULT_LINK_DAYS};
use pointsman_host::links::PublicUrl;

use crate::args::{Paging, Why, values};

/// Where the server listens unless told otherwise: on this machine alone.
const DEFAULT_LISTEN: &str = "127.0.0.1:8650";

/// Start everything on this machine: database, server, stock policies, a first detection
///
/// Runs the server on an embedded PostgreSQL in the data directory (or on the one that DATABASE_URL
/// names), installs the stock plugins of kernel versions where nothing is bound yet, loads the stock
/// distros, detects the kernel versions that this machine's package index offers, and says what it did.
/// A second `up` goes on with the same data.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  pointsman up
  pointsman up --once --data-dir ./data
  pointsman up --listen 127.0.0.1:9000 --plugins ./plugins
  DATABASE_URL=postgres://pm@db/pointsman pointsman up")]
pub(crate) struct Up {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, env = "POINTSMAN_LISTEN", hide_env_values = true, value_name = "ADDRESS:PORT", default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Stop everything after the summary
    #[arg(long)]
    pub(crate) once: bool,
    /// The directory of the stock plugins [default: `plugins` beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,
    /// The distro of this machine's package index [default: what /etc/os-release says]
    #[arg(long, value_name = "NAME")]
    pub(crate) distro: Option<String>,
    #[command(flatten)]
    pub(crate) decisions: Decisions,
    #[command(flatten)]
    pub(crate) logs: Logs,
}

/// Run the server, without any set-up
///
/// Migrates the database, then serves until Ctrl-C or SIGTERM.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  DATABASE_URL=postgres://pm@db/pointsman pointsman serve --listen 0.0.0.0:8650 --log-format json
  pointsman serve --embedded --data-dir /var/lib/pointsman
  pointsman serve --embedded --public-url https://ci.example.org --artifact-days 30")]
pub(crate) struct Serve {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, env = "POINTSMAN_LISTEN", hide_env_values = true, value_name = "ADDRESS:PORT", default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Run an embedded PostgreSQL in the data directory, where DATABASE_URL is not set
    #[arg(long)]
    pub(crate) embedded: bool,
    /// Stop when standard input ends, so that a program that runs the server as its child never leaves it behind
    #[arg(long)]
    pub(crate) stop_with_stdin: bool,
    #[command(flatten)]
    pub(crate) decisions: Decisions,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) links: Links,
    #[command(flatten)]
    pub(crate) logs: Logs,
}

/// How long what jobs leave is kept, and who may look at it with no token.
#[derive(Args, Debug)]
#[command(next_help_heading = "Logs and files of jobs")]
pub(crate) struct Links {
    /// How long logs and files of jobs are kept; the record of how they ended stays
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_ARTIFACT_DAYS, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) artifact_days: u16,
    /// How long links to them open with no token; those in statuses do so for as long as there is something behind
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_LINK_DAYS, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) link_days: u16,
    /// The secret that links are signed with, the same for all hosts [default: `link.secret` in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) link_secret: Option<PathBuf>,
    /// The server's own address as people see it, for links in statuses and replies
    #[arg(
        long,
        env = "POINTSMAN_PUBLIC_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) public_url: Option<PublicUrl>,
}

/// Where repositories are, where jobs run and as whom, and where what they leave is kept.
#[derive(Args, Debug)]
#[command(next_help_heading = "Jobs")]
pub(crate) struct Jobs {
    /// Where the repositories of the local forge are [default: `forge` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) forge: Option<PathBuf>,
    /// Where jobs run [default: `jobs` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) jobs: Option<PathBuf>,
    /// Where logs and files of jobs are kept: a folder, or s3://bucket/prefix with the usual AWS_ variables
    /// [default: `artifacts` in the data directory]
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) artifacts: Option<String>,
    /// Secrets of jobs, as files: DIR/PIPELINE/NAME [default: `secrets` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// Who runs jobs: a name, UID, or UID:GID [default: for root each attempt a
    /// user of its own, for others themselves]
    #[arg(long, value_name = "USER")]
    pub(crate) job_user: Option<JobUser>,
}

/// A user by numbers, or by a name of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl FromStr for JobUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok();
        if let Some((uid, gid)) = text.split_once(':') {
            return match (number(uid), number(gid)) {
                (Some(uid), Some(gid)) => Ok(Self { uid, gid }),
                _ => Err("a user is a name, UID, or UID:GID".to_owned()),
            };
        }
        let passwd =
            std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
        let known = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (
                fields.next()?,
                fields.next()?,
                fields.next()?,
                fields.next()?,
            );
            (name == text || uid == text).then_some((number(uid)?, number(gid)?))
        });
        match known {
            Some((uid, gid)) => Ok(Self { uid, gid }),
            None => Err(format!(
                "there is no user `{text}` on this machine; UID:GID need not be one"
            )),
        }
    }
}

/// What plugins may use, and how long is kept what they decided.
#[derive(Args, Debug)]
pub(crate) struct Decisions {
    /// How long decisions are kept; those that something still refers to stay
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_DECISION_DAYS, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) decision_days: u16,
    /// The most fuel that a binding may allow one call [default: 100000000000]
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_fuel: Option<u64>,
    /// The most memory that a binding may allow one call [default: 256]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) max_memory: Option<u32>,
    /// The longest answer that a binding may allow one call [default: 64]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) max_answer: Option<u32>,
    /// The longest that a binding may allow one call to take [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) max_deadline: Option<u32>,
}

/// How a server logs.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// How log lines on stderr look; RUST_LOG says which there are
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Bring the database that DATABASE_URL names up to date
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  DATABASE_URL=postgres://pm@db/pointsman pointsman migrate")]
pub(crate) struct Migrate;

/// Print the OpenAPI document of the HTTP API
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  pointsman openapi > openapi.json")]
pub(crate) struct Openapi;

/// Say who the token belongs to, and what it allows
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  pointsman whoami")]
pub(crate) struct Whoami;

/// Tokens: who may read, write, administrate
#[derive(Subcommand, Debug)]
pub(crate) enum Token {
    /// Make a token; its secret is shown this once
    #[command(after_help = "\
Examples:
  pointsman token create jenkins --role writer --out /etc/jenkins/pointsman.token
  pointsman token create dashboard --role reader --expires 90d
  DATABASE_URL=postgres://pm@db/pointsman pointsman token create root --role admin --database")]
    Create(TokenCreate),
    /// List tokens, without their secrets
    #[command(after_help = "\
Example:
  pointsman token list")]
    List(Paging),
    /// Refuse a token from now on
    #[command(after_help = "\
Example:
  pointsman token revoke jenkins -m 'Jenkins is gone'")]
    Revoke {
        /// The token's name
        name: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TokenCreate {
    /// The token's name: the user of every change made with it. Never used again for another
    pub(crate) name: String,
    /// What it allows; each role includes those before it
    #[arg(long, value_enum)]
    pub(crate) role: Role,
    /// When it stops to work: a date, a time, or how far ahead (90d)
    #[arg(long, value_name = "WHEN", value_parser = values::expiry)]
    pub(crate) expires: Option<DateTime<Utc>>,
    /// Write the secret to this new file, readable by you alone, instead of to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Make it in the database that DATABASE_URL names, with no server: the first token of all
    #[arg(long)]
    pub(crate) database: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything that changes nothing
    Reader,
    /// Changes of the record
    Writer,
    /// Policies, pipelines, tokens, import
    Admin,
}

impl From<Role> for ApiRole {
    fn from(role: Role) -> ApiRole {
        match role {
            Role::Reader => ApiRole::Reader,
            Role::Writer => ApiRole::Writer,
            Role::Admin => ApiRole::Admin,
        }
    }
}
