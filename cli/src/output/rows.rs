//! How each kind of object is shown as a row. A kernel is always `distro/version`, which is also how
//! one names it as an argument.

mod merge;

use chrono::Utc;
use pointsman_api::cluster::{Cluster, HostKernel};
use pointsman_api::distro::{Distro, KernelState};
use pointsman_api::event::Event;
use pointsman_api::generation::Generation;
use pointsman_api::ignore::{Ignore, PatternKind};
use pointsman_api::kernel::{Kernel, Wanted};
use pointsman_api::note::Note;
use pointsman_api::pipeline::{Binding, Decision, Limits, Pipeline, Shadow, ShadowDifference};
use pointsman_api::plugin::Plugin;
use pointsman_api::run::{Run, Verdict};
use pointsman_api::token::{Role, Token};

use crate::output::table::Row;
use crate::output::text::{ago, bytes, changes, operation, short, time};

fn yes(set: bool) -> String {
    if set { "yes" } else { "no" }.to_owned()
}

fn mark(deleted: bool) -> &'static str {
    if deleted { " (deleted)" } else { "" }
}

/// A run's verdict in words.
pub(crate) fn verdict(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "running",
        Some(Verdict::Pass) => "pass",
        Some(Verdict::Fail) => "fail",
        Some(Verdict::Inconclusive) => "inconclusive",
    }
}

/// A token's role in words.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Admin => "admin",
    }
}

/// Whether a pipeline goes on, and if not, why.
pub(crate) fn pipeline_state(pipeline: &Pipeline) -> String {
    let state = match (&pipeline.paused, &pipeline.held) {
        (Some(why), _) => format!("paused: {why}"),
        (None, Some(hold)) => format!("held by {}: {} ({})", hold.hook, hold.text, hold.code),
        (None, None) if pipeline.idle => "idle".to_owned(),
        (None, None) => "working".to_owned(),
    };
    let merging = pipeline.merging.as_ref();
    let state = match merging.and_then(|m| Some((m, m.folder_missing_since?))) {
        Some((merging, since)) => format!(
            "{state}; no host has had the folder of {} since {}",
            merging.repository,
            time(since)
        ),
        None => state,
    };
    match merging.and_then(|m| m.frozen.as_ref()) {
        Some(frozen) => format!("{state}; the tree is closed: {frozen}"),
        None => state,
    }
}

impl Row for Distro {
    const HEADER: &'static [&'static str] = &["DISTRO", "VARIANT", "SUPPORTED", "GENERATION#"];
    fn cells(&self) -> Vec<String> {
        let name = format!("{}{}", self.name, mark(self.deleted));
        vec![
            name,
            self.variant.clone(),
            yes(self.supported),
            self.generation.to_string(),
        ]
    }
}

impl Row for KernelState {
    const HEADER: &'static [&'static str] = &["STATE", "RANK#", "MOVED BY", "KERNELS#"];
    fn cells(&self) -> Vec<String> {
        let kernels = self
            .kernels
            .map(|kernels| kernels.to_string())
            .unwrap_or_default();
        vec![
            self.name.clone(),
            self.rank.to_string(),
            self.moved_by.clone(),
            kernels,
        ]
    }
}

impl Row for Shadow {
    const HEADER: &'static [&'static str] = &[
        "HOOK",
        "PLACE#",
        "CANDIDATE",
        "SINCE",
        "AGREED#",
        "DIFFERED#",
        "SKIPPED#",
        "UP TO DATE",
    ];
    fn cells(&self) -> Vec<String> {
        vec![
            self.hook.clone(),
            self.position.to_string(),
            format!("{}@{}", self.plugin, short(&self.digest)),
            time(self.since),
            self.agreed.to_string(),
            self.differed.to_string(),
            self.skipped.to_string(),
            match &self.failing {
                Some(why) => format!("no: {why}"),
                None => yes(self.idle),
            },
        ]
    }
}

impl Row for ShadowDifference {
    const HEADER: &'static [&'static str] = &[
        "DECISION#",
        "ABOUT",
        "AT",
        "WHERE",
        "IT SAYS",
        "THE CANDIDATE",
    ];
    fn cells(&self) -> Vec<String> {
        let place = match self.place.as_str() {
            "" => "outcome",
            place => place,
        };
        vec![
            self.decision.to_string(),
            self.subject.clone(),
            time(self.at),
            place.to_owned(),
            self.before.clone(),
            self.after.clone(),
        ]
    }
}

impl Row for Kernel {
    const HEADER: &'static [&'static str] =
        &["KERNEL", "STATE", "SINCE", "FOR#", "MISSING", "IGNORED"];
    fn cells(&self) -> Vec<String> {
        vec![
            format!("{}/{}{}", self.distro, self.version, mark(self.deleted)),
            self.state.clone(),
            time(self.state_since),
            ago(self.state_since, Utc::now()),
            self.missing.join("+"),
            self.ignored
                .as_ref()
                .map(|ignored| ignored.reason.clone())
                .unwrap_or_default(),
        ]
    }
}

impl Row for Wanted {
    const HEADER: &'static [&'static str] =
        &["KERNEL", "PURPOSE", "RELEASE", "PRIORITY#", "SINCE", "WHY"];
    fn cells(&self) -> Vec<String> {
        vec![
            format!("{}/{}", self.distro, self.version),
            self.purpose.clone(),
            self.release.clone(),
            self.priority.to_string(),
            time(self.since),
            match (&self.run, &self.held) {
                (Some(run), _) => format!("{} (run {run})", self.reason),
                (None, Some(held)) => format!("{} (not run here: {})", self.reason, held.text),
                (None, None) => self.reason.clone(),
            },
        ]
    }
}

impl Row for Run {
    const HEADER: &'static [&'static str] = &[
        "ID#", "KERNEL", "PURPOSE", "RELEASE", "VERDICT", "AT", "BY", "COMMENT", "LINK",
    ];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            format!("{}/{}", self.distro, self.version),
            self.purpose.clone(),
            self.release.clone(),
            verdict(self.verdict).to_owned(),
            time(self.at),
            self.reported_by.clone(),
            self.comment.clone(),
            self.link.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Ignore {
    const HEADER: &'static [&'static str] = &[
        "ID#",
        "DISTRO",
        "KIND",
        "PATTERN",
        "VERSIONS#",
        "EXPIRES",
        "REASON",
    ];
    fn cells(&self) -> Vec<String> {
        let kind = match self.kind {
            PatternKind::Like => "like",
            PatternKind::Regex => "regex",
        };
        vec![
            self.id.to_string(),
            self.distro.clone().unwrap_or_else(|| "all".to_owned()),
            kind.to_owned(),
            self.pattern.clone(),
            self.versions.to_string(),
            self.expires.map_or_else(|| "never".to_owned(), time),
            format!("{}{}", self.reason, mark(self.deleted)),
        ]
    }
}

impl Row for Cluster {
    const HEADER: &'static [&'static str] = &["CLUSTER", "TYPE", "HOSTS#"];
    fn cells(&self) -> Vec<String> {
        let name = format!("{}{}", self.name, mark(self.deleted));
        vec![name, self.kind.clone(), self.hosts.to_string()]
    }
}

impl Row for HostKernel {
    const HEADER: &'static [&'static str] = &["CLUSTER", "TYPE", "HOST", "KERNEL", "STATE", "USE"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.cluster.clone(),
            self.cluster_type.clone(),
            self.host.clone(),
            format!("{}/{}", self.distro, self.version),
            self.state.clone(),
            if self.current { "running" } else { "installed" }.to_owned(),
        ]
    }
}

impl Row for Generation {
    const HEADER: &'static [&'static str] =
        &["GENERATION#", "AT", "USER", "ADDRESS", "EVENTS#", "COMMENT"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            time(self.at),
            self.user.clone(),
            self.address.clone().unwrap_or_default(),
            self.events.to_string(),
            self.comment.clone(),
        ]
    }
}

impl Row for Event {
    const HEADER: &'static [&'static str] = &[
        "AT",
        "GENERATION#",
        "USER",
        "KIND",
        "NAME",
        "WHAT",
        "CHANGES",
        "WHY",
    ];
    fn cells(&self) -> Vec<String> {
        vec![
            time(self.at),
            self.generation.to_string(),
            self.user.clone(),
            self.kind.clone(),
            self.name.clone(),
            operation(self.operation).to_owned(),
            changes(self),
            self.comment.clone(),
        ]
    }
}

impl Row for Plugin {
    const HEADER: &'static [&'static str] =
        &["PLUGIN", "DIGEST", "HOOKS", "SIZE#", "UPLOADED", "BY"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            short(&self.digest).to_owned(),
            self.hooks.join(","),
            bytes(u64::try_from(self.size).unwrap_or(0)),
            time(self.uploaded_at),
            self.uploaded_by.clone(),
        ]
    }
}

impl Row for Pipeline {
    const HEADER: &'static [&'static str] =
        &["PIPELINE", "KIND", "BOUND", "PENDING#", "TURNS#", "STATE"];
    fn cells(&self) -> Vec<String> {
        let bound = |binding: &Binding| format!("{}={}", binding.hook, binding.plugin);
        vec![
            self.name.clone(),
            match &self.merging {
                Some(merging) => format!("{} {}/{}", self.kind, merging.repository, merging.target),
                None => self.kind.clone(),
            },
            self.bindings
                .iter()
                .map(bound)
                .collect::<Vec<_>>()
                .join(" "),
            self.pending.to_string(),
            self.turns.to_string(),
            pipeline_state(self),
        ]
    }
}

/// What a binding sets of a call's limits: `fuel 20000000000, memory 128 MiB`.
fn limits(limits: &Limits) -> String {
    let set = [
        limits.fuel.map(|units| format!("fuel {units}")),
        limits.memory_mib.map(|mib| format!("memory {mib} MiB")),
        limits.answer_mib.map(|mib| format!("answer {mib} MiB")),
        limits.deadline_ms.map(|ms| format!("deadline {ms} ms")),
    ];
    set.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl Row for Binding {
    const HEADER: &'static [&'static str] = &[
        "HOOK",
        "POSITION#",
        "PLUGIN",
        "DIGEST",
        "PREVIOUS",
        "LIMITS",
        "SETTINGS",
    ];
    fn cells(&self) -> Vec<String> {
        vec![
            self.hook.clone(),
            self.position.to_string(),
            self.plugin.clone(),
            short(&self.digest).to_owned(),
            self.previous
                .as_deref()
                .map(short)
                .unwrap_or_default()
                .to_owned(),
            limits(&self.limits),
            self.settings.to_string(),
        ]
    }
}

impl Row for Note {
    const HEADER: &'static [&'static str] = &["PLACE", "ABOUT", "KEY", "VALUE", "BY"];
    fn cells(&self) -> Vec<String> {
        let kernel = self.distro.as_ref().zip(self.version.as_ref());
        let pull = self.repository.as_ref().zip(self.number);
        let about = match (kernel, pull) {
            (Some((distro, version)), _) => format!("{distro}/{version}"),
            (None, Some((repository, number))) => format!("{repository}#{number}"),
            (None, None) => "the pipeline".to_owned(),
        };
        vec![
            format!("{}/{}", self.hook, self.position),
            about,
            self.key.clone(),
            self.value.clone(),
            self.decision.map_or_else(
                || "a person".to_owned(),
                |decision| format!("decision {decision}"),
            ),
        ]
    }
}

impl Row for Decision {
    const HEADER: &'static [&'static str] = &[
        "ID#",
        "AT",
        "HOOK",
        "SUBJECT",
        "PLUGIN",
        "ITEMS#",
        "OUTCOME",
        "GENERATION#",
        "WHY",
    ];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            time(self.at),
            self.hook.clone(),
            self.subject.clone(),
            format!("{}@{}", self.plugin, short(&self.digest)),
            self.items.to_string(),
            self.outcome.clone(),
            self.generation
                .map(|generation| generation.to_string())
                .unwrap_or_default(),
            self.reason.clone(),
        ]
    }
}

impl Row for Token {
    const HEADER: &'static [&'static str] = &["TOKEN", "ROLE", "CREATED", "EXPIRES", "STATE"];
    fn cells(&self) -> Vec<String> {
        let expired = self.expires.is_some_and(|expires| expires <= Utc::now());
        let state = match (self.revoked, expired) {
            (true, _) => "revoked",
            (false, true) => "expired",
            (false, false) => "valid",
        };
        vec![
            self.name.clone(),
            role(self.role).to_owned(),
            time(self.created_at),
            self.expires.map_or_else(|| "never".to_owned(), time),
            state.to_owned(),
        ]
    }
}
