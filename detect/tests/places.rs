//! Where indices come from: files, apt's lists, servers that behave and servers that do not.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use common::{compress, failure, index, stanza, versions};
use pointsman_detect::{Compression, Options, Report, Source, detect};

fn run(argument: &str) -> Report {
    run_with(argument, &Options::default())
}

fn run_with(argument: &str, options: &Options) -> Report {
    detect(&[argument.parse().unwrap()], options, &mut |_| {})
}

/// An amd64 machine is not given: what is asked for here does not depend on where it runs.
fn lists(files: &[(&str, &[u8])]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let options = Options {
        arch: Some("amd64".to_owned()),
        ..Options::default()
    };
    detect(
        &[Source::AptLists(dir.path().to_owned())],
        &options,
        &mut |_| {},
    )
}

const MAIN: &str = "deb.example.org_my%5fdebian_dists_bookworm_main_binary-amd64_Packages";
const RELEASE: &str = "deb.example.org_my%5fdebian_dists_bookworm_InRelease";

fn release(size: usize) -> Vec<u8> {
    format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nSHA256:\n {0} 99 main/binary-i386/Packages\n \
         {0} {size} main/binary-amd64/Packages\n {0} 7 main/binary-amd64/Packages.gz\n",
        "0".repeat(64)
    )
    .into_bytes()
}

#[test]
fn apt_lists() {
    let text = index(0..2);
    let other = stanza("linux-image-5.15.0-9-generic", "1", "");
    let report = lists(&[
        (&format!("{MAIN}.lz4"), &compress("lz4", text.as_bytes())),
        (RELEASE, &release(text.len())),
        (
            "deb.example.org_x_dists_bookworm-updates_main_binary-amd64_Packages",
            other.as_bytes(),
        ),
        // None of these is an index of packages.
        (
            "partial/deb.example.org_x_dists_y_main_binary-amd64_Packages",
            b"half",
        ),
        ("deb.example.org_x_dists_y_main_i18n_Translation-en", b"x"),
        ("deb.example.org_x_dists_y_main_source_Sources", b"x"),
        (
            "deb.example.org_x_dists_y_main_binary-amd64_Packages.diff_Index",
            b"x",
        ),
        ("lock", b""),
    ]);
    assert_eq!(
        versions(&report),
        ["5.15.0-0-generic", "5.15.0-1-generic", "5.15.0-9-generic"]
    );
    assert_eq!(report.sources.len(), 2);
    let archives: Vec<_> = report
        .versions
        .iter()
        .map(|kernel| kernel.packages[0].archive.as_deref())
        .collect();
    let mine = Some("deb.example.org/my_debian/");
    assert_eq!(archives, [mine, mine, Some("deb.example.org/x/")]);
}

#[test]
fn an_apt_list_must_have_the_size_that_its_release_file_says() {
    let text = index(0..2);
    // Cut between two stanzas: only the size shows it.
    let cut = index(0..1);
    let report = lists(&[(MAIN, cut.as_bytes()), (RELEASE, &release(text.len()))]);
    assert_eq!(failure(&report), "size-mismatch");
    // An empty suite is empty only if its release file says so.
    let report = lists(&[(MAIN, b""), (RELEASE, &release(0))]);
    assert!(versions(&report).is_empty());
    assert_eq!(report.sources[0].stanzas, 0);
    assert_eq!(
        failure(&lists(&[(MAIN, b""), (RELEASE, &release(text.len()))])),
        "size-mismatch"
    );
    assert_eq!(failure(&lists(&[(MAIN, b"")])), "not-an-index");
    // A release file that says nothing of it refuses nothing.
    let report = lists(&[(MAIN, cut.as_bytes()), (RELEASE, b"Suite: x\n")]);
    assert_eq!(versions(&report).len(), 1);
}

#[test]
fn places_without_an_index() {
    assert_eq!(failure(&lists(&[("lock", b"")])), "no-indices");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    assert_eq!(failure(&run(&format!("{path}"))), "is-directory");
    assert_eq!(failure(&run(&format!("{path}/nothing"))), "io");
    assert_eq!(failure(&run(&format!("apt:{path}/nothing"))), "io");
    assert_eq!(failure(&run(&format!("file://{path}/nothing"))), "io");
}

/// Answers one request with these bytes, then closes the connection, or holds it open until the
/// client gives up.
fn serve(answer: Vec<u8>, then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            request.extend_from_slice(&byte);
        }
        // The client may have seen enough before all of it is sent.
        let _ = stream.write_all(&answer);
        if then == Then::Hold {
            let _ = stream.read(&mut byte);
        }
    });
    format!("http://user:secret@{address}/debian/dists/x/Packages?token=secret")
}

#[derive(PartialEq)]
enum Then {
    Close,
    Hold,
}

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    [
        format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(),
        body,
    ]
    .concat()
}

#[test]
fn a_download() {
    let text = index(0..300);
    for format in ["plain", "gzip", "xz", "lz4"] {
        let body = compress(format, text.as_bytes());
        let sized = http(&format!("200 OK\r\nContent-Length: {}", body.len()), &body);
        let chunks: Vec<u8> = body
            .chunks(1000)
            .flat_map(|chunk| {
                [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
            })
            .collect();
        let chunked = http(
            "200 OK\r\nTransfer-Encoding: chunked",
            &[&chunks, &b"0\r\n\r\n"[..]].concat(),
        );
        for answer in [sized, chunked] {
            let report = run(&serve(answer, Then::Close));
            assert_eq!(versions(&report).len(), 300, "{format}");
            assert_eq!(report.sources[0].bytes, body.len() as u64);
            let shown = serde_json::to_string(&report).unwrap();
            assert!(
                !shown.contains("secret"),
                "a secret in the report: {}",
                report.sources[0].name
            );
            let archive = report.versions[0].packages[0].archive.as_deref().unwrap();
            assert!(
                archive.starts_with("http://127.0.0.1:") && archive.ends_with("/debian/"),
                "{archive}"
            );
        }
    }
}

#[test]
fn a_server_that_unpacks_or_packs_on_the_way() {
    let text = index(0..3);
    let body = compress("gzip", text.as_bytes());
    let head = format!(
        "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}",
        body.len()
    );
    let report = run(&serve(http(&head, &body), Then::Close));
    assert_eq!(versions(&report).len(), 3);
    assert_eq!(report.sources[0].compression, Compression::Plain);
}

#[test]
fn a_server_that_fails() {
    let text = index(0..300);
    let body = text.as_bytes();
    let length = body.len();
    let half = &body[..index(0..100).len()];
    let page = b"<html><h1>Login: please</h1></html>";
    let cases = [
        (
            "http-status",
            http("404 Not Found\r\nContent-Length: 0", b""),
        ),
        (
            "http-status",
            http("503 Service Unavailable\r\nContent-Length: 3", b"no\n"),
        ),
        ("not-an-index", http("200 OK\r\nContent-Length: 35", page)),
        ("not-an-index", http("200 OK\r\nContent-Length: 0", b"")),
        // Both end between two stanzas.
        (
            "truncated",
            http(&format!("200 OK\r\nContent-Length: {length}"), half),
        ),
        (
            "too-large",
            http("200 OK\r\nContent-Length: 99999999999", body),
        ),
    ];
    for (code, answer) in cases {
        let report = run(&serve(answer, Then::Close));
        assert_eq!(failure(&report), code, "{}", report.failures[0]);
        assert!(!format!("{} {:?}", report.failures[0], report.failures[0]).contains("secret"));
    }
    let cut_chunk = [format!("{:x}\r\n", half.len()).as_bytes(), half, b"\r\n"].concat();
    let report = run(&serve(
        http("200 OK\r\nTransfer-Encoding: chunked", &cut_chunk),
        Then::Close,
    ));
    failure(&report);
    let report = run(&serve(b"I am no web server\r\n\r\n".to_vec(), Then::Close));
    assert_eq!(failure(&report), "network");
    // A port that nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(failure(&run(&format!("http://{free}/Packages"))), "network");
}

#[test]
fn a_server_that_stalls_or_never_ends() {
    let text = index(0..300);
    let mut options = Options::default();
    options.limits.stall_timeout = Duration::from_millis(200);
    let head = format!("200 OK\r\nContent-Length: {}", text.len());
    let report = run_with(
        &serve(http(&head, &text.as_bytes()[..5000]), Then::Hold),
        &options,
    );
    assert_eq!(failure(&report), "timed-out", "{}", report.failures[0]);

    options.limits.compressed_bytes = 20_000;
    let endless = http("200 OK", text.as_bytes());
    assert_eq!(
        failure(&run_with(&serve(endless, Then::Hold), &options)),
        "too-large"
    );
}
