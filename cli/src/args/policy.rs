//! Verbs about policy: plugins, the pipelines they are bound to, and what they decided.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::{Paging, Why};

/// Plugins: policies as WebAssembly components
#[derive(Subcommand, Debug)]
pub(crate) enum Plugin {
    /// List plugin versions
    #[command(after_help = "\
Example:
  pointsman plugin list")]
    List(Paging),
    /// Upload a plugin; it decides nothing until it is bound
    #[command(after_help = "\
Examples:
  pointsman plugin upload ./kernel-ladder.wasm
  pointsman plugin upload ./out.wasm --name my-policy -m 'Counts newest three of a series'")]
    Upload {
        /// The component
        file: PathBuf,
        /// Its name [default: the file's]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Show one plugin version
    #[command(after_help = "\
Examples:
  pointsman plugin show kernel-ladder
  pointsman plugin show 1f3a9c0d")]
    Show {
        /// Its name (the newest version), name@digest, or the first 8 or more digits of its digest
        plugin: String,
    },
}

/// Pipelines: which plugin answers which hook
#[derive(Subcommand, Debug)]
pub(crate) enum Pipeline {
    /// List pipelines
    #[command(after_help = "\
Example:
  pointsman pipeline list")]
    List,
    /// Show one pipeline with its bindings
    #[command(after_help = "\
Example:
  pointsman pipeline show kernels")]
    Show {
        /// The pipeline
        pipeline: String,
    },
    /// Let a plugin answer a hook, from the next turn on
    #[command(after_help = "\
Examples:
  pointsman pipeline bind kernels ignore ignore-patterns
  pointsman pipeline bind kernels advance kernel-ladder@1f3a9c0d --settings '{\"max-runs\": 2}'
  pointsman pipeline bind kernels advance my-policy --settings settings.json -m 'Newest three of a series'")]
    Bind(Bind),
    /// Let no plugin answer a hook
    #[command(after_help = "\
Example:
  pointsman pipeline unbind kernels advance -m 'By hand for now'")]
    Unbind(Place),
    /// Go back to the plugin version that was bound before
    #[command(after_help = "\
Example:
  pointsman pipeline rollback kernels ignore -m 'The new one ignores too much'")]
    Rollback(Place),
    /// Take no more turns until resumed; what is missed waits
    #[command(after_help = "\
Example:
  pointsman pipeline pause kernels --reason 'The lab is moving'")]
    Pause {
        /// The pipeline
        pipeline: String,
        /// Why, for whoever wonders
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        why: Why,
    },
    /// Go on after a pause
    #[command(after_help = "\
Example:
  pointsman pipeline resume kernels")]
    Resume {
        /// The pipeline
        pipeline: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Bind {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The hook: ignore, advance
    pub(crate) hook: String,
    /// A plugin's name (its newest version), name@digest, or 8 or more digits of a digest
    pub(crate) plugin: String,
    /// The place in the hook's chain
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) position: u16,
    /// JSON, or a file of it [default: as they are where this plugin is bound already, else {}]
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) settings: Option<String>,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// One binding.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The hook: ignore, advance
    pub(crate) hook: String,
    /// The place in the hook's chain
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) position: u16,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// Decisions: what plugins were asked, and what they answered
#[derive(Subcommand, Debug)]
pub(crate) enum Decision {
    /// List decisions, newest first
    #[command(after_help = "\
Examples:
  pointsman decision list --hook ignore --subject debian-12
  pointsman decision list --outcome trapped")]
    List(DecisionList),
    /// Show one decision with its question and its answer
    #[command(after_help = "\
Examples:
  pointsman decision show 17
  pointsman decision show 17 --json | jq .output")]
    Show {
        /// The decision
        id: i64,
    },
}

#[derive(Args, Debug)]
pub(crate) struct DecisionList {
    /// Of this pipeline
    #[arg(long)]
    pub(crate) pipeline: Option<String>,
    /// Of this hook: ignore, advance
    #[arg(long)]
    pub(crate) hook: Option<String>,
    /// About this distro
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// That ended like this: answered, abstained, trapped, ...
    #[arg(long)]
    pub(crate) outcome: Option<String>,
    /// Behind this generation
    #[arg(long)]
    pub(crate) generation: Option<i64>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}
