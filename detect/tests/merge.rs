//! What several indices, rebuilds and architectures make of each other.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

mod common;

use common::{failure, index, read, read_all, read_with, stanza, stanza_of, versions};
use pointsman_detect::{Options, Part, Role};
use proptest::prelude::*;

const IMAGE: &str = "linux-image-6.1.0-50-amd64";
const HEADERS: &str = "linux-headers-6.1.0-50-amd64";
const COMMON: &str = "linux-headers-6.1.0-50-common";

fn with(arch: &str) -> Options {
    Options {
        arch: Some(arch.to_owned()),
        ..Options::default()
    }
}

#[test]
fn an_image_here_and_its_headers_there_are_complete() {
    let image = stanza(IMAGE, "6.1.176-1", "kmod");
    let headers = stanza(
        HEADERS,
        "6.1.176-1",
        &format!("{COMMON} (= 6.1.176-1), linux-kbuild-6.1"),
    ) + &stanza_of(COMMON, "6.1.176-1", "all", "");
    let alone = read(image.as_bytes());
    assert_eq!(versions(&alone), ["6.1.0-50-amd64"]);
    assert!(!alone.versions[0].complete);
    assert_eq!(alone.versions[0].missing, [Part::Headers]);

    let alone = read(headers.as_bytes());
    assert!(versions(&alone).is_empty());
    assert_eq!(alone.headers_only, ["6.1.0-50-amd64"]);

    let both = read_all(&[image.as_bytes(), headers.as_bytes()], &Options::default());
    assert_eq!(versions(&both), ["6.1.0-50-amd64"]);
    assert!(both.versions[0].complete && both.versions[0].missing.is_empty());
    assert!(both.headers_only.is_empty());
    let packages: Vec<_> = both.versions[0]
        .packages
        .iter()
        .map(|p| (p.role, p.name.as_str(), p.arch.as_str()))
        .collect();
    assert_eq!(
        packages,
        [
            (Role::Image, IMAGE, "amd64"),
            (Role::Headers, HEADERS, "amd64"),
            (Role::HeadersShared, COMMON, "all"),
        ]
    );
    assert_eq!(
        both.sources.iter().map(|s| s.versions).collect::<Vec<_>>(),
        [1, 0]
    );
}

#[test]
fn an_unsigned_image_is_an_image_and_says_so() {
    for unsigned in [
        format!("{IMAGE}-unsigned"),
        IMAGE.replace("image-", "image-unsigned-"),
    ] {
        let text = stanza(&unsigned, "6.1.176-1", "kmod");
        let only = read(text.as_bytes());
        assert_eq!(versions(&only), ["6.1.0-50-amd64"]);
        assert!(only.versions[0].unsigned_only);
        let both = read((text + &stanza(IMAGE, "6.1.176-1", "kmod")).as_bytes());
        assert_eq!(versions(&both), ["6.1.0-50-amd64"]);
        assert!(!both.versions[0].unsigned_only);
        assert_eq!(both.versions[0].packages.len(), 2);
    }
}

#[test]
fn ubuntu_with_modules_and_shared_headers() {
    let text = stanza(
        "linux-image-5.15.0-57-generic",
        "5.15.0-57.63",
        "linux-modules-5.15.0-57-generic",
    ) + &stanza("linux-modules-5.15.0-57-generic", "5.15.0-57.63", "")
        + &stanza(
            "linux-headers-5.15.0-57-generic",
            "5.15.0-57.63",
            "linux-headers-5.15.0-57, libc6",
        )
        + &stanza_of("linux-headers-5.15.0-57", "5.15.0-57.63", "all", "")
        + &stanza(
            "linux-image-generic",
            "5.15.0.57.55",
            "linux-image-5.15.0-57-generic",
        );
    let report = read(text.as_bytes());
    assert_eq!(versions(&report), ["5.15.0-57-generic"]);
    assert!(report.headers_only.is_empty());
    assert_eq!(report.sources[0].set_aside, 1);
    let roles: Vec<_> = report.versions[0].packages.iter().map(|p| p.role).collect();
    assert_eq!(
        roles,
        [
            Role::Image,
            Role::Headers,
            Role::HeadersShared,
            Role::Modules
        ]
    );
}

#[test]
fn the_newest_build_of_a_name_wins_and_shows() {
    let old = stanza(IMAGE, "6.1.9-1", "kmod");
    let new = stanza(IMAGE, "6.1.10-1", "kmod");
    let before = read(old.as_bytes());
    for pair in [[&old, &new], [&new, &old]] {
        let both = read_all(
            &[pair[0].as_bytes(), pair[1].as_bytes()],
            &Options::default(),
        );
        let one_file = read(pair.map(String::as_str).concat().as_bytes());
        for after in [both, one_file] {
            let package = &after.versions[0].packages[0];
            assert_eq!(package.version, "6.1.10-1");
            assert_ne!(package.sha256, before.versions[0].packages[0].sha256);
            assert!(after.conflicts.is_empty());
        }
    }
}

#[test]
fn one_version_with_two_contents_is_a_conflict() {
    let a = stanza(IMAGE, "6.1.9-1", "kmod");
    let sum = read(a.as_bytes()).versions[0].packages[0].sha256.clone();
    let b = a.replace(&sum, &"0".repeat(64));
    for pair in [[&a, &b], [&b, &a]] {
        let report = read_all(
            &[pair[0].as_bytes(), pair[1].as_bytes()],
            &Options::default(),
        );
        assert_eq!(report.conflicts.len(), 1);
        assert_eq!(report.conflicts[0].sha256, ["0".repeat(64), sum.clone()]);
        assert_eq!(report.versions[0].packages[0].sha256, "0".repeat(64));
    }
}

#[test]
fn architectures_are_not_mixed() {
    let image = "linux-image-5.15.0-57-generic";
    let headers = "linux-headers-5.15.0-57-generic";
    let amd64 = stanza_of(image, "1", "amd64", "");
    let arm64 = stanza_of(headers, "1", "arm64", "");
    let mixed = amd64.clone() + &arm64;
    assert_eq!(failure(&read(mixed.as_bytes())), "several-architectures");

    let report = read_with(mixed.as_bytes(), &with("amd64"));
    assert_eq!(versions(&report), ["5.15.0-57-generic"]);
    assert!(
        !report.versions[0].complete,
        "its headers are for another machine"
    );
    assert_eq!(report.sources[0].other_arch, 1);

    let report = read_with(mixed.as_bytes(), &with("riscv64"));
    assert!(versions(&report).is_empty());
    assert_eq!(report.sources[0].other_arch, 2);

    // The first index decides; an index without kernels has no say.
    let other = stanza_of("unrelated", "1", "arm64", "");
    let report = read_all(
        &[other.as_bytes(), amd64.as_bytes(), arm64.as_bytes()],
        &Options::default(),
    );
    assert_eq!(report.sources.len(), 2);
    assert_eq!(report.failures[0].code(), "several-architectures");
    assert_eq!(report.versions[0].arch, "amd64");
}

#[test]
fn a_source_that_fails_leaves_the_others_alone() {
    let good = index(0..3);
    let cut = index(3..6);
    let cut = &cut.as_bytes()[..cut.len() - 20];
    let report = read_all(&[cut, good.as_bytes()], &Options::default());
    assert_eq!(report.versions.len(), 3, "nothing of the cut one counts");
    assert_eq!(report.failures.len(), 1);
    assert!(report.is_partial());
}

#[test]
fn no_kernels_are_no_failure() {
    let report = read(stanza("bash", "5.2-1", "").as_bytes());
    assert!(versions(&report).is_empty());
    assert_eq!(report.sources[0].stanzas, 1);
    assert_eq!(report.sources[0].arch, None);
}

#[test]
fn text_that_other_tools_write() {
    let image = stanza(IMAGE, "6.1.176-1", "kmod");
    let want = read(image.as_bytes()).versions;
    // Windows line ends, other case in field names, blank lines with spaces, no line at the end.
    for text in [
        image.replace('\n', "\r\n"),
        image
            .replace("Package:", "PACKAGE:")
            .replace("SHA256", "Sha256"),
        format!("\n \n\t\n{image}"),
        image.trim_end().to_owned(),
        image.replace(": ", ":  \t"),
    ] {
        assert_eq!(read(text.as_bytes()).versions, want, "{text:?}");
    }
    // A folded Depends still shows the metapackage.
    let meta = stanza(
        "linux-image-6.1-amd64",
        "1",
        &format!("a,\n b (>= 1),\n {IMAGE} (= 1)"),
    );
    assert!(versions(&read((image + &meta).as_bytes())).len() == 1);
}

#[test]
fn the_shape_on_the_wire() {
    let report = read(stanza(IMAGE, "6.1.176-1", "kmod").as_bytes());
    let kernel = serde_json::to_value(&report.versions[0]).unwrap();
    assert_eq!(
        kernel,
        serde_json::json!({
            "version": "6.1.0-50-amd64", "arch": "amd64", "complete": false, "missing": ["headers"],
            "unsigned_only": false,
            "packages": [{
                "name": IMAGE, "version": "6.1.176-1", "arch": "amd64", "size": 1408, "role": "image",
                "filename": format!("pool/main/l/linux/{IMAGE}_6.1.176-1_amd64.deb"),
                "sha256": report.versions[0].packages[0].sha256,
            }],
        })
    );
    let failed = serde_json::to_value(&read(b"").failures[0]).unwrap();
    assert_eq!(failed["code"], "not-an-index");
    assert!(
        ["source", "message", "hint"]
            .iter()
            .all(|key| failed[key].is_string()),
        "{failed}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The same stanzas in any order, in any number of files: the same report.
    #[test]
    fn the_order_of_sources_and_stanzas_does_not_matter(
        builds in prop::collection::vec((0..4_u8, 0..3_u8, 0..4_u8), 1..20),
        cut in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let mut stanzas: Vec<_> = builds.iter().map(|(role, abi, build)| {
            let name = format!("{}5.15.0-{abi}-generic", [
                "linux-image-", "linux-image-unsigned-", "linux-headers-", "linux-modules-",
            ][usize::from(*role)]);
            stanza(&name, &format!("5.15.0-{abi}.{build}"), "")
        }).collect();
        let first = read(stanzas.concat().as_bytes());
        let mut order = seed;
        stanzas.sort_by_cached_key(|_| {
            order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order >> 32
        });
        let (a, b) = stanzas.split_at(cut.index(stanzas.len()));
        let parts: Vec<_> = [a.concat(), b.concat()].into_iter().filter(|text| !text.is_empty()).collect();
        let parts: Vec<_> = parts.iter().map(String::as_bytes).collect();
        let second = read_all(&parts, &Options::default());
        prop_assert_eq!(first.versions, second.versions);
        prop_assert_eq!(first.headers_only, second.headers_only);
        prop_assert_eq!(first.conflicts, second.conflicts);
    }
}
