//! Plugins compiled in a child process, for real. The child is this very program, so it has a `main` of
//! its own instead of the test harness, whose lines on stdout would be taken for an artifact.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test without the harness, which is what clippy knows tests by"
)]

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

use bytes::Bytes;
use pointsman_host::policy::{
    COMPILE_DEADLINE, Compiler, Hook, MAX_COMPONENT_BYTES, Plugin, Rejection, Runtime,
    RuntimeConfig, compile_child_main,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The argument that makes this program the compiling child.
const CHILD: &str = "__compile-plugin";

const TESTS: &[(&str, fn())] = &[
    (
        "a_child_compiles_what_this_process_runs",
        a_child_compiles_what_this_process_runs,
    ),
    (
        "the_compilers_words_come_back",
        the_compilers_words_come_back,
    ),
    (
        "a_child_reads_no_more_than_a_component",
        a_child_reads_no_more_than_a_component,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == CHILD) {
        return compile_child_main();
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen = |name: &str| filter.is_none_or(|filter| name.contains(filter.as_str()));
    let mut passed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| chosen(name)) {
        // A failure panics, and so ends with a code that is not zero.
        test();
        println!("test {name} ... ok");
        passed += 1;
    }
    println!("test result: ok. {passed} passed; 0 failed");
    ExitCode::SUCCESS
}

fn a_child_compiles_what_this_process_runs() {
    let cache = tempfile::tempdir().unwrap();
    let plugin = load(
        Compiler::this_program([CHILD]),
        cache.path(),
        "(i32.const 1024)",
    )
    .unwrap();
    assert_eq!(plugin.hooks(), [Hook::Ignore]);
    // What the child made is in the cache, and the next start needs no compiler.
    let broken = Compiler::Child {
        command: vec![OsString::from("/bin/false")],
        deadline: COMPILE_DEADLINE,
    };
    load(broken, cache.path(), "(i32.const 1024)").unwrap();
}

fn the_compilers_words_come_back() {
    let cache = tempfile::tempdir().unwrap();
    let rejection = load(
        Compiler::this_program([CHILD]),
        cache.path(),
        "(memory.size 1)",
    )
    .expect_err("a second memory");
    assert_eq!(rejection.code(), "plugin.does-not-compile");
    assert!(rejection.to_string().contains("memor"), "{rejection}");
}

fn a_child_reads_no_more_than_a_component() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The pipe breaks when the child has seen enough.
    let _ = stdin.write_all(&vec![0; MAX_COMPONENT_BYTES + 1024 * 1024]);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(output.stdout.is_empty());
}

/// Loads a component whose `ignore` has this body.
fn load(compiler: Compiler, cache: &std::path::Path, body: &str) -> Result<Plugin, Rejection> {
    let cache_dir = Some(cache.to_owned());
    let runtime = Runtime::new(RuntimeConfig {
        compiler,
        cache_dir,
        calls_at_once: 4,
    })
    .unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(runtime.load(Bytes::from(component(body))))
}

fn component(body: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path("../wit/0.1").unwrap();
    let world = resolve
        .select_world(&[package], Some("ignore-policy"))
        .unwrap();
    let second = if body.contains("memory.size 1") {
        "(memory 1)"
    } else {
        ""
    };
    let mut module = wat::parse_str(format!(
        r#"(module
          (memory (export "memory") 1) {second}
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
          (func (export "pointsman:policy/ignore@0.1.0#decide") (param i32) (result i32) {body}))"#
    ))
    .unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap().validate(true);
    encoder.encode().unwrap()
}
