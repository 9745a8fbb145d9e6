//! What a job leaves, friendly and hostile, and what of it comes into the report.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

mod common;

use std::fs;
use std::path::Path;

use common::{Bench, other_user, sh};
use pointsman_jobs::limits::{
    MAX_PROBLEMS, MAX_TEST_MESSAGE_BYTES, MAX_TEST_NAME_BYTES, MAX_TESTS,
};
use pointsman_jobs::{Report, Spec, TestOutcome};

/// Runs a script and collects what it left.
async fn left(bench: &Bench, spec: &Spec) -> (pointsman_jobs::AttemptId, Report) {
    let (id, exit) = bench.run("job", spec).await;
    assert_eq!(
        exit.outcome.exit_code(),
        Some(0),
        "{}",
        bench.log(&id).await
    );
    let report = bench.local.collect(&id).await.unwrap();
    (id, report)
}

fn texts(report: &Report) -> String {
    let lines = report.problems.iter().map(|problem| {
        let path = problem.path.as_deref().unwrap_or("-");
        format!("{} {path}: {}\n", problem.code, problem.text)
    });
    lines.collect()
}

#[tokio::test]
async fn artifacts_are_what_the_globs_say_and_links_are_not_followed() {
    let bench = Bench::new();
    let secret = bench.path("not-for-jobs");
    fs::write(&secret, "root:x").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let script = format!(
        "mkdir -p out/deep logs; echo 12345 > out/a.txt; echo x > out/deep/b.txt; echo l > logs/l.log; echo n > no.txt
         ln -s {0} out/shadow; ln -s / out/root; ln -s out logs/again; mkfifo out/fifo; ln {0} out/hard 2> /dev/null
         echo kept > 'out/name with space.txt'; ln -s ../.. work-link; true",
        secret.display()
    );
    let mut spec = sh(&script);
    spec.user = other_user(7);
    spec.artifacts = [
        "out",
        "./logs/*.log",
        "out/a.txt",
        "missing/**",
        "work-link/**",
    ]
    .map(str::to_owned)
    .to_vec();
    let (id, report) = left(&bench, &spec).await;
    let found: Vec<_> = report
        .artifacts
        .iter()
        .map(|a| (a.path.as_str(), a.bytes))
        .collect();
    let mut expected = vec![
        ("logs/l.log", 2),
        ("out/a.txt", 6),
        ("out/deep/b.txt", 2),
        ("out/name with space.txt", 5),
    ];
    let is_other = spec.user.is_some();
    if !is_other {
        // Its own file, which it may keep.
        expected.insert(3, ("out/hard", 6));
    }
    assert_eq!(found, expected);
    let problems = texts(&report);
    for path in ["out/shadow", "out/root"] {
        assert!(
            problems.contains(&format!("not-kept {path}: it is a link")),
            "{problems}"
        );
    }
    assert!(
        problems.contains("not-kept out/fifo: it is not a plain file"),
        "{problems}"
    );

    let mut kept = String::new();
    let mut file = bench.local.open_artifact(&id, "out/a.txt").await.unwrap();
    std::io::Read::read_to_string(&mut file, &mut kept).unwrap();
    assert_eq!(kept, "12345\n");
    for path in [
        "out/shadow",
        "out/root/etc/passwd",
        "../spec.json",
        "/etc/passwd",
        "out",
        "",
        "out/fifo",
        "a/../out/a.txt",
    ] {
        let error = bench.local.open_artifact(&id, path).await.unwrap_err();
        assert_eq!(error.code(), "refused", "{path}");
    }
    // A hard link to somebody else's file, as a kernel without `protected_hardlinks` would let a job make.
    if is_other {
        let hard = bench.attempt(&id).join("work/out/hard-link");
        fs::hard_link(&secret, &hard).unwrap();
        let report = bench.local.collect(&id).await.unwrap();
        assert!(texts(&report).contains("out/hard-link: it belongs to another user"));
        assert_eq!(report.artifacts.len(), expected.len());
        assert_eq!(
            bench
                .local
                .open_artifact(&id, "out/hard-link")
                .await
                .unwrap_err()
                .code(),
            "refused"
        );
    }
}

#[tokio::test]
async fn outputs_are_parsed_within_bounds() {
    let bench = Bench::new();
    let script = "echo 'drift.files=a b=c' >> $POINTSMAN_OUTPUTS; echo >> $POINTSMAN_OUTPUTS
        echo 'no equals sign' >> $POINTSMAN_OUTPUTS; echo 'bad key=1' >> $POINTSMAN_OUTPUTS
        echo 'code=1' >> $POINTSMAN_OUTPUTS; echo 'code=2' >> $POINTSMAN_OUTPUTS
        printf 'long=' >> $POINTSMAN_OUTPUTS; head -c 10000 /dev/zero | tr '\\0' x >> $POINTSMAN_OUTPUTS
        echo >> $POINTSMAN_OUTPUTS; printf 'byte=\\377\\n' >> $POINTSMAN_OUTPUTS";
    let (id, report) = left(&bench, &sh(script)).await;
    let outputs: Vec<_> = report
        .outputs
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        outputs,
        [
            ("byte", "\u{fffd}"),
            ("code", "2"),
            ("drift.files", "a b=c")
        ]
    );
    assert_eq!(report.problems.len(), 3, "{}", texts(&report));
    bench.local.forget(&id).await.unwrap();

    let script = "i=0; while [ $i -lt 500 ]; do echo k$i=v; i=$((i+1)); done > $POINTSMAN_OUTPUTS; yes k0=flood | head -c 300000 >> $POINTSMAN_OUTPUTS";
    let (_, report) = left(&bench, &sh(script)).await;
    assert_eq!(report.outputs.len(), 256);
    assert!(texts(&report).contains("only the first 256 outputs"));
}

#[tokio::test]
async fn real_reports_of_three_runners_are_read() {
    let bench = Bench::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit");
    let mut spec = sh(&format!("mkdir r; cp {}/*.xml r", samples.display()));
    spec.junit = vec!["r/*.xml".to_owned()];
    let (_, report) = left(&bench, &spec).await;
    assert_eq!(texts(&report), "");
    let tests = report.tests;
    assert_eq!(
        (
            tests.total,
            tests.passed,
            tests.failed,
            tests.errored,
            tests.skipped
        ),
        (13, 4, 3, 3, 3)
    );
    let told: Vec<String> = tests
        .kept
        .iter()
        .map(|test| {
            let first = test.message.lines().next().unwrap_or_default();
            format!(
                "{:?} {} | {} | {}ms | {first}",
                test.outcome, test.suite, test.name, test.duration_ms
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "Failed com.example.InvoiceTest | rounds | 13ms | expected: <10.00> but was: <9.99>",
            "Failed pointsman-detect::merge | merge::image_and_headers | 12ms | thread 'merge::image_and_headers' (4711) panicked at detect/tests/merge.rs:20:5",
            "Failed tests.test_io.TestRead | test_unicode[café <&>] | 1ms | AssertionError: assert 'a' == 'b'",
            "Errored com.example.InvoiceTest | connects | 200ms | Connection refused",
            "Errored pointsman-detect::damage | damage::cut | 1200ms | ",
            "Errored tests.test_io | test_setup | 0ms | failed on setup with \"RuntimeError: no device\"",
            "Skipped com.example.InvoiceTest | later | 0ms | not yet",
            "Skipped tests.test_arrow | test_table | 0ms | could not import 'pyarrow': No module named 'pyarrow'",
            "Skipped tests.test_io | test_known | 3ms | ",
            "Passed com.example.InvoiceTest | totals | 1234001ms | ",
            "Passed pointsman-detect | deb_version::tests::order | 4ms | ",
            "Passed pointsman-api | page::tests::flaky | 4ms | ",
            "Passed tests.test_io.TestRead | test_plain | 2ms | ",
        ]
    );
    let message = &tests.kept[2].message;
    assert!(
        message.contains("self = <tests.test_io.TestRead object")
            && message.ends_with("AssertionError")
    );
}

#[tokio::test]
async fn hostile_reports_are_problems_and_nothing_more() {
    let bench = Bench::new();
    let folder = bench.path("xml");
    fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("a-html.xml", "<html><body>404</body></html>");
    write(
        "b-cut.xml",
        "<testsuite name='s'><testcase name='seen'/><testcase name='cut'",
    );
    write("c-deep.xml", &"<testsuite>".repeat(100_000));
    write("d-empty.xml", "");
    write(
        "e-mismatch.xml",
        "<testsuite><testcase name='x'></testsuite></testcase>",
    );
    let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY f SYSTEM 'file:///etc/passwd'>]>\
                <testsuite><testcase name='bomb'><failure message='&b;'>&b;&f;&#65;&#x110000;</failure></testcase></testsuite>";
    write("f-bomb.xml", bomb);
    let long = "é".repeat(100_000);
    write(
        "g-long.xml",
        &format!("<testsuite><testcase name='{long}'><error>{long}</error></testcase></testsuite>"),
    );
    let many: String = (0..5_000)
        .map(|at| format!("<testcase name='m{at}' time='nan'/>"))
        .collect();
    let failing: String = (0..1_500)
        .map(|at| format!("<testcase name='f{at}' time='1e300'><failure/></testcase>"))
        .collect();
    write(
        "h-many.xml",
        &format!("<testsuite tests='1' failures='0'>{many}{failing}</testsuite>"),
    );
    let attributes: String = (0..200_000).map(|at| format!(" a{at}=''")).collect();
    write(
        "i-attributes.xml",
        &format!("<testsuite><testcase{attributes} name='wide'><failure/></testcase></testsuite>"),
    );
    fs::write(folder.join("j-binary.xml"), [0xff, 0xfe, 0, b'<', 1, 2]).unwrap();
    write(
        "k-nested.xml",
        "<testsuite><testcase name='o'><testcase name='i'/></testcase></testsuite>",
    );
    let mut spec = sh(&format!(
        "cp {}/*.xml . && truncate -s 1T huge.xml",
        folder.display()
    ));
    spec.junit = vec!["*.xml".to_owned()];
    let (_, report) = left(&bench, &spec).await;
    let problems = texts(&report);
    for file in [
        "a-html",
        "b-cut",
        "c-deep",
        "d-empty",
        "e-mismatch",
        "j-binary",
        "k-nested",
    ] {
        assert!(
            problems.contains(&format!("bad-junit {file}.xml")),
            "{file}: {problems}"
        );
    }
    assert!(problems.contains("too-large huge.xml"), "{problems}");
    assert_eq!(report.problems.len(), 8, "{problems}");
    let tests = report.tests;
    // `seen`, `bomb`, the long one, 6,500, and the wide one.
    assert_eq!(tests.total, 6_504);
    assert_eq!(
        (tests.passed, tests.failed, tests.errored),
        (5_001, 1_502, 1)
    );
    assert_eq!(tests.kept.len(), MAX_TESTS);
    assert!(
        tests
            .kept
            .iter()
            .all(|test| test.outcome == TestOutcome::Failed)
    );
    assert!(
        tests
            .kept
            .iter()
            .all(|test| test.message.len() <= MAX_TEST_MESSAGE_BYTES)
    );
    assert_eq!(tests.kept[0].message, "&b;\n\u{fffd}\u{fffd}A\u{fffd}");
}

#[tokio::test]
async fn problems_are_bounded() {
    let bench = Bench::new();
    let mut spec = sh("i=0; while [ $i -lt 300 ]; do ln -s / l$i; i=$((i+1)); done");
    spec.artifacts = vec!["**".to_owned()];
    let (_, report) = left(&bench, &spec).await;
    assert_eq!(report.problems.len(), MAX_PROBLEMS);
    assert_eq!(report.problems.last().unwrap().code, "more");
}

#[tokio::test]
async fn a_hostile_tree_is_searched_and_removed() {
    let bench = Bench::new();
    // No path can name the deepest of these.
    let script = "perl -e 'for (1 .. 20000) { mkdir \"ddddddddddddddddddddd\" or die; chdir \"ddddddddddddddddddddd\" or die }'
        mkdir closed closed/in; touch closed/in/x; mkdir .moved-0 .moved-1; touch .moved-1/y; touch \"$(printf 'odd\\377name')\"; chmod 000 closed/in closed";
    let mut spec = sh(script);
    spec.user = other_user(8);
    spec.artifacts = vec!["**/*.txt".to_owned()];
    let (id, report) = left(&bench, &spec).await;
    assert_eq!(report.artifacts, []);
    assert!(
        texts(&report).contains("directories within one another"),
        "{}",
        texts(&report)
    );
    bench.local.forget(&id).await.unwrap();
    assert_eq!(
        fs::read_dir(bench.path("jobs/attempts")).unwrap().count(),
        0
    );
}

mod parsing {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Whatever bytes a job leaves: a report comes of it.
        #[test]
        fn any_bytes_make_a_report(junk in prop::collection::vec(any::<u8>(), 0..400)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let bench = Bench::new();
                let source = bench.path("junk");
                fs::write(&source, &junk).unwrap();
                let mut spec = sh(&format!("(echo '<testsuite>'; cat {0}) > a.xml; cat {0} > $POINTSMAN_OUTPUTS", source.display()));
                spec.junit = vec!["*.xml".to_owned()];
                let (_, report) = left(&bench, &spec).await;
                assert!(report.problems.len() <= MAX_PROBLEMS);
                assert!(report.outputs.values().all(|value| value.len() <= 3 * junk.len()));
            });
        }
    }
}

#[tokio::test]
async fn a_suite_with_a_name_of_megabytes_costs_no_more_than_its_limit_for_each_test() {
    let bench = Bench::new();
    let mut spec = sh(
        "printf '<testsuite name=\"%s\">' \"$(head -c 2000000 /dev/zero | tr '\\0' a)\" > long.xml
         for n in 1 2 3; do echo \"<testcase name='t$n'><failure/></testcase>\" >> long.xml; done
         echo '</testsuite>' >> long.xml",
    );
    spec.junit = vec!["long.xml".to_owned()];
    let (_, report) = left(&bench, &spec).await;
    assert_eq!(report.tests.total, 3, "{}", texts(&report));
    for test in &report.tests.kept {
        assert_eq!(test.suite.len(), MAX_TEST_NAME_BYTES);
        assert!(test.suite.capacity() < 2 * MAX_TEST_NAME_BYTES);
    }
}
