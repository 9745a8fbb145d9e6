//! What the jobs themselves wrote down: a witness beside the record and git.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::Error;

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) commit: String,
    pub(super) job: String,
    pub(super) attempt: String,
    pub(super) tree: String,
    /// Its exit code; none: it was killed before it could say.
    pub(super) code: Option<i32>,
}

/// All runs, and what must not be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) all: Vec<Run>,
    /// Two runs of one job at once, or one attempt that ran twice.
    pub(super) faults: Vec<String>,
}

impl Runs {
    /// Reads what the jobs wrote into this folder so far.
    pub(super) fn read(dir: &Path) -> Result<Runs, Error> {
        let file = dir.join("lines");
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Runs::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Runs::default()),
            Err(error) => Err(Error::failed(format!(
                "cannot read {}: {error}",
                file.display()
            ))),
        }
    }

    fn parse(text: &str) -> Runs {
        let mut runs = Runs::default();
        // The run of each commit and job that has not ended.
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [word, key, attempt, tree, code] = words[..] else {
                runs.faults
                    .push(format!("a job wrote what nobody understands: {line}"));
                continue;
            };
            let (commit, job) = key.split_once('/').unwrap_or((key, ""));
            match word {
                "start" => {
                    if open.insert(key, runs.all.len()).is_some() {
                        runs.faults
                            .push(format!("job {job} of {commit} ran twice at once"));
                    }
                    let twice = runs.all.iter().any(|run| {
                        run.commit == commit && run.job == job && run.attempt == attempt
                    });
                    if twice {
                        let text = format!("attempt {attempt} of job {job} of {commit} ran twice");
                        runs.faults.push(text);
                    }
                    runs.all.push(Run {
                        commit: commit.to_owned(),
                        job: job.to_owned(),
                        attempt: attempt.to_owned(),
                        tree: tree.to_owned(),
                        code: None,
                    });
                }
                "end" => {
                    if let Some(place) = open.remove(key) {
                        runs.all[place].code = code.parse().ok();
                    }
                }
                // Whoever ran before was killed: nothing of it is left.
                "died" => {
                    open.remove(key);
                }
                _ => runs
                    .faults
                    .push(format!("job {job} of {commit} was started while it ran")),
            }
        }
        runs
    }

    /// Whether a job of this commit has started.
    pub(super) fn has(&self, commit: &str) -> bool {
        self.all.iter().any(|run| run.commit == commit)
    }

    /// How many runs passed on exactly this tree.
    pub(super) fn passes(&self, tree: &str) -> usize {
        let passed = |run: &&Run| run.tree == tree && run.code == Some(0);
        self.all.iter().filter(passed).count()
    }
}

/// Names of the jobs that run at this moment: a lock's owner that is gone was killed.
pub(super) fn running(dir: &Path) -> Result<Vec<String>, Error> {
    let locks = dir.join("locks");
    let cannot = |error| Error::failed(format!("cannot read {}: {error}", locks.display()));
    let mut names = vec![];
    for entry in fs::read_dir(&locks).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let owner = fs::read_to_string(entry.path().join("owner")).unwrap_or_default();
        let mut words = owner.split_whitespace();
        if let (Some(pid), Some(since)) = (words.next(), words.next())
            && began(pid).as_deref() == Some(since)
        {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// When a process began, in the kernel's count; none: there is no such process.
fn began(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything, come the fields from the third on; the 22nd is wanted.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_twice_is_seen() {
        let good = "start a/test 1 t1 0\nend a/test 1 t1 0\nstart a/test 2 t1 0\ndied a/test 3 t1 0\nstart a/test 3 t1 0\nend a/test 3 t1 1\n";
        let runs = Runs::parse(good);
        assert_eq!(runs.faults, Vec::<String>::new());
        let codes: Vec<Option<i32>> = runs.all.iter().map(|run| run.code).collect();
        assert_eq!(codes, [Some(0), None, Some(1)]);
        assert_eq!((runs.passes("t1"), runs.passes("t2")), (1, 0));
        assert!(runs.has("a") && !runs.has("b"));
        for bad in [
            "start a/test 1 t1 0\nstart a/test 2 t1 0\n",
            "start a/test 1 t1 0\nend a/test 1 t1 0\nstart a/test 1 t1 0\n",
            "start a/test 1 t1 0\noverlap a/test 2 t1 0\n",
            "what\n",
        ] {
            assert_eq!(Runs::parse(bad).faults.len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_lock_of_nobody_is_no_job() {
        let dir = tempfile::tempdir().unwrap();
        let lock = |name: &str, owner: &str| {
            let lock = dir.path().join("locks").join(name);
            fs::create_dir_all(&lock).unwrap();
            fs::write(lock.join("owner"), owner).unwrap();
        };
        let me = std::process::id().to_string();
        lock("mine", &format!("{me} {}\n", began(&me).unwrap()));
        lock("gone", &format!("{me} 1\n"));
        assert_eq!(running(dir.path()).unwrap(), ["mine"]);
    }
}
