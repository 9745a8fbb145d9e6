//! Kernel versions.

use crate::lane::Held;
use crate::pull::Condition;
use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// A package that belongs to a kernel version.
    #[serde(deny_unknown_fields)]
    pub struct Package {
        /// `linux-image-5.15.0-57-generic`.
        pub name: String,
        /// The package's own version: `5.15.0-57.63`.
        pub version: String,
        /// `amd64`.
        #[serde(default)]
        pub arch: String,
        /// Where `filename` begins: the archive's address, ending in `/`; empty where it is not known.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub archive: String,
        /// Where it is, relative to the archive's root.
        #[serde(default)]
        pub filename: String,
        /// Lower-case hex.
        #[serde(default)]
        pub sha256: String,
        /// Bytes.
        #[serde(default)]
        pub size: u64,
        /// `image` or `headers`.
        #[serde(default)]
        pub role: String,
    }
}

wire! {
    /// Why the policy ignores a kernel version.
    pub struct Ignored {
        /// `all`: no runs, and absent from reports. `automatic`: runs only by hand.
        pub scope: String,
        /// The pattern that matched, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ignore: Option<i64>,
        /// The reason, for people.
        pub reason: String,
        /// The decision behind it.
        pub decision: i64,
    }
}

wire! {
    /// One kernel version of one distro.
    pub struct Kernel {
        /// The distro's builder name.
        pub distro: String,
        /// `5.15.0-57-generic`. The same string in two distros is two kernel versions.
        pub version: String,
        /// How far it got.
        pub state: String,
        /// Since when it has been in that state.
        #[serde(serialize_with = "crate::time::write")]
        pub state_since: DateTime<Utc>,
        /// When the record first had it.
        #[serde(serialize_with = "crate::time::write")]
        pub first_seen: DateTime<Utc>,
        /// What is missing to fetch it: `headers`, `image`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub missing: Vec<String>,
        /// Set if the policy ignores it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ignored: Option<Ignored>,
        /// Marked as deleted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub deleted: bool,
        /// The generation that last changed it: what `If-Match` takes.
        pub generation: i64,
        /// Its packages; only where one version is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub packages: Option<Vec<Package>>,
    }
}

wire! {
    /// A kernel version to create.
    #[serde(deny_unknown_fields)]
    pub struct NewKernel {
        /// The distro's builder name.
        pub distro: String,
        /// Printable ASCII without spaces and slashes, at most 128 characters.
        pub version: String,
        /// Defaults to the state of the lowest rank.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state: Option<String>,
        /// What is missing to fetch it: `headers`, `image`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub missing: Vec<String>,
        /// At most 16.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub packages: Vec<Package>,
    }
}

wire! {
    /// A batch of kernel versions to create; those that exist are left as they are.
    #[serde(deny_unknown_fields)]
    pub struct CreateKernels {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 20,000.
        pub kernels: Vec<NewKernel>,
    }
}

wire! {
    /// What a detection found: as a creation, but packages and what is missing are brought up to
    /// date where the version exists. A version that is not named is left alone: an index that fails
    /// or shrinks removes nothing.
    #[serde(deny_unknown_fields)]
    pub struct Detection {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 20,000.
        pub kernels: Vec<NewKernel>,
    }
}

wire! {
    /// One kernel version to change.
    #[serde(deny_unknown_fields)]
    pub struct SetKernel {
        /// The distro's builder name.
        pub distro: String,
        /// The version.
        pub version: String,
        /// The new state.
        pub state: String,
    }
}

wire! {
    /// A batch of kernel versions to change, all or none.
    #[serde(deny_unknown_fields)]
    pub struct SetKernels {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 20,000.
        pub kernels: Vec<SetKernel>,
    }
}

wire! {
    /// The fields of a kernel version to change; absent ones stay.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct UpdateKernel {
        /// Why; the generation's comment.
        pub comment: Option<String>,
        /// The new state.
        pub state: Option<String>,
    }
}

wire! {
    /// A run that the policy wants and that has not ended yet.
    pub struct Wanted {
        /// The distro's builder name.
        pub distro: String,
        /// The distro's build variant.
        pub variant: String,
        /// The version.
        pub version: String,
        /// `fetch`, `build`, `test`.
        pub purpose: String,
        /// The product release; empty where there is only one.
        pub release: String,
        /// Higher goes first.
        pub priority: i32,
        /// Why, for people.
        pub reason: String,
        /// Since when.
        pub since: DateTime<Utc>,
        /// The decision behind it.
        pub decision: i64,
        /// Why our own jobs do not make it, if they were to: code and text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub held: Option<Held>,
        /// The run of our own that is at it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub run: Option<i64>,
    }
}

wire! {
    /// Why a kernel version does not go on: what its next run waits for, in order. The first that is not met is the
    /// answer.
    pub struct KernelWhy {
        /// The version.
        pub kernel: Kernel,
        /// `recorded`, `pipeline`, `heeded` (where it is ignored), `wanted`, `running`.
        pub conditions: Vec<Condition>,
    }
}
