//! The variables of a template, and the environment that scripts find them in.

use std::collections::BTreeMap;

use pointsman_sdk::Work;

/// What begins the name of each variable in the environment.
pub(crate) const PREFIX: &str = "POINTSMAN_";

/// Variables that every `run` question may have: fields of the work, and attrs of the contract.
pub(crate) const KNOWN: [&str; 14] = [
    "work.kind",
    "work.purpose",
    "work.name",
    "work.base",
    "work.commit",
    "work.tree",
    "pipeline.name",
    "target.branch",
    "source.repo",
    "distro.name",
    "distro.variant",
    "kernel.version",
    "kernel.packages",
    "track",
];

/// Names that the host gives each job itself, which a script may read whatever the work is.
const GIVEN: [&str; 8] = [
    "POINTSMAN_PIPELINE",
    "POINTSMAN_JOB",
    "POINTSMAN_ATTEMPT_NUMBER",
    "POINTSMAN_COMMIT",
    "POINTSMAN_TREE",
    "POINTSMAN_DISTRO",
    "POINTSMAN_PURPOSE",
    "POINTSMAN_RELEASE",
];

/// Variables that say which work it is, and not what is tested: two runs that differ in nothing else
/// are the same test of the same tree.
pub(crate) const IDENTITY: [&str; 5] = [
    "work.name",
    "work.base",
    "work.commit",
    "work.tree",
    "source.repo",
];

/// Whether a template may name it: one of the known, one that the settings added, a tag of an earlier
/// hook, or a key of the users' own.
pub(crate) fn is_known(name: &str, added: &[String]) -> bool {
    let own = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    };
    KNOWN.contains(&name) || added.iter().any(|one| one == name) || own("tag.") || own("x-")
}

/// The name in the environment: `work.commit` is `POINTSMAN_WORK_COMMIT`.
pub(crate) fn env_name(variable: &str) -> String {
    let upper = variable.to_ascii_uppercase().replace(['.', '-'], "_");
    format!("{PREFIX}{upper}")
}

/// A sentence that lists what there is.
pub(crate) fn known_ones(added: &[String]) -> String {
    let names: Vec<&str> = KNOWN
        .into_iter()
        .chain(added.iter().map(String::as_str))
        .collect();
    format!("Known are {}, `tag.NAME` and `x-NAME`.", names.join(", "))
}

/// The variables that have a value, by name. An empty value is none: a kernel's work has no commit.
pub(crate) fn values<'a>(work: &'a Work, added: &[String]) -> BTreeMap<String, &'a str> {
    let fields = [
        ("work.kind", &work.kind),
        ("work.purpose", &work.purpose),
        ("work.name", &work.name),
        ("work.base", &work.base),
        ("work.commit", &work.commit),
        ("work.tree", &work.tree),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.as_str()));
    let attrs = work
        .attrs
        .iter()
        .filter(|(key, _)| is_known(key, added) && !key.starts_with("tag."))
        .map(|(key, value)| (key.clone(), value.as_str()));
    let tags = work
        .tags
        .iter()
        .map(|(key, value)| (format!("tag.{key}"), value.as_str()));
    // The fields come last: an attr that has the name of one does not stand for it.
    attrs
        .chain(tags)
        .chain(fields)
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// A name of the environment that a script reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) name: String,
    /// Whether the script itself says what holds without it: `${POINTSMAN_TRACK:-}`.
    pub(crate) has_default: bool,
}

/// The names with our prefix that a script reads.
pub(crate) fn read_by(script: &str) -> Vec<Read> {
    let mut found: Vec<Read> = Vec::new();
    for (at, _) in script.match_indices(PREFIX) {
        let before = script[..at].chars().next_back();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if before.is_some_and(is_part) {
            continue;
        }
        let rest = &script[at..];
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let after = rest[end..].trim_start_matches(':');
        let has_default = before == Some('{') && after.starts_with(['-', '+']);
        let name = rest[..end].to_owned();
        match found.iter_mut().find(|read| read.name == name) {
            // One place without a default is enough for it to be needed.
            Some(read) => read.has_default &= has_default,
            None => found.push(Read { name, has_default }),
        }
    }
    found
}

/// Whether a name of the environment is meant to be one of our variables: the backend has others with
/// the same prefix, which are its own.
pub(crate) fn is_ours(env: &str, added: &[String]) -> bool {
    if GIVEN.contains(&env) {
        return false;
    }
    let family = |name: &str| {
        let first = name.split(['.', '-']).next().unwrap_or(name);
        let family = env_name(first);
        env == family || env.starts_with(&format!("{family}_"))
    };
    KNOWN.into_iter().any(family)
        || added.iter().any(|name| family(name))
        || family("tag")
        || family("x")
}

/// Whether a name of the environment is a variable that may exist.
pub(crate) fn is_known_env(env: &str, added: &[String]) -> bool {
    let open = |family: &str| {
        env.strip_prefix(family)
            .is_some_and(|rest| !rest.is_empty())
    };
    KNOWN.into_iter().any(|name| env_name(name) == env)
        || added.iter().any(|name| env_name(name) == env)
        || open("POINTSMAN_TAG_")
        || open("POINTSMAN_X_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_reads_is_seen() {
        let script = "echo $POINTSMAN_WORK_COMMIT ${POINTSMAN_TRACK:-none} \"${POINTSMAN_OUT}\" MY_POINTSMAN_X";
        let reads: Vec<(String, bool)> = read_by(script)
            .into_iter()
            .map(|read| (read.name, read.has_default))
            .collect();
        let read = |name: &str, has_default| (name.to_owned(), has_default);
        assert_eq!(
            reads,
            [
                read("POINTSMAN_WORK_COMMIT", false),
                read("POINTSMAN_TRACK", true),
                read("POINTSMAN_OUT", false)
            ]
        );
        assert!(is_ours("POINTSMAN_WORK_COMIT", &[]) && !is_known_env("POINTSMAN_WORK_COMIT", &[]));
        assert!(!is_ours("POINTSMAN_OUT", &[]));
        assert!(is_known_env("POINTSMAN_TAG_AREA", &[]));
        assert!(!is_ours("POINTSMAN_DISTRO", &[]) && is_ours("POINTSMAN_DISTRO_NAME", &[]));
    }

    #[test]
    fn an_attr_does_not_stand_for_a_field() {
        let mut work = Work::of("lane", "merge");
        work.commit = "c1".to_owned();
        work.attrs = vec![("work.commit".to_owned(), "evil".to_owned())];
        assert_eq!(values(&work, &[])["work.commit"], "c1");
        assert!(!values(&work, &[]).contains_key("work.tree"));
    }
}
