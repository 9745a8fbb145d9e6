//! What is taken as a plugin and what is refused, and how compiling goes wrong.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use wit_parser::Resolve;

use super::guest::{ANSWER, Guest, encode, ignores, ignores_with};
use super::*;
use crate::policy::MAX_COMPONENT_BYTES;
use crate::policy::inspect::inspect;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap()
}

#[test]
fn digest_is_the_sha256_of_the_file() {
    let wasm = ignores(ANSWER);
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&wasm));
    assert_eq!(load(wasm).digest(), digest);
}

#[test]
fn one_file_is_one_plugin() {
    let (first, second) = (load(ignores(ANSWER)), load(ignores(ANSWER)));
    assert!(Arc::ptr_eq(&first.0, &second.0));
}

#[test]
fn several_loads_at_once_compile_once() {
    let runtime = runtime(in_process());
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let wasm = Bytes::from(ignores(ANSWER));
    let plugins = tokio.block_on(futures::future::join_all((0..8).map(|_| {
        let (runtime, wasm) = (runtime.clone(), wasm.clone());
        async move { runtime.load(wasm).await.unwrap() }
    })));
    assert!(
        plugins
            .iter()
            .all(|plugin| Arc::ptr_eq(&plugin.0, &plugins[0].0))
    );
}

#[test]
fn what_is_no_component_is_named() {
    let named = |bytes: &[u8]| {
        let rejection = refusal(bytes.to_vec());
        assert_eq!(rejection.code(), "plugin.not-wasm");
        rejection.to_string()
    };
    assert!(named(b"").contains("empty"));
    assert!(named(b"junk").contains("does not begin like WebAssembly"));
    assert!(named(b"  (component)").contains("text"));
    assert!(named(b"\x1f\x8b\x08").contains("gzip"));
    assert!(named(b"\x7fELF\x02").contains("native program"));
    assert!(named(b"\0asm").contains("cut short"));
    assert!(named(b"<!doctype html>").contains("web page"));
}

#[test]
fn a_core_module_is_refused_with_the_remedy() {
    let rejection = refusal(wat::parse_str("(module)").unwrap());
    assert_eq!(rejection, Rejection::CoreModule);
    assert!(rejection.hint().contains("wasm-tools component new"));
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let rejection = refusal(vec![0; MAX_COMPONENT_BYTES + 1]);
    assert_eq!(rejection.code(), "plugin.too-large");
}

#[test]
fn an_import_is_refused_by_name() {
    let wasi =
        r#"(import "wasi:clocks/wall-clock@0.3.0" (instance (export "now" (func (result u64)))))"#;
    let rejection = refusal(component(wasi));
    assert_eq!(rejection.code(), "plugin.import");
    assert!(
        rejection
            .to_string()
            .contains("`wasi:clocks/wall-clock@0.3.0`"),
        "{rejection}"
    );
    assert!(rejection.hint().contains("version 0.2"));

    let imports = [
        r#"(import "log" (func (param "line" string)))"#,
        r#"(import "pointsman:policy/types@0.1.0" (instance (export "peek" (func))))"#,
        r#"(import "pointsman:policy/types@0.1.0" (instance (export "file" (type (sub resource)))))"#,
        r#"(import "acme:types/words@1.0.0" (instance (type $t (enum "a")) (export "t" (type (eq $t)))))"#,
        r#"(import "unit" (core module))"#,
    ];
    for import in imports {
        assert_eq!(
            refusal(component(import)).code(),
            "plugin.import",
            "{import}"
        );
    }
}

#[test]
fn a_component_without_a_hook_is_refused_with_what_it_exports() {
    let rejection = refusal(component(
        r#"(component $inner) (export "inner" (component $inner))"#,
    ));
    assert_eq!(
        rejection,
        Rejection::NoHook {
            exports: vec!["`inner`".into()]
        }
    );
    assert!(rejection.hint().contains("pointsman:policy/ignore@0.1.0"));
    assert!(
        refusal(component(""))
            .to_string()
            .ends_with("it exports nothing")
    );
}

#[test]
fn of_many_exports_a_few_are_named() {
    let exporting = |many: usize| {
        let exports: String = (0..many)
            .map(|n| format!(r#"(export "e{n}" (component $inner))"#))
            .collect();
        refusal(component(&format!("(component $inner) {exports}")))
    };
    let rejection = exporting(900);
    let Rejection::NoHook { exports } = &rejection else {
        panic!("{rejection}")
    };
    assert_eq!(exports.len(), 10);
    let rejection = exporting(5_000);
    assert_eq!(rejection.code(), "plugin.malformed");
    assert!(rejection.to_string().contains("limit"), "{rejection}");
}

/// A component of a contract of its own: the package's header, and what `ignore` holds.
fn other_contract(package: &str, function: &str, version: &str, result: &str) -> Vec<u8> {
    let wit = format!(
        "package {package}; interface ignore {{ {function} }} world guest {{ export ignore; }}"
    );
    let module = format!(
        r#"(module (memory (export "memory") 1)
             (func (export "pointsman:policy/ignore@{version}#decide") (result i32) (i32.const {result})))"#
    );
    encode(Resolve::default(), &wit, &module)
}

#[test]
fn another_version_of_the_contract_is_refused() {
    let wasm = other_contract(
        "pointsman:policy@0.2.0",
        "decide: func() -> u32;",
        "0.2.0",
        "0",
    );
    let rejection = refusal(wasm);
    assert_eq!(rejection.code(), "plugin.contract-version");
    assert!(
        rejection
            .to_string()
            .contains("pointsman:policy/ignore@0.2.0"),
        "{rejection}"
    );
}

#[test]
fn a_hook_of_the_wrong_type_is_refused() {
    let wasm = other_contract(
        "pointsman:policy@0.1.0",
        "decide: func() -> u32;",
        "0.1.0",
        "0",
    );
    assert_eq!(refusal(wasm).code(), "plugin.wrong-types");
}

#[test]
fn a_trap_at_start_is_refused_with_its_names() {
    let rejection = refusal(ignores_with(
        "(func $boot unreachable) (start $boot)",
        ANSWER,
    ));
    assert_eq!(rejection.code(), "plugin.does-not-start");
    assert!(rejection.to_string().contains("in boot"), "{rejection}");
}

#[test]
fn a_loop_at_start_is_refused() {
    let boot = "(func $boot (loop $on (br $on))) (start $boot)";
    let rejection = refusal(ignores_with(boot, ANSWER));
    assert_eq!(rejection.code(), "plugin.does-not-start");
    assert!(rejection.to_string().contains("fuel"), "{rejection}");
}

#[test]
fn a_memory_too_large_to_start_is_refused() {
    let rejection = refusal(
        Guest {
            pages: 4096,
            ..Guest::default()
        }
        .build(),
    );
    assert_eq!(rejection.code(), "plugin.does-not-start");
    assert!(
        rejection.to_string().contains("268435456 bytes"),
        "{rejection}"
    );
}

#[test]
fn what_the_host_does_not_run_does_not_compile() {
    let rejection = refusal(ignores_with("(memory $second 1)", ANSWER));
    assert_eq!(rejection.code(), "plugin.does-not-compile");
}

#[test]
fn a_function_that_does_not_validate_does_not_compile() {
    let mut wasm = ignores("(i32.const 1048575)");
    // The constant's instruction becomes one that no WebAssembly has.
    let constant = [0x41, 0xff, 0xff, 0x3f];
    let at = wasm.windows(4).position(|bytes| bytes == constant).unwrap();
    wasm[at] = 0xff;
    assert_eq!(refusal(wasm).code(), "plugin.does-not-compile");
}

/// Loads with a compiling child that is this shell script.
fn with_child(script: &str, deadline: Duration) -> Rejection {
    let command = ["/bin/sh", "-c", script].map(Into::into).to_vec();
    let runtime = runtime(RuntimeConfig {
        compiler: Compiler::Child { command, deadline },
        ..in_process()
    });
    load_on(&runtime, ignores(ANSWER)).expect_err("there is no artifact")
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_childs_words_are_the_detail() {
    let rejection = with_child("echo it will not do >&2; exit 65", LONG);
    assert_eq!(
        rejection,
        Rejection::DoesNotCompile {
            detail: "it will not do".into()
        }
    );
}

#[test]
fn the_child_is_told_nothing_of_the_environment() {
    let rejection = with_child("echo \"cargo: $CARGO_MANIFEST_DIR\" >&2; exit 65", LONG);
    assert_eq!(
        rejection,
        Rejection::DoesNotCompile {
            detail: "cargo:".into()
        }
    );
}

#[test]
fn a_child_that_takes_for_ever_is_killed() {
    let rejection = with_child("exec sleep 600", Duration::from_millis(100));
    assert_eq!(rejection.code(), "plugin.compile-too-slow");
    let rejection = with_child("kill -XCPU $$", LONG);
    assert_eq!(rejection.code(), "plugin.compile-too-slow");
}

#[test]
fn a_child_out_of_memory_is_told_from_one_that_crashes() {
    let swells = "echo 'memory allocation of 4096 bytes failed' >&2; kill -ABRT $$";
    assert_eq!(with_child(swells, LONG).code(), "plugin.compile-too-big");
    for crash in ["kill -SEGV $$", "kill -ABRT $$", "exit 1"] {
        let rejection = with_child(crash, LONG);
        assert_eq!(rejection.code(), "plugin.host-failed", "{crash}");
        assert!(!rejection.is_plugins_fault());
    }
}

#[test]
fn a_child_that_is_missing_is_the_hosts_fault() {
    let command = vec!["/nowhere/pointsman".into()];
    let compiler = Compiler::Child {
        command,
        deadline: LONG,
    };
    let runtime = runtime(RuntimeConfig {
        compiler,
        ..in_process()
    });
    let rejection = load_on(&runtime, ignores(ANSWER)).unwrap_err();
    assert_eq!(rejection.code(), "plugin.host-failed");
    assert!(
        rejection.to_string().contains("/nowhere/pointsman"),
        "{rejection}"
    );
}

proptest! {
    /// Whatever the file, looking at it ends in an answer.
    #[test]
    fn a_damaged_component_is_refused_or_taken(
        cut in 0usize..4000, at in 0usize..4000, byte in any::<u8>()
    ) {
        let mut wasm = ignores(ANSWER);
        let at = at % wasm.len();
        wasm[at] = byte;
        wasm.truncate(cut.max(8));
        if let Err(rejection) = inspect(&wasm) {
            prop_assert!(!rejection.hint().is_empty());
        }
    }

    #[test]
    fn junk_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(inspect(&bytes).is_err());
    }
}
