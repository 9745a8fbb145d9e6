//! Plugins that were built for a released version of the contract run for ever: with the author's tools, and
//! bound on a server, in whatever language they were written. No compiler and no interpreter is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use liblzma::read::XzDecoder;
use pointsman_tests::command::Cli;
use pointsman_tests::forge::Site;
use pointsman_tests::{TestDatabase, TestHost, target_dir, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

const HOOKS: [&str; 8] = [
    "ignore", "advance", "review", "gate", "select", "run", "triage", "react",
];
const LANGUAGES: [&str; 3] = ["javascript", "python", "rust"];
const COMPONENT: &str = ".wasm.xz";
/// A plugin with all hooks.
const EVERYTHING: &str = "everything";
const DISTRO: &str = "debian-12";

/// The folders of the versions that were released.
fn versions() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("released");
    let mut versions: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    versions.sort();
    versions
}

/// The names of the plugins of a language.
fn names(language: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(language)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            Some(name.strip_suffix(COMPONENT)?.to_owned())
        })
        .collect();
    names.sort();
    names
}

fn component(language: &Path, name: &str) -> Vec<u8> {
    let packed = fs::File::open(language.join(format!("{name}{COMPONENT}"))).unwrap();
    let mut component = vec![];
    XzDecoder::new(packed).read_to_end(&mut component).unwrap();
    component
}

/// Where the author's tools and the server keep what they compiled: Python takes a while, once.
fn cache() -> PathBuf {
    target_dir().join("test-released-cache")
}

/// Runs a command that needs no server; gives the documents that it printed.
async fn tool(dir: &Path, args: &[&str]) -> Vec<Value> {
    let cli = Cli::with("http://nobody.invalid", "none");
    let mut command = cli.command(&[args, &["--json"]].concat());
    command.current_dir(dir).env("XDG_CACHE_HOME", cache());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    let printed = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    printed.map(|document| document.unwrap()).collect()
}

/// One test after the other: the second finds compiled what both need.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn the_authors_tools_take_them_and_each_case_is_as_it_was() {
    let _turn = TURN.lock().await;
    for version in versions() {
        let mut asked: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for language in LANGUAGES {
            let dir = version.join(language);
            for name in names(&dir) {
                let desk = tempfile::tempdir().unwrap();
                fs::write(desk.path().join("kept.wasm"), component(&dir, &name)).unwrap();
                let checked = tool(desk.path(), &["plugin", "check", "kept.wasm"]).await;
                let findings = checked[0]["findings"].as_array().unwrap();
                assert!(
                    findings.iter().all(|finding| finding["level"] == "warning"),
                    "{checked:?}"
                );
                let cases = dir.join(format!("{name}.json"));
                let ran = tool(
                    desk.path(),
                    &["plugin", "test", "kept.wasm", cases.to_str().unwrap()],
                )
                .await;
                let written: Value =
                    serde_json::from_str(&fs::read_to_string(&cases).unwrap()).unwrap();
                let written = written.as_array().unwrap();
                assert!(
                    written.iter().all(|case| case["expect"].is_object()),
                    "{name}"
                );
                assert_eq!(ran.len(), written.len(), "{name}");
                let of_cases: BTreeSet<&str> = ran.iter().map(|case| text(&case["hook"])).collect();
                for hook in checked[0]["hooks"].as_array().unwrap() {
                    assert!(
                        of_cases.contains(text(hook)),
                        "{name} has no case of {hook}"
                    );
                    asked
                        .entry(language)
                        .or_default()
                        .insert(text(hook).to_owned());
                }
            }
        }
        for language in LANGUAGES {
            let hooks = asked.get(language).into_iter().flatten();
            assert_eq!(
                hooks.count(),
                HOOKS.len(),
                "{}: {language}",
                version.display()
            );
        }
    }
}

/// A server with a pipeline of each kind.
struct Stage<'h> {
    host: &'h TestHost,
    merges: Site<'h>,
    /// Digests of what was uploaded, by language and name.
    uploaded: BTreeMap<(String, String), String>,
}

impl<'h> Stage<'h> {
    async fn new(host: &'h TestHost) -> Self {
        host.distro(DISTRO).await;
        Self {
            host,
            merges: Site::new(host).await,
            uploaded: BTreeMap::new(),
        }
    }

    async fn bind(&self, pipeline: &str, hook: &str, digest: &str, settings: &Value) {
        let path = format!("/v1/pipelines/{pipeline}/bindings/{hook}/0");
        let body = json!({"digest": digest, "settings": settings});
        self.host.send(Method::PUT, &path, body).await;
        let bound = self.host.get(&format!("/v1/pipelines/{pipeline}")).await;
        let bindings = bound["bindings"].as_array().unwrap();
        let is_there = bindings
            .iter()
            .any(|b| b["hook"] == hook && b["digest"] == digest);
        assert!(is_there, "{bound}");
    }

    async fn upload(&mut self, dir: &Path, name: &str) -> String {
        let language = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let digest = self.host.upload_bytes(name, component(dir, name)).await;
        self.uploaded
            .insert((language, name.to_owned()), digest.clone());
        digest
    }

    /// Settings that do not fit are refused by the plugin's schema, and by its own check.
    async fn refuses(&self, digest: &str, settings: Value) {
        let path = "/v1/pipelines/main/bindings/gate/0";
        let body = json!({"digest": digest, "settings": settings});
        let refused = self.host.refused(Method::PUT, path, Some(body)).await;
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!("settings_invalid"), &json!("/settings/say")),
            "{refused}"
        );
    }

    /// A new kernel version moves, and a new pull request lands: its number.
    async fn goes_on(&self, name: &str) -> i64 {
        let version = format!("6.1.0-{name}");
        self.host.kernels(DISTRO, &[&version]).await;
        let branch = format!("from-{name}");
        self.merges.clone.branch(&branch, name, "new\n");
        let number = self.merges.open(&branch).await;
        self.merges.approve(number).await;
        wait_for(&format!("{version} moves"), async || {
            let kernel = self
                .host
                .get(&format!("/v1/kernels/{DISTRO}/{version}"))
                .await;
            (kernel["state"] != "seen").then_some(())
        })
        .await;
        self.merges.until(number, "landed").await;
        wait_for("what landed is told", async || {
            let told = self.host.get("/v1/decisions?hook=react&limit=1").await;
            (told["items"].as_array()?.first()?["subject"] == format!("#{number}")).then_some(())
        })
        .await;
        self.merges.idle().await;
        number
    }

    /// The hooks that a version answered here. It could not answer none.
    async fn answered(&self, digest: &str) -> BTreeSet<(String, String)> {
        let made = self.host.get("/v1/decisions?limit=1000").await;
        let made = made["items"].as_array().unwrap().iter();
        made.filter(|decision| decision["digest"] == digest)
            .map(|decision| {
                assert_eq!(decision["outcome"], "answered", "{decision}");
                (
                    text(&decision["pipeline"]).to_owned(),
                    text(&decision["hook"]).to_owned(),
                )
            })
            .collect()
    }
}

/// The hooks of each pipeline.
fn asked_by() -> impl Iterator<Item = (&'static str, &'static str)> {
    let kernels = ["ignore", "advance", "run", "triage"].map(|hook| ("kernels", hook));
    let main = ["review", "gate", "select", "run", "triage", "react"].map(|hook| ("main", hook));
    kernels.into_iter().chain(main)
}

async fn host() -> (TestDatabase, TestHost) {
    let db = TestDatabase::new().await;
    let dir = tempfile::tempdir().unwrap();
    let host = TestHost::with(&db.url, dir, |config| {
        // That of the author's tools: `$XDG_CACHE_HOME/pointsman/plugins`.
        config.plugin_cache = cache().join("pointsman/plugins");
    })
    .await;
    (db, host)
}

#[tokio::test]
async fn a_server_binds_them_and_they_decide() {
    let _turn = TURN.lock().await;
    for version in versions() {
        let (_db, host) = host().await;
        let mut stage = Stage::new(&host).await;
        // One plugin for all hooks, in each language in turn: swapped while the server runs.
        for language in LANGUAGES {
            let digest = stage.upload(&version.join(language), EVERYTHING).await;
            stage.refuses(&digest, json!({"say": 7})).await;
            stage.refuses(&digest, json!({"say": ""})).await;
            for (pipeline, hook) in asked_by() {
                stage
                    .bind(pipeline, hook, &digest, &json!({"say": language}))
                    .await;
            }
            stage.goes_on(language).await;
            let answered = stage.answered(&digest).await;
            for (pipeline, hook) in asked_by() {
                let asked = (pipeline.to_owned(), hook.to_owned());
                assert!(
                    answered.contains(&asked),
                    "{language}: {asked:?} is not in {answered:?}"
                );
            }
        }
        // The stock policies of then, with a job that runs.
        let dir = version.join("rust");
        let job = json!({"argv": ["true"]});
        let jobs = json!({"fetch": job, "build": job, "test": job});
        for (pipeline, hook, name, settings) in [
            ("kernels", "ignore", "ignore-patterns", json!({})),
            ("kernels", "advance", "kernel-ladder", json!({})),
            (
                "kernels",
                "run",
                "job-template",
                json!({"test": "true", "kernel": jobs}),
            ),
            ("kernels", "triage", "exit-code", json!({})),
            ("main", "review", "reviews", json!({})),
            ("main", "gate", "gate-basics", json!({})),
            ("main", "select", "select-batch", json!({})),
            ("main", "run", "job-template", json!({"test": "true"})),
            ("main", "triage", "exit-code", json!({})),
            ("main", "react", "status-comment", json!({})),
        ] {
            let digest = stage.upload(&dir, name).await;
            stage.bind(pipeline, hook, &digest, &settings).await;
        }
        let number = stage.goes_on("stock").await;
        let lane = stage.merges.lane_until(number, "landed").await;
        assert_eq!(lane["jobs"][0]["attempts"][0]["exit_code"], 0, "{lane}");
        for ((_, name), digest) in &stage.uploaded {
            assert!(
                !stage.answered(digest).await.is_empty(),
                "{name} was not asked"
            );
        }
        host.stop().await;
    }
}
