//! Every bound of the reader, with its reason. An index comes from a network or from a disk that
//! somebody else fills, so nothing in it is allowed to decide how much memory or time it costs.

use std::time::Duration;

/// Bytes of one index as it is stored or sent. Debian's largest (`main`, lz4) is 19 MB.
pub const MAX_COMPRESSED_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of one index once unpacked. Debian's largest is 50 MB; this stops a decompression bomb.
pub const MAX_UNPACKED_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of one line. The longest of Debian's `main` (a `Provides`) has 76 kB; this stops a file
/// of one endless line.
pub const MAX_LINE_BYTES: u64 = 1024 * 1024;
/// Bytes of one stanza, all of its lines together: this stops a stanza that never ends.
pub const MAX_STANZA_BYTES: u64 = 4 * 1024 * 1024;
/// Stanzas of one index. Debian's `main` has 64,000.
pub const MAX_STANZAS: u64 = 2_000_000;
/// Kernel packages kept of one index: these are what is held in memory, some 600 bytes each.
pub const MAX_KERNEL_PACKAGES: usize = 100_000;
/// Kernel versions of one report: what one write to the record may carry.
pub const MAX_VERSIONS: usize = 20_000;
/// Bytes of a package name, a package's version, or an architecture: file systems stop at 255.
pub const MAX_NAME_BYTES: usize = 255;
/// Bytes of a kernel version: what the record stores.
pub const MAX_KERNEL_VERSION_BYTES: usize = 128;
/// Bytes of the address of a package inside its archive.
pub const MAX_FILENAME_BYTES: usize = 1024;
/// Packages that one package may be said to depend on, of those that matter here.
pub const MAX_NEEDS: usize = 64;
/// Bytes of working memory for xz: `xz -9` asks for 65 MiB, and a crafted header for gigabytes.
pub const MAX_XZ_MEMORY_BYTES: u64 = 128 * 1024 * 1024;
/// Frames of one lz4 file: each costs a new window, so a file of empty frames would be slow.
pub const MAX_LZ4_FRAMES: u32 = 10_000;
/// Indices taken from one directory of apt lists.
pub const MAX_APT_INDICES: usize = 1_000;
/// Bytes read of a `Release` file next to an index. Debian's largest is 300 kB.
pub const MAX_RELEASE_BYTES: u64 = 16 * 1024 * 1024;
/// Whole time for one download.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(600);
/// Time to get a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Time without a single byte from the server.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects followed for one download.
pub const MAX_REDIRECTS: u32 = 5;

/// The bounds that a caller may lower (or, knowing why, raise).
#[derive(Debug, Clone)]
pub struct Limits {
    /// See [`MAX_COMPRESSED_BYTES`].
    pub compressed_bytes: u64,
    /// See [`MAX_UNPACKED_BYTES`].
    pub unpacked_bytes: u64,
    /// See [`MAX_LINE_BYTES`].
    pub line_bytes: u64,
    /// See [`MAX_STANZA_BYTES`].
    pub stanza_bytes: u64,
    /// See [`MAX_STANZAS`].
    pub stanzas: u64,
    /// See [`MAX_KERNEL_PACKAGES`].
    pub kernel_packages: usize,
    /// See [`MAX_VERSIONS`].
    pub versions: usize,
    /// See [`FETCH_TIMEOUT`].
    pub fetch_timeout: Duration,
    /// See [`STALL_TIMEOUT`].
    pub stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compressed_bytes: MAX_COMPRESSED_BYTES,
            unpacked_bytes: MAX_UNPACKED_BYTES,
            line_bytes: MAX_LINE_BYTES,
            stanza_bytes: MAX_STANZA_BYTES,
            stanzas: MAX_STANZAS,
            kernel_packages: MAX_KERNEL_PACKAGES,
            versions: MAX_VERSIONS,
            fetch_timeout: FETCH_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
        }
    }
}
