//! JavaScript, on QuickJS, compiled into this very program: no Node is needed.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use componentize_qjs::{ComponentizeOpts, Runtime, componentize};

use crate::contract::{self, Contract, Manifest, SETTINGS, WORLD, camel};

/// What makes a folder a JavaScript plugin, and says what it exports.
pub const MANIFEST: &str = "package.json";

/// The author's code, beside it.
const POLICY: &str = "policy.js";

const GLUE: &str = include_str!("javascript/glue.js");

/// Builds the plugin in `dir`, and gives the component. `progress` is told what is going on.
///
/// # Errors
///
/// The manifest does not say what it exports; the code does not load, with the engine's message.
pub fn build(
    contract: &Contract,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<u8>> {
    let exports = contract::named_exports(&Manifest {
        path: &dir.join(MANIFEST),
        parse: |text| serde_json::from_str(text).context("it is no JSON"),
        pointer: "/pointsman/exports",
        remedy: r#"add `"pointsman": {"exports": ["gate"]}`"#,
    })?;
    contract.check_exports(&exports, MANIFEST)?;
    let policy = dir.join(POLICY);
    if !policy.is_file() {
        bail!("there is no {}: the functions are there", policy.display());
    }
    progress("starting the policy in QuickJS, and keeping it as it then is");
    let stage = tempfile::tempdir().context("cannot make a folder to build in")?;
    let wit = stage.path().join("wit");
    contract.write_world(&wit, &exports)?;
    let entry = entry(contract, &exports);
    // The engine resolves imports relative to a file that is there; the entry itself is given as text.
    let manifest = dir.join(MANIFEST);
    let options = ComponentizeOpts {
        wit_path: &wit,
        js_source: &entry,
        js_path: Some(&manifest),
        module_root: Some(dir),
        world_name: Some(WORLD),
        // The host has WASI with nothing behind it: `Date.now()` is the time of the decision.
        stub_wasi: false,
        disable_gc: false,
        runtime: Runtime::DefaultSync,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(componentize(&options)).map_err(|error| {
        anyhow!(
            "{}",
            format!("{error:#}").replace("(/", "(").trim().to_owned()
        )
        .context(format!("{} does not load", policy.display()))
    })
}

/// The glue, with what it is about.
fn entry(contract: &Contract, exports: &[String]) -> String {
    let shapes = contract.shapes(exports, camel);
    let mut entry = format!("{GLUE}\nconst SHAPES = {shapes};\n");
    for name in exports {
        let line = if name == SETTINGS {
            format!("export const {name} = settingsOf(SHAPES.{name}.problems);\n")
        } else {
            format!("export const {name} = hook(\"{name}\", SHAPES.{name});\n")
        };
        entry.push_str(&line);
    }
    entry
}
