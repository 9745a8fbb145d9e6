//! The local forge as people use it: a clone with a work tree, pushes, and a merge pipeline with policies.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, TestHost, text, wait_for};

/// A clone of a repository of the forge.
pub struct Clone {
    dir: TempDir,
    /// What it pushes to.
    pub place: PathBuf,
}

impl Clone {
    /// Of a repository, with a first commit on `main`.
    pub fn begin(place: &Path) -> Self {
        let clone = Self {
            dir: tempfile::tempdir().expect("a directory"),
            place: place.to_owned(),
        };
        clone.git(&["init", "-q", "-b", "main"]);
        clone.git(&["remote", "add", "origin", &place.display().to_string()]);
        clone.write("README", "first\n");
        clone.commit("First");
        clone.push("main");
        clone
    }

    /// Runs git; expects success, and gives what it printed.
    pub fn git(&self, args: &[&str]) -> String {
        let (ok, output) = self.try_git(args);
        assert!(ok, "git {args:?}: {output}");
        output
    }

    /// Runs git.
    pub fn try_git(&self, args: &[&str]) -> (bool, String) {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Ann",
                "-c",
                "user.email=ann@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .current_dir(self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git");
        let all = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&all).trim().to_owned(),
        )
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    /// Commits everything; gives the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes a branch, by force if need be.
    pub fn push(&self, branch: &str) {
        self.git(&["push", "-q", "-f", "origin", branch]);
    }

    /// A branch off the target's present tip with one file, pushed; gives its head.
    pub fn branch(&self, name: &str, path: &str, content: &str) -> String {
        self.git(&["fetch", "-q", "origin"]);
        self.git(&["checkout", "-q", "-B", name, "origin/main"]);
        self.write(path, content);
        let head = self.commit(name);
        self.push(name);
        head
    }

    /// What a branch of the forge points at.
    pub fn tip(&self, branch: &str) -> String {
        self.git(&["fetch", "-q", "origin"]);
        self.git(&["rev-parse", &format!("origin/{branch}")])
    }
}

/// A repository `lib` with a merge pipeline `main` on its branch of that name.
pub struct Site<'h> {
    host: &'h TestHost,
    /// A clone.
    pub clone: Clone,
}

impl<'h> Site<'h> {
    /// Makes it; nothing is bound.
    pub async fn new(host: &'h TestHost) -> Self {
        host.post("/v1/repositories", json!({"name": "lib"})).await;
        let place = host.get("/v1/repositories").await["items"][0]["place"].clone();
        let clone = Clone::begin(Path::new(text(&place)));
        host.post(
            "/v1/pipelines",
            json!({"name": "main", "repository": "lib"}),
        )
        .await;
        Self { host, clone }
    }

    /// One that is there already, as another host has it.
    pub fn of(host: &'h TestHost, clone: Clone) -> Self {
        Self { host, clone }
    }

    /// The host.
    pub fn host(&self) -> &'h TestHost {
        self.host
    }

    /// Binds a stock policy to a hook.
    pub async fn bind(&self, hook: &str, plugin: &str, settings: Value) {
        let digest = self.host.upload(plugin).await;
        self.bind_digest(hook, &digest, settings).await;
    }

    /// Binds a plugin version to a hook.
    pub async fn bind_digest(&self, hook: &str, digest: &str, settings: Value) {
        let path = format!("/v1/pipelines/main/bindings/{hook}/0");
        let body = json!({"digest": digest, "settings": settings});
        self.host.send(Method::PUT, &path, body).await;
    }

    /// Binds stock policies: reviews, gate, the oldest first, jobs that run `test`, exit codes.
    pub async fn stock(&self, test: &str) {
        self.bind("review", "reviews", json!({})).await;
        self.bind("gate", "gate-basics", json!({})).await;
        self.bind("select", "select-oldest", json!({})).await;
        self.bind("run", "job-template", json!({"test": test}))
            .await;
        self.bind("triage", "exit-code", json!({})).await;
    }

    /// Opens a pull request of a branch; gives its number.
    pub async fn open(&self, branch: &str) -> i64 {
        let body = json!({"title": format!("Land {branch}"), "branch": branch,
            "author": {"name": "ann", "permission": "write"}});
        let pull = self.host.post("/v1/repositories/lib/pulls", body).await;
        pull["number"].as_i64().expect("a number")
    }

    /// Somebody else approves.
    pub async fn approve(&self, number: i64) {
        self.review(number, "approved").await;
    }

    /// Somebody else reviews.
    pub async fn review(&self, number: i64, state: &str) {
        let body = json!({"state": state, "by": {"name": "bo", "permission": "write"}});
        self.host
            .post(
                &format!("/v1/repositories/lib/pulls/{number}/reviews"),
                body,
            )
            .await;
    }

    /// One pull request.
    pub async fn pull(&self, number: i64) -> Value {
        self.host
            .get(&format!("/v1/repositories/lib/pulls/{number}"))
            .await
    }

    /// The lanes, the newest first.
    pub async fn lanes(&self) -> Vec<Value> {
        let page = self.host.get("/v1/pipelines/main/lanes?limit=1000").await;
        page["items"].as_array().expect("lanes").clone()
    }

    /// Waits until a pull request is in this state; where it does not come to that, the test fails with why.
    pub async fn until(&self, number: i64, state: &str) -> Value {
        let what = format!("#{number} is {state}");
        let state_comes = wait_for(&what, async || {
            let pull = self.pull(number).await;
            (pull["state"] == state).then_some(pull)
        });
        match tokio::time::timeout(PATIENCE / 2, state_comes).await {
            Ok(pull) => pull,
            Err(_) => {
                let why = self
                    .host
                    .get(&format!("/v1/repositories/lib/pulls/{number}/why"))
                    .await;
                let lanes = self.lanes().await;
                panic!("#{number} is not {state}: {why:#}\n{lanes:#?}");
            }
        }
    }

    /// Waits until a lane of this pull request is in this state; gives the newest such lane, with its jobs.
    pub async fn lane_until(&self, number: i64, state: &str) -> Value {
        let id = wait_for(&format!("a lane of #{number} is {state}"), async || {
            let path = format!("/v1/pipelines/main/lanes?number={number}&state={state}");
            self.host.get(&path).await["items"][0]["id"].as_i64()
        })
        .await;
        self.host.get(&format!("/v1/lanes/{id}")).await
    }

    /// Waits until there is nothing left to do.
    pub async fn idle(&self) {
        wait_for("the pipeline is idle", async || {
            let pipeline = self.host.get("/v1/pipelines/main").await;
            let living = self.host.get("/v1/pipelines/main/lanes?living=true").await;
            let runs = living["items"]
                .as_array()
                .expect("lanes")
                .iter()
                .any(|lane| {
                    matches!(
                        text(&lane["state"]),
                        "building" | "built" | "running" | "landing"
                    ) && lane["held"].is_null()
                });
            (pipeline["idle"] == true && !runs).then_some(())
        })
        .await;
    }

    /// Every commit that the branch pointed at was tested, but the first; and the branch is where the last
    /// of them is.
    pub async fn proof(&self) {
        let tips = self.host.get("/v1/pipelines/main/tips?limit=1000").await;
        let tips = tips["items"].as_array().expect("tips").clone();
        assert_eq!(text(&tips[0]["commit"]), self.clone.tip("main"));
        for tip in &tips {
            assert!(
                tip["how"] != "landed" || tip["tested"] == true,
                "landed untested: {tip}"
            );
        }
        // Each commit's tree is what the record says.
        for tip in &tips {
            let tree = self
                .clone
                .git(&["rev-parse", &format!("{}^{{tree}}", text(&tip["commit"]))]);
            assert_eq!(tree, text(&tip["tree"]));
        }
    }
}
