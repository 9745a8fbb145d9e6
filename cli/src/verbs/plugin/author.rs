//! `pointsman plugin new` and `build`.

mod beginning;

use std::fs;
use std::io;
use std::path::Path;

use pointsman_host::contract;
use pointsman_host::policy::Hook;
use pointsman_plugin_script::{Contract, javascript, python};
use serde_json::json;

use crate::args::policy::Language;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::text::{bytes, safe};
use crate::progress::Progress;

pub(super) fn new(
    context: &Context,
    language: Language,
    hook: &str,
    name: &str,
) -> Result<Exit, Error> {
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
    let mut files = beginning::files(language, &contract()?, hook, name);
    for (file, text) in contract::FILES {
        files.push((format!("wit/0.1/{file}"), text.to_owned()));
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
    let language = language_of(dir)?;
    let progress = Progress::new(&context.out);
    // Tools say much: on a terminal one line that changes, elsewhere nothing.
    let step = &mut |step: &str| progress.detail(|| step.to_owned());
    let built = match language {
        Language::Rust => pointsman_plugin_build::build_crate(dir, step),
        Language::Js => javascript::build(&contract()?, dir, step),
        Language::Python => python::build(&contract()?, dir, step),
    };
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

/// Each language's manifest says that it is its plugin.
fn language_of(dir: &Path) -> Result<Language, Error> {
    let manifests = [
        ("Cargo.toml", Language::Rust),
        (javascript::MANIFEST, Language::Js),
        (python::MANIFEST, Language::Python),
    ];
    let mut found = manifests
        .iter()
        .filter(|(manifest, _)| dir.join(manifest).is_file());
    match (found.next(), found.next()) {
        (Some((_, language)), None) => Ok(*language),
        (Some((one, _)), Some((other, _))) => Err(Error::hinted(
            format!("{} has {one} and {other}", dir.display()),
            "a plugin has the manifest of the language that it is written in, and no other",
        )),
        _ => Err(Error::hinted(
            format!(
                "{} has no Cargo.toml, package.json or pyproject.toml",
                dir.display()
            ),
            "`pointsman plugin new --hook gate my-gate` makes a plugin to begin with",
        )),
    }
}

fn contract() -> Result<Contract, Error> {
    Contract::read(&contract::FILES).map_err(|error| Error::failed(format!("{error:#}")))
}

/// The name of the folder, which is the plugin's.
fn name_of(dir: &Path) -> Result<String, Error> {
    let whole = fs::canonicalize(dir)
        .map_err(|error| Error::failed(format!("cannot read {}: {error}", dir.display())))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| Error::usage("the folder has no name to take", "name the file with -o"))
}
