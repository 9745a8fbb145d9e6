//! The contract of a released version never changes, but for its comments.
//!
//! `wit/released/` has what each version was when it was released, printed from its files in one form and
//! without comments. Where the files of `wit/` come to another print, the structure changed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use similar::{ChangeTag, TextDiff};
use wit_component::WitPrinter;
use wit_parser::{InterfaceId, PackageId, Resolve, SourceMap, Type, TypeDefKind};

/// `RELEASE_WIT=0.2 cargo test --test released` writes down what that version is from then on.
const RELEASE: &str = "RELEASE_WIT";

/// Files of one package: names and texts.
type Files = Vec<(String, String)>;

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

fn files(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Files = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    // Which file an interface is in is no matter of structure.
    files.sort();
    files
}

/// Versions that were released, with what they were then.
fn released() -> Files {
    let kept = files(&wit().join("released")).into_iter();
    let kept = kept.filter_map(|(name, text)| Some((name.strip_suffix(".wit")?.to_owned(), text)));
    kept.collect()
}

fn resolve(files: &[(String, String)]) -> Result<(Resolve, PackageId), String> {
    let mut sources = SourceMap::new();
    for (name, text) in files {
        sources.push(Path::new(name), text);
    }
    let group = sources.parse().map_err(|(_, error)| error.to_string())?;
    let mut resolve = Resolve::default();
    let package = resolve
        .push_group(group)
        .map_err(|error| format!("{error:#}"))?;
    Ok((resolve, package))
}

/// Packages, interfaces, types, functions and worlds in one form, without comments.
fn structure(files: &[(String, String)]) -> Result<String, String> {
    let (mut resolve, package) = resolve(files)?;
    resolve.packages[package].interfaces.sort_keys();
    resolve.packages[package].worlds.sort_keys();
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer
        .print(&resolve, package, &[])
        .map_err(|error| format!("{error:#}"))?;
    Ok(printer.output.to_string())
}

/// What is not as it was released, and what to do; none: all is.
fn changes(version: &str, released: &str, files: &[(String, String)]) -> Option<String> {
    let now = match structure(files) {
        Ok(now) if now == released => return None,
        Ok(now) => now,
        Err(error) => {
            return Some(format!(
                "wit/{version} was released, and is no WIT: {error}"
            ));
        }
    };
    let mut text = format!("wit/{version} was released, and is another now:\n");
    let diff = TextDiff::from_lines(released, &now);
    for group in diff.grouped_ops(2) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            write!(text, "{sign} {change}").unwrap();
        }
        text.push_str("  ...\n");
    }
    text.push_str(
        "A component that was built for it would no longer run. Take the change back, and make it in a \
         version beside this one (wit/0.2); comments alone may be made clearer.",
    );
    Some(text)
}

#[test]
fn a_released_version_is_frozen() {
    if let Some(version) = std::env::var_os(RELEASE) {
        let version = version.to_str().unwrap();
        let kept = wit().join(format!("released/{version}.wit"));
        assert!(!kept.exists(), "{version} was released before");
        fs::write(kept, structure(&files(&wit().join(version))).unwrap()).unwrap();
    }
    let released = released();
    assert!(released.iter().any(|(version, _)| version == "0.1"));
    for (version, kept) in released {
        if let Some(changes) = changes(&version, &kept, &files(&wit().join(&version))) {
            panic!("{changes}");
        }
    }
}

/// The newest files of 0.1, with a change.
fn changed(file: &str, from: &str, to: &str) -> Files {
    let mut files = files(&wit().join("0.1"));
    let (_, text) = files.iter_mut().find(|(name, _)| name == file).unwrap();
    assert!(text.contains(from), "{file} has no `{from}`");
    *text = text.replacen(from, to, 1);
    files
}

fn found(files: &Files) -> Option<String> {
    let released = released();
    let (_, kept) = released
        .iter()
        .find(|(version, _)| version == "0.1")
        .unwrap();
    changes("0.1", kept, files)
}

#[test]
fn every_change_of_structure_is_found_and_shown() {
    let field = "    changed-total: u32,\n";
    for (file, from, to, shown) in [
        // A field: another type, another name, one more, one less, another place.
        (
            "types.wit",
            field,
            "    changed-total: u64,\n",
            "+     changed-total: u64,",
        ),
        (
            "types.wit",
            field,
            "    changed-count: u32,\n",
            "+     changed-count: u32,",
        ),
        (
            "types.wit",
            field,
            "    changed-total: u32, x: u8,\n",
            "+     x: u8,",
        ),
        ("types.wit", field, "", "-     changed-total: u32,"),
        (
            "types.wit",
            "name: string,\n    /// Who put it on.\n    by: string,",
            "by: string, name: string,",
            "+     by: string,",
        ),
        // A function: gone, renamed, with another result, with one more parameter.
        (
            "worlds.wit",
            "  check: func(settings: string) -> result<_, list<problem>>;\n",
            "",
            "-   check: func(settings: string)",
        ),
        (
            "worlds.wit",
            "  schema: func()",
            "  json-schema: func()",
            "+   json-schema: func()",
        ),
        (
            "worlds.wit",
            "func() -> string",
            "func() -> result<string>",
            "+   schema: func() -> result<string>;",
        ),
        (
            "worlds.wit",
            "func(settings: string)",
            "func(settings: string, old: string)",
            "+   check: func(",
        ),
        // A case: renamed, one more, one less, another place, with something in it.
        (
            "types.wit",
            "    inconclusive,\n",
            "    unknown,\n",
            "+     unknown,",
        ),
        (
            "types.wit",
            "    inconclusive,\n",
            "    inconclusive, lost,\n",
            "+     lost,",
        ),
        ("types.wit", "    rejected,\n", "", "-     rejected,"),
        (
            "types.wit",
            "    absent,\n",
            "    absent(string),\n",
            "+     absent(string),",
        ),
        // Names and aliases of types, an interface, a world, the package.
        (
            "types.wit",
            "type instant = u64",
            "type instant = s64",
            "+   type instant = s64;",
        ),
        ("merge.wit", "interface react {", "interface reacts {", ""),
        (
            "worlds.wit",
            "world with-settings { export settings; }\n",
            "world with-settings {}\n",
            "-   export settings;",
        ),
        (
            "types.wit",
            "policy@0.1.0",
            "policy@0.1.1",
            "+ package pointsman:policy@0.1.1;",
        ),
    ] {
        let said =
            found(&changed(file, from, to)).unwrap_or_else(|| panic!("`{to}` was not found"));
        assert!(said.contains(shown), "`{shown}` is not in:\n{said}");
        assert!(
            said.contains("wit/0.2") || said.contains("is no WIT"),
            "{said}"
        );
    }
}

#[test]
fn comments_and_files_may_change() {
    let clearer = changed(
        "types.wit",
        "    /// The target branch.\n",
        "    /// Where it lands.\n",
    );
    assert_eq!(found(&clearer), None);
    let mut moved = files(&wit().join("0.1"));
    let (_, worlds) = moved
        .iter_mut()
        .find(|(name, _)| name == "worlds.wit")
        .unwrap();
    let (before, after) = worlds.split_once("/// One world a hook.").unwrap();
    let (settings, rest) = (before.to_owned(), after.to_owned());
    *worlds = format!("/// One world a hook.{rest}");
    moved.push(("a-settings.wit".to_owned(), settings));
    moved.sort();
    assert_eq!(found(&moved), None);
}

/// What an author reads: each interface, function, type, field and case says what it is.
#[test]
fn everything_is_documented() {
    for (version, _) in released() {
        let (resolve, package) = resolve(&files(&wit().join(&version))).unwrap();
        let mut bare = vec![];
        for id in resolve.packages[package].interfaces.values() {
            undocumented(&resolve, *id, &mut bare);
        }
        assert!(bare.is_empty(), "wit/{version} says nothing of {bare:#?}");
    }
}

fn undocumented(resolve: &Resolve, id: InterfaceId, bare: &mut Vec<String>) {
    let interface = &resolve.interfaces[id];
    let name = interface.name.as_deref().unwrap();
    let mut look = |what: String, docs: &wit_parser::Docs| {
        if docs.contents.is_none() {
            bare.push(what);
        }
    };
    look(name.to_owned(), &interface.docs);
    for (function, of) in &interface.functions {
        look(format!("{name}.{function}"), &of.docs);
    }
    for (ty, id) in &interface.types {
        let definition = &resolve.types[*id];
        // `use` makes a type that stands for another one.
        if matches!(definition.kind, TypeDefKind::Type(Type::Id(_))) {
            continue;
        }
        look(format!("{name}.{ty}"), &definition.docs);
        let part = |part: &str| format!("{name}.{ty}.{part}");
        match &definition.kind {
            TypeDefKind::Record(record) => {
                record
                    .fields
                    .iter()
                    .for_each(|f| look(part(&f.name), &f.docs));
            }
            TypeDefKind::Enum(cases) => {
                cases
                    .cases
                    .iter()
                    .for_each(|c| look(part(&c.name), &c.docs));
            }
            TypeDefKind::Variant(cases) => {
                cases
                    .cases
                    .iter()
                    .for_each(|c| look(part(&c.name), &c.docs));
            }
            _ => {}
        }
    }
}
