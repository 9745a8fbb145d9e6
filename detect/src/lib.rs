//! Finds the kernel versions that a distro offers, by reading its package indices: the `Packages`
//! files of Debian and Ubuntu, plain or compressed, from a file, from apt's own lists, or from an
//! address. Blocking code; everything is streamed, so an index costs time and next to no memory.
//!
//! ```
//! use pointsman_detect::{Options, Source, detect};
//!
//! let report = detect(&[Source::Sample], &Options::default(), &mut |_| {});
//! assert!(report.failures.is_empty());
//! assert!(report.versions.iter().any(|kernel| kernel.complete));
//! ```
//!
//! A report never shrinks in silence: a source that cannot be read to its end, that is cut or
//! damaged, or that is something else than an index, is listed in [`Report::failures`] and adds
//! nothing to the rest. Two things no reader of such a file can see: a plain file that was cut
//! exactly between two stanzas, and damage inside lz4 data stored without checksums, as apt does.
//! For apt's lists the size in the signed `Release` file is checked, which shows the first.

mod collect;
mod deb_version;
mod error;
mod kernel_name;
pub mod limits;
mod os_release;
mod report;
mod sample;
mod source;
mod stanza;
mod unpack;

pub use deb_version::{DebVersion, natural_order};
pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use os_release::distro_of_os_release;
pub use report::{Conflict, Detected, Package, Part, Progress, Report, Role, SourceReport};
pub use sample::{SAMPLE_DISTRO, SampleIndex, bundled_sample};
pub use source::{APT_LISTS_DIR, Source};
pub use unpack::Compression;

use collect::{Kernels, Merged};
use source::Index;
use stanza::Stanzas;

/// Bytes read between two calls of the progress callback.
const PROGRESS_STEP_BYTES: u64 = 256 * 1024;

/// How to read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The architecture to keep, in the distro's words (`amd64`); packages for all architectures
    /// always count. Without it: for apt's lists the architecture of this machine, else the one
    /// that an index has, and an index that has several is refused.
    pub arch: Option<String>,
    /// The bounds.
    pub limits: Limits,
}

/// Reads all sources into one report: an image in one index and its headers in another make one
/// complete version. `progress` is called at the beginning and end of each index and now and then
/// between. Nothing is ever returned as an error: what fails is in [`Report::failures`].
pub fn detect(
    sources: &[Source],
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Report {
    let mut report = Report::default();
    let mut merged = Merged::default();
    // What the first index with kernels says, when nobody said it before.
    let mut arch = options.arch.clone();
    for source in sources {
        let indices = match source::expand(source) {
            Ok(indices) => indices,
            Err(error) => {
                report.failures.push(error);
                continue;
            }
        };
        for index in indices {
            let read = read(&index, options, progress).and_then(|(kernels, source_report)| {
                if source_report.kernel_packages > 0 {
                    agree(arch.as_deref(), source_report.arch.as_deref())?;
                }
                merged.add(kernels, &options.limits)?;
                Ok(source_report)
            });
            match read {
                Ok(source_report) => {
                    if source_report.kernel_packages > 0 {
                        arch = arch.or_else(|| source_report.arch.clone());
                    }
                    report.sources.push(source_report);
                }
                Err(kind) => report.failures.push(kind.of(index.name)),
            }
        }
    }
    merged.finish(&mut report);
    report
}

/// Kernels of two architectures have the same names on some distros: they must not be mixed.
fn agree(so_far: Option<&str>, here: Option<&str>) -> Result<(), ErrorKind> {
    match (so_far, here) {
        (Some(a), Some(b)) if a != b => {
            let mut found = vec![a.to_owned(), b.to_owned()];
            found.sort();
            Err(ErrorKind::SeveralArchitectures { found })
        }
        _ => Ok(()),
    }
}

/// Reads one index to its end.
fn read(
    index: &Index,
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Kernels, SourceReport), ErrorKind> {
    let limits = &options.limits;
    // An architecture that was asked for, or that apt's lists imply, selects; one that an earlier
    // index merely had does not: this index must have the same, or fails (`agree`).
    let wanted = match &options.arch {
        Some(arch) => Some(arch.as_str()),
        None if index.of_this_machine => machine_arch(),
        None => None,
    };
    let (text, total) = index.open(limits)?;
    let compression = text.compression();
    let mut stanzas = Stanzas::new(text, limits);
    let mut kernels = Kernels::default();
    let mut told = 0;
    let mut tell = |bytes, stanzas| {
        progress(Progress {
            source: &index.name,
            bytes,
            total,
            stanzas,
        });
    };
    tell(0, 0);
    while let Some(stanza) = stanzas.next()? {
        kernels.add(stanza, wanted, index.archive.as_deref(), limits)?;
        let bytes = stanzas.text().bytes();
        if bytes - told >= PROGRESS_STEP_BYTES {
            told = bytes;
            tell(bytes, stanzas.count());
        }
    }
    tell(stanzas.text().bytes(), stanzas.count());
    check_size(index, stanzas.unpacked_bytes(), stanzas.count())?;
    let found = kernels.arch()?;
    let source_report = SourceReport {
        name: index.name.clone(),
        compression,
        bytes: stanzas.text().bytes(),
        unpacked_bytes: stanzas.unpacked_bytes(),
        stanzas: stanzas.count(),
        kernel_packages: kernels.packages(),
        versions: kernels.versions().len() as u64,
        set_aside: kernels.set_aside,
        other_arch: kernels.other_arch,
        arch: wanted.map(str::to_owned).or(found),
    };
    Ok((kernels, source_report))
}

/// An index without a stanza is believed only where a `Release` file says that it is empty.
fn check_size(index: &Index, bytes: u64, stanzas: u64) -> Result<(), ErrorKind> {
    match &index.release {
        Some(release) if release.bytes != bytes => Err(ErrorKind::SizeMismatch {
            found: bytes,
            expected: release.bytes,
            release: release.file.clone(),
        }),
        None if stanzas == 0 => Err(ErrorKind::NotAnIndex {
            line: 0,
            why: if bytes == 0 {
                "it is empty"
            } else {
                "it has no stanza"
            }
            .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// This machine's architecture in Debian's words; `None` where they are not known.
fn machine_arch() -> Option<&'static str> {
    Some(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        arch @ ("riscv64" | "s390x") => arch,
        "loongarch64" => "loong64",
        _ => return None,
    })
}
