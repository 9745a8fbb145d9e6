//! Indices made for a test, and what reading them gives.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::Write;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use liblzma::write::XzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use pointsman_detect::{Options, Report, Source, detect};

/// How a test compresses.
pub(crate) const FORMATS: [&str; 5] = ["plain", "gzip", "xz", "lz4", "lz4-checksums"];

/// One stanza, in the order of fields that Debian writes.
pub(crate) fn stanza(package: &str, version: &str, depends: &str) -> String {
    stanza_of(package, version, "amd64", depends)
}

pub(crate) fn stanza_of(package: &str, version: &str, arch: &str, depends: &str) -> String {
    let sha256 = fake_sha256(&format!("{package} {version}"));
    format!(
        "Package: {package}\nSource: linux\nVersion: {version}\nInstalled-Size: 10256\n\
         Maintainer: Jörg Example <j@example.org>\nArchitecture: {arch}\nDepends: {depends}\n\
         Description: a kernel\n with a longer text\n .\n and a paragraph\nSection: kernel\n\
         Filename: pool/main/l/linux/{package}_{version}_{arch}.deb\nSize: 1408\nSHA256: {sha256}\n\n"
    )
}

/// 64 hex digits that differ between texts.
pub(crate) fn fake_sha256(text: &str) -> String {
    let hash = |seed: u64| {
        text.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    (1..5)
        .map(|seed| {
            format!(
                "{:016x}",
                hash(0xcbf2_9ce4_8422_2325_u64.wrapping_mul(seed))
            )
        })
        .collect()
}

/// An index of complete kernels `5.15.0-N-generic`, with something else between them.
pub(crate) fn index(kernels: std::ops::Range<u32>) -> String {
    let mut text = String::new();
    for n in kernels {
        let version = format!("5.15.0-{n}-generic");
        text += &stanza(&format!("linux-image-{version}"), "5.15.0-1", "kmod");
        text += &stanza(&format!("unrelated{n}"), "1:2~3", "libc6 (>= 2)");
        text += &stanza(&format!("linux-headers-{version}"), "5.15.0-1", "libc6");
    }
    text
}

pub(crate) fn compress(format: &str, text: &[u8]) -> Vec<u8> {
    match format {
        "plain" => text.to_vec(),
        "gzip" => {
            let mut out = GzEncoder::new(Vec::new(), Level::fast());
            out.write_all(text).unwrap();
            out.finish().unwrap()
        }
        "xz" => {
            let mut out = XzEncoder::new(Vec::new(), 1);
            out.write_all(text).unwrap();
            out.finish().unwrap()
        }
        // Linked blocks of 64 kB without a checksum: what apt stores.
        "lz4" => lz4(text, FrameInfo::new()),
        "lz4-checksums" => lz4(
            text,
            FrameInfo::new()
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(text.len() as u64)),
        ),
        other => panic!("{other} is no format"),
    }
}

fn lz4(text: &[u8], info: FrameInfo) -> Vec<u8> {
    let info = info
        .block_mode(BlockMode::Linked)
        .block_size(BlockSize::Max64KB);
    let mut out = FrameEncoder::with_frame_info(info, Vec::new());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

/// Reads bytes as one index in a file.
pub(crate) fn read(bytes: &[u8]) -> Report {
    read_with(bytes, &Options::default())
}

pub(crate) fn read_with(bytes: &[u8], options: &Options) -> Report {
    read_all(&[bytes], options)
}

/// Reads several indices in this order.
pub(crate) fn read_all(indices: &[&[u8]], options: &Options) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let sources: Vec<_> = indices
        .iter()
        .enumerate()
        .map(|(n, bytes)| {
            let path = dir.path().join(format!("Packages.{n}"));
            std::fs::write(&path, bytes).unwrap();
            Source::File(path)
        })
        .collect();
    detect(&sources, options, &mut |_| {})
}

/// The code of the only failure, which left nothing behind.
pub(crate) fn failure(report: &Report) -> &'static str {
    assert!(
        report.versions.is_empty() && report.sources.is_empty(),
        "{report:?}"
    );
    assert!(report.is_partial());
    let [error] = report.failures.as_slice() else {
        panic!("not one failure: {:?}", report.failures);
    };
    assert!(!error.hint().is_empty() && !error.to_string().is_empty());
    error.code()
}

/// The versions found, without an unexpected failure.
pub(crate) fn versions(report: &Report) -> Vec<&str> {
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    report
        .versions
        .iter()
        .map(|kernel| kernel.version.as_str())
        .collect()
}
