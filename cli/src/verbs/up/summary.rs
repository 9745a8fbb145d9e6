//! What `up` says it did.

use std::path::PathBuf;

use pointsman_api::distro::KernelState;
use pointsman_api::generation::{Generation, Written};
use pointsman_api::kernel::Kernel;
use pointsman_api::page::{MAX_LIMIT, Page};
use pointsman_api::pipeline::Pipeline;
use serde_json::json;

use crate::args::Paging;
use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::output::rows::pipeline_state;
use crate::output::table::Table;
use crate::output::text::{self, count};
use crate::verbs::up::first_detection::Found;
use crate::verbs::up::plugins::Installed;
use crate::verbs::{detect, list};

/// Ignored versions that are counted one by one; more are "more than".
const MAX_COUNTED: u64 = 10 * MAX_LIMIT as u64;

#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) url: String,
    pub(super) token_file: PathBuf,
    pub(super) data_dir: PathBuf,
    /// There was a record before this start.
    pub(super) continued: bool,
    pub(super) plugins: Vec<Installed>,
    pub(super) plugins_missing: bool,
    pub(super) distros: Option<Written>,
    pub(super) pipeline: Option<Pipeline>,
    /// What did not go as it should, with what to do about it.
    pub(super) troubles: Vec<(String, Option<String>)>,
    found: Option<Found>,
    ignored: Option<u64>,
    states: Vec<KernelState>,
    generation: Option<i64>,
    /// A version to try things out on.
    example: Option<Kernel>,
}

impl Summary {
    pub(super) fn trouble(&mut self, what: &str, error: &Error) {
        self.troubles
            .push((format!("{what}: {error}"), error.hint().map(str::to_owned)));
    }

    pub(super) fn detected(&mut self, found: Found) {
        for failure in &found.report.failures {
            self.troubles
                .push((failure.to_string(), Some(failure.hint())));
        }
        self.found = Some(found);
    }

    /// Asks the server how the record looks now.
    pub(super) fn look(&mut self, client: &Client) -> Result<(), Error> {
        let states: Page<KernelState> = client.get(&client.at(&["states"]).with("counts", true))?;
        self.states = states.items;
        let newest: Page<Generation> = client.get(&client.at(&["generations"]).with("limit", 1))?;
        self.generation = newest.items.first().map(|generation| generation.id);
        let mut ignored = 0;
        let paging = Paging {
            limit: MAX_COUNTED,
            all: false,
            cursor: None,
        };
        let address = client.at(&["kernels"]).with("ignored", true);
        list::pages(client, &address, "cursor", &paging, &mut |page: Vec<
            Kernel,
        >| {
            ignored += page.len() as u64;
            Ok(())
        })?;
        self.ignored = Some(ignored);
        if let Some(found) = &self.found {
            let address = client
                .at(&["kernels"])
                .with("distro", &found.distro)
                .with("limit", 1);
            let page: Page<Kernel> = client.get(&address)?;
            self.example = page.items.into_iter().next();
        }
        Ok(())
    }

    pub(super) fn print(&self, context: &Context, once: bool) -> Result<(), Error> {
        if context.out.is_json() {
            context.out.document(&self.json())?;
        } else {
            context.out.table(&Table::facts(self.facts()))?;
        }
        for (trouble, hint) in &self.troubles {
            context.out.warn(text::safe(trouble));
            if let Some(hint) = hint {
                context.out.hint(text::safe(hint));
            }
        }
        if self.plugins_missing {
            context
                .out
                .warn("no stock plugins were found, so nothing is ignored or moved by itself");
            context.out.hint(
                "build them with `cargo xtask plugins`, and name their directory with --plugins",
            );
        }
        if !once && !context.out.is_json() {
            self.what_next(context)?;
        }
        Ok(())
    }

    fn facts(&self) -> Vec<(&str, String)> {
        let mut facts = vec![(
            "record",
            format!(
                "{} {}",
                if self.continued {
                    "goes on with the data in"
                } else {
                    "begun in"
                },
                self.data_dir.display()
            ),
        )];
        let distros = self.distros.as_ref().map(|written| match written.created {
            0 => format!("{}, all known", written.unchanged),
            new => format!("{new} loaded, {} known", written.unchanged),
        });
        facts.push(("distros", distros.unwrap_or_default()));
        for plugin in &self.plugins {
            let bound = plugin.bound.as_deref().unwrap_or("nothing");
            facts.push((plugin.hook, format!("{bound} ({})", plugin.what)));
        }
        if let Some(found) = &self.found {
            facts.push(("detected", format!("{} in {}", found.distro, found.name)));
            facts.push(("", detect::summary(&found.report)));
            if let Some(written) = &found.written {
                facts.push(("", news(written)));
            }
        }
        facts.push(("ignored", self.ignored()));
        facts.push(("states", self.states()));
        let state = self
            .pipeline
            .as_ref()
            .filter(|pipeline| !pipeline.idle)
            .map(pipeline_state);
        facts.push(("pipeline", state.unwrap_or_default()));
        facts.push((
            "generation",
            self.generation.map(|id| id.to_string()).unwrap_or_default(),
        ));
        facts.push(("url", self.url.clone()));
        facts.push(("token", self.token_file.display().to_string()));
        facts
    }

    fn ignored(&self) -> String {
        match self.ignored {
            None => String::new(),
            Some(MAX_COUNTED..) => format!("more than {MAX_COUNTED} versions"),
            Some(number) => count(number, "version"),
        }
    }

    fn states(&self) -> String {
        let in_use = self.states.iter().filter_map(|state| match state.kernels {
            Some(number @ 1..) => Some(format!("{number} {}", state.name)),
            _ => None,
        });
        in_use.collect::<Vec<_>>().join(", ")
    }

    fn what_next(&self, context: &Context) -> Result<(), Error> {
        let mut lines = Vec::new();
        if !context.is_default_data_dir(&self.data_dir) {
            let dir = std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
            lines.push((
                format!("export POINTSMAN_DATA_DIR='{}'", dir.display()),
                "where address and token are found",
            ));
        }
        let program = program();
        let mut verb = |verb: &str, what| lines.push((format!("{program} {verb}"), what));
        verb("kernel list --state seen --not-ignored", "what is new");
        verb("kernel wanted", "what the policy wants to be run");
        if let Some(kernel) = &self.example {
            let name = format!("{}/{}", kernel.distro, kernel.version);
            verb(
                &format!("kernel report {name} --purpose fetch --verdict pass"),
                "say that a run passed",
            );
            verb(
                &format!("kernel history {name}"),
                "what happened, when, why",
            );
        }
        verb(
            "ignore add --like '%-rt-%' --reason 'Nobody runs these'",
            "ignore some",
        );
        let mut table = Table::new(&["", ""]);
        table.hide_header();
        for (command, what) in lines {
            table.add(vec![format!("  {command}"), what.to_owned()]);
        }
        context.out.line("\nTry, in another terminal:")?;
        context.out.table(&table)?;
        context
            .out
            .note("\nCtrl-C stops everything; the data stay.");
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "url": self.url,
            "token_file": self.token_file,
            "data_dir": self.data_dir,
            "continued": self.continued,
            "plugins": self.plugins,
            "distros": self.distros,
            "detected": self.found.as_ref().map(|found| json!({
                "distro": found.distro,
                "source": found.name,
                "versions": found.report.versions.len(),
                "complete": found.report.versions.iter().filter(|version| version.complete).count(),
                "headers_only": found.report.headers_only.len(),
                "failures": found.report.failures,
                "written": found.written,
            })),
            "ignored": self.ignored,
            "states": self.states,
            "pipeline": self.pipeline,
            "generation": self.generation,
            "troubles": self.troubles.iter().map(|(text, _)| text).collect::<Vec<_>>(),
        })
    }
}

/// How to call this program: by its name where a shell finds it by that, else by its path.
fn program() -> String {
    const NAME: &str = "pointsman";
    let Ok(this) = std::env::current_exe().and_then(|path| path.canonicalize()) else {
        return NAME.to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(NAME))
        .find(|file| file.is_file());
    if found
        .and_then(|found| found.canonicalize().ok())
        .is_some_and(|found| found == this)
    {
        return NAME.to_owned();
    }
    let here = std::env::current_dir()
        .and_then(|dir| dir.canonicalize())
        .unwrap_or_default();
    this.strip_prefix(&here)
        .unwrap_or(&this)
        .display()
        .to_string()
}

/// What a detection did to the record.
fn news(written: &Written) -> String {
    let mut parts = vec![format!("{} new", written.created)];
    if written.updated > 0 {
        parts.push(format!("{} changed", written.updated));
    }
    parts.push(format!("{} known", written.unchanged));
    match written.generation {
        Some(generation) => format!("{} (generation {generation})", parts.join(", ")),
        None => format!("{} (no change, so no generation)", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;
    use pointsman_detect::{Options, Source};

    #[test]
    fn the_summary_is_short_and_aligned() {
        let mut report = detect::read(&Progress::Silent, &[Source::Sample], &Options::default());
        report.versions.truncate(2);
        report.headers_only.clear();
        let mut summary = Summary {
            url: "http://127.0.0.1:8650".to_owned(),
            token_file: "/data/admin.token".into(),
            data_dir: "/data".into(),
            distros: Some(Written {
                generation: Some(3),
                created: 14,
                updated: 0,
                unchanged: 0,
                deleted: vec![],
            }),
            plugins: vec![Installed {
                hook: "ignore",
                bound: Some("ignore-patterns@abc".to_owned()),
                what: "bound".to_owned(),
            }],
            ignored: Some(1),
            generation: Some(6),
            ..Summary::default()
        };
        for version in &mut report.versions {
            version.complete = true;
        }
        summary.detected(Found {
            distro: "debian-12".to_owned(),
            name: "the bundled sample".to_owned(),
            report,
            written: Some(Written {
                generation: Some(5),
                created: 2,
                updated: 0,
                unchanged: 0,
                deleted: vec![],
            }),
        });
        insta::assert_snapshot!(Table::facts(summary.facts()), @"
        record:      begun in /data
        distros:     14 loaded, 0 known
        ignore:      ignore-patterns@abc (bound)
        detected:    debian-12 in the bundled sample
                     2 versions
                     2 new, 0 known (generation 5)
        ignored:     1 version
        generation:  6
        url:         http://127.0.0.1:8650
        token:       /data/admin.token
        ");
    }
}
