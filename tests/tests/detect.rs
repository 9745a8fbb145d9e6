//! Detection from end to end: the command reads real indices, the server keeps what is in them.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use pointsman_detect::{SAMPLE_DISTRO, bundled_sample};
use pointsman_tests::TestHost;
use pointsman_tests::command::{Cli, Ended};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

struct Scene {
    _db: pointsman_tests::TestDatabase,
    host: TestHost,
    cli: Cli,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (db, host) = TestHost::start().await;
        host.distro(SAMPLE_DISTRO).await;
        let cli = Cli::new(&host);
        Self {
            _db: db,
            host,
            cli,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn detect(&self, sources: &[&str]) -> Ended {
        let args = [
            &["kernel", "detect", "--distro", SAMPLE_DISTRO, "--json"],
            sources,
        ]
        .concat();
        self.cli.run(&args).await
    }

    /// The versions on record, with what each lacks.
    async fn versions(&self) -> BTreeMap<String, Value> {
        let rows = self.cli.lines(&["kernel", "list", "--all"]).await;
        let version = |row: &Value| row["version"].as_str().unwrap().to_owned();
        rows.iter()
            .map(|row| (version(row), row["missing"].clone()))
            .collect()
    }

    async fn generations(&self) -> usize {
        self.cli.lines(&["generation", "list", "--all"]).await.len()
    }
}

/// What a run with `--json` printed.
fn printed(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The bundled real indices, unpacked.
fn real_indices() -> Vec<Vec<u8>> {
    let unpack = |packed: &[u8]| {
        let mut plain = vec![];
        match packed[0] {
            0x1f => flate2::read::GzDecoder::new(packed)
                .read_to_end(&mut plain)
                .unwrap(),
            _ => liblzma::read::XzDecoder::new(packed)
                .read_to_end(&mut plain)
                .unwrap(),
        };
        plain
    };
    bundled_sample()
        .1
        .iter()
        .map(|index| unpack(index.bytes))
        .collect()
}

fn stanza(package: &str, version: &str, build: &str) -> String {
    let sha256: String = build
        .bytes()
        .cycle()
        .take(32)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "Package: {package}\nVersion: {version}\nInstalled-Size: 10256\nArchitecture: amd64\nDepends: kmod\n\
         Filename: pool/main/l/linux/{package}_{version}_amd64.deb\nSize: 1408\nSHA256: {sha256}\n\n"
    )
}

fn kernel(version: &str, build: &str) -> String {
    ["image", "headers"]
        .map(|kind| stanza(&format!("linux-{kind}-{version}"), "6.1.1-1", build))
        .concat()
}

/// How other programs count: names of images, and metapackages told by their size on disk.
const AWK: &str = r#"awk '
    BEGIN { RS = ""; FS = "\n" }
    {
        name = ""; size = 0
        for (i = 1; i <= NF; i++) {
            if ($i ~ /^Package: /) name = substr($i, 10)
            if ($i ~ /^Installed-Size: /) size = substr($i, 17) + 0
        }
        if (name ~ /^linux-image-/ && name !~ /-dbg$|-signed-template$/ && size >= 1000) print name
    }' "$@" | sed -e 's/^linux-image-//' -e 's/^unsigned-//' -e 's/-unsigned$//' | grep '^[0-9]' | sort -u"#;

#[tokio::test]
async fn as_many_as_grep_and_awk_count_and_a_second_run_changes_nothing() {
    let scene = Scene::new().await;
    let files: Vec<PathBuf> = real_indices()
        .iter()
        .enumerate()
        .map(|(n, index)| scene.file(&format!("index-{n}_Packages"), index))
        .collect();
    let sources: Vec<&str> = files.iter().map(|file| text(file)).collect();
    let counted = std::process::Command::new("sh")
        .args(["-c", AWK, "sh"])
        .args(&files)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let counted = String::from_utf8(counted.stdout).unwrap();
    let counted: Vec<&str> = counted.lines().collect();
    assert!(counted.len() > 30, "{counted:?}");

    let before = scene.generations().await;
    let first = scene.detect(&sources).await;
    assert_eq!(first.code, 0, "{first:?}");
    let first = printed(&first);
    assert_eq!(first["written"]["created"], counted.len());
    assert_eq!(
        scene.generations().await,
        before + 1,
        "several indices are one change"
    );
    let known = scene.versions().await;
    assert_eq!(
        known.keys().map(String::as_str).collect::<Vec<_>>(),
        counted
    );

    let second = printed(&scene.detect(&sources).await);
    assert_eq!(
        second["written"],
        json!({"created": 0, "updated": 0, "unchanged": counted.len()})
    );
    assert_eq!(
        scene.generations().await,
        before + 1,
        "the same again is no change"
    );
    // The same indices as they are shipped, compressed. Each names its archive, so where both have a
    // package the other address may be kept: once.
    for again in [false, true] {
        let sample = scene.cli.run(&["kernel", "detect", "sample"]).await;
        assert_eq!(sample.code, 0, "{sample:?}");
        let no_change = format!("no change: {} already as asked", counted.len());
        assert!(!again || sample.stdout.contains(&no_change), "{sample:?}");
        assert_eq!(scene.versions().await, known);
    }

    // What lacks its headers is there, and says so.
    let headless: Vec<&String> = known
        .iter()
        .filter(|(_, lacks)| **lacks == json!(["headers"]))
        .map(|k| k.0)
        .collect();
    assert!(!headless.is_empty());
    let missing = scene
        .cli
        .lines(&["kernel", "list", "--missing", "--all"])
        .await;
    assert_eq!(missing.len(), headless.len());
    // Names, addresses and checksums are kept.
    let shown = scene
        .host
        .get("/v1/kernels/debian-12/6.12.117+deb12-amd64")
        .await;
    let image = &shown["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["role"] == "image")
        .unwrap()
        .clone();
    assert_eq!(
        image["sha256"],
        "803d36a7cda13355ae8152122470288b2636f19f1cb58162dd9d8b408af9b1b4"
    );
    assert!(
        image["filename"]
            .as_str()
            .unwrap()
            .starts_with("pool/updates/"),
        "{image}"
    );
}

#[tokio::test]
async fn a_rebuild_under_the_same_name_is_noticed() {
    let scene = Scene::new().await;
    let index = scene.file("Packages", kernel("6.1.0-1-amd64", "a").as_bytes());
    assert_eq!(scene.detect(&[text(&index)]).await.code, 0);
    scene.file("Packages", kernel("6.1.0-1-amd64", "b").as_bytes());
    let again = printed(&scene.detect(&[text(&index)]).await);
    assert_eq!(
        (&again["written"]["updated"], &again["written"]["created"]),
        (&json!(1), &json!(0))
    );
    let history = scene
        .cli
        .lines(&["kernel", "history", "debian-12/6.1.0-1-amd64"])
        .await;
    let change = &history.last().unwrap()["changes"]["packages"];
    assert!(
        change[0].to_string().contains("6161") && change[1].to_string().contains("6262"),
        "{change}"
    );

    // Headers that are gone from an index are no removal; headers that come are news.
    let image = stanza("linux-image-6.1.0-1-amd64", "6.1.1-1", "b");
    scene.file("Packages", image.as_bytes());
    let gone = printed(&scene.detect(&[text(&index)]).await);
    assert_eq!(gone["written"]["unchanged"], 1, "{gone}");
    assert_eq!(scene.versions().await["6.1.0-1-amd64"], json!(null));
    let image = stanza("linux-image-6.1.0-2-amd64", "6.1.1-1", "a");
    scene.file("Packages", image.as_bytes());
    assert_eq!(scene.detect(&[text(&index)]).await.code, 0);
    assert_eq!(scene.versions().await["6.1.0-2-amd64"], json!(["headers"]));
    let state = scene
        .cli
        .json(&["kernel", "show", "debian-12/6.1.0-2-amd64"])
        .await;
    assert_eq!(state["state"], "seen");
    scene.file("Packages", kernel("6.1.0-2-amd64", "a").as_bytes());
    let come = printed(&scene.detect(&[text(&index)]).await);
    assert_eq!(come["written"]["updated"], 1, "{come}");
    assert_eq!(scene.versions().await["6.1.0-2-amd64"], json!(null));
}

#[tokio::test]
async fn a_source_that_fails_removes_nothing() {
    let scene = Scene::new().await;
    let good = scene.file("good", kernel("6.1.0-1-amd64", "a").as_bytes());
    let also = scene.file("also", kernel("6.1.0-2-amd64", "a").as_bytes());
    assert_eq!(scene.detect(&[text(&good), text(&also)]).await.code, 0);
    let packed = {
        let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
        gz.write_all(&real_indices()[0]).unwrap();
        gz.finish().unwrap()
    };
    let mut corrupt = packed.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 64].fill(0x55);
    let mut binary = kernel("6.1.0-9-amd64", "a").into_bytes();
    binary.insert(40, 0);
    for (what, bytes) in [
        ("truncated", packed[..packed.len() - 100].to_vec()),
        ("corrupt", corrupt),
        ("a web page", b"<!doctype html><html>404</html>".to_vec()),
        ("NUL", binary),
        (
            "broken UTF-8",
            [
                kernel("6.1.0-9-amd64", "a").as_bytes(),
                b"Package: \xff\xfe\n",
            ]
            .concat(),
        ),
    ] {
        let bad = scene.file("bad", &bytes);
        let new = format!("6.2.0-{}-amd64", bytes.len());
        scene.file("also", kernel(&new, "a").as_bytes());
        let ended = scene.detect(&[text(&good), text(&bad), text(&also)]).await;
        assert_eq!(ended.code, 1, "{what}: {ended:?}");
        assert!(
            ended.stderr.contains("error: ") && ended.stderr.contains("hint: "),
            "{what}: {ended:?}"
        );
        assert!(ended.stderr.contains("/bad"), "{what}: {ended:?}");
        let said = printed(&ended);
        assert_eq!(
            said["written"]["created"], 1,
            "{what}: the good ones are recorded: {said}"
        );
        let known = scene.versions().await;
        assert!(
            known.contains_key("6.1.0-1-amd64") && known.contains_key("6.1.0-2-amd64"),
            "{what}"
        );
        assert!(
            known.contains_key(&new) && !known.contains_key("6.1.0-9-amd64"),
            "{what}: {known:?}"
        );
    }
    // All or nothing, for those who want it.
    scene.file("also", kernel("6.3.0-1-amd64", "a").as_bytes());
    let strict = scene
        .detect(&["--strict", text(&also), "/nowhere/Packages"])
        .await;
    assert_eq!(
        (strict.code, &printed(&strict)["written"]),
        (1, &json!(null))
    );
    assert!(!scene.versions().await.contains_key("6.3.0-1-amd64"));
    let dry = scene.detect(&["--dry-run", text(&also)]).await;
    assert_eq!((dry.code, &printed(&dry)["written"]), (0, &json!(null)));
    assert!(!scene.versions().await.contains_key("6.3.0-1-amd64"));
    // An empty index is no removal either.
    let empty = scene.file("empty", b"");
    let before = scene.versions().await;
    scene.detect(&[text(&empty)]).await;
    assert_eq!(scene.versions().await, before);
    let unknown = scene
        .cli
        .run(&["kernel", "detect", "--distro", "nowhere", text(&good)])
        .await;
    assert_eq!(unknown.code, 3, "{unknown:?}");
}

/// Serves one body at `/Packages.gz`, and 404 at every other address.
async fn web(body: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            while stream
                .read_line(&mut request)
                .await
                .is_ok_and(|bytes| bytes > 2)
            {}
            let (status, body) = match request.starts_with("GET /Packages.gz ") {
                true => ("200 OK", body.as_slice()),
                false => ("404 Not Found", &b"gone"[..]),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body).await;
            let _ = stream.flush().await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn indices_come_from_addresses_too() {
    let scene = Scene::new().await;
    let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    gz.write_all(kernel("6.1.0-1-amd64", "a").as_bytes())
        .unwrap();
    let server = web(gz.finish().unwrap()).await;
    let good = format!("{server}/Packages.gz");
    let ended = scene.detect(&[&good]).await;
    assert_eq!(
        (ended.code, &printed(&ended)["written"]["created"]),
        (0, &json!(1)),
        "{ended:?}"
    );
    let gone = scene.detect(&[&good, &format!("{server}/other")]).await;
    assert_eq!(gone.code, 1);
    assert!(
        gone.stderr.contains("404") && gone.stderr.contains("hint: "),
        "{gone:?}"
    );
    let plain = scene.file("Packages", kernel("6.1.0-2-amd64", "a").as_bytes());
    let ended = scene.detect(&[&format!("file://{}", text(&plain))]).await;
    assert_eq!(
        (ended.code, &printed(&ended)["written"]["created"]),
        (0, &json!(1)),
        "{ended:?}"
    );
    assert_eq!(scene.versions().await.len(), 2);
    let odd = scene.detect(&["ftp://example.org/Packages"]).await;
    assert_eq!(odd.code, 2, "{odd:?}");
}
