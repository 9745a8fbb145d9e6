//! Verbs about kernel versions.

use clap::{Args, Subcommand, ValueEnum};
use pointsman_api::run::Verdict as ApiVerdict;

use crate::args::values::{Age, KernelArg, KernelName};
use crate::args::{Paging, Why};

/// Kernel versions: list, add, move, report, detect
#[derive(Subcommand, Debug)]
pub(crate) enum Kernel {
    /// List kernel versions
    #[command(after_help = "\
Examples:
  pointsman kernel list --distro debian-12 --state built          built but not tested
  pointsman kernel list --distro ubuntu-22.04 --state seen --not-ignored
  pointsman kernel list --like '6.5.%' --ignored
  pointsman kernel list --regex '^6[.]5[.]' --all --csv > kernels.csv
  pointsman kernel list --missing                                 what cannot be fetched
  pointsman kernel list --installed --without-state tested,ready-own,ready-customers")]
    List(List),
    /// Show one kernel version: its state, its packages, its last runs
    #[command(after_help = "\
Example:
  pointsman kernel show debian-12/6.1.0-49-amd64")]
    Show {
        /// distro/version
        kernel: KernelName,
    },
    /// Add kernel versions; those that exist are left as they are
    #[command(after_help = "\
Examples:
  pointsman kernel add ubuntu-22.04/5.15.0-57-generic -m 'Found by hand'
  pointsman kernel add centos7/3.10.0-1160.el7 --state built
  echo debian-12/6.1.0-49-amd64 | pointsman kernel add -")]
    Add(Add),
    /// Move kernel versions to another state
    #[command(after_help = "\
Examples:
  pointsman kernel set debian-12/6.1.0-49-amd64 --state ready-own -m 'Runs on our own machines'
  pointsman kernel set debian-12/6.1.0-49-amd64 --state tested --if-generation 42
  pointsman kernel list --state built --all --json | jq -r '.distro + \"/\" + .version' | pointsman kernel set - --state tested")]
    Set(Set),
    /// Report a run of a kernel version: a build, a test
    #[command(after_help = "\
Examples:
  pointsman kernel report debian-12/6.1.0-49-amd64 --purpose build --verdict pass --release 21.0 --link https://ci/13343 --key jenkins-13343 -m 'Jenkins build 13343'
  pointsman kernel report debian-12/6.1.0-49-amd64 --purpose test --key jenkins-13344")]
    Report(Report),
    /// List kernel versions that sit in one state for too long, oldest first
    #[command(after_help = "\
Examples:
  pointsman kernel stale --over 7d
  pointsman kernel stale --over 2w --state built --distro debian-12")]
    Stale(Stale),
    /// Read package indices, and record the kernel versions in them
    ///
    /// A source is `apt` (the lists of this machine), `apt:DIRECTORY`, the path of a `Packages` file
    /// (plain, gzip, xz, lz4), an http or https address of one, or `sample` (bundled real indices). All
    /// sources become one change. A source that fails is reported, and removes nothing; what the others
    /// gave is recorded all the same, unless --strict.
    #[command(after_help = "\
Examples:
  pointsman kernel detect
  pointsman kernel detect --distro debian-12 http://deb.debian.org/debian/dists/bookworm/main/binary-amd64/Packages.xz
  pointsman kernel detect --distro ubuntu-22.04 ./Packages.gz ./security/Packages.gz --dry-run")]
    Detect(Detect),
    /// Say what changed for a kernel version: when, why, by whom
    #[command(after_help = "\
Example:
  pointsman kernel history ubuntu-22.04/5.15.0-57-generic")]
    History {
        /// distro/version
        kernel: KernelName,
    },
    /// Say why a kernel version does not go on: what its next run waits for
    #[command(after_help = "\
Example:
  pointsman kernel why ubuntu-22.04/5.15.0-57-generic")]
    Why {
        /// distro/version
        kernel: KernelName,
    },
    /// List the runs that the policy wants, who is at them, and what is in their way
    #[command(after_help = "\
Examples:
  pointsman kernel wanted
  pointsman kernel wanted --purpose build --limit 1 --json")]
    Wanted(Wanted),
    /// Mark kernel versions as deleted; they and their history stay in the record
    #[command(after_help = "\
Example:
  pointsman kernel delete debian-12/6.1.0-49-amd64 -m 'A typing mistake'")]
    Delete(Many),
    /// Take the mark of deletion away
    #[command(after_help = "\
Example:
  pointsman kernel restore debian-12/6.1.0-49-amd64")]
    Restore(Many),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Of this distro
    #[arg(long, value_name = "NAME")]
    pub(crate) distro: Option<String>,
    /// In one of these states
    #[arg(long, value_name = "STATE,...", value_delimiter = ',')]
    pub(crate) state: Vec<String>,
    /// In none of these states
    #[arg(long, value_name = "STATE,...", value_delimiter = ',')]
    pub(crate) without_state: Vec<String>,
    /// Ignored by the policy
    #[arg(long, conflicts_with = "not_ignored")]
    pub(crate) ignored: bool,
    /// Not ignored by the policy
    #[arg(long)]
    pub(crate) not_ignored: bool,
    /// Whose version matches this SQL LIKE pattern: % any characters, _ any one, \ escapes
    #[arg(long, value_name = "PATTERN")]
    pub(crate) like: Option<String>,
    /// Whose version has a match of this regular expression
    #[arg(long, value_name = "PATTERN")]
    pub(crate) regex: Option<String>,
    /// That some host has
    #[arg(long, conflicts_with = "not_installed")]
    pub(crate) installed: bool,
    /// That no host has
    #[arg(long)]
    pub(crate) not_installed: bool,
    /// That lack something to be fetched
    #[arg(long)]
    pub(crate) missing: bool,
    /// Those marked as deleted, instead of the others
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Print CSV
    #[arg(long)]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

#[derive(Args, Debug)]
pub(crate) struct Add {
    /// distro/version, several, or `-` for one per line on stdin
    #[arg(required = true, value_name = "KERNEL")]
    pub(crate) kernels: Vec<KernelArg>,
    /// The state to begin in [default: that of the lowest rank]
    #[arg(long)]
    pub(crate) state: Option<String>,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Args, Debug)]
pub(crate) struct Set {
    /// distro/version, several, or `-` for one per line on stdin
    #[arg(required = true, value_name = "KERNEL")]
    pub(crate) kernels: Vec<KernelArg>,
    /// The new state
    #[arg(long)]
    pub(crate) state: String,
    /// Only if it is still of this generation; for one kernel
    #[arg(long, value_name = "GENERATION")]
    pub(crate) if_generation: Option<i64>,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Args, Debug)]
pub(crate) struct Report {
    /// distro/version
    pub(crate) kernel: KernelName,
    /// What the run was for: fetch, build, test, or a word of yours
    #[arg(long)]
    pub(crate) purpose: String,
    /// How it ended [default: it has begun]
    #[arg(long, value_enum)]
    pub(crate) verdict: Option<Verdict>,
    /// The product release
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) release: String,
    /// Where its log is
    #[arg(long, value_name = "URL")]
    pub(crate) link: Option<String>,
    /// Your own name for the run: reporting it again updates it
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It passed
    Pass,
    /// It failed
    Fail,
    /// It says nothing: the machine died, no test ran
    Inconclusive,
}

impl From<Verdict> for ApiVerdict {
    fn from(verdict: Verdict) -> ApiVerdict {
        match verdict {
            Verdict::Pass => ApiVerdict::Pass,
            Verdict::Fail => ApiVerdict::Fail,
            Verdict::Inconclusive => ApiVerdict::Inconclusive,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Stale {
    /// How long is too long: 30m, 12h, 7d, 2w
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) over: Age,
    /// In one of these states
    #[arg(long, value_name = "STATE,...", value_delimiter = ',')]
    pub(crate) state: Vec<String>,
    /// Of this distro
    #[arg(long, value_name = "NAME")]
    pub(crate) distro: Option<String>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

#[derive(Args, Debug)]
pub(crate) struct Detect {
    /// Where to look: apt, apt:DIRECTORY, a file, an address, sample
    #[arg(value_name = "SOURCE", default_value = "apt")]
    pub(crate) sources: Vec<String>,
    /// The distro that the sources are of [default: what /etc/os-release says]
    #[arg(long, value_name = "NAME")]
    pub(crate) distro: Option<String>,
    /// The architecture to keep [default: this machine's, or the only one in the index]
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Record nothing if a source fails
    #[arg(long)]
    pub(crate) strict: bool,
    /// Record nothing, only show what would be recorded
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Args, Debug)]
pub(crate) struct Wanted {
    /// For this purpose: fetch, build, test
    #[arg(long)]
    pub(crate) purpose: Option<String>,
    /// Of this distro
    #[arg(long, value_name = "NAME")]
    pub(crate) distro: Option<String>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

#[derive(Args, Debug)]
pub(crate) struct Many {
    /// distro/version, several, or `-` for one per line on stdin
    #[arg(required = true, value_name = "KERNEL")]
    pub(crate) kernels: Vec<KernelArg>,
    #[command(flatten)]
    pub(crate) why: Why,
}
