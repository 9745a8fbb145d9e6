//! How calls end.

use std::time::Duration;

use super::guest::{ANSWER, Guest, fails_with, ignores, ignores_with};
use super::*;
use crate::policy::wit::types::{Found, Query, Stop};
use crate::policy::{FACT_ROUNDS, Facts, MAX_TABLE_ELEMENTS, Outcome};

const FOREVER: &str = "(loop $on (br $on)) unreachable";

/// The outcome's code, after a look at what every outcome that is no answer must say.
fn code<A>(called: &Called<A>) -> &'static str {
    let silent = matches!(called.outcome, Outcome::Answered(_) | Outcome::Stopped(_));
    assert_eq!(called.outcome.detail().is_none(), silent);
    called.outcome.code()
}

#[test]
fn an_answer_comes_back() {
    let called = ask(&load(ignores(ANSWER)));
    let Outcome::Answered(answer) = &called.outcome else {
        panic!("{:?}", called.outcome)
    };
    assert!(answer.ignored.is_empty());
    assert!(called.fuel > 0 && called.fuel < 10_000, "{}", called.fuel);
}

#[test]
fn the_question_reaches_the_guest() {
    // The pipeline's name is the first string of the context: the guest fails with it as its text.
    let guest = ignores(
        "(i32.store8 (i32.const 1024) (i32.const 1))
         (i32.store8 (i32.const 1032) (i32.const 3))
         (i64.store align=4 (i32.const 1044) (i64.load align=4 (local.get 0)))
         (i32.const 1024)",
    );
    let called = ask(&load(guest));
    let Outcome::Stopped(Stop::Failed(reason)) = &called.outcome else {
        panic!("{:?}", called.outcome)
    };
    assert_eq!(reason.text, "kernels");
}

#[test]
fn a_stop_is_told_from_a_failure() {
    let called = ask(&load(fails_with(
        r#"(data (i32.const 512) "no")"#,
        512,
        2,
        "",
    )));
    let Outcome::Stopped(Stop::Failed(reason)) = &called.outcome else {
        panic!("{:?}", called.outcome)
    };
    assert_eq!(reason.text, "no");
    assert!(called.outcome.is_decision());
}

#[test]
fn the_same_call_has_the_same_answer_and_fuel() {
    let plugin = load(ignores(ANSWER));
    let first = ask(&plugin);
    for _ in 0..100 {
        let next = ask(&plugin);
        assert_eq!((&next.outcome, next.fuel), (&first.outcome, first.fuel));
    }
}

#[test]
fn nothing_is_kept_between_calls() {
    // The second call of an instance would find the mark of the first.
    let plugin = load(ignores(
        "(if (i32.load (i32.const 2048)) (then unreachable))
         (i32.store (i32.const 2048) (i32.const 1))
         (i32.const 1024)",
    ));
    for _ in 0..20 {
        assert_eq!(code(&ask(&plugin)), "answered");
    }
}

#[test]
fn an_endless_loop_runs_out_of_fuel() {
    let called = ask(&load(ignores(FOREVER)));
    assert_eq!(
        called.outcome,
        Outcome::OutOfFuel {
            limit: limits().fuel
        }
    );
    assert_eq!(called.fuel, limits().fuel);
}

#[test]
fn fuel_just_enough_is_enough() {
    let plugin = load(ignores(ANSWER));
    let needed = ask(&plugin).fuel;
    let with = |fuel| {
        let limits = CallLimits { fuel, ..limits() };
        code(&plugin.ignore(&limits, &context(), &question()))
    };
    assert_eq!(with(needed), "answered");
    assert_eq!(with(needed - 1), "out-of-fuel");
}

#[test]
fn the_deadline_ends_what_fuel_does_not() {
    let deadline = Duration::from_millis(30);
    let limits = CallLimits {
        fuel: u64::MAX / 2,
        deadline,
        ..limits()
    };
    let called = load(ignores(FOREVER)).ignore(&limits, &context(), &question());
    assert_eq!(called.outcome, Outcome::Deadline { limit: deadline });
    assert!(called.duration >= deadline);
    assert!(!called.outcome.is_decision());
}

#[test]
fn a_memory_bomb_runs_out_of_memory() {
    let called = ask(&load(ignores(
        "(loop $more
           (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
         unreachable",
    )));
    assert_eq!(code(&called), "out-of-memory");
}

#[test]
fn a_guest_that_survives_a_refusal_may_answer() {
    let called = ask(&load(ignores(
        "(loop $more
           (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
         (i32.const 1024)",
    )));
    assert_eq!(code(&called), "answered");
}

#[test]
fn a_question_that_does_not_fit_is_out_of_memory() {
    let plugin = load(ignores(ANSWER));
    let limits = CallLimits {
        memory_bytes: 256 * 1024,
        ..limits()
    };
    let question = ignore::Question {
        names: "5.15.0-57-generic\0".repeat(100_000),
        ..question()
    };
    assert_eq!(
        code(&plugin.ignore(&limits, &context(), &question)),
        "out-of-memory"
    );
}

#[test]
fn a_table_bomb_runs_out_of_memory() {
    let wanted = MAX_TABLE_ELEMENTS + 1;
    let called = ask(&load(ignores_with(
        "(table $bomb 1 funcref)",
        &format!(
            "(drop (table.grow $bomb (ref.null func) (i32.const 100)))
             (if (i32.eq (i32.const -1) (table.grow $bomb (ref.null func) (i32.const {wanted})))
               (then unreachable))
             (i32.const 1024)"
        ),
    )));
    assert_eq!(code(&called), "out-of-memory");
}

#[test]
fn a_trap_names_the_functions() {
    let called = ask(&load(ignores_with(
        "(func $divide_by_nothing (result i32) (i32.div_u (i32.const 1) (i32.const 0)))
         (func $_ZN6policy5rules4read17h0123456789abcdefE (result i32) (call $divide_by_nothing))",
        "(call $_ZN6policy5rules4read17h0123456789abcdefE)",
    )));
    let Outcome::Trapped {
        message, frames, ..
    } = &called.outcome
    else {
        panic!("{called:?}")
    };
    assert!(message.contains("divide by zero"), "{message}");
    assert_eq!(
        frames[..3],
        ["divide_by_nothing", "policy::rules::read", "decide"]
    );
    let detail = called.outcome.detail().unwrap();
    assert!(
        detail.contains("in divide_by_nothing <- policy::rules::read <- decide"),
        "{detail}"
    );
}

#[test]
fn an_access_out_of_bounds_is_a_trap() {
    let called = ask(&load(ignores("(i32.load (i32.const 0x7fff_0000))")));
    assert_eq!(code(&called), "trapped");
}

#[test]
fn an_endless_recursion_overflows_the_stack() {
    let called = ask(&load(ignores_with(
        "(func $deeper (param i32) (result i32)
           (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))",
        "(call $deeper (i32.const 0))",
    )));
    let Outcome::StackOverflow { frames } = &called.outcome else {
        panic!("{called:?}")
    };
    assert_eq!(frames[0], "deeper");
    assert!(!called.outcome.is_decision());
}

#[test]
fn a_trap_after_the_answer_is_a_trap() {
    let called = ask(&load(ignores_with(
        r#"(func (export "cabi_post_pointsman:policy/ignore@0.1.0#decide") (param i32) unreachable)"#,
        ANSWER,
    )));
    assert_eq!(code(&called), "trapped");
}

#[test]
fn a_giant_string_is_a_bad_answer() {
    let bytes = 17 * 1024 * 1024;
    let grow = format!("(drop (memory.grow (i32.const {})))", bytes / 65536 + 1);
    let called = ask(&load(fails_with("", 2048, bytes, &grow)));
    let Outcome::BadAnswer { detail } = &called.outcome else {
        panic!("{called:?}")
    };
    assert!(detail.contains("too much data"), "{detail}");
}

#[test]
fn a_small_string_named_often_is_a_bad_answer() {
    // `settings.check` gives a list of problems; 900,000 of 24 bytes, all of them zero, are 21 MB in
    // the guest and several times that in the host.
    let plugin = load(settings_guest(
        "(drop (memory.grow (i32.const 400)))
         (i32.store8 (i32.const 1024) (i32.const 1))
         (i32.store (i32.const 1028) (i32.const 65536))
         (i32.store (i32.const 1032) (i32.const 900000))
         (i32.const 1024)",
    ));
    let called = plugin.settings_check(&limits(), "{}");
    let Outcome::BadAnswer { detail } = &called.outcome else {
        panic!("{:?}", called.outcome.code())
    };
    assert!(detail.contains("too much data"), "{detail}");
}

#[test]
fn invalid_utf8_is_a_bad_answer() {
    let called = ask(&load(fails_with(
        r#"(data (i32.const 512) "\ff\fe")"#,
        512,
        2,
        "",
    )));
    let Outcome::BadAnswer { detail } = &called.outcome else {
        panic!("{called:?}")
    };
    assert!(
        detail.contains("utf-8") || detail.contains("UTF-8"),
        "{detail}"
    );
}

#[test]
fn a_string_out_of_bounds_is_a_bad_answer() {
    assert_eq!(
        code(&ask(&load(fails_with("", 0x7fff_0000, 2, "")))),
        "bad-answer"
    );
}

#[test]
fn an_answer_out_of_bounds_or_unaligned_is_a_bad_answer() {
    for address in ["0x7fff_0000", "1025"] {
        let called = ask(&load(ignores(&format!("(i32.const {address})"))));
        assert_eq!(code(&called), "bad-answer", "{address}");
    }
}

#[test]
fn an_unknown_case_is_a_bad_answer() {
    let called = ask(&load(ignores(
        "(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024)",
    )));
    assert_eq!(code(&called), "bad-answer");
}

#[test]
fn a_hook_that_is_not_exported_is_not_called() {
    let plugin = load(ignores(ANSWER));
    assert_eq!(plugin.hooks(), [Hook::Ignore]);
    assert!(!plugin.has_settings());
    let called = plugin.advance(&limits(), &context(), &advance_question());
    assert_eq!((code(&called), called.fuel), ("not-exported", 0));
    assert_eq!(code(&plugin.settings_schema(&limits())), "not-exported");
}

#[test]
fn settings_are_described_and_checked() {
    let plugin = load(settings_guest(ANSWER));
    assert!(plugin.has_settings());
    assert_eq!(
        plugin.settings_schema(&limits()).outcome,
        Outcome::Answered("{}".into())
    );
    assert_eq!(
        plugin.settings_check(&limits(), "{}").outcome,
        Outcome::Answered(Ok(()))
    );
}

#[test]
fn a_settings_check_that_loops_runs_out_of_fuel() {
    let plugin = load(settings_guest(FOREVER));
    assert_eq!(
        code(&plugin.settings_check(&CallLimits::of_settings(), "{}")),
        "out-of-fuel"
    );
}

#[test]
fn one_call_too_many_is_told_so_at_once() {
    let runtime = runtime(RuntimeConfig {
        calls_at_once: 1,
        ..in_process()
    });
    let plugin = load_on(&runtime, ignores(FOREVER)).unwrap();
    let long = CallLimits {
        fuel: 1_000_000_000,
        ..limits()
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| plugin.ignore(&long, &context(), &question()));
        let short = CallLimits {
            fuel: 10,
            ..limits()
        };
        let mut codes = Vec::new();
        while !first.is_finished() {
            codes.push(code(&plugin.ignore(&short, &context(), &question())));
        }
        // Whichever came second: a short call, or the long one while a short one was under way.
        codes.push(code(&first.join().unwrap()));
        assert!(codes.contains(&"busy"), "{codes:?}");
    });
    assert_eq!(code(&ask(&plugin)), "out-of-fuel");
}

#[test]
fn a_call_in_flight_outlives_the_runtime() {
    let runtime = runtime(in_process());
    let plugin = load_on(&runtime, ignores(FOREVER)).unwrap();
    drop(runtime);
    let limits = CallLimits {
        fuel: u64::MAX / 2,
        deadline: Duration::from_millis(20),
        ..limits()
    };
    assert_eq!(
        code(&plugin.ignore(&limits, &context(), &question())),
        "deadline"
    );
}

/// A plugin with settings, whose check runs `check`; its schema is `{}`.
fn settings_guest(check: &str) -> Vec<u8> {
    let fields = format!(
        r#"(data (i32.const 512) "{{}}")
           (func (export "pointsman:policy/settings@0.1.0#schema") (result i32)
             (i32.store (i32.const 1024) (i32.const 512))
             (i32.store (i32.const 1028) (i32.const 2))
             (i32.const 1024))
           (func (export "pointsman:policy/settings@0.1.0#check") (param i32 i32) (result i32)
             {check})"#
    );
    Guest {
        fields: &fields,
        world: "include pointsman:policy/ignore-policy@0.1.0;
                include pointsman:policy/with-settings@0.1.0;",
        ..Guest::default()
    }
    .build()
}

#[test]
fn a_nan_has_one_face() {
    // The bits of a NaN as the time to be asked again: whatever it was made of, they are the same.
    let bits = |nan: &str| {
        let body = format!(
            "(i32.store8 (i32.const 1072) (i32.const 1))
             (i64.store (i32.const 1080) (i64.reinterpret_f64 {nan}))
             {ANSWER}"
        );
        match ask(&load(ignores(&body))).outcome {
            Outcome::Answered(answer) => answer.basis.wake_at.unwrap(),
            outcome => panic!("{outcome:?}"),
        }
    };
    const CANONICAL: u64 = 0x7ff8_0000_0000_0000;
    assert_eq!(bits("(f64.div (f64.const 0) (f64.const 0))"), CANONICAL);
    assert_eq!(
        bits("(f64.add (f64.const -nan:0x4000000012345) (f64.const 1))"),
        CANONICAL
    );
}

#[test]
fn a_guest_that_asks_for_facts_for_ever_is_told_so() {
    struct Nothing(usize);
    impl Facts for Nothing {
        fn find(&mut self, _: &Query) -> Found {
            self.0 += 1;
            Found::Absent
        }
    }
    // `err`, and of `stop` the case `ask`, with one query.
    let plugin = load(ignores(
        "(i32.store8 (i32.const 1024) (i32.const 1))
         (i32.store8 (i32.const 1032) (i32.const 1))
         (i32.store (i32.const 1036) (i32.const 2048))
         (i32.store (i32.const 1040) (i32.const 1))
         (i32.const 1024)",
    ));
    let once = ask(&plugin).fuel;
    let mut facts = Nothing(0);
    let decided = plugin.decide(&limits(), &context(), &question(), &mut facts);
    assert_eq!(facts.0, FACT_ROUNDS);
    assert!(decided.called.fuel > once * FACT_ROUNDS as u64);
    let ending = decided.called.outcome.ending(|_| ("", ""));
    assert_eq!(ending.outcome, "asks-for-ever");
}

#[test]
fn others_are_called_while_one_loops() {
    let (endless, other) = (load(ignores(FOREVER)), load(ignores(ANSWER)));
    let limits = CallLimits {
        fuel: u64::MAX / 2,
        deadline: Duration::from_millis(500),
        ..limits()
    };
    let looping = std::thread::spawn(move || endless.ignore(&limits, &context(), &question()));
    let mut answers = 0;
    while !looping.is_finished() {
        assert_eq!(code(&ask(&other)), "answered");
        answers += 1;
    }
    assert_eq!(code(&looping.join().unwrap()), "deadline");
    assert!(answers > 1, "{answers}");
}
