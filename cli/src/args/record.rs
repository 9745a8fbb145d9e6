//! Verbs about the rest of the record: distros, states, runs, ignore patterns, clusters, hosts.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::args::kernel::Verdict;
use crate::args::values::{self, KernelName};
use crate::args::{Paging, Why};

/// Distros: the Linux distributions whose kernels are tracked
#[derive(Subcommand, Debug)]
pub(crate) enum Distro {
    /// List distros
    #[command(after_help = "\
Example:
  pointsman distro list")]
    List {
        /// Those marked as deleted, instead of the others
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Add a distro; one that exists is left as it is
    #[command(after_help = "\
Examples:
  pointsman distro add ubuntu-22.04 UBUNTU2204
  pointsman distro add centos7 CENTOS7 --unsupported -m 'Its support has ended'")]
    Add {
        /// The builder name, as in ubuntu-22.04
        name: String,
        /// The build variant's name, as in UBUNTU2204
        variant: String,
        /// New kernel versions start no runs by themselves
        #[arg(long)]
        unsupported: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Change a distro
    #[command(after_help = "\
Examples:
  pointsman distro set centos7 --supported false -m 'Its support has ended'
  pointsman distro set ubuntu-22.04 --variant UBUNTU2204")]
    #[command(group = ArgGroup::new("field").required(true).multiple(true).args(["variant", "supported"]))]
    Set {
        /// The distro
        name: String,
        /// The new build variant's name
        #[arg(long)]
        variant: Option<String>,
        /// Whether new kernel versions start runs by themselves
        #[arg(long, value_name = "true|false")]
        supported: Option<bool>,
        #[command(flatten)]
        why: Why,
    },
    /// Mark a distro as deleted; it and its kernel versions stay in the record
    #[command(after_help = "\
Example:
  pointsman distro delete centos7 -m 'Nobody runs it any more'")]
    Delete {
        /// The distro
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take the mark of deletion away
    #[command(after_help = "\
Example:
  pointsman distro restore centos7")]
    Restore {
        /// The distro
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Add the distros of a JSON file: a list of {\"name\", \"variant\", \"supported\"}
    #[command(after_help = "\
Examples:
  pointsman distro load distros.json
  pointsman distro list --all --json | jq -s 'map({name, variant, supported})' | pointsman distro load -")]
    Load {
        /// The file, or `-` for stdin
        file: PathBuf,
        #[command(flatten)]
        why: Why,
    },
}

/// States: the stages that a kernel version goes through
#[derive(Subcommand, Debug)]
pub(crate) enum State {
    /// List states, with the number of kernel versions in each
    #[command(after_help = "\
Example:
  pointsman state list")]
    List,
    /// Add a state, or change its rank
    #[command(after_help = "\
Example:
  pointsman state set smoke-tested --rank 35 --moved-by policy -m 'A step before the long tests'")]
    Set {
        /// The state
        name: String,
        /// Higher is further along; no two states share one
        #[arg(long)]
        rank: i32,
        /// Who may move a version into it
        #[arg(long, value_enum, default_value_t = MovedBy::Policy)]
        moved_by: MovedBy,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MovedBy {
    /// A plugin or a person
    Policy,
    /// People alone
    Person,
}

/// Runs: builds and tests of kernel versions
#[derive(Subcommand, Debug)]
pub(crate) enum Run {
    /// List runs, newest first; `kernel report` adds one
    #[command(after_help = "\
Examples:
  pointsman run list --kernel debian-12/6.1.0-49-amd64
  pointsman run list --purpose test --verdict fail --release 21.0")]
    List(RunList),
    /// Show one run; of one that our own jobs make, with those and their attempts
    #[command(after_help = "\
Examples:
  pointsman run show 17
  pointsman run show 17 --json | jq '.jobs[].attempts[].exit_code'")]
    Show {
        /// The run's id
        id: i64,
    },
    /// Print the log of a job of a run
    #[command(after_help = "\
Examples:
  pointsman run log 17
  pointsman run log 17 --job build --attempt 1")]
    Log {
        /// The run's id
        id: i64,
        /// The job [default: the first that did not pass, else the first]
        #[arg(long)]
        job: Option<String>,
        /// The attempt [default: the last]
        #[arg(long, value_name = "N")]
        attempt: Option<i32>,
    },
    /// Ask for a run of a kernel version: again after one that failed, or though it is ignored
    #[command(after_help = "\
Examples:
  pointsman run request debian-12/6.1.0-49-amd64 build -m 'the builder was out of space'")]
    Request {
        /// The kernel version: distro/version
        kernel: KernelName,
        /// What for: fetch, build, test
        purpose: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args, Debug)]
pub(crate) struct RunList {
    /// Of this kernel version: distro/version
    #[arg(long, conflicts_with = "distro")]
    pub(crate) kernel: Option<KernelName>,
    /// Of this distro
    #[arg(long, value_name = "NAME")]
    pub(crate) distro: Option<String>,
    /// For this purpose: fetch, build, test
    #[arg(long)]
    pub(crate) purpose: Option<String>,
    /// With this product release
    #[arg(long)]
    pub(crate) release: Option<String>,
    /// That ended like this
    #[arg(long, value_enum)]
    pub(crate) verdict: Option<Verdict>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

/// Ignore patterns: which kernel versions need no runs
#[derive(Subcommand, Debug)]
pub(crate) enum Ignore {
    /// List ignore patterns, with the number of versions that each ignores
    #[command(after_help = "\
Example:
  pointsman ignore list --distro debian-12")]
    List {
        /// Those of this distro, and those of all
        #[arg(long, value_name = "NAME")]
        distro: Option<String>,
        /// Those that were removed, instead of the others
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Ignore the versions that match a pattern
    #[command(after_help = "\
Examples:
  pointsman ignore add --like '6.5.%' --reason 'Nobody runs 6.5'
  pointsman ignore add --like '%+debug%' --regex '-rt-' --distro debian-12 --reason 'Special builds'
  pointsman ignore add --regex '^6[.]5[.]' --reason 'A bug in 6.5' --expires 2027-01-01")]
    #[command(group = ArgGroup::new("pattern").required(true).multiple(true).args(["like", "regex"]))]
    Add {
        /// An SQL LIKE pattern, over the whole version: % any characters, _ any one, \ escapes
        #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
        like: Vec<String>,
        /// A regular expression, found anywhere in the version
        #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
        regex: Vec<String>,
        /// Only in this distro [default: in all]
        #[arg(long, value_name = "NAME")]
        distro: Option<String>,
        /// Why these versions need no runs
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// When it stops to count: a date, a time, or how far ahead (90d)
        #[arg(long, value_name = "WHEN", value_parser = values::expiry)]
        expires: Option<DateTime<Utc>>,
        #[command(flatten)]
        why: Why,
    },
    /// Remove ignore patterns
    #[command(after_help = "\
Example:
  pointsman ignore remove 3 4 -m '6.5 is back'")]
    Remove {
        /// The ids, as `pointsman ignore list` shows them
        #[arg(required = true)]
        ids: Vec<i64>,
        #[command(flatten)]
        why: Why,
    },
}

/// Clusters: groups of hosts, our own or customers'
#[derive(Subcommand, Debug)]
pub(crate) enum Cluster {
    /// List clusters
    #[command(after_help = "\
Example:
  pointsman cluster list")]
    List(Paging),
    /// Add a cluster, or give it another type
    #[command(after_help = "\
Examples:
  pointsman cluster add lab-1
  pointsman cluster add acme-prod --type customer")]
    Add {
        /// The cluster
        name: String,
        /// own, customer, or a type of yours
        #[arg(long = "type", value_name = "TYPE", default_value = "own")]
        kind: String,
        #[command(flatten)]
        why: Why,
    },
    /// Mark a cluster as deleted
    #[command(after_help = "\
Example:
  pointsman cluster delete lab-1")]
    Delete {
        /// The cluster
        name: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Hosts: which kernels they run or have installed
#[derive(Subcommand, Debug)]
pub(crate) enum Host {
    /// List hosts with their kernels
    #[command(after_help = "\
Examples:
  pointsman host list --cluster lab-1
  pointsman host list --cluster-type customer --below-state ready-customers --current
  pointsman host list --kernel debian-12/6.1.0-49-amd64")]
    List(HostList),
    /// Say which kernels a host has; kernels not named are taken off it
    #[command(after_help = "\
Examples:
  pointsman host set lab-1/web-1 --running debian-12/6.1.0-49-amd64 --installed debian-12/6.1.0-48-amd64
  pointsman host set lab-1/web-1 --none
  pointsman host set --from hosts.ndjson

Each line of the file is one host:
  {\"cluster\": \"lab-1\", \"host\": \"web-1\", \"kernels\": [{\"distro\": \"debian-12\", \"version\": \"6.1.0-49-amd64\", \"current\": true}]}")]
    Set(HostSet),
}

#[derive(Args, Debug)]
pub(crate) struct HostList {
    /// Of this cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Of clusters of this type: own, customer
    #[arg(long, value_name = "TYPE")]
    pub(crate) cluster_type: Option<String>,
    /// This host
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// That have a kernel of this distro
    #[arg(long, value_name = "NAME")]
    pub(crate) distro: Option<String>,
    /// That have this kernel: distro/version
    #[arg(long, conflicts_with = "distro")]
    pub(crate) kernel: Option<KernelName>,
    /// Whose kernel is in one of these states
    #[arg(long, value_name = "STATE,...", value_delimiter = ',')]
    pub(crate) state: Vec<String>,
    /// Whose kernel is in none of these states
    #[arg(long, value_name = "STATE,...", value_delimiter = ',')]
    pub(crate) without_state: Vec<String>,
    /// Whose kernel did not get as far as this state
    #[arg(long, value_name = "STATE")]
    pub(crate) below_state: Option<String>,
    /// Only kernels that are running
    #[arg(long)]
    pub(crate) current: bool,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["running", "installed", "none", "from"]))]
pub(crate) struct HostSet {
    /// cluster/host
    #[arg(value_name = "HOST", required_unless_present = "from", value_parser = host_name)]
    pub(crate) host: Option<HostName>,
    /// The kernel that it runs
    #[arg(long, value_name = "KERNEL")]
    pub(crate) running: Option<KernelName>,
    /// A kernel that it has besides; may be repeated
    #[arg(long, value_name = "KERNEL")]
    pub(crate) installed: Vec<KernelName>,
    /// It is gone: take it off the cluster
    #[arg(long, conflicts_with_all = ["running", "installed", "from"])]
    pub(crate) none: bool,
    /// Read hosts from this file of JSON lines, or `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "running", "installed"])]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// `cluster/host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName {
    pub(crate) cluster: String,
    pub(crate) host: String,
}

fn host_name(text: &str) -> Result<HostName, String> {
    match text.split_once('/') {
        Some((cluster, host)) if !cluster.is_empty() && !host.is_empty() && !host.contains('/') => {
            Ok(HostName {
                cluster: cluster.to_owned(),
                host: host.to_owned(),
            })
        }
        _ => Err("write a host as cluster/host, like lab-1/web-1".to_owned()),
    }
}
