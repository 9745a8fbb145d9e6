//! What people set.

mod check;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which jobs there are. `{}` is one job, `test`, that runs `.ci/run` in a checkout of the commit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The script of the one job, `test`, that there is where `jobs` is empty.
    pub test: String,
    /// The jobs.
    pub jobs: Vec<JobTemplate>,
    /// Commits of history that a checkout has; 0: all.
    pub depth: u32,
    /// More variables that this pipeline's work has, beside those that are known.
    pub variables: Vec<String>,
}

/// One job, or one for each of its variants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JobTemplate {
    /// Its name, the same from run to run.
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
    /// What it has: `kvm`.
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
    /// The image that it runs in, where the backend runs images; a template.
    #[serde(default)]
    pub image: String,
    /// The job backend; empty: the pipeline's default.
    #[serde(default)]
    pub backend: String,
    /// `cpu`, `memory`, `engine`, `group`, `reuse` = `never`, and `x-` keys.
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
            depth: 1,
            variables: Vec::new(),
        }
    }
}

impl Settings {
    /// The jobs, the one that `test` stands for included.
    pub(crate) fn jobs(&self) -> Vec<JobTemplate> {
        if !self.jobs.is_empty() {
            return self.jobs.clone();
        }
        vec![JobTemplate {
            name: "test".to_owned(),
            script: self.test.clone(),
            ..JobTemplate::default()
        }]
    }
}
