//! Pull requests as people handle them: the verbs of the command, from an empty server to what landed.

use std::path::Path;

use pointsman_tests::command::Cli;
use pointsman_tests::{TestDatabase, TestHost, forge, plugin, text, wait_for};
use serde_json::{Value, json};

const PUBLIC: &str = "https://ci.example.org";

/// The arguments of a line in which none has a space.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Waits until a command prints what is looked for; gives what it printed.
async fn until(cli: &Cli, line: &str, is: impl Fn(&str) -> bool) -> String {
    let args = words(line);
    wait_for(&format!("`pointsman {line}` says so"), async || {
        let said = cli.ok(&args).await;
        is(&said).then_some(said)
    })
    .await
}

/// Waits until a pull request has landed.
async fn landed(cli: &Cli, pull: &str) {
    wait_for(&format!("{pull} has landed"), async || {
        let shown = cli.json(&["pr", "show", pull]).await;
        (shown["state"] == "landed").then_some(())
    })
    .await;
}

/// A repository, a fork, and a pipeline with stock policies, all made over the command line.
async fn begin(host: &TestHost, cli: &Cli, test: &str) -> forge::Clone {
    cli.ok(&words("repo create lib")).await;
    cli.ok(&words("repo create fork")).await;
    cli.ok(&words("pipeline create main --repo lib --slots 2"))
        .await;
    for (hook, name) in [
        ("review", "reviews"),
        ("gate", "gate-basics"),
        ("select", "select-oldest"),
        ("run", "job-template"),
        ("triage", "exit-code"),
        ("react", "status-comment"),
    ] {
        let file = host.dir().join(format!("{name}.wasm"));
        std::fs::write(&file, plugin(name)).expect("a file");
        let file = file.display().to_string();
        cli.ok(&["plugin", "upload", &file]).await;
        let settings = match hook {
            "run" => json!({"test": test}).to_string(),
            _ => "{}".to_owned(),
        };
        let bind = ["pipeline", "bind", "main", hook, name, "--settings"];
        cli.ok(&[&bind[..], &[settings.as_str()]].concat()).await;
    }
    let repositories = cli.lines(&words("repo list")).await;
    let lib = repositories.iter().find(|found| found["name"] == "lib");
    let place = &lib.expect("it was made")["place"];
    forge::Clone::begin(Path::new(text(place)))
}

#[tokio::test]
async fn a_pull_request_is_handled_from_its_opening_to_its_landing() {
    let db = TestDatabase::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    let host = TestHost::with(&db.url, dir, |config| {
        config.public_url = Some(PUBLIC.parse().expect("an address"));
    })
    .await;
    let cli = Cli::new(&host);
    let gate = host.dir().join("go");
    let test = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    let clone = begin(&host, &cli, &test).await;
    let secret = host.dir().join("bo.token");
    let create = format!("token create bo --role writer --out {}", secret.display());
    cli.ok(&words(&create)).await;
    let secret = std::fs::read_to_string(&secret).expect("a token");
    let bo = Cli::with(&host.url, secret.trim());
    cli.ok(&words("pipeline freeze main releasing")).await;

    // One of the house, and one of a stranger, from a fork.
    let head = clone.branch("fix", "change", "good\n");
    let opened = cli.ok(&words("pr create lib fix Mend --label quick")).await;
    assert_eq!(opened, "lib#1\n");
    clone.git(&words("checkout -q -B topic origin/main"));
    clone.write("other", "from outside\n");
    let outside = clone.commit("From outside");
    let fork = clone.place.with_file_name("fork.git");
    clone.git(&["push", "-q", &fork.display().to_string(), "topic"]);
    let stranger = "pr create lib topic Outside --from fork --author eve --permission read";
    let refused = bo.run(&words(stranger)).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("only an admin"), "{refused:?}");
    assert_eq!(cli.ok(&words(stranger)).await, "lib#2\n");
    assert!(cli.ok(&words("pr list lib")).await.contains("Outside"));
    let of_eve = cli.lines(&words("pr list lib --author eve")).await;
    assert_eq!(of_eve.len(), 1, "{of_eve:?}");
    let shown = cli.ok(&words("pr show lib#1")).await;
    assert!(shown.contains(&head) && shown.contains("quick"), "{shown}");

    // What each waits for, and who can do something about it.
    let approves = |said: &str| said.contains("next: a reviewer approves it");
    until(&cli, "pr why lib#1", approves).await;
    until(&cli, "pr why lib#2", approves).await;
    bo.ok(&words("pr review lib#1 changes-requested")).await;
    let of_bo = |said: &str| said.contains("next: a review by bo");
    until(&cli, "pr why lib#1", of_bo).await;
    bo.ok(&words("pr review lib#1 approved")).await;
    bo.ok(&words("pr review lib#2 approved")).await;
    let reviews = cli.lines(&words("pr reviews lib#1")).await;
    let said: Vec<&str> = reviews
        .iter()
        .map(|review| text(&review["state"]))
        .collect();
    assert_eq!(said, ["changes-requested", "approved"]);
    assert_eq!(reviews[1]["by"], "bo");
    assert_eq!(reviews[1]["head"], head.as_str());
    let first = cli.run(&words("pr reviews lib#1 -n 1")).await;
    assert!(first.stdout.contains("changes-requested"), "{first:?}");
    assert!(first.stderr.contains("more: add --all"), "{first:?}");
    let authorise = |said: &str| said.contains("authorises it: `pointsman pr authorise`");
    until(&cli, "pr why lib#2", authorise).await;
    let this = format!("pr authorise lib#2 --head {outside}");
    bo.ok(&words(&this)).await;
    cli.ok(&words("pr label lib#1 do-not-merge")).await;
    let label = |said: &str| said.contains("takes the label off");
    until(&cli, "pr why lib#1", label).await;
    cli.ok(&words("pr label lib#1 do-not-merge --off")).await;
    bo.ok(&["pr", "comment", "lib#1", "What of the error path?"])
        .await;
    let comments = cli.ok(&words("pr comments lib#1")).await;
    assert!(comments.contains("What of the error path?"), "{comments}");

    // What runs now.
    let status = wait_for("both run", async || {
        let status = cli.json(&words("pipeline status main")).await;
        let runs = |number: &str| status[number]["jobs"][0]["state"] == "running";
        (runs("1") && runs("2")).then_some(status)
    })
    .await;
    assert_eq!(status["2"]["head"], outside.as_str());
    let job = &status["1"]["jobs"][0];
    assert_eq!((&job["name"], &job["attempt"]), (&json!("test"), &json!(1)));
    assert!(text(&job["link"]).starts_with(PUBLIC), "{job}");
    let table = cli.ok(&words("pipeline status main")).await;
    assert!(table.contains("test running"), "{table}");
    let both = |said: &str| said == "#1\n#2\n";
    until(&cli, "pipeline approved main", both).await;
    let none = cli.run(&words("pipeline ready main")).await;
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.contains("none is ready"), "{none:?}");
    assert_eq!(cli.json(&words("pipeline ready main")).await, json!([]));
    std::fs::write(&gate, "").expect("a file");
    until(&cli, "pipeline passing main", both).await;
    assert_eq!(cli.ok(&words("pipeline ready main")).await, "#1\n#2\n");
    let link = |said: &str| said.contains(&format!("{PUBLIC}/v1/browse/"));
    until(&cli, "pr show lib#1", link).await;
    let idle = |said: &str| said.is_empty();
    until(&cli, "pipeline status main", idle).await;
    let closed = |said: &str| said.contains("`pointsman pipeline thaw`");
    until(&cli, "pr why lib#1", closed).await;

    // Another run of the first, and another look at it.
    let passed = words("lane list main --number 1 --state passed");
    let before: Value = cli.lines(&passed).await[0]["id"].clone();
    cli.ok(&words("pr retest lib#1")).await;
    wait_for("it ran again", async || {
        let lanes = cli.lines(&passed).await;
        (lanes.first()?["id"] != before).then_some(())
    })
    .await;
    let asked = cli.run(&words("pr try-merge lib#1")).await;
    assert_eq!((asked.code, asked.stdout.as_str()), (0, ""));
    assert!(asked.stderr.contains("`pointsman pr why lib#1`"));
    let again = format!("pr try-merge lib#1 --head {head}");
    assert_eq!(cli.json(&words(&again)).await["number"], 1);
    let moved = format!("pr try-merge lib#1 --head {outside}");
    assert_eq!(cli.run(&words(&moved)).await.code, 5);
    let elsewhere = "pr create lib fix Elsewhere --target release";
    cli.ok(&words(elsewhere)).await;
    let nowhere = cli.run(&words("pr try-merge lib#3")).await;
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.stderr.contains("`pointsman pipeline create`"));
    cli.ok(&words("pr close lib#3")).await;

    cli.ok(&words("pipeline thaw main")).await;
    landed(&cli, "lib#1").await;
    landed(&cli, "lib#2").await;
    let tips = cli.lines(&words("pipeline tips main")).await;
    let ours: Vec<&Value> = tips.iter().filter(|tip| tip["how"] == "landed").collect();
    assert_eq!(ours.len(), 2, "{tips:?}");
    assert!(ours.iter().all(|tip| tip["tested"] == true), "{tips:?}");
    assert_eq!(text(&tips[0]["commit"]), clone.tip("main"));
    host.stop().await;
}
