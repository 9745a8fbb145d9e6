//! The contract as the two languages need it: a world for what a plugin exports, and the shapes of
//! questions and answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use wit_parser::{
    Docs, Function, InterfaceId, Resolve, SourceMap, Type, TypeDefKind, TypeId, TypeOwner,
};

/// The world that a plugin is built for, beside those that the contract has.
pub(crate) const WORLD: &str = "plugin";

/// What a plugin may export beside hooks.
pub(crate) const SETTINGS: &str = "settings";

/// The types that have a form of their own in a script, by name.
const PACKED: &str = "packed";
const ATTRS: &str = "attrs";

/// What Python keeps for itself, of words that a field could have.
const PYTHON_KEYWORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// The contract, read.
pub struct Contract {
    files: Vec<(String, String)>,
    resolve: Resolve,
    interfaces: Vec<(String, InterfaceId)>,
}

/// Where a plugin says what it exports.
pub(crate) struct Manifest<'a> {
    pub(crate) path: &'a Path,
    pub(crate) parse: fn(&str) -> anyhow::Result<Value>,
    /// A JSON pointer to a list of names.
    pub(crate) pointer: &'a str,
    /// What to do where it says nothing.
    pub(crate) remedy: &'a str,
}

/// What a plugin says that it exports.
pub(crate) fn named_exports(manifest: &Manifest<'_>) -> anyhow::Result<Vec<String>> {
    let path = manifest.path.display();
    let text = fs::read_to_string(manifest.path).with_context(|| format!("cannot read {path}"))?;
    let read = (manifest.parse)(&text).with_context(|| format!("cannot read {path}"))?;
    let named = read.pointer(manifest.pointer).and_then(Value::as_array);
    let named: Option<Vec<String>> = named.and_then(|names| {
        let name = |name: &Value| name.as_str().map(str::to_owned);
        names.iter().map(name).collect()
    });
    named.with_context(|| {
        let remedy = manifest.remedy;
        format!("{path} does not say what the plugin exports: {remedy}")
    })
}

/// How a language writes the name of a field.
pub(crate) type Naming = fn(&str) -> String;

impl Contract {
    /// Reads its files: name and text.
    ///
    /// # Errors
    ///
    /// They are no WIT of one package.
    pub fn read(files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut sources = SourceMap::new();
        for (name, text) in files {
            sources.push(Path::new(name), *text);
        }
        let group = sources
            .parse()
            .map_err(|(_, error)| anyhow::anyhow!("the contract: {error}"))?;
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group)?;
        let interfaces = resolve.packages[package]
            .interfaces
            .iter()
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Ok(Self {
            files: files.iter().map(owned).collect(),
            resolve,
            interfaces,
        })
    }

    /// The interfaces that a plugin can export: the hooks, and `settings`.
    pub(crate) fn exportable(&self) -> impl Iterator<Item = &str> {
        let with_functions =
            |(_, id): &&(String, InterfaceId)| !self.resolve.interfaces[*id].functions.is_empty();
        self.interfaces
            .iter()
            .filter(with_functions)
            .map(|(name, _)| name.as_str())
    }

    /// Refuses what a plugin cannot export, and nothing at all.
    pub(crate) fn check_exports(&self, exports: &[String], place: &str) -> anyhow::Result<()> {
        let known: BTreeSet<&str> = self.exportable().collect();
        let known_list = || known.iter().copied().collect::<Vec<_>>().join(", ");
        if let Some(other) = exports.iter().find(|name| !known.contains(name.as_str())) {
            bail!(
                "{place} names `{other}`, which is no hook: there are {}",
                known_list()
            );
        }
        if exports.iter().all(|name| name == SETTINGS) {
            bail!(
                "{place} names no hook: a plugin answers at least one of {}",
                known_list()
            );
        }
        Ok(())
    }

    /// Writes the contract to a folder, with a world of just these exports.
    pub(crate) fn write_world(&self, dir: &Path, exports: &[String]) -> anyhow::Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let package = "package pointsman:policy@0.1.0;";
        let exports: String = exports
            .iter()
            .map(|name| format!(" export {name};"))
            .collect();
        let world = format!("{package}\nworld {WORLD} {{{exports} }}\n");
        let files = self
            .files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        for (name, text) in files.chain([("plugin.wit", world.as_str())]) {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The shapes of what these hooks are asked and answer, by hook: `{"gate": {"question": ...,
    /// "answer": ...}}`, and those of `settings`: `{"settings": {"problems": ...}}`.
    pub(crate) fn shapes(&self, exports: &[String], naming: Naming) -> Value {
        let mut shapes = serde_json::Map::new();
        for (name, id) in &self.interfaces {
            let interface = &self.resolve.interfaces[*id];
            if !exports.contains(name) {
                continue;
            }
            let shape = |ty: Option<Type>| ty.map(|ty| self.shape(&ty, naming));
            let outcome = |function: &Function| match function.result.map(|ty| self.kind(&ty)) {
                Some(Some(TypeDefKind::Result(result))) => (shape(result.ok), shape(result.err)),
                _ => (None, None),
            };
            if let Some(check) = interface.functions.get("check") {
                shapes.insert(name.clone(), json!({"problems": outcome(check).1}));
            }
            let Some(decide) = interface.functions.get("decide") else {
                continue;
            };
            let (answer, stop) = outcome(decide);
            let mut params = decide.params.iter().map(|param| param.ty);
            let hook = json!({
                "context": shape(params.next()),
                "question": shape(params.next()),
                "answer": answer,
                "stop": stop,
            });
            shapes.insert(name.clone(), hook);
        }
        Value::Object(shapes)
    }

    fn kind(&self, ty: &Type) -> Option<&TypeDefKind> {
        match ty {
            Type::Id(id) => Some(&self.resolve.types[*id].kind),
            _ => None,
        }
    }

    fn shape(&self, ty: &Type, naming: Naming) -> Value {
        let id = match ty {
            Type::String => return json!("string"),
            Type::Bool => return json!("bool"),
            Type::U32 => return json!("u32"),
            Type::S32 => return json!("s32"),
            Type::U64 => return json!("u64"),
            Type::Id(id) => *id,
            // The contract uses no others: a test reads all of it.
            other => return json!(format!("{other:?}")),
        };
        let definition = &self.resolve.types[id];
        match definition.name.as_deref() {
            Some(PACKED) => return json!("packed"),
            Some(ATTRS) => return json!("attrs"),
            _ => {}
        }
        match &definition.kind {
            TypeDefKind::Type(ty) => self.shape(ty, naming),
            TypeDefKind::List(ty) => json!(["list", self.shape(ty, naming)]),
            TypeDefKind::Option(ty) => json!(["option", self.shape(ty, naming)]),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<Value> = tuple
                    .types
                    .iter()
                    .map(|ty| self.shape(ty, naming))
                    .collect();
                json!(["tuple", types])
            }
            TypeDefKind::Record(record) => {
                let fields: Vec<Value> = record
                    .fields
                    .iter()
                    .map(|field| json!([naming(&field.name), self.shape(&field.ty, naming)]))
                    .collect();
                json!(["record", self.path(id), fields])
            }
            TypeDefKind::Enum(cases) => {
                let names: Vec<&str> = cases.cases.iter().map(|case| case.name.as_str()).collect();
                json!(["enum", self.path(id), names])
            }
            TypeDefKind::Variant(cases) => {
                let cases: Vec<Value> = cases
                    .cases
                    .iter()
                    .map(|case| {
                        json!([case.name, case.ty.as_ref().map(|ty| self.shape(ty, naming))])
                    })
                    .collect();
                json!(["variant", self.path(id), cases])
            }
            other => json!(other.as_str()),
        }
    }

    /// Interface and name: `types.past-run`.
    fn path(&self, id: TypeId) -> String {
        let definition = &self.resolve.types[id];
        let name = definition.name.as_deref().unwrap_or_default();
        match self.owner(id) {
            Some(interface) => format!("{interface}.{name}"),
            None => name.to_owned(),
        }
    }

    fn owner(&self, id: TypeId) -> Option<&str> {
        match self.resolve.types[id].owner {
            TypeOwner::Interface(interface) => self.resolve.interfaces[interface].name.as_deref(),
            _ => None,
        }
    }

    /// The types that an interface defines itself, in their order, with its documentation.
    pub(crate) fn interface(&self, name: &str) -> (Option<&str>, Vec<TypeId>) {
        let found = self.interfaces.iter().find(|(held, _)| held == name);
        let Some((_, id)) = found else {
            return (None, Vec::new());
        };
        let interface = &self.resolve.interfaces[*id];
        let own = interface.types.values().copied().filter(|id| {
            // `use` makes a type of the same name that stands for the other.
            !matches!(
                &self.resolve.types[*id].kind,
                TypeDefKind::Type(Type::Id(_))
            )
        });
        (interface.docs.contents.as_deref(), own.collect())
    }

    pub(crate) fn definition(&self, id: TypeId) -> (&str, &TypeDefKind, &Docs) {
        let definition = &self.resolve.types[id];
        let name = definition.name.as_deref().unwrap_or_default();
        (name, &definition.kind, &definition.docs)
    }

    /// What a reference stands for: the definition behind `use` and plain names, and its interface.
    pub(crate) fn behind(&self, id: TypeId) -> (TypeId, Option<&str>) {
        let mut id = id;
        while let TypeDefKind::Type(Type::Id(next)) = &self.resolve.types[id].kind {
            id = *next;
        }
        (id, self.owner(id))
    }
}

/// `wake-at` in Python, and `class_` for what it keeps for itself, as the bindings have it.
pub(crate) fn snake(name: &str) -> String {
    let name = name.replace('-', "_");
    match PYTHON_KEYWORDS.contains(&name.as_str()) {
        true => format!("{name}_"),
        false => name,
    }
}

/// `wake-at` in JavaScript.
pub(crate) fn camel(name: &str) -> String {
    let pascal = pascal(name);
    let mut letters = pascal.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// `past-run` as the name of a type.
pub(crate) fn pascal(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.1");
        let files: Vec<(String, String)> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        Contract::read(&files).unwrap()
    }

    fn simple_shapes<'a>(shape: &'a Value, found: &mut BTreeSet<&'a str>) {
        match shape {
            Value::String(name) => {
                found.insert(name);
            }
            Value::Array(parts) => match parts[0].as_str() {
                Some("enum") => {}
                Some("record" | "variant") => {
                    for field in parts[2].as_array().unwrap() {
                        simple_shapes(&field[1], found);
                    }
                }
                Some("tuple") => {
                    for part in parts[1].as_array().unwrap() {
                        simple_shapes(part, found);
                    }
                }
                _ => simple_shapes(&parts[1], found),
            },
            Value::Object(parts) => {
                for part in parts.values() {
                    simple_shapes(part, found);
                }
            }
            _ => {}
        }
    }

    /// What both files of glue read.
    #[test]
    fn the_contract_has_no_other_shapes() {
        let contract = contract();
        let exports: Vec<String> = contract.exportable().map(str::to_owned).collect();
        assert_eq!(exports.len(), 9, "{exports:?}");
        let shapes = contract.shapes(&exports, camel);
        let mut found = BTreeSet::new();
        simple_shapes(&shapes, &mut found);
        let known = ["attrs", "bool", "packed", "s32", "string", "u32", "u64"];
        assert!(found.iter().all(|name| known.contains(name)), "{found:?}");
        assert_eq!(shapes["gate"]["answer"][2][0][0], "need");
        assert_eq!(shapes["gate"]["answer"][2][0][1][1], "types.need");
        assert_eq!(shapes["settings"]["problems"][0], "list");
    }

    #[test]
    fn a_plugin_exports_hooks() {
        let contract = contract();
        let check = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            contract
                .check_exports(&names, "package.json")
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(&["gate", "settings"]), Ok(()));
        assert!(check(&["settings"]).unwrap_err().contains("names no hook"));
        assert!(check(&[]).unwrap_err().contains("names no hook"));
        let other = check(&["gate", "types"]).unwrap_err();
        assert!(other.contains("`types`, which is no hook"), "{other}");
    }

    #[test]
    fn names_are_those_of_the_language() {
        assert_eq!(snake("wake-at"), "wake_at");
        assert_eq!(snake("class"), "class_");
        assert_eq!(camel("wake-at"), "wakeAt");
        assert_eq!(pascal("past-run"), "PastRun");
    }
}
