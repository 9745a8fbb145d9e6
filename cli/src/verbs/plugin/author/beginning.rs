//! What the folder of a new plugin begins with, in each language.

use pointsman_host::policy::Hook;
use pointsman_plugin_script::{Contract, python};

use crate::args::policy::Language;

/// The sources of the Rust SDK, by their names in `sdk/src`.
macro_rules! sdk {
    ($($file:literal),+ $(,)?) => {
        const SDK: &[(&str, &str)] = &[
            $(($file, include_str!(concat!("../../../../../sdk/src/", $file))),)+
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

/// One of the templates.
macro_rules! template {
    ($($path:expr),+) => {
        include_str!(concat!("../../../../templates/", $($path),+))
    };
}

/// A policy to begin with.
struct Beginning {
    rust: &'static str,
    js: &'static str,
    python: &'static str,
    /// What it is tested with, whatever it is written in.
    cases: &'static str,
}

macro_rules! beginning {
    ($hook:literal) => {
        Beginning {
            rust: template!("rust/", $hook, ".rs"),
            js: template!("js/", $hook, ".js"),
            python: template!("python/", $hook, ".py"),
            cases: template!("cases/", $hook, ".json"),
        }
    };
}

fn of_hook(hook: Hook) -> Beginning {
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

/// Names and texts of all files but the contract's. In those of the languages' own, `{name}`, `{hook}`
/// and `{asked}` stand for what they say.
pub(super) fn files(
    language: Language,
    contract: &Contract,
    hook: Hook,
    name: &str,
) -> Vec<(String, String)> {
    let beginning = of_hook(hook);
    let fill = |text: &str| {
        text.replace("{name}", name)
            .replace("{hook}", hook.name())
            .replace("{asked}", hook.asked())
    };
    let cases = (format!("cases/{hook}.json"), beginning.cases.to_owned());
    let mut files = vec![cases];
    let mut add = |path: &str, text: String| files.push((path.to_owned(), text));
    match language {
        Language::Rust => {
            add(".gitignore", "/target/\n/*.wasm\n".to_owned());
            add("Cargo.toml", fill(template!("rust/Cargo.toml")));
            add("README.md", fill(template!("rust/README.md")));
            add("src/lib.rs", beginning.rust.to_owned());
            add("sdk/Cargo.toml", template!("rust/sdk.toml").to_owned());
            for (file, text) in SDK {
                add(&format!("sdk/src/{file}"), (*text).to_owned());
            }
        }
        Language::Js => {
            add(".gitignore", "/node_modules/\n/*.wasm\n".to_owned());
            add("package.json", fill(template!("js/package.json")));
            add("README.md", fill(template!("js/README.md")));
            add("policy.js", beginning.js.to_owned());
            add("pointsman.js", template!("js/pointsman.js").to_owned());
        }
        Language::Python => {
            add(".gitignore", "__pycache__/\n/.venv/\n/*.wasm\n".to_owned());
            add("pyproject.toml", fill(template!("python/pyproject.toml")));
            add("README.md", fill(template!("python/README.md")));
            add("policy.py", beginning.python.to_owned());
            for (file, text) in python::sdk(contract) {
                add(&file, text);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

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
        let sdk = template!("rust/sdk.toml");
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
