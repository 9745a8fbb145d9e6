//! `pointsman plugin`.

mod author;
mod cases;
mod check;
pub(super) mod tools;

use std::path::Path;

use pointsman_api::plugin::{Plugin as Row, Uploaded};
use ureq::http::Method;

use crate::args::policy::Plugin;
use crate::client::{Client, Patience};
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::{bytes, short, time};
use crate::verbs::list;

/// Digits of a SHA-256 in hex.
const DIGEST_DIGITS: usize = 64;

pub(super) fn run(context: &Context, verb: Plugin) -> Result<Exit, Error> {
    match verb {
        Plugin::New { lang, hook, name } => author::new(context, lang, &hook, &name),
        Plugin::Build { dir, output } => author::build(context, &dir, output.as_deref()),
        Plugin::Check { file, settings } => check::run(context, &file, settings.as_deref()),
        Plugin::Test { file, cases } => tools::test(context, &file, &cases),
        Plugin::Bench {
            file,
            cases,
            seconds,
        } => tools::bench(context, &file, &cases, seconds),
        Plugin::Replay {
            bundle,
            plugin,
            repeat,
        } => tools::replay(context, &bundle, plugin.as_deref(), repeat),
        Plugin::List(paging) => {
            let client = context.client()?;
            let nothing = "no plugins: `pointsman plugin upload` adds one";
            list::print::<Row>(context, &client.at(&["plugins"]), &paging, nothing)
        }
        Plugin::Upload { file, name, why } => {
            let client = context.client()?;
            let name = match name {
                Some(name) => name,
                None => name_of(&file)?,
            };
            let uploaded = upload(&client, &file, &name, why.comment.as_deref())?;
            if context.out.is_json() {
                context.out.document(&uploaded)?;
            } else if !context.out.is_quiet() {
                let plugin = &uploaded.plugin;
                let what = match uploaded.generation {
                    Some(generation) => format!("generation {generation}: uploaded"),
                    None => "no change: it was there already:".to_owned(),
                };
                let hooks = plugin.hooks.join(", ");
                context.out.line(format!(
                    "{what} {}@{} ({hooks})",
                    plugin.name,
                    short(&plugin.digest)
                ))?;
            }
            Ok(Exit::Ok)
        }
        Plugin::Show { plugin } => {
            let client = context.client()?;
            let found = find(&client, &plugin)?;
            let address = client.at(&["plugins", &found.digest]);
            list::show(context, &client, &address, |plugin: Row| {
                let schema = plugin.settings_schema;
                context.out.table(&Table::facts(vec![
                    ("plugin", plugin.name),
                    ("digest", plugin.digest),
                    ("hooks", plugin.hooks.join(", ")),
                    ("size", bytes(u64::try_from(plugin.size).unwrap_or(0))),
                    (
                        "uploaded",
                        format!("{} by {}", time(plugin.uploaded_at), plugin.uploaded_by),
                    ),
                    ("generation", plugin.generation.to_string()),
                ]))?;
                match schema {
                    Some(schema) => {
                        context.out.line("\nsettings:")?;
                        context.out.document(&schema)
                    }
                    None => Ok(()),
                }
            })
        }
    }
}

/// Sends a component to the server, which compiles and checks it.
pub(super) fn upload(
    client: &Client,
    file: &Path,
    name: &str,
    comment: Option<&str>,
) -> Result<Uploaded, Error> {
    let bytes = std::fs::read(file)
        .map_err(|error| Error::failed(format!("cannot read {}: {error}", file.display())))?;
    let address = client
        .at(&["plugins"])
        .with("name", name)
        .maybe("comment", comment);
    client.upload(
        &Method::POST,
        &address,
        &[("content-type", "application/wasm")],
        bytes,
        Patience::Long,
    )
}

/// `out/kernel_ladder.wasm` is `kernel-ladder`.
fn name_of(file: &Path) -> Result<String, Error> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(|stem| stem.replace('_', "-").to_lowercase())
        .ok_or_else(|| {
            Error::usage(
                format!("{} gives no name for the plugin", file.display()),
                "name it with --name",
            )
        })
}

/// The one plugin version that `reference` names: a name, `name@digest`, or a digest, each digest in
/// full or by its first digits.
pub(super) fn find(client: &Client, reference: &str) -> Result<Row, Error> {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (Some(name), digest),
        None => (None, reference),
    };
    if digest.is_empty() || digest.len() > DIGEST_DIGITS {
        return Err(Error::usage(
            format!("{reference:?} names no plugin"),
            "write a name, name@digest, or 8 or more digits of a digest",
        ));
    }
    let plugin: Row = client.get(&client.at(&["plugins", digest]))?;
    match name {
        Some(name) if plugin.name != name => Err(Error::hinted(
            format!(
                "{} is a version of {}, not of {name}",
                short(&plugin.digest),
                plugin.name
            ),
            "`pointsman plugin list` shows which versions there are",
        )),
        _ => Ok(plugin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_plugin() {
        for (file, name) in [
            ("target/kernel_ladder.wasm", "kernel-ladder"),
            ("ignore-patterns.wasm", "ignore-patterns"),
            ("My.component.wasm", "my.component"),
        ] {
            assert_eq!(name_of(Path::new(file)).unwrap(), name);
        }
        assert!(name_of(Path::new("..")).is_err());
    }
}
