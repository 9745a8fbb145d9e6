//! Kernel versions that are fetched, built and tested by jobs of our own: from the index to `tested`, by itself.

use std::path::{Path, PathBuf};

use pointsman_tests::command::Cli;
use pointsman_tests::guest::{Hook, counts, skips, traps};
use pointsman_tests::served::Served;
use pointsman_tests::{TestDatabase, TestHost, plugin, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

const DISTRO: &str = "debian-12";
const VERSION: &str = "6.1.0-1-amd64";

/// A host with the ladder, a distro, and a folder that jobs and the test share.
struct Site {
    host: TestHost,
    shared: tempfile::TempDir,
}

impl Site {
    async fn new() -> (TestDatabase, Self) {
        let (db, host) = TestHost::start().await;
        (db, Self::on(host).await)
    }

    async fn on(host: TestHost) -> Self {
        host.stock_policy().await;
        host.distro(DISTRO).await;
        let shared = tempfile::tempdir().expect("a folder");
        Self { host, shared }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    fn touch(&self, name: &str) {
        std::fs::write(self.path(name), "").expect("a file");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Binds `run` to one script for each purpose, which finds the shared folder as `$SHARED`.
    async fn jobs(&self, scripts: &[(&str, &str)]) {
        let kernel: serde_json::Map<String, Value> = scripts
            .iter()
            .map(|(purpose, script)| {
                let env = json!({"SHARED": self.shared.path()});
                ((*purpose).to_owned(), json!({"script": script, "env": env}))
            })
            .collect();
        self.settings(json!({"kernel": kernel})).await;
    }

    async fn settings(&self, settings: Value) {
        let digest = self.host.upload("job-template").await;
        self.host.bind("run", &digest, settings).await;
    }

    async fn kernel(&self, version: &str) -> Value {
        self.host
            .get(&format!("/v1/kernels/{DISTRO}/{version}"))
            .await
    }

    async fn until_state(&self, version: &str, state: &str) {
        wait_for(&format!("{version} is {state}"), async || {
            (self.kernel(version).await["state"] == state).then_some(())
        })
        .await;
    }

    /// The runs of a version, the oldest first.
    async fn runs(&self, version: &str) -> Vec<Value> {
        let page = self
            .host
            .get(&format!("/v1/runs?distro={DISTRO}&version={version}"))
            .await;
        let mut runs = page["items"].as_array().expect("runs").clone();
        runs.reverse();
        runs
    }

    /// Waits until the newest run of a version for this purpose has ended; gives it with its jobs.
    async fn ended(&self, version: &str, purpose: &str, count: usize) -> Value {
        let id = wait_for(&format!("{purpose} of {version} has ended"), async || {
            let runs = self.runs(version).await;
            let runs: Vec<&Value> = runs.iter().filter(|r| r["purpose"] == purpose).collect();
            let last = runs.last().filter(|_| runs.len() == count)?;
            last["verdict"].is_string().then(|| last["id"].clone())
        })
        .await;
        self.host.get(&format!("/v1/runs/{id}")).await
    }

    /// Waits until a job has written this file.
    async fn until_there(&self, name: &str) -> String {
        wait_for(&format!("{name} is there"), async || {
            Some(self.read(name)).filter(|text| text.ends_with('\n'))
        })
        .await
    }
}

fn stanza(package: &str) -> String {
    let sha256 = "61".repeat(32);
    format!(
        "Package: {package}\nVersion: 6.1.1-1\nInstalled-Size: 10256\nArchitecture: amd64\nDepends: kmod\n\
         Filename: pool/{package}.deb\nSize: 1408\nSHA256: {sha256}\n\n"
    )
}

#[tokio::test]
async fn a_version_goes_from_the_index_to_tested_by_itself() {
    let (_db, site) = Site::new().await;
    let cli = Cli::new(&site.host);
    let digest = site.host.upload("exit-code").await;
    site.host.bind("triage", &digest, json!({})).await;
    // An archive with the packages that its index names.
    let mut index = String::new();
    std::fs::create_dir(site.path("pool")).expect("a folder");
    for kind in ["image", "headers"] {
        let package = format!("linux-{kind}-{VERSION}");
        index.push_str(&stanza(&package));
        std::fs::write(
            site.path(&format!("pool/{package}.deb")),
            format!("{kind}\n"),
        )
        .expect("a file");
    }
    std::fs::write(site.path("Packages"), index).expect("a file");
    let fetch = r#"
        printf '%s' "$POINTSMAN_KERNEL_PACKAGES" | grep -o 'pool/[^"]*' | while read -r file; do
            cp "$SHARED/$file" "$SHARED/${POINTSMAN_RELEASE:-any}-$(basename "$file")"
        done"#;
    let build = r#"cat "$SHARED"/any-linux-*-"$POINTSMAN_KERNEL_VERSION".deb > module.ko; cp module.ko "$SHARED""#;
    let test = r#"
        grep -q image "$SHARED/module.ko"
        echo "$POINTSMAN_PIPELINE $POINTSMAN_JOB $POINTSMAN_ATTEMPT_NUMBER $POINTSMAN_DISTRO $POINTSMAN_PURPOSE $VARIANT"
        echo '<testsuite name="s"><testcase name="loads"/><testcase name="unloads"/></testsuite>' > report.xml"#;
    let env = json!({"SHARED": site.shared.path()});
    site.settings(json!({"kernel": {
        "fetch": {"script": fetch, "env": env},
        "build": {"script": build, "env": env, "artifacts": ["module.ko"]},
        "test": {"name": "load", "script": test, "junit": ["report.xml"],
                 "env": {"SHARED": site.shared.path(), "VARIANT": "${distro.variant}"}},
    }}))
    .await;
    let packages = site.path("Packages");
    cli.ok(&[
        "kernel",
        "detect",
        "--distro",
        DISTRO,
        packages.to_str().expect("UTF-8"),
    ])
    .await;
    site.until_state(VERSION, "tested").await;
    site.host.idle().await;

    let runs = site.runs(VERSION).await;
    let told: Vec<(&str, &str, &str)> = runs
        .iter()
        .map(|r| {
            (
                text(&r["purpose"]),
                text(&r["verdict"]),
                text(&r["reported_by"]),
            )
        })
        .collect();
    let by = "pipeline:kernels";
    assert_eq!(
        told,
        [
            ("fetch", "pass", by),
            ("build", "pass", by),
            ("test", "pass", by)
        ]
    );
    let run = site.host.get(&format!("/v1/runs/{}", runs[2]["id"])).await;
    assert_eq!(run["pipeline"], "kernels");
    let attempt = &run["jobs"][0]["attempts"][0];
    assert_eq!(
        (
            &run["jobs"][0]["name"],
            &attempt["exit_code"],
            &attempt["tests_total"],
            &attempt["tests_passed"]
        ),
        (&json!("load"), &json!(0), &json!(2), &json!(2)),
        "{run}"
    );
    let id = run["id"].to_string();
    let log = cli.ok(&["run", "log", &id]).await;
    assert_eq!(log.trim(), "kernels load 1 debian-12 test DEBIAN12");
    let shown = cli.ok(&["run", "show", &id]).await;
    assert!(shown.contains("load") && shown.contains("2/2"), "{shown}");
    // What the build kept can be read.
    let build = site.host.get(&format!("/v1/runs/{}", runs[1]["id"])).await;
    let attempt = &build["jobs"][0]["attempts"][0];
    assert_eq!(attempt["artifacts"][0]["path"], "module.ko", "{build}");
    let path = format!("/v1/attempts/{}/files/module.ko", text(&attempt["key"]));
    let file = site
        .host
        .request(Method::GET, &path)
        .send()
        .await
        .expect("an answer");
    assert_eq!(file.text().await.expect("text"), "headers\nimage\n");
    // Every step is an event, and each move says whose it was.
    for (kind, name) in [
        ("run", format!("{DISTRO}/{VERSION} build #{}", build["id"])),
        ("job", format!("kernels/{}/build", build["id"])),
        ("attempt", format!("kernels/{}/build/1", build["id"])),
    ] {
        let page = site
            .host
            .get(&format!("/v1/events?kind={kind}&limit=1000"))
            .await;
        let events = page["items"].as_array().expect("events");
        assert!(
            events.iter().any(|e| e["name"] == name.as_str()),
            "{name}: {events:#?}"
        );
    }
    let decisions = site.host.get("/v1/decisions?hook=run").await;
    assert_eq!(decisions["items"].as_array().expect("items").len(), 3);
    let pipeline = cli.ok(&["pipeline", "show", "kernels"]).await;
    assert!(pipeline.contains("slots:"), "{pipeline}");
    site.host.stop().await;
}

#[tokio::test]
async fn a_build_that_fails_waits_for_a_person_who_asks_again() {
    let (_db, site) = Site::new().await;
    let cli = Cli::new(&site.host);
    site.jobs(&[
        ("fetch", "true"),
        (
            "build",
            r#"test -e "$SHARED/mended" || { echo rotten; exit 3; }"#,
        ),
        ("test", "true"),
    ])
    .await;
    site.host.kernels(DISTRO, &[VERSION]).await;
    let run = site.ended(VERSION, "build", 1).await;
    assert_eq!(run["verdict"], "fail");
    assert_eq!(run["comment"], "`build` ended with exit code 3", "{run}");
    assert_eq!(run["jobs"][0]["attempts"][0]["exit_code"], 3);
    let log = cli.ok(&["run", "log", &run["id"].to_string()]).await;
    assert_eq!(log.trim(), "rotten");
    site.host.idle().await;
    assert_eq!(site.kernel(VERSION).await["state"], "fetched");
    assert_eq!(site.host.get("/v1/wanted").await["items"], json!([]));

    let name = format!("{DISTRO}/{VERSION}");
    let why = cli.ok(&["kernel", "why", &name]).await;
    assert!(why.contains(&format!("run request {name} build")), "{why}");

    site.touch("mended");
    cli.ok(&[
        "run",
        "request",
        &name,
        "build",
        "-m",
        "the builder is mended",
    ])
    .await;
    site.until_state(VERSION, "tested").await;
    let again = site.ended(VERSION, "build", 2).await;
    assert_eq!(again["verdict"], "pass");
    // What was asked for has ended, and is not asked for again.
    site.host.idle().await;
    let events = site.host.events("kind=kernel_request", 2).await;
    let said: Vec<(&str, &str)> = events
        .iter()
        .map(|e| (text(&e["operation"]), text(&e["user"])))
        .collect();
    assert_eq!(said, [("create", "admin"), ("delete", "pipeline:kernels")]);
    assert_eq!(site.runs(VERSION).await.len(), 4);
    let refused = site
        .host
        .refused(
            Method::POST,
            &format!("/v1/kernels/{name}/request"),
            Some(json!({"purpose": "Build it!"})),
        )
        .await;
    assert_eq!(refused["code"], "purpose_invalid");
    site.host.stop().await;
}

#[tokio::test]
async fn what_most_wait_for_runs_first_and_no_more_than_there_are_slots() {
    let (_db, site) = Site::new().await;
    let cli = Cli::new(&site.host);
    let host = &site.host;
    let versions = ["6.1.0-1", "6.1.0-2", "6.1.0-3", "6.1.0-4"];
    host.kernels(DISTRO, &versions).await;
    host.post(
        "/v1/clusters",
        json!({"clusters": [{"name": "acme", "type": "customer"}]}),
    )
    .await;
    let on = |host: &str, version: &str| {
        json!({"cluster": "acme", "host": host,
            "kernels": [{"distro": DISTRO, "version": version, "current": true}]})
    };
    let hosts = [on("a", "6.1.0-3"), on("b", "6.1.0-3"), on("c", "6.1.0-2")];
    host.post("/v1/hosts", json!({"hosts": hosts})).await;
    host.idle().await;
    cli.ok(&["pipeline", "slots", "kernels", "1"]).await;
    let script = r#"echo "$POINTSMAN_KERNEL_VERSION" >> "$SHARED/order"
        while [ ! -e "$SHARED/gate" ]; do sleep 0.02; done"#;
    site.jobs(&[("fetch", script)]).await;
    site.until_there("order").await;
    host.idle().await;
    assert_eq!(site.read("order"), "6.1.0-3\n");
    let pipeline = host.get("/v1/pipelines/kernels").await;
    assert_eq!(pipeline["running"]["slots"], 1);
    assert_eq!(
        pipeline["running"]["runs"].as_array().map(Vec::len),
        Some(1)
    );
    let why = host.get(&format!("/v1/kernels/{DISTRO}/6.1.0-2/why")).await;
    let last = why["conditions"].as_array().expect("conditions").last();
    assert_eq!(last.expect("one")["text"], "it waits for one of 1 slots");
    // What goes on here cannot end in another record.
    let export = host.request(Method::GET, "/v1/export").send().await;
    let export = export.expect("an answer").text().await.expect("lines");
    let run = export
        .lines()
        .find(|line| line.contains(r#""type": "run""#));
    assert!(
        run.expect("the run")
            .contains(r#""verdict": "inconclusive""#)
    );
    // One more slot is one more run, at once.
    cli.ok(&["pipeline", "slots", "kernels", "2"]).await;
    wait_for("the second has begun", async || {
        (site.read("order") == "6.1.0-3\n6.1.0-2\n").then_some(())
    })
    .await;
    host.idle().await;
    assert_eq!(site.read("order"), "6.1.0-3\n6.1.0-2\n");
    site.touch("gate");
    for version in versions {
        site.until_state(version, "fetched").await;
    }
    assert_eq!(site.read("order").lines().count(), 4);
    // Nobody says how to build: that is left to whoever builds outside, and says so.
    let held = wait_for("the builds are left to others", async || {
        let wanted = host.get("/v1/wanted").await;
        let items = wanted["items"].as_array().expect("items").clone();
        let all = items.len() == 4 && items.iter().all(|w| w["held"].is_object());
        all.then_some(items)
    })
    .await;
    assert_eq!(
        (
            &held[0]["version"],
            &held[0]["purpose"],
            &held[0]["held"]["code"]
        ),
        (&json!("6.1.0-3"), &json!("build"), &json!("run.none"))
    );
    let refused = host
        .refused(
            Method::PATCH,
            "/v1/pipelines/kernels",
            Some(json!({"slots": 65})),
        )
        .await;
    assert_eq!(refused["code"], "slots_invalid");
    site.host.stop().await;
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_cancelled_with_all_its_processes() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    let script = r#"sleep 600 & echo $! > "$SHARED/$POINTSMAN_KERNEL_VERSION"; wait"#;
    site.jobs(&[("fetch", script)]).await;
    host.kernels(DISTRO, &["6.1.0-1", "6.5.0-1"]).await;
    let ignored = site.until_there("6.5.0-1").await;
    let deleted = site.until_there("6.1.0-1").await;
    host.post(
        "/v1/ignores",
        json!({"ignores": [{"kind": "like", "pattern": "6.5.%", "reason": "Nobody runs it"}]}),
    )
    .await;
    let run = site.ended("6.5.0-1", "fetch", 1).await;
    assert_eq!(run["verdict"], "inconclusive");
    let why = text(&run["comment"]);
    assert!(
        why.contains("ignored") && why.contains("Nobody runs it"),
        "{run}"
    );
    let path = format!("/v1/kernels/{DISTRO}/6.1.0-1");
    let request = host.request(Method::DELETE, &path).send().await;
    assert!(request.expect("an answer").status().is_success());
    let page = wait_for("the other has ended", async || {
        let page = host.get("/v1/runs?verdict=inconclusive").await;
        (page["items"].as_array().map(Vec::len) == Some(2)).then_some(page)
    })
    .await;
    let comments = page["items"].as_array().expect("runs").iter();
    let mut comments = comments.map(|run| text(&run["comment"]));
    assert!(comments.any(|why| why.contains("deleted")), "{page}");
    for pid in [ignored.trim(), deleted.trim()] {
        let process = Path::new("/proc").join(pid);
        wait_for("its processes have ended", async || {
            (!process.exists()).then_some(())
        })
        .await;
    }
    let attempt = wait_for("its attempt has ended", async || {
        let run = host.get(&format!("/v1/runs/{}", run["id"])).await;
        let attempt = run["jobs"][0]["attempts"][0].clone();
        (attempt["state"] == "ended").then_some(attempt)
    })
    .await;
    assert_eq!(attempt["ended"], "cancelled");
    host.idle().await;
    // Nothing of it starts again, until a person asks for that.
    assert_eq!(site.runs("6.5.0-1").await.len(), 1);
    site.jobs(&[("fetch", "true")]).await;
    host.post(
        &format!("/v1/kernels/{DISTRO}/6.5.0-1/request"),
        json!({"purpose": "fetch"}),
    )
    .await;
    site.until_state("6.5.0-1", "fetched").await;
    site.host.stop().await;
}

#[tokio::test]
async fn a_run_that_the_host_called_off_is_none_of_those_that_there_may_be() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    let ladder = host.upload("kernel-ladder").await;
    host.bind("advance", &ladder, json!({"max-runs": 1})).await;
    let script = r#"echo begun >> "$SHARED/begun"; test -e "$SHARED/go-on" || sleep 600"#;
    site.jobs(&[("fetch", script)]).await;
    host.kernels(DISTRO, &[VERSION]).await;
    site.until_there("begun").await;
    let pattern = json!({"kind": "like", "pattern": "6.1.%", "reason": "Nobody runs it"});
    host.post("/v1/ignores", json!({"ignores": [pattern]}))
        .await;
    let run = site.ended(VERSION, "fetch", 1).await;
    assert_eq!(run["verdict"], "inconclusive");
    host.idle().await;
    site.touch("go-on");
    let ignores = host.get("/v1/ignores").await;
    let path = format!("/v1/ignores/{}", ignores["items"][0]["id"]);
    let removed = host.request(Method::DELETE, &path).send().await;
    assert!(removed.expect("an answer").status().is_success());
    // The one run that there may be is still to come.
    site.until_state(VERSION, "fetched").await;
    assert_eq!(site.ended(VERSION, "fetch", 2).await["verdict"], "pass");
    site.host.stop().await;
}

#[tokio::test]
async fn a_run_all_of_whose_jobs_are_skipped_ends_at_once_and_takes_no_slot() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    host.send(Method::PATCH, "/v1/pipelines/kernels", json!({"slots": 1}))
        .await;
    let digest = host.upload_bytes("skips", skips("headers.none")).await;
    host.bind("run", &digest, json!({})).await;
    host.kernels(DISTRO, &[VERSION, "6.1.0-2-amd64"]).await;
    // To skip all is the policy's word that nothing is to be done: each purpose passes, and nothing ran.
    for version in [VERSION, "6.1.0-2-amd64"] {
        site.until_state(version, "tested").await;
        for run in site.runs(version).await {
            assert_eq!(run["verdict"], "pass", "{run}");
            let run = host.get(&format!("/v1/runs/{}", run["id"])).await;
            assert_eq!(run["jobs"][0]["state"], "skipped", "{run}");
            assert_eq!(run["jobs"][0]["skipped"]["code"], "headers.none", "{run}");
            assert_eq!(run["jobs"][0]["attempts"], json!([]), "{run}");
        }
        assert_eq!(site.runs(version).await.len(), 3);
    }
    host.idle().await;
    let wanted = host.get("/v1/wanted").await;
    assert_eq!(wanted["items"], json!([]));
    site.host.stop().await;
}

#[tokio::test]
async fn a_policy_that_sees_to_jobs_remembers_and_people_see_and_change_it() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    let digest = host.upload_bytes("counts", counts(Hook::Run)).await;
    host.bind("run", &digest, json!({})).await;
    host.kernels(DISTRO, &[VERSION]).await;
    site.until_state(VERSION, "tested").await;
    let noted = async || {
        let notes = host.get("/v1/pipelines/kernels/notes?hook=run").await;
        assert_eq!(notes["items"].as_array().map(Vec::len), Some(1), "{notes}");
        notes["items"][0].clone()
    };
    // It was asked about a fetch, a build and a test, each time with what it had noted before.
    let note = noted().await;
    assert_eq!(
        (&note["key"], &note["value"]),
        (&json!("asked"), &json!("3"))
    );
    let decision = host
        .get(&format!("/v1/decisions/{}", note["decision"]))
        .await;
    let given = decision["context"]["notes"].to_string();
    assert!(
        given.contains("asked") && given.contains('2'),
        "{decision:#}"
    );
    // A person's word is what it is given next.
    let seven = json!({"hook": "run", "key": "asked", "value": "7"});
    host.post("/v1/pipelines/kernels/notes", json!({"notes": [seven]}))
        .await;
    host.post(
        &format!("/v1/kernels/{DISTRO}/{VERSION}/request"),
        json!({"purpose": "fetch"}),
    )
    .await;
    site.ended(VERSION, "fetch", 2).await;
    assert_eq!(noted().await["value"], "8");
    site.host.stop().await;
}

#[tokio::test]
async fn what_somebody_outside_runs_is_not_run_here_too() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    host.kernels(DISTRO, &[VERSION, "6.1.0-2-amd64"]).await;
    let report = async |verdict: Option<&str>| {
        let run = json!({"distro": DISTRO, "version": VERSION, "purpose": "fetch", "verdict": verdict,
            "key": "jenkins-1"});
        host.post("/v1/runs", json!({"runs": [run]})).await;
    };
    report(None).await;
    host.idle().await;
    site.jobs(&[
        (
            "fetch",
            r#"echo "$POINTSMAN_KERNEL_VERSION" >> "$SHARED/fetched""#,
        ),
        (
            "build",
            r#"echo "$POINTSMAN_KERNEL_VERSION" >> "$SHARED/built""#,
        ),
    ])
    .await;
    site.until_state("6.1.0-2-amd64", "built").await;
    host.idle().await;
    assert_eq!(site.read("fetched"), "6.1.0-2-amd64\n");
    report(Some("pass")).await;
    site.until_state(VERSION, "built").await;
    assert_eq!(site.read("fetched"), "6.1.0-2-amd64\n");
    assert_eq!(site.read("built"), format!("6.1.0-2-amd64\n{VERSION}\n"));
    let outside = site.runs(VERSION).await[0].clone();
    assert!(outside["pipeline"].is_null(), "{outside}");
    let ended = Cli::new(host)
        .run(&["run", "log", &outside["id"].to_string()])
        .await;
    assert!(ended.stderr.contains("made outside"), "{ended:?}");
    site.host.stop().await;
}

#[tokio::test]
async fn a_policy_that_cannot_answer_holds_one_run_and_says_so() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    let run = host.upload_bytes("tripping-run", traps(Hook::Run)).await;
    let triage = host
        .upload_bytes("tripping-triage", traps(Hook::Triage))
        .await;
    host.bind("run", &run, json!({})).await;
    host.bind("triage", &triage, json!({})).await;
    host.kernels(DISTRO, &[VERSION]).await;
    // Nobody can say which jobs it needs: the wish says so, and takes no slot.
    wait_for("the wish is held", async || {
        let wanted = host.get("/v1/wanted").await;
        (wanted["items"][0]["held"]["code"] == "trapped").then_some(())
    })
    .await;
    assert_eq!(site.runs(VERSION).await, Vec::<Value>::new());
    // Another policy is asked at once. Nobody can say whether what it starts passed.
    site.jobs(&[("fetch", "true")]).await;
    let held = wait_for("the run is held", async || {
        let runs = site.runs(VERSION).await;
        runs.into_iter().find(|run| run["held"].is_object())
    })
    .await;
    assert_eq!(held["held"]["code"], "trapped", "{held}");
    assert!(held["verdict"].is_null(), "{held}");
    let why = host
        .get(&format!("/v1/kernels/{DISTRO}/{VERSION}/why"))
        .await;
    let last = why["conditions"].as_array().expect("conditions").last();
    let last = last.expect("one").clone();
    assert!(
        last["met"] == false && text(&last["text"]).contains("is held"),
        "{last}"
    );
    // The pipeline itself goes on, and so does the run once its policy can answer.
    host.idle().await;
    let triage = host.upload("exit-code").await;
    host.bind("triage", &triage, json!({})).await;
    site.until_state(VERSION, "fetched").await;
    let run = host.get(&format!("/v1/runs/{}", held["id"])).await;
    assert!(run["verdict"] == "pass" && run["held"].is_null(), "{run}");
    site.host.stop().await;
}

#[tokio::test]
async fn a_writer_ends_a_run_by_its_key_and_its_jobs_are_cancelled() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    let script = r#"echo begun > "$SHARED/begun"; sleep 600"#;
    site.jobs(&[("fetch", script)]).await;
    host.kernels(DISTRO, &[VERSION]).await;
    site.until_there("begun").await;
    let key = site.runs(VERSION).await[0]["key"].clone();
    let report = json!({"distro": DISTRO, "version": VERSION, "purpose": "fetch", "verdict": "pass",
        "key": key, "comment": "fetched by hand"});
    host.post("/v1/runs", json!({"runs": [report]})).await;
    let run = site.ended(VERSION, "fetch", 1).await;
    assert_eq!(
        (&run["verdict"], &run["comment"]),
        (&json!("pass"), &json!("fetched by hand"))
    );
    site.until_state(VERSION, "fetched").await;
    wait_for("its attempt is cancelled", async || {
        let run = host.get(&format!("/v1/runs/{}", run["id"])).await;
        (run["jobs"][0]["attempts"][0]["ended"] == "cancelled").then_some(())
    })
    .await;
    site.host.stop().await;
}

#[tokio::test]
async fn a_job_outlives_a_host_that_is_killed_and_its_result_counts_once() {
    // The plugins are read before there is anything to wait for.
    let _ = plugin("job-template");
    let db = TestDatabase::new().await;
    let data = tempfile::tempdir().expect("a folder");
    let first = Served::start(&db, data.path()).await;
    let site = Site::on(TestHost::of(&first.host.url, &first.host.token)).await;
    let script = r#"echo "$POINTSMAN_ATTEMPT_NUMBER" >> "$SHARED/begun"
        while [ ! -e "$SHARED/gate" ]; do sleep 0.02; done
        echo done"#;
    site.jobs(&[("fetch", script)]).await;
    site.host.kernels(DISTRO, &[VERSION]).await;
    site.until_there("begun").await;
    first.kill().await;
    // It ends while nobody looks.
    site.touch("gate");
    let second = Served::start(&db, data.path()).await;
    let site = Site {
        host: TestHost::of(&second.host.url, &second.host.token),
        shared: site.shared,
    };
    let run = site.ended(VERSION, "fetch", 1).await;
    assert_eq!(run["verdict"], "pass", "{run}");
    site.until_state(VERSION, "fetched").await;
    site.host.idle().await;
    assert_eq!(site.read("begun"), "1\n");
    let runs = site.runs(VERSION).await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(run["jobs"][0]["attempts"].as_array().map(Vec::len), Some(1));
    second.kill().await;
}

#[tokio::test]
async fn what_no_policy_wishes_for_any_more_does_not_run_again_and_again() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    site.jobs(&[(
        "fetch",
        r#"echo run >> "$SHARED/runs"; while [ ! -e "$SHARED/go" ]; do sleep 0.02; done"#,
    )])
    .await;
    host.kernels(DISTRO, &[VERSION]).await;
    assert_eq!(site.until_there("runs").await, "run\n");
    // Nobody says any more what is next: what was wished for is not, and its run is called off.
    let unbind = "/v1/pipelines/kernels/bindings/advance/0";
    host.send(Method::DELETE, unbind, json!({})).await;
    let run = site.ended(VERSION, "fetch", 1).await;
    assert_eq!(run["verdict"], "inconclusive", "{run}");
    site.touch("go");
    host.idle().await;
    assert_eq!(host.get("/v1/wanted").await["items"], json!([]));
    assert_eq!(site.runs(VERSION).await.len(), 1);
    assert_eq!(site.read("runs"), "run\n");
    site.host.stop().await;
}

#[tokio::test]
async fn a_run_that_nobody_can_decide_about_keeps_no_slot() {
    let (_db, site) = Site::new().await;
    let host = &site.host;
    host.send(Method::PATCH, "/v1/pipelines/kernels", json!({"slots": 1}))
        .await;
    let digest = host.upload_bytes("traps", traps(Hook::Triage)).await;
    host.bind("triage", &digest, json!({})).await;
    site.jobs(&[("fetch", r#"echo run >> "$SHARED/runs""#)])
        .await;
    host.kernels(DISTRO, &[VERSION, "6.1.0-2-amd64"]).await;
    wait_for("both have run", async || {
        (site.read("runs") == "run\nrun\n").then_some(())
    })
    .await;
    for version in [VERSION, "6.1.0-2-amd64"] {
        wait_for("the run is held", async || {
            let runs = site.runs(version).await;
            (runs.len() == 1 && !runs[0]["held"].is_null()).then_some(())
        })
        .await;
    }
    site.host.stop().await;
}

#[tokio::test]
async fn a_batch_too_large_for_one_turn_is_seen_to_its_end() {
    let (db, host) = TestHost::start().await;
    host.distro("debian-12").await;
    host.idle().await;
    let mut hand = db.connect().await;
    // One change that is the pipeline's, and more than a turn reads that are not.
    sqlx::raw_sql(
        "begin; select generation_start('a large batch');
         insert into kernel_version (distro_id, version, state_id)
           select d.id, '6.1.0-1', s.id from distro d, kernel_state s where s.name = 'seen';
         insert into cluster_type (name) select 'type-' || n from generate_series(1, 5500) n; commit;",
    )
    .execute(&mut hand)
    .await
    .unwrap();
    wait_for("the whole batch was seen", async || {
        let seen: bool =
            sqlx::query_scalar("select kernel_turn_has_seen((select max(id) from generation))")
                .fetch_one(&mut db.connect().await)
                .await
                .unwrap();
        seen.then_some(())
    })
    .await;
    host.stop().await;
}
