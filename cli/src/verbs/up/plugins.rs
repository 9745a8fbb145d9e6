//! The stock plugins: uploaded, and bound where nobody has decided otherwise.

use std::path::{Path, PathBuf};

use pointsman_api::event::Event;
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Binding, Pipeline, PutBinding};
use pointsman_api::plugin::Uploaded;
use serde::Serialize;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::client::Client;
use crate::error::Error;
use crate::output::text::short;
use crate::verbs::plugin::upload;

/// The pipeline of kernel versions, which every record has.
pub(super) const PIPELINE: &str = "kernels";
/// Each stock plugin and the hook that it answers.
const STOCK: [(&str, &str); 2] = [("ignore-patterns", "ignore"), ("kernel-ladder", "advance")];

/// What became of one stock plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Installed {
    pub(super) hook: &'static str,
    /// The plugin that answers the hook now; none if nothing does.
    pub(super) bound: Option<String>,
    /// What was done, or why nothing was.
    pub(super) what: String,
}

/// The directory to take the stock plugins from: the one that was named, else `plugins` beside this
/// program. None if there is no such directory.
pub(super) fn directory(named: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    if let Some(dir) = named {
        for (plugin, _) in STOCK {
            let file = file(dir, plugin);
            if !file.is_file() {
                return Err(Error::usage(
                    format!("{} is not there", file.display()),
                    "--plugins names the directory that holds the stock plugins: `cargo xtask plugins` builds them",
                ));
            }
        }
        return Ok(Some(dir.to_owned()));
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("plugins")));
    Ok(beside.filter(|dir| STOCK.iter().all(|(plugin, _)| file(dir, plugin).is_file())))
}

fn file(dir: &Path, plugin: &str) -> PathBuf {
    dir.join(format!("{plugin}.wasm"))
}

pub(super) fn install(client: &Client, dir: &Path) -> Result<Vec<Installed>, Error> {
    STOCK
        .into_iter()
        .map(|(plugin, hook)| install_one(client, dir, plugin, hook))
        .collect()
}

fn install_one(
    client: &Client,
    dir: &Path,
    plugin: &'static str,
    hook: &'static str,
) -> Result<Installed, Error> {
    let uploaded = upload(client, &file(dir, plugin), plugin, Some("Stock plugin"))?;
    let pipeline: Pipeline = client.get(&client.at(&["pipelines", PIPELINE]))?;
    let bound = pipeline
        .bindings
        .iter()
        .filter(|binding| binding.hook == hook)
        .collect::<Vec<_>>();
    let place = place(&uploaded, plugin, &bound, &|| was_unbound(client, hook))?;
    if let Some((position, settings)) = &place.bind {
        let there = bound.iter().find(|binding| binding.position == *position);
        let address = client.at(&[
            "pipelines",
            PIPELINE,
            "bindings",
            hook,
            &position.to_string(),
        ]);
        let body = PutBinding {
            comment: Some(format!("Stock plugin {plugin}")),
            digest: uploaded.plugin.digest.clone(),
            settings: settings.clone(),
            limits: there.map(|binding| binding.limits).unwrap_or_default(),
        };
        client.send::<Written>(&Method::PUT, &address, &body)?;
    }
    Ok(Installed {
        hook,
        bound: place.bound,
        what: place.what,
    })
}

/// What is to be done with a stock plugin.
#[derive(Debug, PartialEq)]
struct Place {
    /// Where to bind it, with which settings.
    bind: Option<(i32, Value)>,
    bound: Option<String>,
    what: String,
}

/// Decides. People's choices stand: another plugin stays, an older version that they went back to
/// stays, and a hook that they emptied stays empty. Only a build that the server never saw takes the
/// place of an older one of the same name, with the settings that are there.
fn place(
    uploaded: &Uploaded,
    plugin: &str,
    bound: &[&Binding],
    was_unbound: &dyn Fn() -> Result<bool, Error>,
) -> Result<Place, Error> {
    let digest = &uploaded.plugin.digest;
    let name = |digest: &str| format!("{plugin}@{}", short(digest));
    if bound.is_empty() {
        return Ok(if was_unbound()? {
            Place {
                bind: None,
                bound: None,
                what: "left empty, as somebody unbound it".to_owned(),
            }
        } else {
            Place {
                bind: Some((0, json!({}))),
                bound: Some(name(digest)),
                what: "bound".to_owned(),
            }
        });
    }
    if let Some(same) = bound.iter().find(|binding| binding.digest == *digest) {
        return Ok(Place {
            bind: None,
            bound: Some(name(&same.digest)),
            what: "as before".to_owned(),
        });
    }
    let Some(old) = bound.iter().find(|binding| binding.plugin == plugin) else {
        let other = &bound[0];
        return Ok(Place {
            bind: None,
            bound: Some(format!("{}@{}", other.plugin, short(&other.digest))),
            what: format!("left as it is; the stock plugin is {}", name(digest)),
        });
    };
    Ok(if uploaded.generation.is_some() {
        Place {
            bind: Some((old.position, old.settings.clone())),
            bound: Some(name(digest)),
            what: format!("a newer build, in place of {}", name(&old.digest)),
        }
    } else {
        Place {
            bind: None,
            bound: Some(name(&old.digest)),
            what: format!("left as it is; the stock build is {}", name(digest)),
        }
    })
}

/// Whether somebody bound this hook before and emptied it again.
fn was_unbound(client: &Client, hook: &str) -> Result<bool, Error> {
    let name = format!("{PIPELINE}/{hook}/0");
    let address = client
        .at(&["events"])
        .with("kind", "binding")
        .with("name", name)
        .with("limit", 1);
    let events: Page<Event> = client.get(&address)?;
    Ok(!events.items.is_empty())
}

#[cfg(test)]
mod tests {
    use pointsman_api::pipeline::Limits;

    use super::*;
    use chrono::Utc;
    use pointsman_api::plugin::Plugin;

    fn uploaded(digest: &str, generation: Option<i64>) -> Uploaded {
        let plugin = Plugin {
            name: "kernel-ladder".to_owned(),
            digest: digest.repeat(64),
            hooks: vec!["advance".to_owned()],
            size: 1,
            settings_schema: None,
            uploaded_at: Utc::now(),
            uploaded_by: "up".to_owned(),
            generation: 1,
        };
        Uploaded { plugin, generation }
    }

    fn binding(plugin: &str, digest: &str) -> Binding {
        Binding {
            hook: "advance".to_owned(),
            position: 3,
            plugin: plugin.to_owned(),
            digest: digest.repeat(64),
            settings: json!({"a": 1}),
            limits: Limits::default(),
            previous: None,
            generation: 1,
        }
    }

    fn decide(uploaded: &Uploaded, bound: &[&Binding], was_unbound: bool) -> (bool, String) {
        let place = place(uploaded, "kernel-ladder", bound, &|| Ok(was_unbound)).unwrap();
        (
            place.bind.is_some(),
            format!("{}: {}", place.bound.unwrap_or_default(), place.what),
        )
    }

    #[test]
    fn peoples_choices_stand() {
        let new = uploaded("b", Some(7));
        let known = uploaded("b", None);
        let old = binding("kernel-ladder", "a");
        let same = binding("kernel-ladder", "b");
        let other = binding("mine", "c");
        let decisions = [
            decide(&new, &[], false),
            decide(&new, &[], true),
            decide(&known, &[&same], false),
            decide(&new, &[&old], false),
            decide(&known, &[&old], false),
            decide(&new, &[&other], false),
        ];
        insta::assert_debug_snapshot!(decisions, @r#"
        [
            (
                true,
                "kernel-ladder@bbbbbbbbbbbb: bound",
            ),
            (
                false,
                ": left empty, as somebody unbound it",
            ),
            (
                false,
                "kernel-ladder@bbbbbbbbbbbb: as before",
            ),
            (
                true,
                "kernel-ladder@bbbbbbbbbbbb: a newer build, in place of kernel-ladder@aaaaaaaaaaaa",
            ),
            (
                false,
                "kernel-ladder@aaaaaaaaaaaa: left as it is; the stock build is kernel-ladder@bbbbbbbbbbbb",
            ),
            (
                false,
                "mine@cccccccccccc: left as it is; the stock plugin is kernel-ladder@bbbbbbbbbbbb",
            ),
        ]
        "#);
    }

    #[test]
    fn a_newer_build_keeps_place_and_settings() {
        let old = binding("kernel-ladder", "a");
        let place = place(&uploaded("b", Some(7)), "kernel-ladder", &[&old], &|| {
            Ok(false)
        })
        .unwrap();
        assert_eq!(place.bind, Some((3, json!({"a": 1}))));
    }

    #[test]
    fn a_named_directory_has_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            directory(Some(dir.path())).unwrap_err().exit(),
            crate::exit::Exit::Usage
        );
        for (plugin, _) in STOCK {
            std::fs::write(file(dir.path(), plugin), b"").unwrap();
        }
        assert_eq!(
            directory(Some(dir.path())).unwrap().as_deref(),
            Some(dir.path())
        );
    }
}
