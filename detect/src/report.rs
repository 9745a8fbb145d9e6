//! What a detection says: the shapes that are posted, printed and tested.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::unpack::Compression;

/// The outcome of reading one or several sources, in a fixed order: the same indices give the
/// same bytes, whatever the order of their stanzas.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Kernel versions that have an image, by [`natural_order`](crate::natural_order).
    pub versions: Vec<Detected>,
    /// Versions of which there are headers and no image. They are not kernel versions: one cannot
    /// run them; usually their image is in an index that was not given.
    pub headers_only: Vec<String>,
    /// Packages that two sources offer at the same version with different contents.
    pub conflicts: Vec<Conflict>,
    /// The sources that were read to their end.
    pub sources: Vec<SourceReport>,
    /// The sources that were not. They contribute nothing to the fields above.
    pub failures: Vec<Error>,
}

impl Report {
    /// Whether some source failed, so that an absent version means nothing.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.failures.is_empty()
    }
}

/// A kernel version that has at least an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detected {
    /// As `uname -r` says it: `6.1.0-49-amd64`.
    pub version: String,
    /// The architecture of the image, in the distro's words: `amd64`.
    pub arch: String,
    /// Whether image and headers are both there, so that one can build for it.
    pub complete: bool,
    /// What is not there; empty when `complete`.
    pub missing: Vec<Part>,
    /// Whether the only image is one without a signature for Secure Boot.
    pub unsigned_only: bool,
    /// What to fetch, image first.
    pub packages: Vec<Package>,
}

/// A part that a complete version must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The headers to build modules with.
    Headers,
    /// The kernel itself.
    Image,
}

impl Part {
    /// The word used on the wire: `headers` or `image`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Image => "image",
        }
    }
}

/// What a package is to its kernel version. The order is that of `Detected::packages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The kernel, signed where the distro signs: `linux-image-6.1.0-49-amd64`.
    Image,
    /// The same kernel without a signature: `...-unsigned` or `linux-image-unsigned-...`.
    ImageUnsigned,
    /// What modules are built with: `linux-headers-6.1.0-49-amd64`.
    Headers,
    /// The part of the headers that several versions share: `linux-headers-6.1.0-49-common`.
    HeadersShared,
    /// The modules, where they are not in the image: `linux-modules-5.15.0-57-generic`.
    Modules,
}

/// One binary package, as its index describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The name: `linux-image-6.1.0-49-amd64`.
    pub name: String,
    /// The version of the package (not of the kernel): `6.1.174-1`. It and `sha256` change when a
    /// kernel is built again under the same name.
    pub version: String,
    /// `amd64`, or `all`.
    pub arch: String,
    /// The address inside the archive: `pool/main/l/...deb`.
    pub filename: String,
    /// 64 lower-case hex digits.
    pub sha256: String,
    /// Bytes of the package file.
    pub size: u64,
    /// What it is to its kernel version.
    pub role: Role,
    /// Where `filename` begins, when the source tells: an address ending in `/`. From apt's own
    /// lists it has no scheme (`deb.debian.org/debian/`), since apt does not keep it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

/// Two different files under one package name and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Both checksums, sorted; the report keeps the first.
    pub sha256: [String; 2],
}

/// What one source held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The path or address, without user name, password or query.
    pub name: String,
    /// How it was compressed.
    pub compression: Compression,
    /// Bytes read, as stored or sent.
    pub bytes: u64,
    /// Bytes of text in them.
    pub unpacked_bytes: u64,
    /// Packages described, of any kind.
    pub stanzas: u64,
    /// Packages kept: images, headers, modules.
    pub kernel_packages: u64,
    /// Kernel versions that have an image in this source.
    pub versions: u64,
    /// Packages named like kernels that are none: metapackages, debug symbols, templates.
    pub set_aside: u64,
    /// Kernel packages of other architectures than the one asked for.
    pub other_arch: u64,
    /// The architecture that was kept; none when the source holds no kernel and none was asked for.
    pub arch: Option<String>,
}

/// How far the reading of one source is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The path or address.
    pub source: &'a str,
    /// Bytes read so far, as stored or sent.
    pub bytes: u64,
    /// All bytes, when known.
    pub total: Option<u64>,
    /// Packages seen so far.
    pub stanzas: u64,
}
