//! Real attempts under the real shim, in a folder of their own. Waits are for the bell.
#![allow(clippy::unwrap_used, reason = "a test may end where it cannot go on")]
#![allow(dead_code, reason = "each test file uses what it needs")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pointsman_jobs::{AttemptId, Bell, Exit, Local, Outcome, Spec, State, User, unix_ms};

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_pointsman-shim");
/// Longer than any test.
pub(crate) const LONG_MS: u64 = 600_000;

pub(crate) struct Bench {
    pub(crate) local: Local,
    pub(crate) bell: Bell,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Jobs of other users have to come through.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let local = Local::new(folder.path().join("jobs"), SHIM).unwrap();
        let bell = local.bell().unwrap();
        Self {
            local,
            bell,
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The attempt's folder, as a hostile job would find it.
    pub(crate) fn attempt(&self, id: &AttemptId) -> std::path::PathBuf {
        self.folder.path().join("jobs/attempts").join(id.as_str())
    }

    pub(crate) async fn start(&self, name: &str, spec: &Spec) -> AttemptId {
        let id = id(name);
        self.local.start(&id, spec).await.unwrap();
        id
    }

    /// Until it has ended, or is lost.
    pub(crate) async fn end(&self, id: &AttemptId) -> State {
        loop {
            let state = self.local.state(id).await.unwrap();
            if matches!(state, State::Ended(_) | State::Lost | State::Unknown) {
                return state;
            }
            self.bell.next().await.unwrap();
        }
    }

    pub(crate) async fn exit(&self, id: &AttemptId) -> Exit {
        match self.end(id).await {
            State::Ended(exit) => exit,
            other => panic!("{id} is {other:?}"),
        }
    }

    pub(crate) async fn run(&self, name: &str, spec: &Spec) -> (AttemptId, Exit) {
        let id = self.start(name, spec).await;
        let exit = self.exit(&id).await;
        (id, exit)
    }

    /// Runs a line of shell and gives its outcome and what it said.
    pub(crate) async fn sh(&self, name: &str, script: &str) -> (Outcome, String) {
        let (id, exit) = self.run(name, &sh(script)).await;
        (exit.outcome, self.log(&id).await)
    }

    pub(crate) async fn log(&self, id: &AttemptId) -> String {
        let mut text = Vec::new();
        let mut from = 0;
        loop {
            let part = self.local.read_log(id, from, 4096).await.unwrap();
            text.extend(part.bytes);
            from = part.next;
            if part.ended {
                return String::from_utf8_lossy(&text).into_owned();
            }
        }
    }

    /// Until the output has this in it.
    pub(crate) async fn until_said(&self, id: &AttemptId, what: &str) -> String {
        loop {
            let part = self.local.read_log(id, 0, 1 << 20).await.unwrap();
            let text = String::from_utf8_lossy(&part.bytes).into_owned();
            if text.contains(what) {
                return text;
            }
            assert!(!part.ended, "it ended without saying {what:?}: {text:?}");
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn id(name: &str) -> AttemptId {
    AttemptId::new(name).unwrap()
}

pub(crate) fn sh(script: &str) -> Spec {
    argv(&["/bin/sh", "-c", script])
}

pub(crate) fn argv(words: &[&str]) -> Spec {
    let command = words.iter().map(|word| (*word).to_owned()).collect();
    let mut spec = Spec::new(command, unix_ms() + LONG_MS);
    spec.timeout_ms = LONG_MS;
    spec
}

/// Another user than ours, where we may have one. The numbers belong to nobody.
pub(crate) fn other_user(number: u32) -> Option<User> {
    let user = User {
        uid: 61_000 + number,
        gid: 61_000 + number,
    };
    rustix::process::geteuid().is_root().then_some(user)
}

/// Processes that were started by the attempts below a folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<i32> {
    let marker = format!("POINTSMAN_WORK={}/", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let is_marked = environ
            .split(|byte| *byte == 0)
            .any(|variable| variable.starts_with(marker.as_bytes()));
        if is_marked {
            found.extend(entry.file_name().to_string_lossy().parse::<i32>());
        }
    }
    found
}
