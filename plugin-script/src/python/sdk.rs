//! The contract's types as a package of Python: so that an editor knows them, and an answer is written
//! with what it holds and no more.

use std::collections::BTreeSet;

use wit_parser::{Type, TypeDefKind, TypeId};

use crate::contract::{Contract, pascal, snake};

/// The shared types of the contract.
const SHARED: &str = "types";

/// The files of the package `pointsman`: name and text.
#[must_use]
pub fn sdk(contract: &Contract) -> Vec<(String, String)> {
    let mut files = vec![(
        "pointsman/__init__.py".to_owned(),
        include_str!("init.py").to_owned(),
    )];
    let hooks = contract
        .exportable()
        .filter(|name| *name != crate::contract::SETTINGS);
    for interface in [SHARED].into_iter().chain(hooks) {
        let module = Module::new(contract, interface).write();
        files.push((format!("pointsman/{interface}.py"), module));
    }
    files
}

/// One interface on its way to a module.
struct Module<'a> {
    contract: &'a Contract,
    interface: &'a str,
    /// Names from the shared types that it uses.
    shared: BTreeSet<String>,
    /// What it is made of, by kind of import.
    uses: BTreeSet<&'static str>,
}

impl<'a> Module<'a> {
    fn new(contract: &'a Contract, interface: &'a str) -> Self {
        Module {
            contract,
            interface,
            shared: BTreeSet::new(),
            uses: BTreeSet::new(),
        }
    }

    fn write(mut self) -> String {
        let (docs, types) = self.contract.interface(self.interface);
        let body: String = types.into_iter().map(|id| self.definition(id)).collect();
        let docs = docs.unwrap_or("").trim_end();
        let mut text = format!(
            "\"\"\"{docs}\n\"\"\"\n\nfrom __future__ import annotations\n\nfrom dataclasses import dataclass, field\n"
        );
        if !self.uses.is_empty() {
            let names: Vec<&str> = self.uses.iter().copied().collect();
            text.push_str(&format!("from typing import {}\n", names.join(", ")));
        }
        if !self.shared.is_empty() {
            let names: Vec<&str> = self.shared.iter().map(String::as_str).collect();
            text.push_str(&format!("\nfrom .{SHARED} import {}\n", names.join(", ")));
        }
        text.push_str(&body);
        text
    }

    fn definition(&mut self, id: TypeId) -> String {
        let contract = self.contract;
        let (name, kind, docs) = contract.definition(id);
        let class = pascal(name);
        let docs = docs.contents.as_deref();
        match kind {
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter().map(|field| {
                    // The binding's settings are read before a policy sees them.
                    let settings = name == "context" && field.name == "settings";
                    let (ty, default) = if settings {
                        self.uses.insert("Any");
                        (
                            "dict[str, Any]".to_owned(),
                            Some("field(default_factory=dict)"),
                        )
                    } else {
                        self.field(&field.ty)
                    };
                    (
                        snake(&field.name),
                        ty,
                        default,
                        field.docs.contents.as_deref(),
                    )
                });
                let fields: Vec<_> = fields.collect();
                // Fields that must be there may stand behind others.
                let keywords = fields.iter().any(|(_, _, default, _)| default.is_none());
                let decorator = match keywords {
                    true => "@dataclass(kw_only=True)",
                    false => "@dataclass",
                };
                let mut text = format!("\n\n{decorator}\nclass {class}:\n");
                if let Some(docs) = docs {
                    text.push_str(&doc(docs));
                    text.push('\n');
                }
                for (field, ty, default, docs) in fields {
                    let default = default.map_or(String::new(), |default| format!(" = {default}"));
                    text.push_str(&format!("    {field}: {ty}{default}\n"));
                    if let Some(docs) = docs {
                        text.push_str(&doc(docs));
                    }
                }
                text
            }
            TypeDefKind::Enum(cases) => {
                let names = cases.cases.iter().map(|case| case.name.as_str());
                let named = self.literal(names);
                let mut text = format!("\n\n{class} = {named}\n");
                if let Some(docs) = docs {
                    text.push_str(&format!("\"\"\"{}\"\"\"\n", docs.trim_end()));
                }
                text
            }
            // A stop is an exception in Python.
            TypeDefKind::Variant(_) if name == "stop" => String::new(),
            TypeDefKind::Variant(cases) => {
                let tag = self.literal(cases.cases.iter().map(|case| case.name.as_str()));
                let vals: Vec<Type> = cases.cases.iter().filter_map(|case| case.ty).collect();
                let vals: Vec<String> = vals.iter().map(|ty| self.field(ty).0).collect();
                let val = vals.join(" | ");
                format!(
                    "\n\n@dataclass\nclass {class}:\n    tag: {tag}\n    val: {val} | None = None\n"
                )
            }
            // Names for strings, numbers and attrs.
            _ => String::new(),
        }
    }

    fn literal<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> String {
        self.uses.insert("Literal");
        let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
        format!("Literal[{}]", names.join(", "))
    }

    /// The type of a field, and what stands for one that is left out; none: it must be there.
    fn field(&mut self, ty: &Type) -> (String, Option<&'static str>) {
        let id = match ty {
            Type::String => return ("str".to_owned(), Some("\"\"")),
            Type::Bool => return ("bool".to_owned(), Some("False")),
            Type::Id(id) => *id,
            _ => return ("int".to_owned(), Some("0")),
        };
        let contract = self.contract;
        let list = Some("field(default_factory=list)");
        let (id, owner) = contract.behind(id);
        let (name, kind, _) = contract.definition(id);
        match (name, kind) {
            ("packed", _) => ("list[str]".to_owned(), list),
            ("attrs", _) => (
                "dict[str, str]".to_owned(),
                Some("field(default_factory=dict)"),
            ),
            (_, TypeDefKind::Type(ty)) => self.field(ty),
            (_, TypeDefKind::List(ty)) => (format!("list[{}]", self.field(ty).0), list),
            (_, TypeDefKind::Option(ty)) => (format!("{} | None", self.field(ty).0), Some("None")),
            (_, TypeDefKind::Tuple(tuple)) => {
                let types: Vec<String> = tuple.types.iter().map(|ty| self.field(ty).0).collect();
                (format!("tuple[{}]", types.join(", ")), None)
            }
            _ => {
                let class = pascal(name);
                if owner.is_some_and(|owner| owner != self.interface) {
                    self.shared.insert(class.clone());
                }
                (class, None)
            }
        }
    }
}

/// Documentation as a string inside a class.
fn doc(docs: &str) -> String {
    let lines: Vec<&str> = docs.trim_end().lines().collect();
    match lines.as_slice() {
        [line] => format!("    \"\"\"{line}\"\"\"\n"),
        lines => {
            let lines: Vec<String> = lines
                .iter()
                .map(|line| {
                    if line.is_empty() {
                        String::new()
                    } else {
                        format!("    {line}")
                    }
                })
                .collect();
            format!("    \"\"\"{}\n    \"\"\"\n", lines.join("\n").trim_start())
        }
    }
}
