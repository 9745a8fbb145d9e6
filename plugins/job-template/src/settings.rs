//! What people set.

mod check;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of work that a kernel version's run is.
pub(crate) const KERNEL: &str = "kernel";
/// The kinds that there are beside it.
const OTHER_KINDS: [&str; 3] = ["head", "lane", "branch"];

/// Which jobs there are. `{}` is one job, `test`, that runs `.ci/run` in a checkout of the commit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The script of the one job, `test`, that there is where `jobs` is empty.
    pub test: String,
    /// The jobs.
    pub jobs: Vec<JobTemplate>,
    /// Jobs of kernel versions by the purpose of their runs, such as `fetch`, `build`, `test`: one for each, named
    /// like its purpose unless it has a name. With these, `test` and those `jobs` that name no `kinds` are not
    /// for kernels, and a run with another purpose is left to the next binding, or to somebody outside.
    pub kernel: BTreeMap<String, JobTemplate>,
    /// Commits of history that a checkout has; 0: all.
    pub depth: u32,
    /// More variables that this pipeline's work has, beside those that are known.
    pub variables: Vec<String>,
}

/// One job, or one for each of its variants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JobTemplate {
    /// Its name, the same from run to run. In `kernel` it may be left out.
    #[serde(default)]
    pub name: String,
    /// Program and arguments, in which `${work.commit}` stands for a variable's value. Either this or
    /// `script`.
    #[serde(default)]
    pub argv: Vec<String>,
    /// A script. It finds variables in its environment: `$POINTSMAN_WORK_COMMIT`.
    #[serde(default)]
    pub script: String,
    /// What runs the script: program and arguments, to which the script is added. Without it
    /// `sh -e -c`.
    #[serde(default)]
    pub shell: Vec<String>,
    /// Whether its folder is a checkout of the commit. Without it: where there is a commit.
    #[serde(default)]
    pub checkout: Option<bool>,
    /// Its environment; values are templates, as arguments are.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of secrets of the pipeline.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Wall clock; 0: the pipeline's default.
    #[serde(default)]
    pub timeout_secs: u64,
    /// Whether the run passes only if it does.
    #[serde(default)]
    pub weight: Weight,
    /// Jobs that must have passed before it starts, in all their variants.
    #[serde(default)]
    pub after: Vec<String>,
    /// What it has: `kvm`. Told to `triage`; the host looks for no machine that has it.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// One job for each, named `job/variant`.
    #[serde(default)]
    pub variants: Vec<Variant>,
    /// Paths that are kept, relative to its folder.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Paths of reports of tests, which are kept too. With these a run in which no test ran is no pass.
    #[serde(default)]
    pub junit: Vec<String>,
    /// Path prefixes that its result depends on; none: the whole tree.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// The image that it runs in, where the backend runs images; a template. The backend `local`, the only one
    /// there is today, runs programs: the host refuses a job with an image.
    #[serde(default)]
    pub image: String,
    /// The job backend; empty: the pipeline's default. `local` is the only one today, any other is refused by
    /// the host.
    #[serde(default)]
    pub backend: String,
    /// `memory` (bytes, a limit of each process), `reuse` = `never`, and `x-` keys. `cpu`, `engine` and `group`
    /// are kept with the job and shown, but not honoured by the host yet: jobs share the machine, wherever the
    /// host runs, and two of one group run at once.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    /// Kinds of work that it is for (`head`, `lane`, `branch`, `kernel`); none: all.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Purposes that it is for (`merge`, `try`, `build`); none: all.
    #[serde(default)]
    pub purposes: Vec<String>,
}

/// A job once more, with something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Variant {
    /// Added to the job's name: `+pyarrow`.
    pub name: String,
    /// Over the job's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Beside the job's.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Beside the job's.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// In place of the job's.
    #[serde(default)]
    pub image: Option<String>,
    /// In place of the job's.
    #[serde(default)]
    pub weight: Option<Weight>,
    /// Over the job's.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
}

/// Whether the run passes only if the job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// It does.
    #[default]
    Required,
    /// It is reported, and decides nothing.
    Informative,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            test: "exec ./.ci/run".to_owned(),
            jobs: Vec::new(),
            kernel: BTreeMap::new(),
            depth: 1,
            variables: Vec::new(),
        }
    }
}

impl Settings {
    /// The jobs, the one that `test` stands for and those of kernels included.
    pub(crate) fn jobs(&self) -> Vec<JobTemplate> {
        let mut jobs = match self.jobs.as_slice() {
            [] => vec![JobTemplate {
                name: "test".to_owned(),
                script: self.test.clone(),
                ..JobTemplate::default()
            }],
            jobs => jobs.to_vec(),
        };
        if self.kernel.is_empty() {
            return jobs;
        }
        for job in jobs.iter_mut().filter(|job| job.kinds.is_empty()) {
            job.kinds = OTHER_KINDS.map(str::to_owned).to_vec();
        }
        jobs.extend(
            self.kernel
                .iter()
                .map(|(purpose, job)| for_kernel(purpose, job)),
        );
        jobs
    }
}

/// A job of `kernel`, as one of `jobs` would be written.
fn for_kernel(purpose: &str, job: &JobTemplate) -> JobTemplate {
    let mut job = job.clone();
    if job.name.is_empty() {
        purpose.clone_into(&mut job.name);
    }
    job.kinds = vec![KERNEL.to_owned()];
    job.purposes = vec![purpose.to_owned()];
    job
}
