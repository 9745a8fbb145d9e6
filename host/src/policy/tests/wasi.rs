//! Guests that use WASI: everything is there, and there is nothing behind it.

use super::guest::{ANSWER, Guest};
use super::*;
use crate::policy::{LOG_BYTES, Outcome};

/// A guest that imports these functions, each `interface function type`, and runs `body`.
fn guest(imports: &[(&str, &str, &str)], body: &str) -> Vec<u8> {
    let mut world = "include pointsman:policy/ignore-policy@0.1.0;".to_owned();
    let mut lines = String::new();
    for (interface, function, kind) in imports {
        let import = format!(" import wasi:{interface}@0.2.0;");
        if !world.contains(&import) {
            world += &import;
        }
        let name = function.rsplit('.').next().unwrap();
        lines +=
            &format!(r#"(import "wasi:{interface}@0.2.0" "{function}" (func ${name} {kind}))"#);
    }
    Guest {
        imports: &lines,
        body,
        world: &world,
        ..Guest::default()
    }
    .build()
}

/// A guest that answers with a number, as the time at which it wants to be asked again.
fn tells(imports: &[(&str, &str, &str)], number: &str) -> Vec<u8> {
    let body = format!(
        "(i32.store8 (i32.const 1072) (i32.const 1))
         (i64.store (i32.const 1080) {number})
         {ANSWER}"
    );
    guest(imports, &body)
}

fn told(plugin: &Plugin, context: &Context) -> u64 {
    let called = plugin.ignore(&limits(), context, &question());
    match called.outcome {
        Outcome::Answered(answer) => answer.basis.wake_at.unwrap(),
        outcome => panic!("{outcome:?}"),
    }
}

const NOW: (&str, &str, &str) = ("clocks/monotonic-clock", "now", "(result i64)");
const SLEEP: (&str, &str, &str) = (
    "clocks/monotonic-clock",
    "subscribe-duration",
    "(param i64) (result i32)",
);
const BLOCK: (&str, &str, &str) = ("io/poll", "[method]pollable.block", "(param i32)");
const BYTES: (&str, &str, &str) = ("random/random", "get-random-bytes", "(param i64 i32)");
const STDOUT: (&str, &str, &str) = ("cli/stdout", "get-stdout", "(result i32)");
const WRITE: (&str, &str, &str) = (
    "io/streams",
    "[method]output-stream.blocking-write-and-flush",
    "(param i32 i32 i32 i32)",
);

#[test]
fn the_clocks_stand_at_the_decisions_time() {
    let wall = ("clocks/wall-clock", "now", "(param i32)");
    let seconds = tells(
        &[wall],
        "(block (result i64) (call $now (i32.const 2048)) (i64.load (i32.const 2048)))",
    );
    let context = Context {
        at: 1_700_000_000_123,
        ..context()
    };
    assert_eq!(told(&load(seconds), &context), 1_700_000_000);
    let passed = tells(&[NOW], "(i64.sub (call $now) (call $now))");
    assert_eq!(told(&load(passed), &context), 0);
}

/// The deadline stops wasm, not a host that waits: this would take a hundred years.
#[test]
fn a_sleep_is_over_at_once() {
    let plugin = load(guest(
        &[SLEEP, BLOCK],
        &format!(
            "(call $block (call $subscribe-duration (i64.const 3_153_600_000_000_000_000))) {ANSWER}"
        ),
    ));
    assert_eq!(ask(&plugin).outcome.code(), "answered");
}

#[test]
fn a_guest_that_sleeps_until_later_runs_out_of_fuel() {
    let plugin = load(guest(
        &[NOW, SLEEP, BLOCK],
        "(local $began i64)
         (local.set $began (call $now))
         (loop $again
           (call $block (call $subscribe-duration (i64.const 1_000)))
           (br_if $again (i64.eq (call $now) (local.get $began))))
         unreachable",
    ));
    let limits = CallLimits {
        fuel: 100_000,
        ..limits()
    };
    let called = plugin.ignore(&limits, &context(), &question());
    // Each sleep leaves a pollable behind, and those are counted too.
    assert!(
        matches!(called.outcome.code(), "out-of-fuel" | "trapped"),
        "{:?}",
        called.outcome
    );
}

#[test]
fn chance_comes_from_the_seed() {
    let number = tells(
        &[("random/random", "get-random-u64", "(result i64)")],
        "(call $get-random-u64)",
    );
    let twice = tells(
        &[("random/random", "get-random-u64", "(result i64)")],
        "(i64.xor (call $get-random-u64) (call $get-random-u64))",
    );
    let plugin = load(number);
    let seeded = |seed| Context { seed, ..context() };
    assert_eq!(told(&plugin, &seeded(1)), told(&plugin, &seeded(1)));
    assert_ne!(told(&plugin, &seeded(1)), told(&plugin, &seeded(2)));
    assert_ne!(told(&load(twice), &seeded(1)), 0);
}

#[test]
fn a_lot_of_chance_at_once_is_a_trap() {
    let plugin = load(guest(
        &[BYTES],
        &format!(
            "(call $get-random-bytes (i64.const 1_000_000_000_000) (i32.const 2048)) {ANSWER}"
        ),
    ));
    let called = ask(&plugin);
    let Outcome::Trapped {
        message, frames, ..
    } = &called.outcome
    else {
        panic!("{called:?}")
    };
    assert!(message.contains("exceeds limit"), "{message}");
    assert_eq!(frames.last().unwrap(), "decide");
}

#[test]
fn there_are_no_files_no_environment_and_no_arguments() {
    for (interface, function) in [
        ("filesystem/preopens", "get-directories"),
        ("cli/environment", "get-environment"),
        ("cli/environment", "get-arguments"),
    ] {
        let length = format!(
            "(block (result i64) (call ${function} (i32.const 2048)) (i64.load32_u offset=4 (i32.const 2048)))"
        );
        let plugin = load(tells(&[(interface, function, "(param i32)")], &length));
        assert_eq!(told(&plugin, &context()), 0, "{function}");
    }
}

#[test]
fn there_are_no_sockets() {
    let plugin = load(tells(
        &[(
            "sockets/tcp-create-socket",
            "create-tcp-socket",
            "(param i32 i32)",
        )],
        "(block (result i64)
           (call $create-tcp-socket (i32.const 0) (i32.const 2048))
           (i64.add (i64.mul (i64.const 1000) (i64.load8_u (i32.const 2048)))
                    (i64.load8_u offset=4 (i32.const 2048))))",
    ));
    // An error, and of the codes `access-denied` or `not-supported`.
    let told = told(&plugin, &context());
    assert!(matches!(told, 1_001 | 1_002), "{told}");
}

#[test]
fn input_is_at_its_end() {
    let plugin = load(tells(
        &[
            ("cli/stdin", "get-stdin", "(result i32)"),
            (
                "io/streams",
                "[method]input-stream.blocking-read",
                "(param i32 i64 i32)",
            ),
        ],
        "(block (result i64)
           (call $blocking-read (call $get-stdin) (i64.const 10) (i32.const 2048))
           (i64.add (i64.mul (i64.const 1000) (i64.load8_u (i32.const 2048)))
                    (i64.load8_u offset=4 (i32.const 2048))))",
    ));
    // An error, `closed`.
    assert_eq!(told(&plugin, &context()), 1_001);
}

#[test]
fn what_is_printed_is_the_log_and_is_told_with_a_trap() {
    let print = |end: &str| {
        guest(
            &[STDOUT, WRITE],
            &format!(
                r#"(i64.store (i32.const 3000) (i64.const 0x000a_6d6f_6f62)) ;; "boom\n"
                   (call $blocking-write-and-flush (call $get-stdout) (i32.const 3000) (i32.const 5) (i32.const 2048))
                   {end}"#
            ),
        )
    };
    let called = ask(&load(print(ANSWER)));
    assert_eq!(
        (called.outcome.code(), called.log.as_str()),
        ("answered", "boom\n")
    );
    let called = ask(&load(print("unreachable")));
    assert_eq!(called.outcome.code(), "trapped");
    let detail = called.outcome.detail().unwrap();
    assert!(detail.starts_with("the plugin trapped: boom: "), "{detail}");
}

#[test]
fn a_flood_of_output_leaves_its_end() {
    let plugin = load(guest(
        &[STDOUT, WRITE],
        "(local $out i32) (local $left i32)
         (local.set $out (call $get-stdout))
         (local.set $left (i32.const 10_000))
         (memory.fill (i32.const 4096) (i32.const 0x78) (i32.const 4096))
         (loop $more
           (call $blocking-write-and-flush (local.get $out) (i32.const 4096) (i32.const 4096) (i32.const 2048))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))
         (i32.const 1024)",
    ));
    let called = ask(&plugin);
    assert_eq!(called.outcome.code(), "answered");
    assert!(called.log.len() < LOG_BYTES + 64);
    assert!(
        called.log.starts_with("[40951808 bytes before this]\nxxx"),
        "{}",
        &called.log[..40]
    );
}

#[test]
fn a_hoard_of_resources_is_a_trap() {
    let plugin = load(guest(
        &[SLEEP],
        "(loop $more (drop (call $subscribe-duration (i64.const 1))) (br $more)) unreachable",
    ));
    let called = ask(&plugin);
    assert_eq!(called.outcome.code(), "trapped", "{:?}", called.outcome);
}

#[test]
fn a_guest_that_exits_is_told_so() {
    let plugin = load(guest(
        &[("cli/exit", "exit", "(param i32)")],
        "(call $exit (i32.const 0)) unreachable",
    ));
    let detail = ask(&plugin).outcome.detail().unwrap();
    assert!(
        detail.starts_with("the plugin trapped: it ended itself with `exit`"),
        "{detail}"
    );
}

#[test]
fn another_interface_of_wasi_is_refused_by_name() {
    let wasm = guest(
        &[("http/types", "method", "(result i32)")],
        &format!("(drop (call $method)) {ANSWER}"),
    );
    let refused = refusal(wasm);
    assert_eq!(refused.code(), "plugin.import");
    assert!(refused.to_string().contains("wasi:http/types@0.2.0"));
    assert!(refused.hint().contains("wasi:cli"), "{}", refused.hint());
}

#[test]
fn a_function_that_wasi_lacks_is_refused_by_name() {
    let wasm = guest(
        &[("cli/terminal-input", "vanish", "")],
        &format!("(call $vanish) {ANSWER}"),
    );
    let refused = refusal(wasm);
    assert_eq!(refused.code(), "plugin.wrong-types");
    assert!(refused.to_string().contains("vanish"), "{refused}");
}
