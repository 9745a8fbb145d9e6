//! From a module to a component, and what one exports.

use anyhow::bail;
use wit_component::{ComponentEncoder, DecodedWasm};

/// What a plugin may import: the package of the contract, of which only types can be asked for.
const CONTRACT: &str = "pointsman:policy/";

/// Makes a component of a module.
///
/// # Errors
///
/// It is no module that `wit-bindgen` made.
pub fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(&crate::heap::at_birth(module)?)?
        .encode()
}

/// What a component exports of the contract.
///
/// # Errors
///
/// When it exports nothing of it, or imports a function or anything from elsewhere: the host gives a
/// plugin its question and nothing else.
pub fn exports(component: &[u8]) -> anyhow::Result<Vec<String>> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("it is no component");
    };
    let world = &resolve.worlds[world];
    for (key, item) in &world.imports {
        let name = resolve.name_world_key(key);
        let has_functions = match item {
            wit_parser::WorldItem::Interface { id, .. } => {
                !resolve.interfaces[*id].functions.is_empty()
            }
            wit_parser::WorldItem::Type { .. } => false,
            wit_parser::WorldItem::Function(_) => true,
        };
        if has_functions || !name.starts_with(CONTRACT) {
            bail!(
                "it imports `{name}`: a plugin has its question and nothing else, so leave out what needs that"
            );
        }
    }
    let names = world.exports.keys().map(|key| resolve.name_world_key(key));
    let of_contract =
        names.filter_map(|name| Some(name.strip_prefix(CONTRACT)?.split('@').next()?.to_owned()));
    let mut exports: Vec<String> = of_contract.collect();
    if exports.is_empty() {
        bail!("it exports no hook: name one in `pointsman_sdk::export!`");
    }
    exports.sort_unstable();
    Ok(exports)
}
