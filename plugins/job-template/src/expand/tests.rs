use pointsman_sdk::{attr, check_settings};
use proptest::prelude::*;

use super::*;
use crate::JobsFromTemplate;

const COMMIT: &str = "0123456789012345678901234567890123456789";
const TREE: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";

fn settings(json: &str) -> Settings {
    assert_eq!(check_settings::<JobsFromTemplate>(json), Ok(()), "{json}");
    serde_json::from_str(json).unwrap()
}

fn lane() -> Work {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Work {
        commit: COMMIT.to_owned(),
        tree: TREE.to_owned(),
        base: "b".repeat(40),
        name: "#12 on main".to_owned(),
        attrs: vec![
            pair("source.repo", "/srv/a b.git"),
            pair("target.branch", "main; rm -rf /"),
        ],
        tags: vec![pair("area", "net")],
        ..Work::of("lane", "merge")
    }
}

fn kernel() -> Work {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Work {
        attrs: vec![
            pair("kernel.version", "6.1.0-9-amd64"),
            pair("source.repo", "-x"),
        ],
        ..Work::of("kernel", "build")
    }
}

fn code(stop: Stop) -> String {
    match stop {
        Stop::Failed(reason) | Stop::Abstain(reason) => reason.code,
        other => panic!("{other:?}"),
    }
}

fn refused(json: &str) -> Vec<(String, String)> {
    let problems = check_settings::<JobsFromTemplate>(json).unwrap_err();
    problems
        .into_iter()
        .map(|problem| (problem.field, problem.code))
        .collect()
}

#[test]
fn nothing_set_is_the_seeds_command() {
    let answer = decide(&settings("{}"), &lane()).unwrap();
    let [job] = answer.jobs.as_slice() else {
        panic!("one job")
    };
    assert_eq!(job.name, "test");
    assert_eq!(
        job.argv[3..],
        ["checkout", "1", "sh", "-e", "-c", "exec ./.ci/run"]
    );
    assert_eq!(attr(&job.env, "POINTSMAN_WORK_COMMIT"), Some(COMMIT));
    assert_eq!(attr(&job.env, "POINTSMAN_WORK_TREE"), Some(TREE));
    assert_eq!(
        attr(&job.env, "POINTSMAN_SOURCE_REPO"),
        Some("/srv/a b.git")
    );
    assert_eq!(job.env.len(), 3, "a job is told no more than it reads");
}

#[test]
fn values_stay_out_of_scripts() {
    let script = r#"{"jobs": [{"name": "t", "script": "echo $POINTSMAN_TARGET_BRANCH ${POINTSMAN_TRACK:-none}"}]}"#;
    let job = decide(&settings(script), &lane()).unwrap().jobs.remove(0);
    assert!(job.argv.iter().all(|argument| !argument.contains("rm -rf")));
    assert_eq!(
        attr(&job.env, "POINTSMAN_TARGET_BRANCH"),
        Some("main; rm -rf /")
    );
    assert_eq!(attr(&job.env, "POINTSMAN_TRACK"), None);
    let argv = r#"{"jobs": [{"name": "t", "checkout": false, "argv": ["make", "B=${target.branch}", "$$x"], "env": {"AREA": "a/${tag.area}"}}]}"#;
    let job = decide(&settings(argv), &lane()).unwrap().jobs.remove(0);
    assert_eq!(job.argv, ["make", "B=main; rm -rf /", "$x"]);
    assert_eq!(job.env, [("AREA".to_owned(), "a/net".to_owned())]);
}

#[test]
fn a_value_that_is_missing_stops_it() {
    let track = settings(r#"{"jobs": [{"name": "t", "argv": ["make", "${track}"]}]}"#);
    let Err(Stop::Failed(reason)) = decide(&track, &lane()) else {
        panic!("ran")
    };
    assert_eq!(reason.code, "variable.missing");
    assert!(
        reason.text.contains("The job t needs `track`"),
        "{}",
        reason.text
    );
    let script = settings(r#"{"jobs": [{"name": "t", "script": "echo $POINTSMAN_TRACK"}]}"#);
    assert_eq!(
        code(decide(&script, &lane()).unwrap_err()),
        "variable.missing"
    );
    // A kernel's work has no commit to check out.
    let forced = settings(r#"{"jobs": [{"name": "t", "script": "true", "checkout": true}]}"#);
    assert_eq!(
        code(decide(&forced, &kernel()).unwrap_err()),
        "variable.option"
    );
    let option = settings(r#"{"jobs": [{"name": "t", "argv": ["cp", "${source.repo}"]}]}"#);
    assert_eq!(
        code(decide(&option, &kernel()).unwrap_err()),
        "variable.option"
    );
    let mut odd = lane();
    odd.commit = "main".to_owned();
    assert_eq!(
        code(decide(&settings("{}"), &odd).unwrap_err()),
        "commit.malformed"
    );
}

#[test]
fn variants_are_jobs_of_one_run() {
    let json = r#"{"jobs": [
        {"name": "build", "argv": ["make"], "variants": [{"name": "gcc"}, {"name": "clang", "env": {"CC": "clang"}, "weight": "informative"}]},
        {"name": "unit", "argv": ["make", "check"], "after": ["build"], "capabilities": ["net"], "junit": ["out/*.xml"], "artifacts": ["log"],
         "variants": [{"name": "+pyarrow", "capabilities": ["pyarrow", "net"], "secrets": ["token"]}]}
    ]}"#;
    let jobs = decide(&settings(json), &lane()).unwrap().jobs;
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["build/gcc", "build/clang", "unit/+pyarrow"]);
    assert_eq!(jobs[2].after, ["build/gcc", "build/clang"]);
    assert_eq!(jobs[2].capabilities, ["net", "pyarrow"]);
    assert_eq!(jobs[2].secrets, ["token"]);
    assert_eq!(jobs[2].artifacts, ["log", "out/*.xml"]);
    assert_eq!(attr(&jobs[2].attrs, "x-junit"), Some("out/*.xml"));
    assert_eq!(jobs[1].weight, run::Weight::Informative);
    assert_eq!(attr(&jobs[1].env, "CC"), Some("clang"));
}

#[test]
fn a_job_is_for_its_kinds_and_purposes() {
    let json = r#"{"jobs": [
        {"name": "fetch", "argv": ["fetch", "${kernel.version}"], "kinds": ["kernel"], "purposes": ["fetch"]},
        {"name": "build", "argv": ["build", "${kernel.version}"], "kinds": ["kernel"], "purposes": ["build"], "after": ["fetch"]}
    ]}"#;
    let jobs = decide(&settings(json), &kernel()).unwrap().jobs;
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].argv, ["build", "6.1.0-9-amd64"]);
    assert_eq!(jobs[0].after, [""; 0]);
    assert_eq!(
        code(decide(&settings(json), &lane()).unwrap_err()),
        "jobs.none"
    );
}

#[test]
fn kernels_have_a_job_for_each_purpose() {
    let json = r#"{"test": "make check", "kernel": {
        "fetch": {"script": "echo $POINTSMAN_KERNEL_PACKAGES", "secrets": ["mirror"]},
        "build": {"name": "compile", "argv": ["build", "${kernel.version}"], "variants": [{"name": "gcc"}, {"name": "clang"}]}
    }}"#;
    let names = |work: &Work| -> Vec<String> {
        let answer = decide(&settings(json), work).unwrap();
        answer.jobs.into_iter().map(|job| job.name).collect()
    };
    assert_eq!(names(&kernel()), ["compile/gcc", "compile/clang"]);
    assert_eq!(names(&lane()), ["test"]);
    // What the settings do not name is somebody else's, and a variable without a value is none.
    let mut other = kernel();
    other.purpose = "test".to_owned();
    assert_eq!(
        code(decide(&settings(json), &other).unwrap_err()),
        "jobs.none"
    );
    other.purpose = "fetch".to_owned();
    assert_eq!(
        code(decide(&settings(json), &other).unwrap_err()),
        "variable.missing"
    );
    other
        .attrs
        .push(("kernel.packages".to_owned(), "[]".to_owned()));
    let job = decide(&settings(json), &other).unwrap().jobs.remove(0);
    assert_eq!(job.name, "fetch");
    assert_eq!(job.secrets, ["mirror"]);
    assert_eq!(attr(&job.env, "POINTSMAN_KERNEL_PACKAGES"), Some("[]"));
    // Jobs that name the kind are beside it.
    let beside = r#"{"jobs": [{"name": "all", "argv": ["a"]}, {"name": "lint", "argv": ["l"], "kinds": ["kernel"]}],
        "kernel": {"build": {"argv": ["b"]}}}"#;
    let jobs = decide(&settings(beside), &kernel()).unwrap().jobs;
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["lint", "build"]);
    let one = |field: &str, code: &str| vec![(field.to_owned(), code.to_owned())];
    assert_eq!(
        refused(r#"{"kernel": {"build": {}}}"#),
        one("/kernel/build/argv", "settings.empty")
    );
    assert_eq!(
        refused(r#"{"kernel": {"Build": {"argv": ["a"]}}}"#),
        one("/kernel/Build", "settings.name")
    );
    assert_eq!(
        refused(r#"{"kernel": {"build": {"argv": ["a", "${work.comit}"]}}}"#),
        one("/kernel/build/argv/1", "variable.unknown")
    );
    assert_eq!(
        refused(r#"{"kernel": {"build": {"argv": ["a"], "after": ["fetch"]}}}"#),
        one("/kernel/build/after", "settings.unused")
    );
    let twice = r#"{"jobs": [{"name": "build", "argv": ["a"], "kinds": ["kernel"]}], "kernel": {"build": {"argv": ["b"]}}}"#;
    assert_eq!(refused(twice), one("/kernel/build/name", "settings.twice"));
    assert_eq!(
        refused(r#"{"jobs": [{"argv": ["a"]}]}"#),
        one("/jobs/0/name", "settings.name")
    );
}

#[test]
fn no_value_gets_into_a_script_wherever_the_shell_is() {
    let refused_at = |argv: &str| -> Vec<String> {
        let json = format!(r#"{{"jobs": [{{"name": "t", "argv": {argv}}}]}}"#);
        match check_settings::<JobsFromTemplate>(&json) {
            Ok(()) => vec![],
            Err(problems) => {
                assert!(
                    problems.iter().all(|p| p.code == "template.shell"),
                    "{json}"
                );
                problems.into_iter().map(|p| p.field).collect()
            }
        }
    };
    for (argv, place) in [
        (r#"["sh", "-c", "echo ${work.name}"]"#, 2),
        (
            r#"["timeout", "60", "sh", "-c", "echo ${target.branch}"]"#,
            4,
        ),
        (
            r#"["env", "A=1", "/usr/bin/bash", "-ec", "${target.branch}"]"#,
            4,
        ),
        (
            r#"["nice", "bash", "-o", "pipefail", "-c", "-x", "x ${work.name}"]"#,
            6,
        ),
        (r#"["bash", "-c", "--", "x ${work.name}"]"#, 3),
        (r#"["fish", "--command", "x ${work.name}"]"#, 2),
        (r#"["fish", "--command=x ${work.name}"]"#, 1),
        (r#"["busybox", "ash", "-c", "x ${work.name}"]"#, 3),
        (r#"["sh", "-c", "$1", "x", "rm ${work.name}"]"#, 4),
        (r#"["env", "-S", "sh -c 'x ${work.name}'"]"#, 2),
        (r#"["sh", "build-${work.name}.sh"]"#, 1),
    ] {
        assert_eq!(
            refused_at(argv),
            [format!("/jobs/0/argv/{place}")],
            "{argv}"
        );
    }
    // A whole argument stays one, for a shell too; and what is no shell is none.
    for argv in [
        r#"["sh", "-c", "exec make \"$1\"", "x", "${target.branch}"]"#,
        r#"["sh", "build.sh", "${target.branch}"]"#,
        r#"["make", "B=${target.branch}"]"#,
        r#"["ssh-agent", "make", "-c", "B=${target.branch}"]"#,
        r#"["echo", "a ${work.name} of bashful"]"#,
    ] {
        assert_eq!(refused_at(argv), [""; 0], "{argv}");
    }
}

#[test]
fn what_is_wrong_is_refused_at_the_door() {
    let one = |field: &str, code: &str| vec![(field.to_owned(), code.to_owned())];
    let job = |rest: &str| format!(r#"{{"jobs": [{{"name": "t", {rest}}}]}}"#);
    assert_eq!(
        refused(&job(r#""argv": ["make", "${work.comit}"]"#)),
        one("/jobs/0/argv/1", "variable.unknown")
    );
    assert_eq!(
        refused(&job(r#""argv": ["make", "${work"]"#)),
        one("/jobs/0/argv/1", "template.open")
    );
    assert_eq!(
        refused(&job(r#""argv": ["/bin/sh", "-ec", "echo ${work.name}"]"#)),
        one("/jobs/0/argv/2", "template.shell")
    );
    assert_eq!(
        refused(&job(r#""script": "echo ${work.name}""#)),
        one("/jobs/0/script", "template.script")
    );
    assert_eq!(
        refused(&job(r#""script": "echo $POINTSMAN_WORK_COMIT""#)),
        one("/jobs/0/script", "variable.unknown")
    );
    assert_eq!(
        refused(&job(r#""argv": ["a"], "script": "b""#)),
        one("/jobs/0/script", "settings.both")
    );
    assert_eq!(
        refused(&job(r#""weight": "required""#)),
        one("/jobs/0/argv", "settings.empty")
    );
    assert_eq!(
        refused(&job(r#""argv": ["a"], "after": ["t"]"#)),
        one("/jobs/0/after", "settings.cycle")
    );
    assert_eq!(
        refused(&job(r#""argv": ["a"], "after": ["u"]"#)),
        one("/jobs/0/after/0", "settings.unknown")
    );
    assert_eq!(
        refused(&job(
            r#""argv": ["a"], "env": {"A-B": "", "POINTSMAN_X": ""}"#
        ))
        .len(),
        2
    );
    assert_eq!(
        refused(&job(
            r#""argv": ["a"], "attrs": {"cpu": "two", "x-a": "", "gpu": "1"}"#
        ))
        .len(),
        2
    );
    assert_eq!(refused(r#"{"test": " "}"#), one("/test", "settings.empty"));
    let problem = check_settings::<JobsFromTemplate>(&job(r#""argv": ["${colour}"]"#))
        .unwrap_err()
        .remove(0);
    assert!(
        problem.text.contains("`work.commit`") || problem.text.contains("work.commit"),
        "{}",
        problem.text
    );
    let added = r#"{"variables": ["target.repo"], "jobs": [{"name": "t", "argv": ["a", "${target.repo}"]}]}"#;
    assert_eq!(check_settings::<JobsFromTemplate>(added), Ok(()));
    assert!(!refused(r#"{"jobs": [{"name": "t", "command": "x"}]}"#).is_empty());
}

#[test]
fn the_template_is_the_same_for_other_commits_of_the_same_work() {
    let json =
        r#"{"jobs": [{"name": "t", "argv": ["make", "${work.commit}", "B=${target.branch}"]}]}"#;
    let digest = |json: &str, work: &Work| {
        let jobs = decide(&settings(json), work).unwrap().jobs;
        attr(&jobs[0].attrs, "x-template").unwrap().to_owned()
    };
    let mut other = lane();
    other.commit = "1".repeat(40);
    other.name = "#13 on main".to_owned();
    assert_eq!(digest(json, &lane()), digest(json, &other));
    other.attrs[1].1 = "release".to_owned();
    assert_ne!(digest(json, &lane()), digest(json, &other));
    assert_ne!(digest(json, &lane()), digest("{}", &lane()));
}

proptest! {
    /// Whatever a branch is called, it is one argument, and never a part of a script.
    #[test]
    fn a_value_is_one_argument(branch in "[^\0]+") {
        let mut work = lane();
        work.attrs[1].1.clone_from(&branch);
        let json = r#"{"jobs": [{"name": "t", "checkout": false, "argv": ["make", "B=${target.branch}"]},
                                {"name": "s", "checkout": false, "script": "echo \"$POINTSMAN_TARGET_BRANCH\""}]}"#;
        let jobs = decide(&serde_json::from_str(json).unwrap(), &work).unwrap().jobs;
        prop_assert_eq!(&jobs[0].argv[1], &format!("B={branch}"));
        prop_assert_eq!(&jobs[1].argv[3], "echo \"$POINTSMAN_TARGET_BRANCH\"");
    }

    /// Names are unique, and each job comes after jobs of the same answer alone.
    #[test]
    fn every_answer_is_one_the_host_takes(
        edges in prop::collection::vec((0usize..5, 0usize..5), 0..8),
        kinds in prop::collection::vec(prop::sample::select(vec!["", "lane", "kernel"]), 5),
        variants in prop::collection::vec(0usize..3, 5),
    ) {
        let jobs: Vec<JobTemplate> = (0..5).map(|index| JobTemplate {
            name: format!("j{index}"),
            argv: vec!["true".to_owned()],
            // Edges lead to lower numbers alone, so that there is no cycle.
            after: edges.iter().filter(|(from, to)| *from == index && to < from).map(|(_, to)| format!("j{to}")).collect(),
            kinds: [kinds[index]].iter().filter(|kind| !kind.is_empty()).map(|kind| (*kind).to_owned()).collect(),
            variants: (0..variants[index]).map(|v| Variant { name: format!("v{v}"), ..Variant::default() }).collect(),
            ..JobTemplate::default()
        }).collect();
        let settings = Settings { jobs, ..Settings::default() };
        prop_assert_eq!(settings.problems(), vec![]);
        if let Ok(answer) = decide(&settings, &lane()) {
            let mut seen: Vec<&str> = answer.jobs.iter().map(|job| job.name.as_str()).collect();
            prop_assert!(!seen.is_empty() && answer.jobs.iter().flat_map(|job| &job.after).all(|name| seen.contains(&name.as_str())));
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), answer.jobs.len());
        }
    }
}
