//! What is wrong with settings that fit their type.

use std::collections::{BTreeMap, BTreeSet};

use pointsman_sdk::Problem;

use super::{JobTemplate, Settings};
use crate::template::Template;
use crate::variables;

/// Jobs of one run: the contract's limit.
const MAX_JOBS: usize = 256;

/// Bytes of a job's name: the contract's limit.
const NAME_BYTES: usize = 128;

/// Bytes of a job's arguments in all: the contract's limit of 64 KiB, less what the checkout takes.
const ARGV_BYTES: usize = 60 * 1_024;

/// Programs that read one of their arguments as a script.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish"];

impl Settings {
    /// What is wrong with them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut check = Check {
            settings: self,
            problems: Vec::new(),
        };
        for (index, name) in self.variables.iter().enumerate() {
            let is_word =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
            if name.is_empty() || !name.chars().all(is_word) || name.starts_with("work.") {
                let text = "A variable is a key of the work's attrs, such as `target.repo`.";
                check.refuse(format!("/variables/{index}"), "settings.name", text);
            }
        }
        if self.jobs.is_empty() {
            match self.test.trim().is_empty() {
                true => check.refuse(
                    "/test",
                    "settings.empty",
                    "It is the script that tests: `make check`. Or say what to run in `jobs`.",
                ),
                false => check.script("/test", &self.test),
            }
        }
        for (index, job) in self.jobs.iter().enumerate() {
            check.job(&format!("/jobs/{index}"), job, &self.jobs[..index]);
        }
        for (purpose, job) in &self.kernel {
            check.kernel(purpose, job);
        }
        check.after();
        let jobs = self.jobs.iter().chain(self.kernel.values());
        let count: usize = jobs.map(|job| job.variants.len().max(1)).sum();
        if count > MAX_JOBS {
            let text = format!("These are {count} jobs; a run has at most {MAX_JOBS}.");
            check.refuse("/jobs", "settings.too-many", text);
        }
        check.problems
    }
}

struct Check<'a> {
    settings: &'a Settings,
    problems: Vec<Problem>,
}

/// Where a command is with a shell that it calls, be it the program itself or another's argument: `timeout 60 sh -c`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    /// There was none.
    None,
    /// Its options stand here.
    Options,
    /// Its script does, behind `-c`.
    Script,
    /// What the script is given.
    Arguments,
}

impl Shell {
    /// Whether a value in this argument could become part of a script. Behind a shell a value is a whole argument
    /// or nothing, as scripts join and evaluate what they are given.
    fn takes_as_script(self, argument: &str) -> bool {
        let template = Template::parse(argument);
        let Some(template) = template.filter(|t| t.variables().next().is_some()) else {
            return false;
        };
        match self {
            Self::Script => true,
            Self::Options | Self::Arguments => !template.is_one_variable(),
            // A command in one argument: `env -S 'sh -c ...'`.
            Self::None => {
                argument.contains(char::is_whitespace)
                    && argument
                        .split(|c: char| c.is_whitespace() || "'\"=;|&(".contains(c))
                        .any(is_shell)
            }
        }
    }

    /// Where the next argument stands.
    fn after(self, argument: &str) -> Self {
        let is_option = argument.starts_with('-');
        let is_command = argument == "--command"
            || is_option && !argument.starts_with("--") && argument.contains('c');
        match self {
            Self::None if is_shell(argument) => Self::Options,
            Self::None => Self::None,
            // `env` and its like may call a second one.
            Self::Options if is_command => Self::Script,
            Self::Options => Self::Options,
            Self::Script if is_option => Self::Script,
            Self::Script | Self::Arguments => Self::Arguments,
        }
    }
}

fn is_shell(word: &str) -> bool {
    SHELLS.contains(&word.rsplit('/').next().unwrap_or_default())
}

impl Check<'_> {
    fn refuse(&mut self, field: impl Into<String>, code: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(field, code, text));
    }

    /// The job of a kernel version's runs with this purpose.
    fn kernel(&mut self, purpose: &str, job: &JobTemplate) {
        let base = format!("/kernel/{}", purpose.replace('~', "~0").replace('/', "~1"));
        let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if !matches!(purpose.len(), 1..=32) || !purpose.bytes().all(word) {
            let text = "It is the purpose of a run, such as `fetch`, `build`, `test`: [a-z0-9-], at most 32 characters.";
            self.refuse(&base, "settings.name", text);
            return;
        }
        for (field, is_set) in [
            ("kinds", !job.kinds.is_empty()),
            ("purposes", !job.purposes.is_empty()),
            ("after", !job.after.is_empty()),
        ] {
            if is_set {
                let text = "A job here is for kernels and its own purpose, and alone: for several use `jobs` with `kinds` and `purposes`.";
                self.refuse(format!("{base}/{field}"), "settings.unused", text);
            }
        }
        let named = super::for_kernel(purpose, job);
        let beside: Vec<JobTemplate> = self
            .settings
            .jobs
            .iter()
            .filter(|other| other.kinds.iter().any(|kind| kind == super::KERNEL))
            .cloned()
            .collect();
        self.job(&base, &named, &beside);
    }

    /// One job, the setting that it stands in, and those that it must not have the name of.
    fn job(&mut self, base: &str, job: &JobTemplate, others: &[JobTemplate]) {
        let at = |field: &str| format!("{base}/{field}");
        self.name(at("name"), &job.name);
        if others.iter().any(|other| other.name == job.name) {
            self.refuse(
                at("name"),
                "settings.twice",
                format!("`{}` is another job's name.", job.name),
            );
        }
        match (job.argv.is_empty(), job.script.trim().is_empty()) {
            (true, true) => self.refuse(
                at("argv"),
                "settings.empty",
                "A job has `argv` or `script`.",
            ),
            (false, false) => self.refuse(
                at("script"),
                "settings.both",
                "A job has either `argv` or `script`.",
            ),
            (false, true) => self.argv(&at("argv"), &job.argv),
            (true, false) => self.script(&at("script"), &job.script),
        }
        if !job.shell.is_empty() && job.script.is_empty() {
            self.refuse(at("shell"), "settings.unused", "A shell is for a `script`.");
        }
        let bytes: usize = job
            .argv
            .iter()
            .chain(&job.shell)
            .map(String::len)
            .sum::<usize>()
            + job.script.len();
        if bytes > ARGV_BYTES {
            let text = format!(
                "A command has at most {ARGV_BYTES} bytes: put a longer script into the repository."
            );
            self.refuse(at("script"), "settings.too-long", text);
        }
        self.template(&at("image"), &job.image);
        self.env(&at("env"), &job.env);
        self.attrs(&at("attrs"), &job.attrs);
        for (place, variant) in job.variants.iter().enumerate() {
            let at = |field: &str| format!("{base}/variants/{place}/{field}");
            self.name(at("name"), &variant.name);
            if job.name.len() + 1 + variant.name.len() > NAME_BYTES {
                let text = format!("With its job's name it has at most {NAME_BYTES} bytes.");
                self.refuse(at("name"), "settings.too-long", text);
            }
            if job.variants[..place]
                .iter()
                .any(|other| other.name == variant.name)
            {
                self.refuse(
                    at("name"),
                    "settings.twice",
                    format!("`{}` is another variant's name.", variant.name),
                );
            }
            self.env(&at("env"), &variant.env);
            self.attrs(&at("attrs"), &variant.attrs);
            if let Some(image) = &variant.image {
                self.template(&at("image"), image);
            }
        }
    }

    fn name(&mut self, field: String, name: &str) {
        if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
            let text = format!("A name has 1 to {NAME_BYTES} bytes and no control characters.");
            self.refuse(field, "settings.name", text);
        }
    }

    /// A text in which variables stand.
    fn template(&mut self, field: &str, text: &str) {
        let Some(template) = Template::parse(text) else {
            let text = "A `${` is not closed; for a plain one write `$${`.";
            return self.refuse(field, "template.open", text);
        };
        for name in template.variables() {
            if !variables::is_known(name, &self.settings.variables) {
                let known = variables::known_ones(&self.settings.variables);
                let text = format!(
                    "`{name}` is no variable. {known} Others that this pipeline's work has are named in `variables`."
                );
                self.refuse(field, "variable.unknown", text);
            }
        }
    }

    fn argv(&mut self, field: &str, argv: &[String]) {
        let mut shell = Shell::None;
        for (index, argument) in argv.iter().enumerate() {
            let field = format!("{field}/{index}");
            self.template(&field, argument);
            if shell.takes_as_script(argument) {
                let text = "A value would become part of a script here, and could do anything. Use `script`, which finds it in its environment: `\"$POINTSMAN_WORK_COMMIT\"`; or give it to a shell's script as an argument of its own, `${work.commit}`, after the script.";
                self.refuse(field, "template.shell", text);
            }
            shell = shell.after(argument);
        }
        if argv[0].is_empty() {
            self.refuse(
                format!("{field}/0"),
                "settings.empty",
                "It is the program that runs.",
            );
        }
    }

    /// A script is never filled in; what it reads of its environment can be checked.
    fn script(&mut self, field: &str, script: &str) {
        for (at, _) in script.match_indices("${") {
            let name = script[at + 2..].split('}').next().unwrap_or_default();
            if name.contains('.')
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
            {
                let text = format!(
                    "In a script the value is in the environment: `${}`.",
                    variables::env_name(name)
                );
                self.refuse(field, "template.script", text);
            }
        }
        let added = &self.settings.variables;
        for read in variables::read_by(script) {
            if variables::is_ours(&read.name, added) && !variables::is_known_env(&read.name, added)
            {
                let known = variables::known_ones(added);
                let text = format!(
                    "`{}` is no variable. {known} In the environment `work.commit` is `POINTSMAN_WORK_COMMIT`.",
                    read.name
                );
                self.refuse(field, "variable.unknown", text);
            }
        }
    }

    fn env(&mut self, field: &str, env: &BTreeMap<String, String>) {
        for (name, value) in env {
            let field = format!("{field}/{}", name.replace('~', "~0").replace('/', "~1"));
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty()
                || !name.chars().all(is_word)
                || name.starts_with(|c: char| c.is_ascii_digit())
            {
                self.refuse(
                    &field,
                    "settings.name",
                    "It has letters, digits and `_`, and begins with no digit.",
                );
            }
            if name.starts_with(variables::PREFIX) {
                let text = format!(
                    "Names with `{}` are given by the policy and the backend.",
                    variables::PREFIX
                );
                self.refuse(&field, "settings.reserved", text);
            }
            self.template(&field, value);
        }
    }

    fn attrs(&mut self, field: &str, attrs: &BTreeMap<String, String>) {
        for (key, value) in attrs {
            let wrong = match key.as_str() {
                "cpu" => (!value
                    .parse::<f64>()
                    .is_ok_and(|cores| cores.is_finite() && cores > 0.0))
                .then_some("It is a number of cores, such as `2`."),
                "memory" => (!value.parse::<u64>().is_ok_and(|bytes| bytes > 0))
                    .then_some("It is a number of bytes."),
                "reuse" => (value != "never").then_some("It is `never`, or left out."),
                "engine" | "group" => value.is_empty().then_some("It has a name."),
                "x-junit" | "x-template" => Some("It is the policy's own."),
                own if own.starts_with("x-") => None,
                _ => Some(
                    "Known are `cpu`, `memory`, `engine`, `group`, `reuse`, and keys that begin with `x-`.",
                ),
            };
            if let Some(text) = wrong {
                let key = key.replace('~', "~0").replace('/', "~1");
                self.refuse(format!("{field}/{key}"), "settings.attr", text);
            }
        }
    }

    /// The order of jobs: each name is there, and none comes, over others, after itself.
    fn after(&mut self) {
        let jobs = &self.settings.jobs;
        let find = |name: &str| jobs.iter().position(|job| job.name == name);
        for (index, job) in jobs.iter().enumerate() {
            for (place, name) in job.after.iter().enumerate() {
                if find(name).is_none() {
                    let text = format!("`{name}` is no job here. Name a job without its variants.");
                    self.refuse(
                        format!("/jobs/{index}/after/{place}"),
                        "settings.unknown",
                        text,
                    );
                }
            }
            let mut seen = BTreeSet::new();
            let mut open: Vec<usize> = job.after.iter().filter_map(|name| find(name)).collect();
            while let Some(next) = open.pop() {
                if seen.insert(next) {
                    open.extend(jobs[next].after.iter().filter_map(|name| find(name)));
                }
            }
            if seen.contains(&index) {
                let text = format!("`{}` would wait for itself.", job.name);
                self.refuse(format!("/jobs/{index}/after"), "settings.cycle", text);
            }
        }
    }
}
