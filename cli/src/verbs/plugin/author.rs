//! `pointsman plugin new` and `build`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pointsman_host::contract;
use pointsman_host::policy::Hook;
use serde_json::json;

use crate::args::policy::Language;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::text::{bytes, safe};
use crate::progress::Progress;

/// The sources of the SDK, by their names in `sdk/src`.
macro_rules! sdk {
    ($($file:literal),+ $(,)?) => {
        const SDK: &[(&str, &str)] = &[
            $(($file, include_str!(concat!("../../../../sdk/src/", $file))),)+
        ];
    };
}

sdk![
    "advance.rs",
    "answer.rs",
    "bindings.rs",
    "export.rs",
    "gate.rs",
    "ignore.rs",
    "lib.rs",
    "packed.rs",
    "policy.rs",
    "pull_request.rs",
    "react.rs",
    "review.rs",
    "run.rs",
    "select.rs",
    "triage.rs",
];

/// A policy to begin with, and its cases.
macro_rules! beginning {
    ($hook:literal) => {
        (
            include_str!(concat!("../../../templates/rust/", $hook, ".rs")),
            include_str!(concat!("../../../templates/cases/", $hook, ".json")),
        )
    };
}

fn beginning(hook: Hook) -> (&'static str, &'static str) {
    match hook {
        Hook::Ignore => beginning!("ignore"),
        Hook::Advance => beginning!("advance"),
        Hook::Review => beginning!("review"),
        Hook::Gate => beginning!("gate"),
        Hook::Select => beginning!("select"),
        Hook::Run => beginning!("run"),
        Hook::Triage => beginning!("triage"),
        Hook::React => beginning!("react"),
    }
}

pub(super) fn new(
    context: &Context,
    language: Language,
    hook: &str,
    name: &str,
) -> Result<Exit, Error> {
    let Language::Rust = language;
    let hook: Hook = hook
        .parse()
        .map_err(|error| Error::usage(format!("{error}"), "--hook names one of them"))?;
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 63
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !good {
        return Err(Error::usage(
            format!("`{}` is no name for a plugin", safe(name)),
            "lower-case letters, digits and hyphens, a letter first, at most 63: `my-gate`",
        ));
    }
    let dir = Path::new(name);
    fs::create_dir(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::hinted(
            format!("{name} is there already"),
            "choose another name, or remove it first",
        ),
        _ => Error::failed(format!("cannot make {name}: {error}")),
    })?;
    let fill = |text: &str| {
        text.replace("{name}", name)
            .replace("{hook}", hook.name())
            .replace("{asked}", hook.asked())
    };
    let (policy, cases) = beginning(hook);
    let manifest = include_str!("../../../templates/rust/Cargo.toml");
    let mut files: Vec<(PathBuf, String)> = vec![
        ("Cargo.toml".into(), fill(manifest)),
        (
            "README.md".into(),
            fill(include_str!("../../../templates/rust/README.md")),
        ),
        (".gitignore".into(), "/target/\n/*.wasm\n".to_owned()),
        ("src/lib.rs".into(), policy.to_owned()),
        (
            Path::new("cases").join(format!("{hook}.json")),
            cases.to_owned(),
        ),
        (
            "sdk/Cargo.toml".into(),
            include_str!("../../../templates/rust/sdk.toml").to_owned(),
        ),
    ];
    for (file, text) in SDK {
        files.push((Path::new("sdk/src").join(file), (*text).to_owned()));
    }
    for (file, text) in contract::FILES {
        files.push((Path::new("wit/0.1").join(file), text.to_owned()));
    }
    for (file, text) in &files {
        let path = dir.join(file);
        let written = match path.parent() {
            Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(&path, text)),
            None => fs::write(&path, text),
        };
        written
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))?;
    }
    if context.out.is_json() {
        context
            .out
            .document(&json!({"dir": dir, "hook": hook.name(), "files": files.len()}))?;
    } else {
        context.out.line(format!(
            "{name}/ answers {hook}; next: cd {name} && pointsman plugin build && pointsman plugin test {name}.wasm cases/"
        ))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn build(context: &Context, dir: &Path, output: Option<&Path>) -> Result<Exit, Error> {
    if !dir.join("Cargo.toml").is_file() {
        return Err(Error::hinted(
            format!("{} has no Cargo.toml", dir.display()),
            "`pointsman plugin new --hook gate my-gate` makes a plugin to begin with",
        ));
    }
    let progress = Progress::new(&context.out);
    // Cargo says much: on a terminal one line that changes, elsewhere nothing.
    let built = pointsman_plugin_build::build_crate(dir, &mut |step| {
        progress.detail(|| step.to_owned());
    });
    progress.clear();
    let component = built.map_err(|error| Error::failed(format!("{error:#}")))?;
    let file = match output {
        Some(output) => output.to_owned(),
        None => dir.join(format!("{}.wasm", name_of(dir)?)),
    };
    fs::write(&file, &component)
        .map_err(|error| Error::failed(format!("cannot write {}: {error}", file.display())))?;
    if context.out.is_json() {
        context
            .out
            .document(&json!({"file": file, "bytes": component.len()}))?;
    } else {
        context.out.line(format!(
            "{} ({})",
            file.display(),
            bytes(component.len() as u64)
        ))?;
    }
    Ok(Exit::Ok)
}

/// The name of the folder, which is the plugin's.
fn name_of(dir: &Path) -> Result<String, Error> {
    let whole = fs::canonicalize(dir)
        .map_err(|error| Error::failed(format!("cannot read {}: {error}", dir.display())))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| Error::usage("the folder has no name to take", "name the file with -o"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    #[test]
    fn the_sdk_is_whole() {
        let there: Vec<String> = fs::read_dir(here("../sdk/src"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut there: Vec<&str> = there.iter().map(String::as_str).collect();
        there.sort_unstable();
        let given: Vec<&str> = SDK.iter().map(|(name, _)| *name).collect();
        assert_eq!(given, there);
    }

    /// The copy's dependencies are those of the workspace.
    #[test]
    fn the_sdks_manifest_is_true() {
        let workspace = fs::read_to_string(here("../Cargo.toml")).unwrap();
        let sdk = include_str!("../../../templates/rust/sdk.toml");
        let (_, dependencies) = sdk.split_once("[dependencies]\n").unwrap();
        for line in dependencies.lines() {
            assert!(workspace.lines().any(|known| known == line), "{line}");
        }
        let own = fs::read_to_string(here("../sdk/Cargo.toml")).unwrap();
        let (_, own) = own.split_once("[dependencies]\n").unwrap();
        let own = own.split_once("\n\n").map_or(own, |(own, _)| own);
        assert_eq!(own.lines().count(), dependencies.lines().count());
    }
}
