//! Plugins in JavaScript and Python, from nothing to a bound one: `plugin new`, `build`, `check`, `test`,
//! `upload`. Each language has one component with all of its templates, as a component is compiled anew by
//! each command.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use std::fs;
use std::path::Path;

use pointsman_tests::command::Cli;
use pointsman_tests::{TestHost, target_dir};
use serde_json::{Value, json};

/// The highest that there is: a language that rounds it shows here.
const SEED: u64 = (1 << 53) - 1;

const HOOKS: [&str; 8] = [
    "ignore", "advance", "review", "gate", "select", "run", "triage", "react",
];

/// A folder to write plugins in, and a server to put them on.
struct Desk {
    cli: Cli,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(host: &TestHost) -> Self {
        Desk {
            cli: Cli::new(host),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.cli.command(args);
        command
            .current_dir(self.dir.path())
            // Installed once for all tests, and kept with what else was built.
            .env("POINTSMAN_TOOLS_DIR", target_dir().join("tools"));
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = (text(&output.stdout), text(&output.stderr));
        (output.status.code(), said.0, said.1)
    }

    async fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args).await;
        assert_eq!(ended.0, Some(0), "{args:?}: {ended:?}");
        ended.1
    }

    /// Puts the template of every hook into one plugin, `all`, with all their cases.
    async fn gather(&self, lang: &str, policy: &str, manifest: &str) {
        for hook in HOOKS {
            self.ok(&["plugin", "new", "--lang", lang, "--hook", hook, hook])
                .await;
            let (_, ending) = policy.split_once('.').unwrap();
            self.write(
                &format!("all/its_{hook}.{ending}"),
                &self.read(&format!("{hook}/{policy}")),
            );
            self.write(
                &format!("all/cases/{hook}.json"),
                &self.read(&format!("{hook}/cases/{hook}.json")),
            );
        }
        let exports = format!(
            "[{}\"settings\"]",
            HOOKS.map(|h| format!("\"{h}\", ")).concat()
        );
        let one = self.read(&format!("gate/{manifest}"));
        let all = one.replace("[\"gate\", \"settings\"]", &exports);
        assert_ne!(one, all, "the manifest names what it exports");
        self.write(&format!("all/{manifest}"), &all);
        self.write("all/cases/faults.json", &faults().to_string());
    }

    /// What the cases of `all` came to, by name.
    async fn test_all(&self) -> Vec<Value> {
        let tested = self
            .ok(&["plugin", "test", "all/all.wasm", "all/cases", "--json"])
            .await;
        let tested: Vec<Value> = tested
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for hook in HOOKS {
            assert!(tested.iter().any(|case| case["hook"] == hook), "{hook}");
        }
        tested
    }
}

fn text_of<'a>(tested: &'a [Value], case: &str) -> &'a str {
    let found = tested.iter().find(|tested| tested["case"] == case);
    found.unwrap()["output"]["failed"]["text"].as_str().unwrap()
}

/// What the combined plugin is asked beside the templates' cases: its `react` fails as the event says.
fn faults() -> Value {
    let stop = |name: &str, event: &str, outcome: &str, code: &str| {
        json!({
            "name": name,
            "hook": "react",
            "context": {"seed": SEED, "at": "2026-11-22T08:00:00Z", "facts": [
                {"query": {"kind": "runs", "args": {"version": "1"}}, "found": "absent"},
                {"query": {"kind": "versions"}, "found": {"value": "[]"}},
                {"query": {"kind": "odd"}, "found": {"refused": {"code": "query.unknown"}}},
            ]},
            "question": {
                "event": event,
                "pull-request": {
                    "number": 7, "changed": ["a", "b"], "changed-total": u32::MAX, "labels": [{"name": "x"}],
                    "attrs": {"k": "v"},
                },
            },
            "expect": {"outcome": outcome, "code": code},
        })
    };
    json!([
        stop("uncaught", "uncaught", "failed", "policy.uncaught"),
        stop("misfit", "misfit", "failed", "policy.misfit"),
        stop("unknown field", "unknown", "failed", "policy.misfit"),
        stop("abstain", "abstain", "abstained", "not.mine"),
        stop("seen", "seen", "failed", "seen"),
        {
            "name": "a field that is a word of the language",
            "hook": "triage",
            "question": {},
            "expect": {"answer": {"findings": [{"job": "check", "class": "new"}]}},
        },
    ])
}

/// What the case `seen` was given is what both languages tell of it.
fn assert_seen(tested: &[Value]) {
    let seen: Value = serde_json::from_str(text_of(tested, "seen")).unwrap();
    let at = 1_795_334_400_000_u64;
    assert_eq!(
        seen,
        json!([
            [
                ["absent", null],
                ["value", "[]"],
                ["refused", "query.unknown"]
            ],
            7,
            ["a", "b"],
            "x",
            "v",
            null,
            at,
            at,
            SEED,
            u32::MAX
        ])
    );
}

/// Uploads `all`, lets it answer `ignore`, and sees that it does.
async fn bind(desk: &Desk, host: &TestHost) {
    host.distro("debian-12").await;
    host.kernels("debian-12", &["6.1.0-1"]).await;
    desk.ok(&["plugin", "upload", "all/all.wasm"]).await;
    desk.ok(&["pipeline", "bind", "kernels", "ignore", "all"])
        .await;
    host.idle().await;
    assert_eq!(
        host.kernel_names("ignored=true").await,
        ["debian-12/6.1.0-1"]
    );
    // Made again a thousand times, the decision is the same to the byte.
    let made = host.get("/v1/decisions?hook=ignore&limit=1").await;
    let id = made["items"][0]["id"].to_string();
    desk.ok(&["decision", "export", &id, "-o", "decision.json"])
        .await;
    let again = desk
        .ok(&[
            "--json",
            "plugin",
            "replay",
            "decision.json",
            "--repeat",
            "1000",
        ])
        .await;
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["repeats"], &again["different"]),
        (&json!(1_000), &json!(0)),
        "{again}"
    );
    for (settings, wrong) in [
        (r#"{"host": 1}"#, "'host' was unexpected"),
        (r#"{"hosts": 1000}"#, "Nobody has that many."),
    ] {
        let bad = desk
            .run(&[
                "pipeline",
                "bind",
                "kernels",
                "ignore",
                "all",
                "--settings",
                settings,
            ])
            .await;
        assert!(bad.0 == Some(1) && bad.2.contains(wrong), "{bad:?}");
    }
}

const JAVASCRIPT: &str = r#"
import { abstain, ask, failed, problem } from "./pointsman.js";
import * as its from "./every.js";
export { ignore, advance, review, gate, select, run } from "./every.js";

export const settings = { type: "object", properties: its.properties, additionalProperties: false };

export function check(settings) {
    return settings.hosts > 100 ? [problem("/hosts", "settings.too-large", "Nobody has that many.")] : [];
}

export function triage(context, question) {
    return { ...its.triage(context, question), findings: [{ job: "check", class: "new" }] };
}

function nameOf(thing) {
    return thing.nothing.name;
}

export function react(context, question) {
    switch (question.event) {
        case "uncaught": console.log("asked by", { by: question.by }); return nameOf(question);
        case "misfit": return { acts: [{ kind: "comment", args: { body: 7 } }], basis: { reason: {} } };
        case "unknown": return { deeds: [], basis: { reason: {} } };
        case "abstain": throw abstain("not.mine", "Somebody else knows.");
        case "seen": {
            if (context.facts.length === 0) {
                throw ask({ kind: "runs", args: { version: "1" } }, { kind: "versions" }, { kind: "odd" });
            }
            const found = context.facts.map(({ found }) => [found.tag, found.val?.code ?? found.val]);
            const { number, changed, labels, attrs } = question.pullRequest;
            const seen = [found, number, changed, labels[0].name, attrs.k, question.work, context.at, Date.now(), context.seed];
            seen.push(question.pullRequest.changedTotal);
            throw failed("seen", JSON.stringify(seen));
        }
    }
    return its.react(context, question);
}
"#;

#[tokio::test]
async fn javascript_plugins_work_the_first_time() {
    let (_db, host) = TestHost::start().await;
    let desk = Desk::new(&host);
    desk.gather("js", "policy.js", "package.json").await;

    // One as it comes.
    desk.ok(&["plugin", "build", "gate"]).await;
    desk.ok(&["plugin", "check", "gate/gate.wasm", "--settings", "{}"])
        .await;
    let tested = desk
        .ok(&["plugin", "test", "gate/gate.wasm", "gate/cases"])
        .await;
    assert!(tested.contains("a list that is cut short runs"), "{tested}");

    // All in one.
    let mut every = String::new();
    for hook in HOOKS {
        every += &format!("import * as {hook}_ from \"./its_{hook}.js\";\n");
        every += &format!("export const {hook} = {hook}_.{hook};\n");
    }
    let properties = HOOKS
        .map(|hook| format!("...{hook}_.settings.properties, "))
        .concat();
    every += &format!("export const properties = {{ {properties} }};\n");
    desk.write("all/every.js", &every);
    desk.write("all/policy.js", JAVASCRIPT);
    desk.write("all/pointsman.js", &desk.read("gate/pointsman.js"));
    desk.ok(&["plugin", "build", "all"]).await;
    let tested = desk.test_all().await;
    let uncaught = text_of(&tested, "uncaught");
    let line = line_of(JAVASCRIPT, "thing.nothing.name");
    assert!(
        uncaught.starts_with("TypeError: ")
            && uncaught.contains(&format!("(at nameOf (policy.js:{line}:")),
        "{uncaught}"
    );
    let printed = tested.iter().find(|tested| tested["case"] == "uncaught");
    assert_eq!(
        printed.unwrap()["output"]["failed"]["details"]["printed"],
        "asked by {\"by\":\"\"}\n"
    );
    let misfit = text_of(&tested, "misfit");
    assert_eq!(
        misfit,
        "The answer does not fit: acts[0].args.body is 7: it must be a string."
    );
    let unknown = text_of(&tested, "unknown field");
    assert_eq!(
        unknown,
        "The answer does not fit: deeds is no field: there are acts, basis."
    );
    assert_seen(&tested);
    bind(&desk, &host).await;

    // What does not load is said with the engine's words.
    desk.write("gate/policy.js", "export const settings = {};\nlet a = ;\n");
    let broken = desk.run(&["plugin", "build", "gate"]).await;
    assert!(
        broken.0 == Some(1) && broken.2.contains("policy.js:2"),
        "{broken:?}"
    );
    desk.write("gate/policy.js", "export const settings = {};\n");
    let missing = desk.run(&["plugin", "build", "gate"]).await;
    assert!(
        missing.0 == Some(1) && missing.2.contains("policy.js exports no function `gate`"),
        "{missing:?}"
    );
    let manifest = desk
        .read("gate/package.json")
        .replace("\"gate\", ", "\"gates\", ");
    desk.write("gate/package.json", &manifest);
    let unknown = desk.run(&["plugin", "build", "gate"]).await;
    assert!(
        unknown.0 == Some(1) && unknown.2.contains("`gates`, which is no hook"),
        "{unknown:?}"
    );
    let none = desk.run(&["plugin", "build", "."]).await;
    assert!(none.0 == Some(1) && none.2.contains("hint:"), "{none:?}");
}

const PYTHON: &str = r#"
import json
import time

from pointsman import Abstain, Ask, Failed, Problem, Query, because
from pointsman.react import Act, Answer
from pointsman.triage import Finding

import every
from every import advance, gate, ignore, review, run, select

SETTINGS = {"type": "object", "properties": every.properties, "additionalProperties": False}


def check(settings):
    if settings["hosts"] > 100:
        return [Problem("/hosts", "settings.too-large", "Nobody has that many.")]


def triage(context, question):
    answer = every.triage(context, question)
    answer.findings.append(Finding(job="check", class_="new"))
    return answer


def name_of(thing):
    return thing["nothing"].name


def react(context, question):
    match question.event:
        case "uncaught":
            return name_of({})
        case "misfit":
            return Answer(acts=[Act("comment", {"body": "", "key": 7})], basis=because("", ""))
        case "unknown":
            return {"deeds": []}
        case "abstain":
            raise Abstain("not.mine", "Somebody else knows.")
        case "seen":
            if not context.facts:
                raise Ask(Query("runs", {"version": "1"}), Query("versions"), Query("odd"))
            found = [(fact.found.tag, getattr(fact.found.val, "code", fact.found.val)) for fact in context.facts]
            of = question.pull_request
            clock = int(time.time() * 1000)
            seen = [found, of.number, of.changed, of.labels[0].name, of.attrs["k"], question.work, context.at, clock]
            seen += [context.seed, of.changed_total]
            raise Failed("seen", json.dumps(seen))
    return every.react(context, question)
"#;

#[tokio::test]
async fn python_plugins_work_the_first_time() {
    let (_db, host) = TestHost::start().await;
    let desk = Desk::new(&host);
    desk.gather("python", "policy.py", "pyproject.toml").await;

    // One as it comes.
    desk.ok(&["plugin", "build", "gate"]).await;
    assert!(desk.path("gate/gate.wasm").is_file());

    // All in one.
    let mut every = String::new();
    for hook in HOOKS {
        every += &format!("import its_{hook}\nfrom its_{hook} import {hook}\n");
    }
    let properties = HOOKS
        .map(|hook| format!("**its_{hook}.SETTINGS[\"properties\"], "))
        .concat();
    every += &format!("properties = {{{properties}}}\n");
    desk.write("all/every.py", &every);
    desk.write("all/policy.py", PYTHON);
    copy(&desk.path("gate/pointsman"), &desk.path("all/pointsman"));
    desk.ok(&["plugin", "build", "all"]).await;
    let tested = desk.test_all().await;
    let line = line_of(PYTHON, "thing[\"nothing\"]");
    assert_eq!(
        text_of(&tested, "uncaught"),
        format!("KeyError: 'nothing' (at name_of (policy.py:{line}))")
    );
    assert_eq!(
        text_of(&tested, "misfit"),
        "The answer does not fit: acts[0].args is {'key': 7}: it must be strings."
    );
    assert_eq!(
        text_of(&tested, "unknown field"),
        "The answer does not fit: it is {'deeds': []}: it must be a record `Answer` with acts, basis."
    );
    assert_seen(&tested);
    bind(&desk, &host).await;

    // What does not load is said with the interpreter's words.
    desk.write("gate/policy.py", "SETTINGS = {}\nlet a = 1\n");
    let broken = desk.run(&["plugin", "build", "gate"]).await;
    assert!(
        broken.0 == Some(1) && broken.2.contains("policy.py") && broken.2.contains("line 2"),
        "{broken:?}"
    );
}

/// The number of the line, from 1, that holds these words.
fn line_of(text: &str, words: &str) -> usize {
    1 + text.lines().position(|line| line.contains(words)).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The interpreter leaves a folder of its own.
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
