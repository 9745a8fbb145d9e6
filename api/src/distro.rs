//! Distros and the states of kernel versions.

use crate::wire;

wire! {
    /// A Linux distribution in one version.
    pub struct Distro {
        /// The builder name: `ubuntu-22.04`.
        pub name: String,
        /// The build variant's name: `UBUNTU2204`.
        pub variant: String,
        /// A new kernel version of an unsupported distro starts no runs by itself.
        pub supported: bool,
        /// Marked as deleted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub deleted: bool,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// A distro to create.
    #[serde(deny_unknown_fields)]
    pub struct NewDistro {
        /// `[a-z0-9._+-]`, at most 63 characters.
        pub name: String,
        /// `[A-Za-z0-9_.+-]`, at most 64 characters.
        pub variant: String,
        /// Defaults to true.
        #[serde(default = "yes")]
        pub supported: bool,
    }
}

const fn yes() -> bool {
    true
}

wire! {
    /// A batch of distros to create; those that exist are left as they are.
    #[serde(deny_unknown_fields)]
    pub struct CreateDistros {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 1,000.
        pub distros: Vec<NewDistro>,
    }
}

wire! {
    /// The fields of a distro to change; absent ones stay.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct UpdateDistro {
        /// Why; the generation's comment.
        pub comment: Option<String>,
        /// The new build variant's name.
        pub variant: Option<String>,
        /// Supported or not.
        pub supported: Option<bool>,
    }
}

wire! {
    /// A state that a kernel version can be in.
    pub struct KernelState {
        /// `seen`, `fetched`, `built`, `tested`, `ready-own`, `ready-customers`, or your own.
        pub name: String,
        /// Higher is further along.
        pub rank: i32,
        /// `policy`: a plugin or a person may move a version into it; `person`: people alone.
        pub moved_by: String,
        /// How many kernel versions are in it, if the count was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kernels: Option<i64>,
    }
}

wire! {
    /// States to create or to re-rank.
    #[serde(deny_unknown_fields)]
    pub struct PutStates {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 64.
        pub states: Vec<PutState>,
    }
}

wire! {
    /// One state to create or to re-rank.
    #[serde(deny_unknown_fields)]
    pub struct PutState {
        /// `[a-z0-9-]`, at most 32 characters.
        pub name: String,
        /// Unique.
        pub rank: i32,
        /// `policy` (the default) or `person`.
        #[serde(default = "policy")]
        pub moved_by: String,
    }
}

fn policy() -> String {
    "policy".to_owned()
}
