//! Verbs about what happened, and about the record as a whole.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};

use crate::args::{Paging, Why, values};

/// Generations: the batches of changes, with who, when and why
#[derive(Subcommand, Debug)]
pub(crate) enum Generation {
    /// List generations, newest first
    #[command(after_help = "\
Examples:
  pointsman generation list
  pointsman generation list --user jenkins --since 7d")]
    List {
        /// By this user: a token's name
        #[arg(long)]
        user: Option<String>,
        /// Since then: a date, a time, or how long ago (7d)
        #[arg(long, value_name = "WHEN", value_parser = values::since)]
        since: Option<DateTime<Utc>>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one generation, and what it changed
    #[command(after_help = "\
Example:
  pointsman generation show 17")]
    Show {
        /// The generation
        id: i64,
    },
}

/// Events: every change of the record
#[derive(Subcommand, Debug)]
pub(crate) enum Event {
    /// List events, oldest first, or follow them
    #[command(after_help = "\
Examples:
  pointsman event list --newest --limit 20
  pointsman event list --kind kernel_version --name-prefix debian-12/ --since 1d
  pointsman event list --follow
  pointsman event list --follow --after CURSOR --json")]
    List(EventList),
}

#[derive(Args, Debug)]
pub(crate) struct EventList {
    /// Only those after the event with this cursor
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Of this table: kernel_version, distro, run, ...
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Of the object with this name
    #[arg(long, conflicts_with = "name_prefix")]
    pub(crate) name: Option<String>,
    /// Of objects whose names begin with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) name_prefix: Option<String>,
    /// That did this
    #[arg(long, value_enum)]
    pub(crate) operation: Option<Operation>,
    /// Of this generation
    #[arg(long)]
    pub(crate) generation: Option<i64>,
    /// Since then: a date, a time, or how long ago (7d)
    #[arg(long, value_name = "WHEN", value_parser = values::since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Newest first
    #[arg(long, conflicts_with_all = ["after", "follow"])]
    pub(crate) newest: bool,
    /// Print events as they come, until Ctrl-C: from now on, or from --after or --since
    #[arg(short, long, conflicts_with_all = ["limit", "all", "cursor"])]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    /// As the API spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }
}

/// Write the whole record as JSON lines
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  pointsman export -o record.ndjson
  pointsman export | gzip > record.ndjson.gz")]
pub(crate) struct Export {
    /// The file to write, whole or not at all [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Read a record that `export` wrote
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  pointsman import record.ndjson
  gunzip -c record.ndjson.gz | pointsman import -")]
pub(crate) struct Import {
    /// The file, or `-` for stdin
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) why: Why,
}
