//! Clusters, their hosts, and which kernels those run or have installed.

use crate::wire;

wire! {
    /// A cluster.
    pub struct Cluster {
        /// Unique.
        pub name: String,
        /// `own`, `customer`, or a type of yours.
        #[serde(rename = "type")]
        pub kind: String,
        /// How many hosts it has.
        pub hosts: i64,
        /// Marked as deleted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub deleted: bool,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// A cluster to create, or to give another type.
    #[serde(deny_unknown_fields)]
    pub struct PutCluster {
        /// `[A-Za-z0-9._-]`, at most 63 characters.
        pub name: String,
        /// Its type; one that does not exist is created.
        #[serde(rename = "type")]
        pub kind: String,
    }
}

wire! {
    /// A batch of clusters; one that exists gets the new type, and is restored if it was deleted.
    #[serde(deny_unknown_fields)]
    pub struct PutClusters {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 1,000.
        pub clusters: Vec<PutCluster>,
    }
}

wire! {
    /// One kernel on one host.
    pub struct HostKernel {
        /// The cluster.
        pub cluster: String,
        /// The cluster's type.
        pub cluster_type: String,
        /// The host.
        pub host: String,
        /// The kernel's distro.
        pub distro: String,
        /// The kernel's version.
        pub version: String,
        /// How far that version got.
        pub state: String,
        /// It runs this one; otherwise it has it installed.
        pub current: bool,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// A kernel that a host runs or has installed.
    #[serde(deny_unknown_fields)]
    pub struct InstalledKernel {
        /// The distro's builder name.
        pub distro: String,
        /// The version; one that the record does not have is created as seen.
        pub version: String,
        /// It runs this one. At most one kernel of a host is current.
        #[serde(default)]
        pub current: bool,
    }
}

wire! {
    /// What one host has: the whole truth, so kernels not named are taken off it.
    #[serde(deny_unknown_fields)]
    pub struct PutHost {
        /// The cluster; it must exist.
        pub cluster: String,
        /// `[A-Za-z0-9._-]`, at most 253 characters.
        pub host: String,
        /// Its kernels, at most 100; none: the host is taken off the cluster.
        pub kernels: Vec<InstalledKernel>,
    }
}

wire! {
    /// A batch of hosts, all or none.
    #[serde(deny_unknown_fields)]
    pub struct PutHosts {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 1,000.
        pub hosts: Vec<PutHost>,
    }
}
