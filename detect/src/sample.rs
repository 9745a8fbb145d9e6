//! A real sample, so that there is something true to show on a machine without apt.
//! `samples/README.md` says where it is from and how it was cut.

use crate::source::Source;

/// The distro that the sample is of.
pub const SAMPLE_DISTRO: &str = "debian-12";

/// One index of the sample, as its file is.
#[derive(Debug, Clone, Copy)]
pub struct SampleIndex {
    /// Which index it was cut from: `bookworm/main`.
    pub name: &'static str,
    /// Where the file names in it begin.
    pub archive: &'static str,
    /// The compressed file.
    pub bytes: &'static [u8],
}

pub(crate) const INDICES: [SampleIndex; 2] = [
    SampleIndex {
        name: "bookworm/main",
        archive: "http://deb.debian.org/debian/",
        bytes: include_bytes!("../samples/debian-12-main.Packages.xz"),
    },
    SampleIndex {
        name: "bookworm-security/main",
        archive: "http://deb.debian.org/debian-security/",
        bytes: include_bytes!("../samples/debian-12-security.Packages.gz"),
    },
];

/// The bundled sample: use [`Source::Sample`] to read it, and this to look into it.
#[must_use]
pub fn bundled_sample() -> (Source, &'static [SampleIndex]) {
    (Source::Sample, &INDICES)
}
