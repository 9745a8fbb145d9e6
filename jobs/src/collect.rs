//! What a job left behind, read with distrust and within bounds. Nothing in the job's folder can make
//! this fail; it can only make for a problem in the report.

mod globs;
mod outputs;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType};
use serde::{Deserialize, Serialize};

pub(crate) use globs::Globs;

use crate::folder::Folder;
use crate::junit::{self, Tests};
use crate::limits::{
    MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, MAX_ARTIFACTS_BYTES, MAX_DEPTH, MAX_ENTRIES,
    MAX_JUNIT_BYTES, MAX_JUNIT_FILES, MAX_JUNIT_TOTAL_BYTES, MAX_PROBLEMS,
};
use crate::{Error, Spec, beneath};

/// What an ended attempt left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the job wrote into the file that `POINTSMAN_OUTPUTS` names, as `key=value` lines; of a key
    /// that comes twice the last value.
    pub outputs: BTreeMap<String, String>,
    /// What its JUnit files say.
    pub tests: Tests,
    /// Files that match [`Spec::artifacts`], sorted by path.
    pub artifacts: Vec<Artifact>,
    /// What is missing above, and why.
    pub problems: Vec<Problem>,
}

/// A file to keep; [`crate::Local::open_artifact`] opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to the job's folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// Something of the job's that is not in the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable code for programs: `bad-outputs`, `bad-junit`, `not-kept`, `too-many`, `too-large`, `more`.
    pub code: String,
    /// The path that it is about, if it is about one; relative to the job's folder.
    pub path: Option<String>,
    /// For people.
    pub text: String,
}

impl Report {
    fn problem(&mut self, code: &str, path: Option<&str>, text: impl Into<String>) {
        let (code, text) = match self.problems.len() {
            count if count < MAX_PROBLEMS - 1 => (code, text.into()),
            count if count == MAX_PROBLEMS - 1 => ("more", "there are more problems".to_owned()),
            _ => return,
        };
        self.problems.push(Problem {
            code: code.to_owned(),
            path: path.map(str::to_owned),
            text,
        });
    }
}

/// Whose the job's files have to be: under the host's own user the job could read whatever the host can,
/// so there is nothing to guard.
pub(crate) fn owner(spec: &Spec) -> Option<u32> {
    spec.user.map(|user| user.uid)
}

/// Reads it all.
pub(crate) fn collect(folder: &Folder, spec: &Spec) -> Result<Report, Error> {
    let mut report = Report::default();
    let owner = owner(spec);
    let at = beneath::root(&folder.0).map_err(Error::io("opened", &folder.0))?;
    match beneath::file(&at, "outputs", owner) {
        Ok(file) => outputs::read(file, &mut report),
        Err(refusal) => report.problem("bad-outputs", None, refusal.to_string()),
    }
    let mut walk = Walk {
        artifacts: Globs::new("artifacts", &spec.artifacts)?,
        junit: Globs::new("junit", &spec.junit)?,
        owner,
        entries: 0,
        artifact_bytes: 0,
        junit_files: 0,
        junit_bytes: 0,
        report: &mut report,
    };
    if !walk.artifacts.is_empty() || !walk.junit.is_empty() {
        let work = folder.path("work");
        let root = beneath::root(&work).map_err(Error::io("opened", work))?;
        walk.directory(&root, "", 0);
    }
    report.tests.settle();
    Ok(report)
}

struct Walk<'a> {
    artifacts: Globs,
    junit: Globs,
    owner: Option<u32>,
    entries: usize,
    artifact_bytes: u64,
    junit_files: usize,
    junit_bytes: u64,
    report: &'a mut Report,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &OwnedFd, path: &str, depth: usize) {
        let mut names = Vec::new();
        let entries = match Dir::read_from(directory) {
            Ok(entries) => entries,
            Err(error) => {
                return self
                    .report
                    .problem("not-kept", Some(path), error.to_string());
            }
        };
        for entry in entries.flatten() {
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                let text = format!("only the first {MAX_ENTRIES} entries were looked at");
                return self.report.problem("too-many", Some(path), text);
            }
            if let Ok(name) = entry.file_name().to_str() {
                names.push((name.to_owned(), entry.file_type()));
            }
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, kind) in names {
            let path = match path {
                "" => name.clone(),
                _ => format!("{path}/{name}"),
            };
            let is_directory = match kind {
                FileType::Unknown => {
                    rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(
                        |stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
                    )
                }
                other => other == FileType::Directory,
            };
            if is_directory {
                self.enter(directory, &name, &path, depth);
            } else {
                self.file(directory, &name, &path);
            }
        }
    }

    fn enter(&mut self, parent: &OwnedFd, name: &str, path: &str, depth: usize) {
        if !self.artifacts.may_be_below(path) && !self.junit.may_be_below(path) {
            return;
        }
        if depth >= MAX_DEPTH {
            let text = format!("only {MAX_DEPTH} directories within one another are entered");
            return self.report.problem("not-kept", Some(path), text);
        }
        match beneath::directory(parent, name) {
            Ok(directory) => self.directory(&directory, path, depth + 1),
            Err(refusal) => self
                .report
                .problem("not-kept", Some(path), refusal.to_string()),
        }
    }

    fn file(&mut self, directory: &OwnedFd, name: &str, path: &str) {
        let is_artifact = self.artifacts.matches(path);
        let is_junit = self.junit.matches(path);
        if !is_artifact && !is_junit {
            return;
        }
        let file = match beneath::file(directory, name, self.owner) {
            Ok(file) => file,
            Err(refusal) => {
                return self
                    .report
                    .problem("not-kept", Some(path), refusal.to_string());
            }
        };
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        if is_artifact {
            self.artifact(path, bytes);
        }
        if is_junit {
            self.junit(file, path, bytes);
        }
    }

    fn artifact(&mut self, path: &str, bytes: u64) {
        if bytes > MAX_ARTIFACT_BYTES {
            let text = format!("it has {bytes} bytes, at most {MAX_ARTIFACT_BYTES} are kept");
            return self.report.problem("too-large", Some(path), text);
        }
        if self.report.artifacts.len() >= MAX_ARTIFACTS {
            let text = format!("only the first {MAX_ARTIFACTS} artifacts are kept");
            return self.report.problem("too-many", Some(path), text);
        }
        if self.artifact_bytes + bytes > MAX_ARTIFACTS_BYTES {
            let text = format!("with it the artifacts have over {MAX_ARTIFACTS_BYTES} bytes");
            return self.report.problem("too-large", Some(path), text);
        }
        self.artifact_bytes += bytes;
        self.report.artifacts.push(Artifact {
            path: path.to_owned(),
            bytes,
        });
    }

    fn junit(&mut self, file: std::fs::File, path: &str, bytes: u64) {
        if self.junit_files >= MAX_JUNIT_FILES {
            let text = format!("only the first {MAX_JUNIT_FILES} JUnit files are read");
            return self.report.problem("too-many", Some(path), text);
        }
        if bytes > MAX_JUNIT_BYTES || self.junit_bytes + bytes > MAX_JUNIT_TOTAL_BYTES {
            let text = format!(
                "it has {bytes} bytes; {MAX_JUNIT_BYTES} a JUnit file are read, and {MAX_JUNIT_TOTAL_BYTES} in all"
            );
            return self.report.problem("too-large", Some(path), text);
        }
        self.junit_files += 1;
        let mut text = Vec::new();
        // Bounded again: a file that somebody else still has open can grow.
        if let Err(error) = file.take(MAX_JUNIT_BYTES).read_to_end(&mut text) {
            return self
                .report
                .problem("bad-junit", Some(path), error.to_string());
        }
        self.junit_bytes += text.len() as u64;
        if let Err(why) = junit::parse(&text, &mut self.report.tests) {
            self.report.problem("bad-junit", Some(path), why);
        }
    }
}
