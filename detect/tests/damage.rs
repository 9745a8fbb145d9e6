//! Damaged, cut, hostile and foreign files: each is a failure with its own code, and none is read
//! as a shorter index.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

mod common;

use common::{FORMATS, compress, failure, fake_sha256, index, read, read_with, stanza, versions};
use pointsman_detect::{ErrorKind, Limits, Options};
use proptest::prelude::*;

#[test]
fn every_compression_reads_the_same() {
    let text = index(0..400);
    let plain = read(text.as_bytes());
    assert_eq!(versions(&plain).len(), 400);
    for format in FORMATS {
        let report = read(&compress(format, text.as_bytes()));
        assert_eq!(report.versions, plain.versions, "{format}");
        assert_eq!(
            report.sources[0].unpacked_bytes,
            text.len() as u64,
            "{format}"
        );
        assert_eq!(report.sources[0].stanzas, 1200, "{format}");
        // Members, streams and frames one after the other are one text.
        let halves = [
            compress(format, index(0..200).as_bytes()),
            compress(format, index(200..400).as_bytes()),
        ];
        assert_eq!(
            read(&halves.concat()).versions,
            plain.versions,
            "{format} in two pieces"
        );
    }
}

#[test]
fn a_cut_anywhere_in_compressed_data_is_a_failure() {
    // Several lz4 blocks, so that some cuts fall between two of them.
    let text = index(0..100);
    for format in &FORMATS[1..] {
        let whole = compress(format, text.as_bytes());
        let ends = (0..40).chain(whole.len() - 40..whole.len());
        for end in ends.chain((40..whole.len() - 40).step_by(whole.len() / 100)) {
            let code = failure(&read(&whole[..end])).to_owned();
            // A few bytes do not show what they are the beginning of.
            assert!(
                code == "truncated" || end < 8,
                "{format} cut at {end}: {code}"
            );
        }
    }
}

#[test]
fn an_lz4_cut_between_two_blocks_is_a_failure() {
    for format in ["lz4", "lz4-checksums"] {
        let whole = compress(format, index(0..100).as_bytes());
        let checksum = if format == "lz4" { 0 } else { 4 };
        let mut at = if format == "lz4" { 7 } else { 15 };
        let mut cuts = 0;
        loop {
            let size = u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
            assert_eq!(
                failure(&read(&whole[..at])),
                "truncated",
                "{format} at {at}"
            );
            cuts += 1;
            if size == 0 {
                break;
            }
            at += 4 + size as usize + checksum;
        }
        assert!(cuts >= 3, "the test has no boundaries to cut at");
        assert_eq!(at + 4 + checksum, whole.len());
    }
}

/// The fields in the order of Ubuntu's archive, where others follow the checksum.
fn ubuntu_order(package: &str) -> String {
    format!(
        "Package: {package}\nArchitecture: amd64\nVersion: 5.15.0-57.63\nDepends: kmod, \
         linux-base\nFilename: pool/main/l/linux/{package}.deb\nSize: 11\nMD5sum: 00\nSHA256: {}\n\
         Homepage: https://example.org\nDescription: Signed kernel\nDescription-md5: ab\n\n",
        fake_sha256(package)
    )
}

#[test]
fn a_cut_plain_file_never_gives_half_a_package() {
    let names = [
        "linux-image-5.15.0-57-generic",
        "linux-headers-5.15.0-57-generic",
        "linux-image-5.15.0-58-generic",
    ];
    let debian = |name: &&str| stanza(name, "5.15.0-57.63", "kmod");
    for text in [
        names.iter().map(debian).collect::<String>(),
        names.iter().map(|n| ubuntu_order(n)).collect(),
    ] {
        let whole = read(text.as_bytes());
        let all: Vec<_> = whole
            .versions
            .iter()
            .flat_map(|kernel| &kernel.packages)
            .collect();
        assert_eq!(all.len(), 3);
        for end in 0..text.len() {
            let report = read(&text.as_bytes()[..end]);
            if report.is_partial() {
                failure(&report);
                continue;
            }
            // What was read is whole, and what was not was not begun: the cut is in the empty line
            // or in a field that nobody needs.
            let rest = &text[end..];
            let begun =
                text[..end].trim_end().len() - text[..end].trim_end().rfind("Package: ").unwrap();
            assert!(begun > 100, "cut at {end}: {rest}");
            for package in report.versions.iter().flat_map(|kernel| &kernel.packages) {
                assert!(all.contains(&package), "cut at {end}: {package:?}");
            }
        }
    }
}

#[test]
fn foreign_files() {
    let html = "<!DOCTYPE html>\n<html><title>Index of /debian: main</title></html>\n";
    let release =
        "Origin: Debian\nLabel: Debian\nSuite: oldstable\nSHA256:\n ab 12 main/Packages\n";
    let status =
        "Package: adduser\nStatus: install ok installed\nVersion: 3.134\nArchitecture: all\n\n";
    let cases: [(&[u8], &str); 14] = [
        (b"", "not-an-index"),
        (b"\n\n \n", "not-an-index"),
        (html.as_bytes(), "not-an-index"),
        (b"<html", "not-an-index"),
        (b"{\"error\": 404}\n", "not-an-index"),
        (
            b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n",
            "not-an-index",
        ),
        (release.as_bytes(), "not-an-index"),
        (status.as_bytes(), "not-an-index"),
        (b"\x7fELF\x02\x01\x01\0\0", "not-an-index"),
        (b"BZh91AY&SY", "unsupported-compression"),
        (b"\x28\xb5\x2f\xfd\x24", "unsupported-compression"),
        (b"\x02\x21\x4c\x18\0\0\0\0", "unsupported-compression"),
        (b"PK\x03\x04....", "unsupported-compression"),
        (b" leading: continuation\n", "not-an-index"),
    ];
    for (bytes, code) in cases {
        assert_eq!(failure(&read(bytes)), code, "{}", bytes.escape_ascii());
        // Packed or not: it is no index. (Inside, a compressed file is only bytes.)
        if code == "not-an-index" {
            assert_eq!(
                failure(&read(&compress("lz4", bytes))),
                code,
                "{}",
                bytes.escape_ascii()
            );
        }
    }
    // Legacy lz4 after a good frame, too.
    let mut mixed = compress("lz4", index(0..1).as_bytes());
    mixed.extend_from_slice(b"\x02\x21\x4c\x18\0\0\0\0");
    assert_eq!(failure(&read(&mixed)), "unsupported-compression");
}

#[test]
fn bad_text_is_named_by_line_and_byte() {
    let good = index(0..2);
    let lines = good.lines().count() as u64;
    let broken = |insert: &[u8]| [good.as_bytes(), insert, b"\n\n", good.as_bytes()].concat();
    let at = |insert: &[u8]| {
        let report = read(&broken(insert));
        failure(&report);
        report.failures.into_iter().next().unwrap().kind
    };
    let start = good.len() as u64;
    match at(b"Package: a\xffb") {
        ErrorKind::NotUtf8 { line, byte } => assert_eq!((line, byte), (lines + 1, start + 10)),
        other => panic!("{other:?}"),
    }
    match at(b"Package: a\0b") {
        ErrorKind::NulByte { line, byte } => assert_eq!((line, byte), (lines + 1, start + 10)),
        other => panic!("{other:?}"),
    }
    let whole = stanza("linux-image-5.15.0-9-generic", "5.15-1", "kmod");
    for (insert, word) in [
        ("no colon here".to_owned(), "Field: value"),
        ("-Dash: x".to_owned(), "Field: value"),
        ("Package: a\nVersion: 1".to_owned(), "Architecture"),
        ("Package: a\nPackage: b".to_owned(), "twice"),
        ("Package: a\n b".to_owned(), "several lines"),
        (
            whole.trim_end().replace("Version: 5.15-1", "Version: five"),
            "Version",
        ),
        (whole.trim_end().replace("Size: 1408", "Size: many"), "Size"),
        (whole.trim_end().replace("SHA256: ", "SHA256: x"), "SHA256"),
        (
            whole.trim_end().replace("pool/main", "pool/../../main"),
            "outside",
        ),
        (whole.trim_end().replace("pool/main", "/main"), "outside"),
        (
            whole
                .trim_end()
                .replace("generic\nSource", "gen$(x)\nSource"),
            "name",
        ),
    ] {
        match at(insert.as_bytes()) {
            ErrorKind::Malformed { line, why, .. } => {
                assert!(
                    line > lines && why.contains(word),
                    "{insert:?}: line {line}, {why}"
                );
            }
            other => panic!("{insert:?}: {other:?}"),
        }
    }
}

#[test]
fn every_bound_is_held() {
    let text = index(0..50);
    let size = text.len() as u64;
    type Lower = fn(&mut Limits);
    let cases: [(&str, Lower); 7] = [
        ("bytes as stored or sent", |l| l.compressed_bytes = 700),
        ("bytes of text", |l| l.unpacked_bytes = 1000),
        ("bytes of one line", |l| l.line_bytes = 30),
        ("bytes of one stanza", |l| l.stanza_bytes = 100),
        ("stanzas", |l| l.stanzas = 149),
        ("kernel packages", |l| l.kernel_packages = 99),
        ("kernel versions in one report", |l| l.versions = 49),
    ];
    for (what, lower) in cases {
        for format in FORMATS {
            let mut options = Options::default();
            lower(&mut options.limits);
            let report = read_with(&compress(format, text.as_bytes()), &options);
            assert_eq!(failure(&report), "too-large", "{what} in {format}");
            assert!(
                report.failures[0].to_string().contains(what),
                "{}",
                report.failures[0]
            );
        }
    }
    // Exactly at each bound it passes.
    let mut options = Options::default();
    options.limits.unpacked_bytes = size;
    options.limits.compressed_bytes = size;
    options.limits.stanzas = 150;
    options.limits.kernel_packages = 100;
    options.limits.versions = 50;
    assert_eq!(versions(&read_with(text.as_bytes(), &options)).len(), 50);
}

#[test]
fn names_have_a_longest_length() {
    for (field, value, code) in [
        (
            "Package",
            format!("linux-image-5.{}", "1".repeat(126)),
            Ok(1),
        ),
        (
            "Package",
            format!("linux-image-5.{}", "1".repeat(127)),
            Err("too-large"),
        ),
        ("Package", format!("a{}", "b".repeat(255)), Err("malformed")),
        ("Version", "1".repeat(256), Err("malformed")),
        (
            "Filename",
            format!("pool/{}", "f".repeat(1024)),
            Err("malformed"),
        ),
    ] {
        let mut text = index(0..1);
        let stanza = stanza("linux-image-5.15.0-9-generic", "5.15-1", "kmod");
        let lines = stanza.lines().map(|line| match line.split_once(": ") {
            Some((name, _)) if name == field => format!("{field}: {value}\n"),
            _ => format!("{line}\n"),
        });
        text += &lines.collect::<String>();
        let report = read(text.as_bytes());
        match code {
            Ok(more) => assert_eq!(versions(&report).len(), 1 + more),
            Err(code) => assert_eq!(failure(&report), code, "{field}"),
        }
    }
}

#[test]
fn a_bomb_is_refused_while_it_unpacks() {
    let header = stanza("linux-image-5.15.0-9-generic", "5.15-1", "kmod");
    let mut options = Options::default();
    options.limits.unpacked_bytes = 2 * 1024 * 1024;
    for (what, piece) in [
        ("bytes of one line", "a".repeat(64)),
        ("bytes of one stanza", format!(" {}\n", "a".repeat(62))),
        ("bytes of text", "\n".repeat(64)),
    ] {
        // 8 MiB that pack into a few kilobytes.
        let text = header.trim_end().to_owned() + "\nTag: x" + &piece.repeat(128 * 1024);
        for format in ["gzip", "xz", "lz4"] {
            let packed = compress(format, text.as_bytes());
            assert!(packed.len() * 50 < text.len());
            let mut options = options.clone();
            if what == "bytes of one stanza" {
                options.limits.stanza_bytes = 1024 * 1024;
            }
            let report = read_with(&packed, &options);
            assert_eq!(failure(&report), "too-large", "{format}");
            let message = report.failures[0].to_string();
            assert!(message.contains(what), "{format}: {message}");
        }
    }
}

#[test]
fn an_xz_header_cannot_ask_for_gigabytes() {
    let mut packed = compress("xz", index(0..3).as_bytes());
    // The block header follows the 12 bytes of the stream header: size, flags, filter id, size of
    // its properties, the dictionary size, padding, CRC32.
    let header = 12..12 + (usize::from(packed[12]) + 1) * 4;
    assert_eq!(
        packed[14..16],
        [0x21, 1],
        "LZMA2 with one byte of properties"
    );
    packed[16] = 40;
    let mut crc = flate2::Crc::new();
    crc.update(&packed[header.start..header.end - 4]);
    let sum = crc.sum().to_le_bytes();
    packed[header.end - 4..header.end].copy_from_slice(&sum);
    let report = read(&packed);
    assert_eq!(failure(&report), "too-large");
    assert!(
        report.failures[0].to_string().contains("memory"),
        "{}",
        report.failures[0]
    );
}

#[test]
fn lz4_frames_are_counted_and_skipped() {
    let text = index(0..2);
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
    let good = [
        skippable,
        compress("lz4", text.as_bytes()).as_slice(),
        skippable,
    ]
    .concat();
    assert_eq!(versions(&read(&good)).len(), 2);
    assert_eq!(failure(&read(&good[..good.len() - 1])), "truncated");
    let many = skippable.repeat(10_001);
    assert_eq!(failure(&read(&many)), "too-large");
    let garbage = [compress("lz4", text.as_bytes()).as_slice(), b"garbage"].concat();
    assert_eq!(failure(&read(&garbage)), "corrupt");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A changed byte is noticed, or changes nothing that counts (a time stamp in a header).
    #[test]
    fn damage_is_noticed_where_there_is_a_checksum(
        format in prop::sample::select(vec!["gzip", "xz", "lz4-checksums"]),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let text = index(0..20);
        let mut packed = compress(format, text.as_bytes());
        let whole = read(&packed);
        let at = at.index(packed.len());
        packed[at] ^= flip;
        let report = read(&packed);
        if report.is_partial() {
            failure(&report);
        } else {
            prop_assert_eq!(report.versions, whole.versions);
        }
    }

    /// Without a checksum (apt's lz4) damage may pass for text, but nothing panics.
    #[test]
    fn damage_never_panics(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..9)) {
        let mut packed = compress("lz4", index(0..60).as_bytes());
        let at = at.index(packed.len() - bytes.len());
        packed[at..at + bytes.len()].copy_from_slice(&bytes);
        let _ = read(&packed);
    }

    #[test]
    fn no_bytes_panic(
        magic in prop::sample::select(vec![
            &b""[..], b"\x1f\x8b\x08\0", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46", b"\x04\x22\x4d\x18\x40\x40\xc0",
            b"\x04\x22\x4d\x18", b"\x50\x2a\x4d\x18", b"Package: a\n",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = read(&[magic, &bytes].concat());
    }

    #[test]
    fn no_text_panics(text in "((Package|Version|Depends|SHA256|Size|Filename|X)?(:| |\t)?.{0,6}\n?){0,12}") {
        let _ = read(text.as_bytes());
    }
}
