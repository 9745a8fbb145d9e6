//! A forge in a folder of its own, and clones to push from.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pointsman_forge::{
    Branch, Built, Forge, Identity, Member, MergePlan, Method, Oid, RepoName, Repository,
};
use tempfile::TempDir;

pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) forge: Forge,
}

/// A clone with a work tree, as a person has one.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        // The name has what would have to be quoted.
        let forge = Forge::new(folder.path().join("a \"forge\": ours"));
        Self { folder, forge }
    }

    pub(crate) async fn repository(&self, name: &str) -> Repository {
        let name: RepoName = name.parse().unwrap();
        self.forge.create(&name, &branch("main")).await.unwrap();
        self.forge.open(&name).await.unwrap()
    }

    /// A repository with one commit on `main`, and a clone of it.
    pub(crate) async fn begun(&self) -> (Repository, Work) {
        let repository = self.repository("core").await;
        let work = self.clone_of(&repository, "work");
        work.write("README", "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
        work.commit("begin");
        work.push("main");
        (repository, work)
    }

    pub(crate) fn clone_of(&self, repository: &Repository, name: &str) -> Work {
        let path = self.folder.path().join(name);
        let work = Work { path };
        fs::create_dir(&work.path).unwrap();
        work.git(["init", "--quiet", "--initial-branch=main"]);
        let url = repository.path().as_os_str();
        work.git([OsStr::new("remote"), "add".as_ref(), "origin".as_ref(), url]);
        work
    }
}

impl Work {
    pub(crate) fn try_git(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        Command::new("git")
            .args(args)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@example.org")
            .output()
            .unwrap()
    }

    /// Runs git, which must succeed, and gives what it wrote.
    pub(crate) fn git(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let output = self.try_git(args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) -> Oid {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "-m", message]);
        self.oid("HEAD")
    }

    pub(crate) fn oid(&self, revision: &str) -> Oid {
        self.git(["rev-parse", revision]).parse().unwrap()
    }

    /// A branch off another one, with one commit that writes a file, pushed.
    pub(crate) fn change(&self, name: &str, off: &str, path: &str, text: &str) -> Oid {
        self.git(["checkout", "--quiet", "-B", name, off]);
        self.write(path, text);
        let oid = self.commit(name);
        self.push(name);
        oid
    }

    pub(crate) fn push(&self, name: &str) {
        let refspec = format!("HEAD:refs/heads/{name}");
        self.git(["push", "--quiet", "origin", refspec.as_str()]);
    }

    pub(crate) fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }
}

pub(crate) fn branch(name: &str) -> Branch {
    name.parse().unwrap()
}

pub(crate) fn plan(base: Oid, heads: &[Oid]) -> MergePlan {
    plan_by(base, heads, Method::Merge)
}

pub(crate) fn plan_by(base: Oid, heads: &[Oid], method: Method) -> MergePlan {
    MergePlan {
        base,
        members: heads
            .iter()
            .map(|head| Member {
                head: *head,
                message: format!("Merge {head}\n\nTested as one.\n"),
                method,
            })
            .collect(),
        identity: Identity {
            name: "Pointsman".to_owned(),
            email: "pointsman@example.org".to_owned(),
        },
        at: 1_700_000_000,
    }
}

/// The commit and the tree of a lane that must have been built.
pub(crate) fn lane(built: &Built) -> (Oid, Oid) {
    match built {
        Built::Lane { commit, tree, .. } => (*commit, *tree),
        other => panic!("no lane: {other:?}"),
    }
}
