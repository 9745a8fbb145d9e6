//! Makes small components.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where a guest's answer lies. The memory there is zero, which reads as `ok` of an empty answer.
pub(super) const ANSWER: &str = "(i32.const 1024)";

/// A guest that answers `ignore` by running `body`, which leaves the address of the answer.
pub(super) fn ignores(body: &str) -> Vec<u8> {
    Guest {
        body,
        ..Guest::default()
    }
    .build()
}

/// The same with more fields in its module: functions, data, tables.
pub(super) fn ignores_with(fields: &str, body: &str) -> Vec<u8> {
    Guest {
        fields,
        body,
        ..Guest::default()
    }
    .build()
}

/// A guest that stops with `failed`, and a reason whose text is at this address and so long.
pub(super) fn fails_with(fields: &str, text: u32, bytes: u32, before: &str) -> Vec<u8> {
    let body = format!(
        "{before}
         (i32.store8 (i32.const 1024) (i32.const 1)) ;; err
         (i32.store8 (i32.const 1032) (i32.const 3)) ;; stop.failed
         (i32.store (i32.const 1044) (i32.const {text}))
         (i32.store (i32.const 1048) (i32.const {bytes}))
         {ANSWER}"
    );
    ignores_with(fields, &body)
}

/// A guest in the making.
pub(super) struct Guest<'a> {
    pub(super) pages: u32,
    pub(super) fields: &'a str,
    pub(super) body: &'a str,
    /// `export` and `include` lines of its world.
    pub(super) world: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Guest {
            pages: 2,
            fields: "",
            body: ANSWER,
            world: "include pointsman:policy/ignore-policy@0.1.0;",
        }
    }
}

impl Guest<'_> {
    pub(super) fn build(&self) -> Vec<u8> {
        let Guest {
            pages,
            fields,
            body,
            world,
        } = self;
        let module = format!(
            r#"(module $guest
              (memory (export "memory") {pages})
              (global $heap (mut i32) (i32.const 65536))
              (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                (global.set $heap (i32.add (local.get $at) (local.get 3)))
                (block $fits
                  (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
                  (br_if $fits (i32.ne (i32.const -1)
                    (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536))))))
                  unreachable)
                (local.get $at))
              {fields}
              (func $decide (export "pointsman:policy/ignore@0.1.0#decide") (param i32) (result i32)
                {body}))"#
        );
        let mut resolve = Resolve::default();
        resolve.push_path("../wit/0.1").unwrap();
        let world = format!("package test:guest; world guest {{ {world} }}");
        encode(resolve, &world, &module)
    }
}

/// Wraps a module in a component of the only world of `wit`.
pub(super) fn encode(mut resolve: Resolve, wit: &str, module: &str) -> Vec<u8> {
    let package = resolve.push_source("guest.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap().validate(true);
    encoder.encode().unwrap()
}
