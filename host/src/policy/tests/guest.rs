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
    /// Its imports, which come first in a module.
    pub(super) imports: &'a str,
    pub(super) fields: &'a str,
    pub(super) body: &'a str,
    /// `export` and `include` lines of its world.
    pub(super) world: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Guest {
            pages: 2,
            imports: "",
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
            imports,
            fields,
            body,
            world,
        } = self;
        let module = format!(
            r#"(module $guest
              {imports}
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
        let wasi = if imports.is_empty() { "" } else { WASI };
        let world = format!("package test:guest; world guest {{ {world} }} {wasi}");
        encode(resolve, &world, &module)
    }
}

/// What the guests here use of WASI.
const WASI: &str = "
package wasi:io@0.2.0 {
  interface error { resource error; }
  interface poll { resource pollable { block: func(); } }
  interface streams {
    use error.{error};
    variant stream-error { last-operation-failed(error), closed }
    resource input-stream { blocking-read: func(len: u64) -> result<list<u8>, stream-error>; }
    resource output-stream {
      blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
    }
  }
}
package wasi:clocks@0.2.0 {
  interface monotonic-clock {
    use wasi:io/poll@0.2.0.{pollable};
    now: func() -> u64;
    subscribe-duration: func(when: u64) -> pollable;
  }
  interface wall-clock {
    record datetime { seconds: u64, nanoseconds: u32 }
    now: func() -> datetime;
  }
}
package wasi:random@0.2.0 {
  interface random {
    get-random-bytes: func(len: u64) -> list<u8>;
    get-random-u64: func() -> u64;
  }
}
package wasi:cli@0.2.0 {
  interface environment {
    get-environment: func() -> list<tuple<string, string>>;
    get-arguments: func() -> list<string>;
  }
  interface exit { exit: func(status: result); }
  interface terminal-input { vanish: func(); }
  interface stdin { use wasi:io/streams@0.2.0.{input-stream}; get-stdin: func() -> input-stream; }
  interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
}
package wasi:filesystem@0.2.0 {
  interface types { resource descriptor; }
  interface preopens {
    use types.{descriptor};
    get-directories: func() -> list<tuple<descriptor, string>>;
  }
}
package wasi:sockets@0.2.0 {
  interface network {
    enum error-code { unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
      concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit,
      address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-reset,
      connection-aborted, datagram-too-large, name-unresolvable, temporary-resolver-failure,
      permanent-resolver-failure }
    enum ip-address-family { ipv4, ipv6 }
  }
  interface tcp { resource tcp-socket; }
  interface tcp-create-socket {
    use network.{error-code, ip-address-family};
    use tcp.{tcp-socket};
    create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
  }
}
package wasi:http@0.2.0 {
  interface types { method: func() -> u32; }
}
";

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
