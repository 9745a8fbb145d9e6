//! The jobs for a piece of work.

use std::collections::{BTreeMap, BTreeSet};

use pointsman_sdk::run::{self, Answer, Job};
use pointsman_sdk::{Basis, Stop, Work};
use sha2::{Digest as _, Sha256};

use crate::checkout;
use crate::settings::{JobTemplate, Settings, Variant, Weight};
use crate::template::{Template, Unfilled};
use crate::variables::{self, IDENTITY};

/// The jobs of the settings that are for this work.
///
/// # Errors
/// It abstains with `jobs.none` if none is for this kind and purpose. It fails with `variable.missing` or
/// `variable.option` if a value is not there or would be read as an option, with `commit.malformed` if
/// there is something else where a commit's id should be.
pub fn decide(settings: &Settings, work: &Work) -> Result<Answer, Stop> {
    let problems = settings.problems();
    if !problems.is_empty() {
        return Err(Stop::BadSettings(problems));
    }
    let is_for =
        |wanted: &[String], word: &str| wanted.is_empty() || wanted.iter().any(|one| one == word);
    let templates: Vec<JobTemplate> = settings
        .jobs()
        .into_iter()
        .filter(|job| is_for(&job.kinds, &work.kind) && is_for(&job.purposes, &work.purpose))
        .collect();
    if templates.is_empty() {
        let text = format!(
            "No job of the settings is for {} work with the purpose {}.",
            work.kind, work.purpose
        );
        return Err(Stop::abstain("jobs.none", text));
    }
    let values = variables::values(work, &settings.variables);
    let mut jobs = Vec::new();
    for template in &templates {
        for variant in variants(template) {
            let expansion = Expansion {
                settings,
                work,
                values: &values,
                template,
                variant,
            };
            jobs.push(expansion.job(&templates)?);
        }
    }
    let text = match jobs.as_slice() {
        [one] => format!("The job {} tests it.", one.name),
        many => format!("{} jobs test it.", many.len()),
    };
    Ok(Answer::new(jobs, Basis::because("jobs.templated", text)))
}

/// The variants of a job; one that has none is one by itself.
fn variants(template: &JobTemplate) -> Vec<Option<&Variant>> {
    match template.variants.as_slice() {
        [] => vec![None],
        variants => variants.iter().map(Some).collect(),
    }
}

fn name(template: &JobTemplate, variant: Option<&Variant>) -> String {
    match variant {
        Some(variant) => format!("{}/{}", template.name, variant.name),
        None => template.name.clone(),
    }
}

struct Expansion<'a> {
    settings: &'a Settings,
    work: &'a Work,
    values: &'a BTreeMap<String, &'a str>,
    template: &'a JobTemplate,
    variant: Option<&'a Variant>,
}

impl Expansion<'_> {
    fn job(&self, all: &[JobTemplate]) -> Result<Job, Stop> {
        let (template, variant) = (self.template, self.variant);
        let mut used = BTreeSet::new();
        let mut command = Vec::new();
        for argument in &template.argv {
            let parsed = parse(argument);
            used.extend(parsed.variables().map(str::to_owned));
            command.push(
                parsed
                    .fill_argument(self.values)
                    .map_err(|why| self.unfilled(why))?,
            );
        }
        let mut env = BTreeMap::new();
        if command.is_empty() {
            command = match template.shell.is_empty() {
                true => ["sh", "-e", "-c"].map(str::to_owned).to_vec(),
                false => template.shell.clone(),
            };
            command.push(template.script.clone());
            for read in variables::read_by(&template.script) {
                if !variables::is_ours(&read.name, &self.settings.variables) {
                    continue;
                }
                let named = self
                    .values
                    .iter()
                    .find(|(name, _)| variables::env_name(name) == read.name);
                match named {
                    Some((name, value)) => {
                        used.insert(name.clone());
                        env.insert(read.name, (*value).to_owned());
                    }
                    None if read.has_default => {}
                    None => return Err(self.unfilled(Unfilled::Missing(read.name))),
                }
            }
        }
        let own = variant.map(|variant| &variant.env);
        for (key, value) in template.env.iter().chain(own.into_iter().flatten()) {
            let parsed = parse(value);
            used.extend(parsed.variables().map(str::to_owned));
            env.insert(
                key.clone(),
                parsed.fill(self.values).map_err(|why| self.unfilled(why))?,
            );
        }
        if template.checkout.unwrap_or(!self.work.commit.is_empty()) {
            self.check_out(&mut env)?;
            command = checkout::before(self.settings.depth, command);
        }

        let mut job = Job::new(name(template, variant), command);
        job.env = env.into_iter().collect();
        job.image = self.image(&mut used)?;
        job.after = all
            .iter()
            .filter(|other| template.after.contains(&other.name))
            .flat_map(|other| {
                variants(other)
                    .into_iter()
                    .map(|variant| name(other, variant))
            })
            .collect();
        job.weight = match variant
            .and_then(|variant| variant.weight)
            .unwrap_or(template.weight)
        {
            Weight::Required => run::Weight::Required,
            Weight::Informative => run::Weight::Informative,
        };
        job.backend.clone_from(&template.backend);
        job.secrets = joined(&template.secrets, variant.map(|variant| &variant.secrets));
        job.capabilities = joined(
            &template.capabilities,
            variant.map(|variant| &variant.capabilities),
        );
        job.inputs.clone_from(&template.inputs);
        job.artifacts = joined(&template.artifacts, Some(&template.junit));
        job.timeout_ms = template.timeout_secs.saturating_mul(1_000);
        let mut attrs = template.attrs.clone();
        attrs.extend(variant.iter().flat_map(|variant| variant.attrs.clone()));
        if !template.junit.is_empty() {
            attrs.insert("x-junit".to_owned(), template.junit.join("\n"));
        }
        attrs.insert("x-template".to_owned(), self.digest(&used));
        job.attrs = attrs.into_iter().collect();
        Ok(job)
    }

    /// What the checkout is told, and what it must not be told.
    fn check_out(&self, env: &mut BTreeMap<String, String>) -> Result<(), Stop> {
        for name in checkout::VARIABLES {
            let Some(value) = self.values.get(name) else {
                return Err(self.unfilled(Unfilled::Missing(name.to_owned())));
            };
            let is_id = matches!(value.len(), 40 | 64)
                && value
                    .bytes()
                    .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            if name == "source.repo" {
                if value.starts_with('-') {
                    return Err(self.unfilled(Unfilled::Option(name.to_owned())));
                }
            } else if !is_id {
                let text = format!(
                    "`{name}` is `{value}`, which is no id of a commit or a tree: 40 or 64 lower-case hex digits."
                );
                return Err(Stop::failed("commit.malformed", text));
            }
            env.insert(variables::env_name(name), (*value).to_owned());
        }
        Ok(())
    }

    fn image(&self, used: &mut BTreeSet<String>) -> Result<String, Stop> {
        let image = self
            .variant
            .and_then(|variant| variant.image.as_ref())
            .unwrap_or(&self.template.image);
        let parsed = parse(image);
        used.extend(parsed.variables().map(str::to_owned));
        parsed
            .fill_argument(self.values)
            .map_err(|why| self.unfilled(why))
    }

    /// What the job is before it is about a certain commit: the same for two jobs that do the same to the
    /// same tree.
    fn digest(&self, used: &BTreeSet<String>) -> String {
        let values: BTreeMap<&str, &str> = used
            .iter()
            .filter(|name| !IDENTITY.contains(&name.as_str()))
            .filter_map(|name| self.values.get(name).map(|value| (name.as_str(), *value)))
            .collect();
        let mut template = self.template.clone();
        // Who else there is, and when it runs, is not what it does.
        template.variants.clear();
        template.after.clear();
        template.kinds.clear();
        template.purposes.clear();
        let whole = serde_json::json!([template, self.variant, self.settings.depth, values]);
        hex::encode(Sha256::digest(whole.to_string()))
    }

    fn unfilled(&self, why: Unfilled) -> Stop {
        let job = &self.template.name;
        match why {
            Unfilled::Missing(name) => {
                let work = &self.work;
                let text = format!(
                    "The job {job} needs `{name}`, which {} work with the purpose {} does not have here. Take it out of the job, or limit the job with `kinds` or `purposes`.",
                    work.kind, work.purpose
                );
                Stop::failed("variable.missing", text)
            }
            Unfilled::Option(name) => {
                let text = format!(
                    "The value of `{name}` begins with `-`, and would be an option of the job {job}. Write something before it, such as `--at=${{{name}}}`."
                );
                Stop::failed("variable.option", text)
            }
        }
    }
}

/// Settings are checked before they are used, so that what cannot be read is not met here.
fn parse(text: &str) -> Template {
    Template::parse(text).unwrap_or_else(|| Template::plain(text))
}

/// The two lists as one, each word once.
fn joined(one: &[String], other: Option<&Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in one.iter().chain(other.into_iter().flatten()) {
        if !all.contains(word) {
            all.push(word.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests;
