//! Verbs about policy: plugins, the pipelines they are bound to, and what they decided.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use crate::args::{Paging, Why, values};

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
    /// Make a folder with a plugin to begin with: a policy, its cases, the SDK and the contract
    #[command(after_help = "\
Examples:
  pointsman plugin new --hook gate my-gate
  pointsman plugin new --lang js --hook ignore rare-versions
  pointsman plugin new --lang python --hook triage known-failures")]
    New {
        /// The language
        #[arg(long, value_enum, default_value_t = Language::Rust)]
        lang: Language,
        /// The hook: ignore, advance, review, gate, select, run, triage, react
        #[arg(long)]
        hook: String,
        /// Its name, and that of the folder
        name: String,
    },
    /// Build the plugin in a folder: one component, ready to be uploaded
    ///
    /// The language is that of the manifest in the folder. For Rust it finds a compiler for WebAssembly, or
    /// installs one: the Rust toolchain's own target, or Debian's packages. For JavaScript it needs nothing.
    /// For Python it installs componentize-py with pip, once, into $POINTSMAN_TOOLS_DIR [default:
    /// ~/.cache/pointsman/tools].
    #[command(after_help = "\
Examples:
  pointsman plugin build
  pointsman plugin build ./my-gate -o /tmp/my-gate.wasm")]
    Build {
        /// The folder of the plugin
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// The component [default: the folder's name with .wasm, in the folder]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say whether the server would take a component, without a server
    #[command(after_help = "\
Examples:
  pointsman plugin check ./my_policy.wasm
  pointsman plugin check ./my_policy.wasm --settings '{\"hosts\": 3}'")]
    Check {
        /// The component
        file: PathBuf,
        /// Settings to check too: JSON, or a file of it
        #[arg(long, value_name = "JSON|FILE")]
        settings: Option<String>,
    },
    /// Ask a component what cases say, and compare its answers, without a server
    ///
    /// A case is a JSON object with `hook`, `question`, and as you like `settings`, `context` and
    /// `expect`, in the names of the contract; what is left out is empty.
    #[command(after_help = "\
Examples:
  pointsman plugin test ./my_policy.wasm cases/
  pointsman plugin test ./my_policy.wasm cases/fork.json --json | jq .output")]
    Test {
        /// The component
        file: PathBuf,
        /// Files of a case or of a list of cases, or folders of such files
        #[arg(required = true)]
        cases: Vec<PathBuf>,
    },
    /// Time a component on cases, without a server
    #[command(after_help = "\
Example:
  pointsman plugin bench ./my_policy.wasm cases/ --seconds 5")]
    Bench {
        /// The component
        file: PathBuf,
        /// Files of a case or of a list of cases, or folders of such files
        #[arg(required = true)]
        cases: Vec<PathBuf>,
        /// How long, over all cases
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Repeat an exported decision, without a server
    #[command(after_help = "\
Examples:
  pointsman decision export 17 -o 17.json
  pointsman plugin replay 17.json
  pointsman plugin replay 17.json --plugin ./mended.wasm
  pointsman plugin replay 17.json --repeat 1000")]
    Replay {
        /// What `pointsman decision export` wrote
        bundle: PathBuf,
        /// Another version of the plugin [default: the one that decided]
        #[arg(long, value_name = "FILE")]
        plugin: Option<PathBuf>,
        /// Make it so often, and count the answers that are not the recorded one, byte for byte
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        repeat: u32,
    },
}

/// What plugins are written in.
#[derive(clap::ValueEnum, Debug, Clone, Copy)]
pub(crate) enum Language {
    /// Rust, with the SDK
    Rust,
    /// JavaScript, on QuickJS; no Node is needed
    Js,
    /// Python, on CPython; `python3` is needed to build it
    Python,
}

/// Pipelines: which plugin answers which hook
#[derive(Subcommand, Debug)]
pub(crate) enum Pipeline {
    /// Make a pipeline that lands pull requests on a branch
    #[command(after_help = "\
Examples:
  pointsman pipeline create main --repo linux-driver
  pointsman pipeline create release --repo linux-driver --target release-2.0 --slots 2")]
    Create {
        /// Its name
        pipeline: String,
        /// The repository
        #[arg(long, value_name = "NAME")]
        repo: String,
        /// The branch that it lands on
        #[arg(long, value_name = "BRANCH", default_value = "main")]
        target: String,
        /// Lanes that may run at once
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=64))]
        slots: i32,
        /// What a command in a comment begins with
        #[arg(long, value_name = "TEXT", default_value = "@pointsman")]
        prefix: String,
        #[command(flatten)]
        why: Why,
    },
    /// Close the tree: tests go on, nothing lands
    #[command(after_help = "\
Examples:
  pointsman pipeline freeze main 'release 2.0 is being cut'")]
    Freeze {
        /// The pipeline
        pipeline: String,
        /// Why, for whoever waits
        reason: String,
        #[command(flatten)]
        why: Why,
    },
    /// Open the tree again
    #[command(after_help = "\
Examples:
  pointsman pipeline thaw main -m 'release 2.0 is out'")]
    Thaw {
        /// The pipeline
        pipeline: String,
        #[command(flatten)]
        why: Why,
    },
    /// Set how many lanes, or runs of kernel versions, may go on at once
    #[command(after_help = "\
Examples:
  pointsman pipeline slots main 4
  pointsman pipeline slots kernels 8")]
    Slots {
        /// The pipeline
        pipeline: String,
        /// Lanes, or runs
        #[arg(value_parser = clap::value_parser!(i32).range(1..=64))]
        slots: i32,
        #[command(flatten)]
        why: Why,
    },
    /// List what the target branch pointed at, and what vouches for it
    #[command(after_help = "\
Examples:
  pointsman pipeline tips main
  pointsman pipeline tips main --all --json | jq -r 'select(.tested | not) | .commit'")]
    Tips {
        /// The pipeline
        pipeline: String,
        #[command(flatten)]
        paging: Paging,
    },

    /// Show what is being executed now: pull requests, their lanes, and the jobs that run or wait
    #[command(after_help = "\
Examples:
  pointsman pipeline status main
  pointsman pipeline status main --json | jq -r '.[].jobs[].link'")]
    Status {
        /// The pipeline
        pipeline: String,
    },
    /// List open pull requests that are approved and pass on the target's present tip
    #[command(after_help = "\
Examples:
  pointsman pipeline ready main
  pointsman pipeline ready main --json | jq length")]
    Ready {
        /// The pipeline
        pipeline: String,
    },
    /// List open pull requests that are approved
    #[command(after_help = "\
Example:
  pointsman pipeline approved main")]
    Approved {
        /// The pipeline
        pipeline: String,
    },
    /// List open pull requests that pass on the target's present tip, whoever approved them
    #[command(after_help = "\
Example:
  pointsman pipeline passing main")]
    Passing {
        /// The pipeline
        pipeline: String,
    },

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
  pointsman pipeline bind kernels advance my-policy --settings settings.json -m 'Newest three of a series'
  pointsman pipeline bind kernels ignore my-python-policy --memory 128 --fuel 20000000000")]
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
    /// Let a candidate follow a hook's decisions without being heard, or show how candidates do
    ///
    /// With a plugin: from now on it is asked whatever the active binding was asked, and its answers are
    /// only compared. With a hook alone: the decisions that the candidate would have made otherwise. With
    /// neither: how often each candidate agrees.
    #[command(after_help = "\
Examples:
  pointsman pipeline shadow kernels advance my-policy --since 7d
  pointsman pipeline shadow kernels
  pointsman pipeline shadow kernels advance
  pointsman pipeline promote kernels advance")]
    Shadow(Shadow),
    /// Take a candidate away
    #[command(after_help = "\
Example:
  pointsman pipeline unshadow kernels advance")]
    Unshadow(Place),
    /// Make a candidate the active binding
    #[command(after_help = "\
Example:
  pointsman pipeline promote kernels advance -m 'It agreed for a week'")]
    Promote(Place),
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
    /// The hook: ignore, advance; review, gate, select, run, triage, react
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
    pub(crate) limits: CallLimits,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// What one call may use [default: as it is where this plugin is bound already, else as the hook has it].
#[derive(Args, Debug)]
pub(crate) struct CallLimits {
    /// The most fuel of one call, about one unit a WebAssembly instruction; `default` for the hook's own
    #[arg(long, value_name = "UNITS", value_parser = values::limit::<u64>)]
    pub(crate) fuel: Option<Limit<u64>>,
    /// The most memory of one call; `default` for the hook's own
    #[arg(long, value_name = "MIB", value_parser = values::limit::<u32>)]
    pub(crate) memory: Option<Limit<u32>>,
    /// The longest answer; `default` for the hook's own
    #[arg(long, value_name = "MIB", value_parser = values::limit::<u32>)]
    pub(crate) answer: Option<Limit<u32>>,
    /// The longest that one call may take, in milliseconds; `default` for the hook's own
    #[arg(long, value_name = "MS", value_parser = values::limit::<u32>)]
    pub(crate) deadline: Option<Limit<u32>>,
}

/// A limit as it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    /// As the hook has it.
    Default,
    /// This.
    Set(T),
}

impl<T: Copy> Limit<T> {
    /// What is to be set where `given` was given and there was `before`.
    pub(crate) fn over(given: Option<Self>, before: Option<T>) -> Option<T> {
        match given {
            None => before,
            Some(Limit::Default) => None,
            Some(Limit::Set(value)) => Some(value),
        }
    }
}

/// A candidate.
#[derive(Args, Debug)]
pub(crate) struct Shadow {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The hook: ignore, advance; review, gate, select, run, triage, react
    pub(crate) hook: Option<String>,
    /// The candidate: a plugin's name (its newest version), name@digest, or 8 or more digits of a digest
    #[arg(requires = "hook")]
    pub(crate) plugin: Option<String>,
    /// The place in the hook's chain
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) position: u16,
    /// JSON, or a file of it [default: as they are where this plugin is bound already, else {}]
    #[arg(long, value_name = "JSON|FILE", requires = "plugin")]
    pub(crate) settings: Option<String>,
    /// Follow the decisions made since then, too: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::since, requires = "plugin")]
    pub(crate) since: Option<DateTime<Utc>>,
    /// How many differences to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// One binding.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The hook: ignore, advance; review, gate, select, run, triage, react
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
    /// Write a decision to a file, with all that it takes to repeat it elsewhere
    #[command(after_help = "\
Examples:
  pointsman decision export 17 -o 17.json
  pointsman decision export 17 --no-wasm | jq .decision.input")]
    Export {
        /// The decision
        id: i64,
        /// The file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Leave the component out
        #[arg(long)]
        no_wasm: bool,
    },
    /// Make recorded decisions again, here, and show what would be different
    ///
    /// Each is asked with what the plugin saw then. Without --plugin every decision is made by the version
    /// that made it, and must come out the same.
    #[command(after_help = "\
Examples:
  pointsman decision replay --since 7d
  pointsman decision replay --since 30d --hook ignore --plugin ./candidate.wasm
  pointsman decision replay --since 24h --json")]
    Replay(DecisionReplay),
}

#[derive(Args, Debug)]
pub(crate) struct DecisionReplay {
    /// Made since then: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Made before then: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::since)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Of this pipeline
    #[arg(long)]
    pub(crate) pipeline: Option<String>,
    /// Of this hook
    #[arg(long)]
    pub(crate) hook: Option<String>,
    /// About this subject
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Ask this component instead, about every hook that it answers
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
    /// Give it these settings instead of the recorded ones: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE", requires = "plugin")]
    pub(crate) settings: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DecisionList {
    /// Of this pipeline
    #[arg(long)]
    pub(crate) pipeline: Option<String>,
    /// Of this hook: ignore, advance, review, gate, select, run, triage, react
    #[arg(long)]
    pub(crate) hook: Option<String>,
    /// About this: a distro, #12, `lane 7`, a target branch
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
