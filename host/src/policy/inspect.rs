//! What can be told of a component before anything of it is compiled or run.

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::types::TypesRef;
use wasmparser::{Parser, Payload, ValidPayload, Validator, WasmFeatures};

use super::hook::{Hook, full_name};
use super::rejection::Rejection;
use super::wit::{CONTRACT_PACKAGE, CONTRACT_VERSION};

/// The largest component: the engine and standard library that a Python plugin brings are some 18 MB.
pub const MAX_COMPONENT_BYTES: usize = 32 * 1024 * 1024;

/// The longest name that is quoted in a refusal, in characters: names are the plugin's to choose.
const MAX_QUOTED_CHARS: usize = 200;

/// The most exports that a refusal names.
const MAX_QUOTED_EXPORTS: usize = 10;

/// Refuses what is no component, imports more than types and WASI 0.2, or exports no hook.
///
/// Function bodies are skipped here: compiling validates them, in a process with limits.
pub(super) fn inspect(wasm: &[u8]) -> Result<(), Rejection> {
    if wasm.len() > MAX_COMPONENT_BYTES {
        return Err(Rejection::TooLarge {
            bytes: wasm.len(),
            limit: MAX_COMPONENT_BYTES,
        });
    }
    if Parser::is_core_wasm(wasm) {
        return Err(Rejection::CoreModule);
    }
    if !Parser::is_component(wasm) {
        return Err(Rejection::NotWasm {
            found: resemblance(wasm).into(),
        });
    }
    let surface = Surface::read(wasm)?;
    surface.check_imports()?;
    surface.check_exports()
}

/// The outside of a component.
struct Surface {
    /// Imports, with what makes them more than types of the contract and than WASI, if anything does.
    imports: Vec<(String, Option<&'static str>)>,
    exports: Vec<String>,
}

impl Surface {
    fn read(wasm: &[u8]) -> Result<Surface, Rejection> {
        let mut surface = Surface {
            imports: Vec::new(),
            exports: Vec::new(),
        };
        // Lenient on purpose: which features are on is for the compiler to say, in its own words.
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        // Components nest: only the outermost one's imports and exports are the plugin's.
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|error| malformed(&error))?;
            match &payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section.clone() {
                        let name = import
                            .map_err(|error| malformed(&error))?
                            .name
                            .name
                            .to_owned();
                        surface.imports.push((name, None));
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section.clone() {
                        surface.exports.push(
                            export
                                .map_err(|error| malformed(&error))?
                                .name
                                .name
                                .to_owned(),
                        );
                    }
                }
                _ => {}
            }
            if let ValidPayload::End(types) = validator
                .payload(&payload)
                .map_err(|error| malformed(&error))?
            {
                if depth == 0 {
                    for (name, more) in &mut surface.imports {
                        if super::wasi::is_linked(name) {
                            continue;
                        }
                        *more = beyond_types(name, types.as_ref());
                    }
                }
                depth = depth.saturating_sub(1);
            }
        }
        Ok(surface)
    }

    fn check_imports(&self) -> Result<(), Rejection> {
        match self
            .imports
            .iter()
            .find_map(|(name, more)| more.map(|what| (name, what)))
        {
            Some((name, what)) => Err(Rejection::Import {
                import: quoted(name),
                what: what.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn check_exports(&self) -> Result<(), Rejection> {
        let is_hook = |export: &String| {
            Hook::ALL
                .iter()
                .any(|hook| *export == full_name(hook.name()))
        };
        if self.exports.iter().any(is_hook) {
            return Ok(());
        }
        let other_version = |export: &&String| {
            let rest = export
                .strip_prefix(CONTRACT_PACKAGE)
                .and_then(|rest| rest.strip_prefix('/'));
            rest.and_then(|rest| rest.split_once('@'))
                .is_some_and(|(_, version)| version != CONTRACT_VERSION)
        };
        Err(match self.exports.iter().find(other_version) {
            Some(export) => Rejection::ContractVersion {
                export: quoted(export),
                supported: CONTRACT_VERSION,
            },
            None => Rejection::NoHook {
                exports: self
                    .exports
                    .iter()
                    .take(MAX_QUOTED_EXPORTS)
                    .map(|name| format!("`{}`", quoted(name)))
                    .collect(),
            },
        })
    }
}

/// What makes an import more than a set of types of the contract: it has something that runs.
fn beyond_types(name: &str, types: TypesRef<'_>) -> Option<&'static str> {
    let instance = match types.component_item_for_import(name)?.ty {
        ComponentEntityType::Instance(instance) => instance,
        ComponentEntityType::Func(_) => return Some("a function"),
        ComponentEntityType::Module(_) => return Some("a core module"),
        ComponentEntityType::Component(_) => return Some("a component"),
        ComponentEntityType::Value(_) => return Some("a value"),
        ComponentEntityType::Type { .. } => return Some("a type of its own"),
    };
    let is_type = |entity: &ComponentEntityType| {
        matches!(
            entity,
            ComponentEntityType::Type {
                created: ComponentAnyTypeId::Defined(_),
                ..
            }
        )
    };
    if !types[instance]
        .exports
        .values()
        .all(|item| is_type(&item.ty))
    {
        return Some("an interface with functions or resources");
    }
    let ours = name
        .strip_prefix(CONTRACT_PACKAGE)
        .is_some_and(|rest| rest.starts_with('/'));
    (!ours).then_some("an interface of another package")
}

fn malformed(error: &wasmparser::BinaryReaderError) -> Rejection {
    Rejection::Malformed {
        detail: error.message().to_owned(),
        offset: error.offset() as u64,
    }
}

fn quoted(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_control())
        .take(MAX_QUOTED_CHARS)
        .collect()
}

/// What a file that is no WebAssembly looks like.
fn resemblance(bytes: &[u8]) -> &'static str {
    let text = bytes.trim_ascii_start();
    match bytes {
        [] => "it is empty",
        [0x7f, b'E', b'L', b'F', ..] => "it is an ELF file, a native program or library",
        [0x1f, 0x8b, ..] => "it is compressed with gzip",
        [b'P', b'K', ..] => "it is a zip archive",
        [0x00, b'a', b's', b'm', ..] => "its version is unknown, or it is cut short",
        _ if text.starts_with(b"(module") || text.starts_with(b"(component") => {
            "it is WebAssembly as text; `wasm-tools parse` makes it binary"
        }
        _ if text.starts_with(b"<") => "it looks like a web page",
        _ => "it does not begin like WebAssembly",
    }
}
