//! Verbs about notes: what policies remember.

use clap::{Args, Subcommand};

use crate::args::merge::PullName;
use crate::args::values::KernelName;
use crate::args::{Paging, Why};

/// Notes: what the policies of a pipeline remember, for people to see and edit
#[derive(Subcommand, Debug)]
pub(crate) enum Note {
    /// List notes, with the decision that asked for each
    #[command(after_help = "\
Examples:
  pointsman note list kernels
  pointsman note list kernels --hook advance --pipeline-only
  pointsman note list kernels --kernel debian-12/6.1.0-49-amd64 --json
  pointsman note list main --pull lib#12")]
    List {
        /// The pipeline
        pipeline: String,
        /// Of this hook's bindings
        #[arg(long)]
        hook: Option<String>,
        /// Of the binding at this place of the hook's chain
        #[arg(long, value_name = "N", requires = "hook")]
        position: Option<u16>,
        /// About this kernel version: distro/version
        #[arg(long, conflicts_with = "pipeline_only")]
        kernel: Option<KernelName>,
        /// About this pull request: REPOSITORY#NUMBER
        #[arg(long, value_name = "PULL", conflicts_with_all = ["pipeline_only", "kernel"])]
        pull: Option<PullName>,
        /// About the pipeline itself, and neither a kernel version nor a pull request
        #[arg(long)]
        pipeline_only: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Write a note; what it is about is looked at again, with it
    #[command(after_help = "\
Examples:
  pointsman note set kernels advance tries 0 --kernel debian-12/6.1.0-49-amd64 -m 'The lab was down'
  pointsman note set kernels ignore frozen yes
  pointsman note set main gate tries 0 --pull lib#12")]
    Set {
        #[command(flatten)]
        place: NotePlace,
        /// The key
        key: String,
        /// What it says
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        about: About,
    },
    /// Remove notes; what they were about is looked at again, without them
    #[command(after_help = "\
Examples:
  pointsman note remove kernels advance tries --kernel debian-12/6.1.0-49-amd64
  pointsman note remove kernels ignore frozen since -m 'The freeze is over'")]
    Remove {
        #[command(flatten)]
        place: NotePlace,
        /// The keys
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        about: About,
    },
}

/// Whose note.
#[derive(Args, Debug)]
pub(crate) struct NotePlace {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The hook: ignore, advance; review, gate, select, run, triage, react
    pub(crate) hook: String,
}

/// What it is about, and why.
#[derive(Args, Debug)]
pub(crate) struct About {
    /// The place in the hook's chain
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) position: u16,
    /// About this kernel version, distro/version [default: about the pipeline itself]
    #[arg(long)]
    pub(crate) kernel: Option<KernelName>,
    /// About this pull request, REPOSITORY#NUMBER [default: about the pipeline itself]
    #[arg(long, value_name = "PULL", conflicts_with = "kernel")]
    pub(crate) pull: Option<PullName>,
    #[command(flatten)]
    pub(crate) why: Why,
}
