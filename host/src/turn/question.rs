//! The questions of the kernel hooks, made from what the record holds.

use crate::plan::{Kernel, Rule, Stage, Version};
use crate::policy::wit::{advance, ignore, types};

/// What the hooks are told about a distro.
pub(super) struct Distro {
    pub(super) name: String,
    pub(super) variant: String,
    pub(super) supported: bool,
}

impl Distro {
    fn attrs(&self) -> types::Attrs {
        vec![
            ("supported".to_owned(), self.supported.to_string()),
            ("variant".to_owned(), self.variant.clone()),
        ]
    }
}

/// Asks which of `versions` need no runs.
pub(super) fn ignore(distro: &Distro, rules: &[Rule], versions: &[Version]) -> ignore::Question {
    ignore::Question {
        distro: distro.name.clone(),
        distro_attrs: distro.attrs(),
        rules: rules
            .iter()
            .map(|rule| ignore::Rule {
                id: rule.id.cast_unsigned(),
                kind: rule.kind.clone(),
                pattern: rule.pattern.clone(),
                reason: rule.reason.clone(),
                expires: rule.expires.map(instant),
                attrs: vec![],
            })
            .collect(),
        names: packed(versions.iter().map(|version| version.name.as_str())),
        versions: versions
            .iter()
            .map(|version| ignore::Version {
                first_seen: instant(version.first_seen),
                hosts: u32::try_from(version.hosts).unwrap_or(u32::MAX),
            })
            .collect(),
        version_attrs: vec![],
    }
}

/// Many names in one string, each followed by NUL.
pub(crate) fn packed<'a>(names: impl Iterator<Item = &'a str>) -> types::Packed {
    names.flat_map(|name| [name, "\0"]).collect()
}

/// What tags are called among a distro's attrs.
const TAG: &str = "tag.";

/// Asks what is next for `kernels`. What is remembered of them depends on the binding, and comes later.
pub(super) fn advance(
    distro: &Distro,
    tags: &types::Attrs,
    stages: &[Stage],
    kernels: &[Kernel],
    settled: &[String],
) -> advance::Question {
    let mut distro_attrs = distro.attrs();
    let tags = tags.iter();
    distro_attrs.extend(tags.map(|(name, value)| (format!("{TAG}{name}"), value.clone())));
    distro_attrs.sort();
    advance::Question {
        distro: distro.name.clone(),
        distro_attrs,
        stages: stages
            .iter()
            .map(|stage| advance::Stage {
                name: stage.name.clone(),
                // Ranks of the record may be negative; the contract's are places in the ladder.
                rank: stages
                    .iter()
                    .filter(|other| other.rank < stage.rank)
                    .count() as u32,
                moved_by: match stage.moved_by.as_str() {
                    "person" => advance::Mover::Person,
                    _ => advance::Mover::Policy,
                },
            })
            .collect(),
        kernels: kernels
            .iter()
            .map(|kernel| advance::Kernel {
                version: kernel.version.clone(),
                track: String::new(),
                stage: kernel.stage.clone(),
                since: instant(kernel.since),
                hosts: kernel
                    .hosts
                    .iter()
                    .map(|(kind, hosts)| (kind.clone(), u32::try_from(*hosts).unwrap_or(u32::MAX)))
                    .collect(),
                tried: kernel
                    .tried
                    .iter()
                    .map(|tried| advance::Tried {
                        purpose: tried.purpose.clone(),
                        verdict: tried.verdict.as_deref().map(|verdict| match verdict {
                            "pass" => types::Verdict::Pass,
                            "fail" => types::Verdict::Fail,
                            _ => types::Verdict::Inconclusive,
                        }),
                        at: instant(tried.at),
                        runs: u32::try_from(tried.runs).unwrap_or(u32::MAX),
                    })
                    .collect(),
                notes: vec![],
                attrs: attrs_of(kernel),
            })
            .collect(),
        settled: packed(settled.iter().map(String::as_str)),
    }
}

/// Sorted by key, as the contract asks.
fn attrs_of(kernel: &Kernel) -> types::Attrs {
    let mut attrs = vec![];
    if kernel.missing.iter().any(|what| what == "headers") {
        attrs.push(("headers".to_owned(), "missing".to_owned()));
    }
    if let Some(scope) = &kernel.ignored {
        attrs.push(("ignored".to_owned(), scope.clone()));
    }
    if kernel.missing.iter().any(|what| what == "image") {
        attrs.push(("image".to_owned(), "missing".to_owned()));
    }
    if let Some(purpose) = &kernel.requested {
        attrs.push(("requested".to_owned(), purpose.clone()));
    }
    if kernel.by_person {
        attrs.push(("stage.by".to_owned(), "person".to_owned()));
    }
    attrs
}

/// Milliseconds since 1970.
pub(crate) fn instant(at: chrono::DateTime<chrono::Utc>) -> types::Instant {
    u64::try_from(at.timestamp_millis()).unwrap_or(0)
}
