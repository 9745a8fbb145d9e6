//! The bundled sample, counted by other programs: `awk`, `sort` and `wc`.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use pointsman_detect::{Options, SAMPLE_DISTRO, Source, bundled_sample, detect};

/// Runs a shell pipeline on a text; what it prints, line by line.
fn shell(script: &str, input: &[u8]) -> Vec<String> {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn unpack(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match bytes[0] {
        0x1f => flate2::read::GzDecoder::new(bytes)
            .read_to_end(&mut text)
            .unwrap(),
        _ => liblzma::read::XzDecoder::new(bytes)
            .read_to_end(&mut text)
            .unwrap(),
    };
    text
}

/// Tells metapackages from kernels by their size on disk, where the reader goes by dependencies:
/// two rules that have nothing in common must agree.
const KERNELS: &str = r#"awk '
    BEGIN { RS = ""; FS = "\n" }
    {
        name = ""; size = 0
        for (i = 1; i <= NF; i++) {
            if ($i ~ /^Package: /) name = substr($i, 10)
            if ($i ~ /^Installed-Size: /) size = substr($i, 17) + 0
        }
        if (name !~ PREFIX || name ~ /-dbg$|-signed-template$/ || size < 1000) next
        sub(PREFIX, "", name); sub(/-unsigned$/, "", name)
        print name
    }' PREFIX='^linux-KIND-(unsigned-)?' | grep '^[0-9]' | sort -u"#;

#[test]
fn as_many_versions_as_awk_counts() {
    let (source, indices) = bundled_sample();
    let report = detect(&[source], &Options::default(), &mut |_| {});
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let text: Vec<u8> = indices
        .iter()
        .flat_map(|index| unpack(index.bytes))
        .collect();

    let images = shell(&KERNELS.replace("KIND", "image"), &text);
    let mut found: Vec<_> = report
        .versions
        .iter()
        .map(|kernel| kernel.version.clone())
        .collect();
    found.sort();
    assert_eq!(found, images);
    assert!(images.len() > 30, "the sample shrank to {}", images.len());

    let headers = shell(&KERNELS.replace("KIND", "headers"), &text);
    for kernel in &report.versions {
        assert_eq!(
            kernel.complete,
            headers.contains(&kernel.version),
            "{}",
            kernel.version
        );
        assert_eq!(kernel.complete, kernel.missing.is_empty());
    }
    // Both kinds are in it, or the sample shows nothing.
    assert!(report.versions.iter().any(|kernel| !kernel.complete));
    assert!(report.versions.iter().any(|kernel| kernel.complete));
    assert!(report.headers_only.is_empty(), "{:?}", report.headers_only);
}

#[test]
fn as_many_stanzas_as_grep_counts() {
    let (source, indices) = bundled_sample();
    let report = detect(&[source], &Options::default(), &mut |_| {});
    for (index, source) in indices.iter().zip(&report.sources) {
        let text = unpack(index.bytes);
        let counted = shell("grep -c '^Package: '", &text);
        assert_eq!(counted, [source.stanzas.to_string()], "{}", index.name);
        assert_eq!(source.unpacked_bytes, text.len() as u64);
        assert_eq!(source.bytes, index.bytes.len() as u64);
        assert!(index.bytes.len() < 60_000, "a sample is small");
    }
    assert_eq!(report.sources.len(), indices.len());
    assert_eq!(SAMPLE_DISTRO, "debian-12");
}

#[test]
fn packages_are_those_of_the_index() {
    let report = detect(&[Source::Sample], &Options::default(), &mut |_| {});
    let kernel = report
        .versions
        .iter()
        .find(|kernel| kernel.version == "6.12.117+deb12-amd64")
        .unwrap();
    let image = &kernel.packages[0];
    assert_eq!(image.name, "linux-image-6.12.117+deb12-amd64");
    assert_eq!(image.version, "6.12.117-1~deb12u1");
    assert_eq!(image.size, 107_179_464);
    assert_eq!(
        image.sha256,
        "803d36a7cda13355ae8152122470288b2636f19f1cb58162dd9d8b408af9b1b4"
    );
    assert_eq!(
        image.filename,
        "pool/updates/main/l/linux-signed-6.12-amd64/linux-image-6.12.117+deb12-amd64_6.12.117-1~deb12u1_amd64.deb"
    );
    let twice = detect(
        &[Source::Sample, Source::Sample],
        &Options::default(),
        &mut |_| {},
    );
    assert_eq!(twice.versions, report.versions);
    assert!(twice.conflicts.is_empty());
}

#[test]
fn progress_runs_from_nothing_to_all() {
    let mut seen: Vec<(String, u64, Option<u64>)> = Vec::new();
    detect(&[Source::Sample], &Options::default(), &mut |progress| {
        seen.push((progress.source.to_owned(), progress.bytes, progress.total));
    });
    let (_, indices) = bundled_sample();
    for index in indices {
        let name = format!("sample:{}", index.name);
        let of: Vec<_> = seen.iter().filter(|(source, ..)| *source == name).collect();
        assert_eq!(of.first().unwrap().1, 0);
        assert_eq!(of.last().unwrap().1, index.bytes.len() as u64);
        assert!(
            of.iter()
                .all(|(_, _, total)| *total == Some(index.bytes.len() as u64))
        );
    }
}
