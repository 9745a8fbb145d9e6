//! Clusters and hosts, runs, what is stale, what is wanted, and states.

use pointsman_tests::{TestHost, text};
use reqwest::Method;
use serde_json::{Value, json};

fn shown(page: &Value, fields: &[&str]) -> Vec<String> {
    let field = |item: &Value, name: &&str| match &item[*name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let items = page["items"].as_array().expect("items").iter();
    items
        .map(|item| {
            fields
                .iter()
                .map(|name| field(item, name))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

async fn put(host: &TestHost, cluster: &str, name: &str, kernels: &[(&str, bool)]) -> Value {
    let kernels: Vec<Value> = kernels
        .iter()
        .map(|(version, current)| json!({"distro": "d", "version": version, "current": current}))
        .collect();
    host.post(
        "/v1/hosts",
        json!({"hosts": [{"cluster": cluster, "host": name, "kernels": kernels}]}),
    )
    .await
}

#[tokio::test]
async fn which_customer_hosts_run_a_kernel_that_is_not_ready() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1", "2", "3"]).await;
    let clusters = json!({"clusters": [
        {"name": "lab", "type": "own"}, {"name": "acme", "type": "customer"}, {"name": "initech", "type": "customer"}]});
    assert_eq!(host.post("/v1/clusters", clusters).await["created"], 3);
    for (version, state) in [("1", "ready-customers"), ("2", "ready-own"), ("3", "built")] {
        host.send(
            Method::PATCH,
            &format!("/v1/kernels/d/{version}"),
            json!({"state": state}),
        )
        .await;
    }
    put(&host, "lab", "l1", &[("3", true)]).await;
    put(&host, "acme", "a1", &[("1", true), ("3", false)]).await;
    put(&host, "acme", "a2", &[("2", true), ("1", false)]).await;
    put(&host, "initech", "i1", &[("3", true)]).await;

    let query = "/v1/hosts?cluster_type=customer&current=true&below_state=ready-customers";
    let fields = ["cluster", "host", "version", "state"];
    assert_eq!(
        shown(&host.get(query).await, &fields),
        ["acme a2 2 ready-own", "initech i1 3 built"]
    );
    // Own infrastructure has a step of its own.
    let own = "/v1/hosts?cluster_type=own&current=true&below_state=ready-own";
    assert_eq!(shown(&host.get(own).await, &fields), ["lab l1 3 built"]);
    // Once a person declares it ready, it is off the list.
    host.send(
        Method::PATCH,
        "/v1/kernels/d/2",
        json!({"state": "ready-customers"}),
    )
    .await;
    assert_eq!(
        shown(&host.get(query).await, &fields),
        ["initech i1 3 built"]
    );
    for (query, expected) in [
        (
            "cluster=acme",
            vec![
                "acme a1 1 ready-customers",
                "acme a1 3 built",
                "acme a2 1 ready-customers",
                "acme a2 2 ready-customers",
            ],
        ),
        ("host=a1&current=false", vec!["acme a1 3 built"]),
        (
            "version=3&distro=d",
            vec!["acme a1 3 built", "initech i1 3 built", "lab l1 3 built"],
        ),
        ("state=built&without_state=built", vec![]),
        (
            "without_state=built&current=true",
            vec!["acme a1 1 ready-customers", "acme a2 2 ready-customers"],
        ),
        ("below_state=seen", vec![]),
    ] {
        let mut found = shown(&host.get(&format!("/v1/hosts?{query}")).await, &fields);
        found.sort();
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(
        host.kernel_names("installed=true").await,
        ["d/1", "d/2", "d/3"]
    );
    put(&host, "acme", "a2", &[("1", true)]).await;
    assert_eq!(host.kernel_names("installed=false").await, ["d/2"]);
}

#[tokio::test]
async fn a_report_is_the_whole_truth_of_a_host() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.post(
        "/v1/clusters",
        json!({"clusters": [{"name": "c", "type": "own"}]}),
    )
    .await;
    // A version that the record does not have is created, as seen.
    let first = put(&host, "c", "h", &[("1", true), ("2", false)]).await;
    assert_eq!(
        (&first["created"], &first["updated"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(host.get("/v1/kernels/d/1").await["state"], "seen");
    let same = put(&host, "c", "h", &[("2", false), ("1", true)]).await;
    assert_eq!(
        (&same["unchanged"], &same["generation"]),
        (&json!(2), &json!(null))
    );

    // It reboots into the other one, and loses the first.
    put(&host, "c", "h", &[("2", true), ("1", false)]).await;
    let fields = ["version", "current"];
    assert_eq!(
        shown(&host.get("/v1/hosts").await, &fields),
        ["1 false", "2 true"]
    );
    put(&host, "c", "h", &[("2", true), ("3", false)]).await;
    assert_eq!(
        shown(&host.get("/v1/hosts").await, &fields),
        ["2 true", "3 false"]
    );
    put(&host, "c", "h", &[("1", true), ("2", false)]).await;
    assert_eq!(
        shown(&host.get("/v1/hosts").await, &fields),
        ["1 true", "2 false"]
    );
    let events = host.events("name=c/h%20d/1", 4).await;
    let changes: Vec<String> = events
        .iter()
        .map(|e| format!("{} {}", text(&e["operation"]), e["changes"]["current"]))
        .collect();
    assert_eq!(
        changes,
        [
            "create true",
            "update [true,false]",
            "delete null",
            "update [false,true]"
        ]
    );

    // A kernel named twice on one host is installed once; a host named twice keeps the last word.
    let twice = json!({"hosts": [
        {"cluster": "c", "host": "h", "kernels": [{"distro": "d", "version": "9"}]},
        {"cluster": "c", "host": "h", "kernels": [
            {"distro": "d", "version": "1", "current": true}, {"distro": "d", "version": "1"}]},
    ]});
    host.post("/v1/hosts", twice).await;
    assert_eq!(shown(&host.get("/v1/hosts").await, &fields), ["1 true"]);
    put(&host, "c", "h", &[]).await;
    assert_eq!(host.get("/v1/hosts").await["items"], json!([]));

    // Two reports of one host at once: one after the other, and one current kernel.
    let versions = ["1", "2", "3", "4", "5", "6"];
    let reports = versions.iter().map(|v| async move { (v, ()) });
    let kernels = futures::future::join_all(reports).await;
    futures::future::join_all(kernels.iter().map(|(v, ())| {
        let body = json!({"hosts": [{"cluster": "c", "host": "h", "kernels": [{"distro": "d", "version": v, "current": true}]}]});
        host.post("/v1/hosts", body)
    }))
    .await;
    assert_eq!(
        host.get("/v1/hosts").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        host.get("/v1/hosts?current=true").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_cluster_changes_its_type_goes_and_comes_back() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    let cluster = |kind: &str| json!({"clusters": [{"name": "c", "type": kind}]});
    host.post("/v1/clusters", cluster("own")).await;
    assert_eq!(
        host.post("/v1/clusters", cluster("own")).await["generation"],
        json!(null)
    );
    assert_eq!(
        host.post("/v1/clusters", cluster("demo")).await["updated"],
        1
    );
    put(&host, "c", "h1", &[("1", true), ("2", false)]).await;
    put(&host, "c", "h2", &[("1", true)]).await;
    assert_eq!(
        shown(&host.get("/v1/clusters").await, &["name", "type", "hosts"]),
        ["c demo 2"]
    );

    assert_eq!(
        host.send(Method::DELETE, "/v1/clusters/c?comment=sold", json!({}))
            .await["updated"],
        1
    );
    assert_eq!(
        host.send(Method::DELETE, "/v1/clusters/c", json!({})).await["unchanged"],
        1
    );
    assert_eq!(host.get("/v1/clusters").await["items"], json!([]));
    assert_eq!(host.get("/v1/hosts").await["items"], json!([]));
    assert_eq!(host.kernel_names("installed=true").await, [""; 0]);
    assert_eq!(
        shown(
            &host.get("/v1/clusters?deleted=true").await,
            &["name", "deleted"]
        ),
        ["c true"]
    );
    let body = json!({"hosts": [{"cluster": "c", "host": "h1", "kernels": [{"distro": "d", "version": "1"}]}]});
    assert_eq!(
        host.refused(Method::POST, "/v1/hosts", Some(body)).await["code"],
        "cluster_unknown"
    );
    let gone = host.events("operation=delete", 4).await;
    assert!(gone.iter().all(|e| e["comment"] == "sold"), "{gone:#?}");

    assert_eq!(
        host.post("/v1/clusters", cluster("demo")).await["updated"],
        1
    );
    put(&host, "c", "h1", &[("1", true)]).await;
    assert_eq!(
        shown(&host.get("/v1/clusters").await, &["name", "type", "hosts"]),
        ["c demo 1"]
    );
}

#[tokio::test]
async fn runs_are_reported_from_outside() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1", "2"]).await;
    let run = |rest: Value| {
        let mut run = json!({"distro": "d", "version": "1", "purpose": "build"});
        run.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        json!({"runs": [run]})
    };
    // It begins, is reported again, ends, and a late "it has begun" takes nothing back.
    let begun = run(json!({"key": "jenkins-13343", "release": "8.1"}));
    assert_eq!(host.post("/v1/runs", begun.clone()).await["created"], 1);
    assert_eq!(
        host.post("/v1/runs", begun.clone()).await["generation"],
        json!(null)
    );
    let ended = run(
        json!({"key": "jenkins-13343", "release": "8.1", "verdict": "pass", "comment": "fine",
        "link": "https://jenkins.example/job/13343"}),
    );
    assert_eq!(host.post("/v1/runs", ended.clone()).await["updated"], 1);
    assert_eq!(
        host.post("/v1/runs", ended).await["generation"],
        json!(null)
    );
    assert_eq!(host.post("/v1/runs", begun).await["unchanged"], 1);
    let runs = host.get("/v1/runs").await;
    assert_eq!(
        shown(
            &runs,
            &["purpose", "release", "verdict", "comment", "reported_by"]
        ),
        ["build 8.1 pass fine admin"]
    );
    assert_eq!(
        runs["items"][0]["link"],
        "https://jenkins.example/job/13343"
    );
    let id = &runs["items"][0]["id"];
    assert_eq!(host.get(&format!("/v1/runs/{id}")).await, runs["items"][0]);
    let events = host.events("kind=run", 2).await;
    assert_eq!(text(&events[0]["name"]), format!("d/1 build 8.1 #{id}"));
    assert_eq!(events[1]["changes"]["verdict"], json!([null, "pass"]));
    assert_eq!(text(&events[0]["comment"]), "build of d/1 begun");

    // The same key for another release or purpose is another run; without a key each report is one.
    host.post(
        "/v1/runs",
        run(json!({"key": "jenkins-13343", "release": "8.2", "verdict": "fail"})),
    )
    .await;
    host.post(
        "/v1/runs",
        run(json!({"purpose": "test", "key": "jenkins-13343", "verdict": "inconclusive"})),
    )
    .await;
    for _ in 0..2 {
        host.post(
            "/v1/runs",
            run(json!({"purpose": "test", "version": "2", "verdict": "fail"})),
        )
        .await;
    }
    for (query, count) in [
        ("", 5),
        ("?purpose=build", 2),
        ("?release=8.2", 1),
        ("?verdict=fail", 3),
        ("?distro=d&version=2", 2),
        ("?purpose=test&verdict=inconclusive", 1),
        ("?version=3", 0),
    ] {
        assert_eq!(
            host.get(&format!("/v1/runs{query}")).await["items"]
                .as_array()
                .unwrap()
                .len(),
            count,
            "{query}"
        );
    }
    // In one batch the last word about a key counts; a late verdict may still be corrected.
    let twice = json!({"runs": [
        {"distro": "d", "version": "2", "purpose": "fetch", "key": "k", "verdict": "fail"},
        {"distro": "d", "version": "2", "purpose": "fetch", "key": "k", "verdict": "pass"},
    ]});
    assert_eq!(host.post("/v1/runs", twice).await["created"], 1);
    assert_eq!(
        shown(&host.get("/v1/runs?purpose=fetch").await, &["verdict"]),
        ["pass"]
    );
    // A version that is deleted takes no runs.
    host.send(Method::DELETE, "/v1/kernels/d/2", json!({}))
        .await;
    let late = host
        .refused(Method::POST, "/v1/runs", Some(run(json!({"version": "2"}))))
        .await;
    assert_eq!(late["code"], "kernel_unknown");
}

#[tokio::test]
async fn what_has_sat_in_one_state_for_too_long_is_listed() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    host.distro("e").await;
    host.idle().await;
    let mut psql = db.connect().await;
    sqlx::raw_sql(
        "begin; select generation_start('old ones');
         insert into kernel_version (distro_id, version, state_id, state_since)
           select d.id, v, s.id, now() - make_interval(days => days)
           from (values ('d', 'month', 'seen', 30), ('d', 'week', 'built', 8), ('e', 'year', 'fetched', 365),
             ('d', 'day', 'seen', 1), ('d', 'done', 'tested', 900), ('d', 'ready', 'ready-own', 900),
             ('d', 'ignored', 'seen', 500), ('d', 'deleted', 'seen', 500)) x (distro, v, state, days)
           join distro d on d.name = x.distro join kernel_state s on s.name = x.state;
         update kernel_version set deleted_at = now() where version = 'deleted';
         commit",
    )
    .execute(&mut psql)
    .await
    .unwrap();
    host.idle().await;
    sqlx::raw_sql(
        "insert into kernel_ignored (kernel_version_id, distro_id, version, scope, reason_code, reason_text, decision_id)
         select id, distro_id, version, 'all', 'test', 'test', 1 from kernel_version where version = 'ignored'",
    )
    .execute(&mut psql)
    .await
    .unwrap();
    for (query, expected) in [
        // The longest first; what a person has to move, and what is ignored or deleted, is left out.
        ("", vec!["year", "month", "week"]),
        ("?distro=d", vec!["month", "week"]),
        ("?state=seen", vec!["month"]),
        ("?state=tested,built", vec!["done", "week"]),
        ("?over_seconds=3600", vec!["year", "month", "week", "day"]),
        ("?over_seconds=1000000", vec!["year", "month"]),
    ] {
        assert_eq!(
            shown(&host.get(&format!("/v1/stale{query}")).await, &["version"]),
            expected,
            "{query}"
        );
    }
    // A change of state restarts the clock; any other change does not.
    host.send(
        Method::PATCH,
        "/v1/kernels/d/month",
        json!({"state": "fetched"}),
    )
    .await;
    let packages = json!([{"name": "linux-image-week", "version": "1", "role": "image"}]);
    host.post(
        "/v1/detections",
        json!({"kernels": [{"distro": "d", "version": "week", "packages": packages}]}),
    )
    .await;
    assert_eq!(
        shown(&host.get("/v1/stale").await, &["version"]),
        ["year", "week"]
    );
}

#[tokio::test]
async fn what_the_policy_wants_comes_by_priority_and_age() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    host.distro("e").await;
    host.kernels("d", &["1", "2", "3"]).await;
    host.kernels("e", &["1"]).await;
    host.idle().await;
    let mut psql = db.connect().await;
    sqlx::raw_sql(
        "insert into kernel_wanted (kernel_version_id, release, purpose, priority, reason_code, reason_text, since, decision_id)
         select k.id, '', x.purpose, x.priority, 'c', 'because', now() - make_interval(hours => x.age), 7
         from (values ('d', '1', 'build', 0, 1), ('d', '2', 'test', 5, 1), ('d', '3', 'build', 0, 9), ('e', '1', 'build', -1, 99))
           x (distro, version, purpose, priority, age)
         join distro d on d.name = x.distro join kernel_version k on k.distro_id = d.id and k.version = x.version",
    )
    .execute(&mut psql)
    .await
    .unwrap();
    for (query, expected) in [
        (
            "limit=100",
            vec!["d 2 test", "d 3 build", "d 1 build", "e 1 build"],
        ),
        ("purpose=build", vec!["d 3 build", "d 1 build", "e 1 build"]),
        ("distro=e", vec!["e 1 build"]),
        ("purpose=fetch", vec![]),
    ] {
        let page = host.get(&format!("/v1/wanted?{query}")).await;
        assert_eq!(
            shown(&page, &["distro", "version", "purpose"]),
            expected,
            "{query}"
        );
    }
    let mut paged = vec![];
    let mut cursor = String::new();
    loop {
        let page = host.get(&format!("/v1/wanted?limit=1{cursor}")).await;
        paged.extend(shown(
            &page,
            &["distro", "version", "variant", "reason", "decision"],
        ));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(
        paged,
        [
            "d 2 D because 7",
            "d 3 D because 7",
            "d 1 D because 7",
            "e 1 E because 7"
        ]
    );
}

#[tokio::test]
async fn states_are_data_with_a_rank() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    let stock = [
        "seen 10 policy",
        "fetched 20 policy",
        "built 30 policy",
        "tested 40 policy",
        "ready-own 50 person",
        "ready-customers 60 person",
    ];
    assert_eq!(
        shown(&host.get("/v1/states").await, &["name", "rank", "moved_by"]),
        stock
    );
    let smoke = json!({"comment": "a quick one first", "states": [{"name": "smoke", "rank": 35}, {"name": "seen", "rank": 10}]});
    let written = host.send(Method::PUT, "/v1/states", smoke.clone()).await;
    assert_eq!(
        (&written["created"], &written["unchanged"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        host.send(Method::PUT, "/v1/states", smoke).await["generation"],
        json!(null)
    );
    host.kernels("d", &["1", "2"]).await;
    host.send(Method::PATCH, "/v1/kernels/d/1", json!({"state": "smoke"}))
        .await;
    assert_eq!(host.kernel_names("state=smoke").await, ["d/1"]);
    let counted = host.get("/v1/states?counts=true").await;
    assert_eq!(
        shown(&counted, &["name", "kernels"])[..5],
        ["seen 1", "fetched 0", "built 0", "smoke 1", "tested 0"]
    );

    // Two states change places in one request; another host's filters follow the new ranks.
    let swap = json!({"states": [{"name": "smoke", "rank": 40}, {"name": "tested", "rank": 35}]});
    assert_eq!(
        host.send(Method::PUT, "/v1/states", swap).await["updated"],
        2
    );
    assert_eq!(
        shown(&host.get("/v1/states").await, &["name"])[3..5],
        ["tested", "smoke"]
    );
    let clash = json!({"states": [{"name": "smoke", "rank": 35}]});
    let refusal = host.refused(Method::PUT, "/v1/states", Some(clash)).await;
    assert_eq!(
        (&refusal["status"], &refusal["code"]),
        (&json!(409), &json!("conflict"))
    );
    let events = host.events("kind=kernel_state&operation=update", 2).await;
    let renamed: Vec<(&str, &Value)> = events
        .iter()
        .map(|e| (text(&e["name"]), &e["changes"]["rank"]))
        .collect();
    assert!(
        renamed.contains(&("smoke", &json!([35, 40]))),
        "{renamed:?}"
    );
}

#[tokio::test]
async fn generations_say_who_when_and_from_where() {
    let (db, host) = TestHost::start().await;
    let before = host.get("/v1/whoami").await;
    assert_eq!(before, json!({"name": "admin", "role": "admin"}));
    host.distro("d").await;
    let body = json!({"comment": "  why  ", "kernels": [{"distro": "d", "version": "1"}, {"distro": "d", "version": "2"}]});
    let id = host.post("/v1/kernels", body).await["generation"].clone();
    let one = host.get(&format!("/v1/generations/{id}")).await;
    assert_eq!(
        (
            &one["comment"],
            &one["user"],
            &one["address"],
            &one["events"]
        ),
        (
            &json!("why"),
            &json!("admin"),
            &json!("127.0.0.1"),
            &json!(2)
        )
    );
    let mut psql = db.connect().await;
    sqlx::raw_sql("begin; select generation_start('by hand'); insert into distro (name, variant) values ('x', 'X'); commit")
        .execute(&mut psql)
        .await
        .unwrap();
    let newest = host.get("/v1/generations?limit=2").await;
    assert_eq!(shown(&newest, &["comment"]), ["by hand", "why"]);
    let role: String = sqlx::query_scalar("select session_user::text")
        .fetch_one(&mut psql)
        .await
        .unwrap();
    assert_eq!(text(&newest["items"][0]["user"]), role);
    let since = text(&one["at"]).replace('+', "%2B");
    assert_eq!(
        shown(
            &host.get(&format!("/v1/generations?since={since}")).await,
            &["comment"]
        ),
        ["by hand", "why"]
    );
    assert_eq!(
        shown(
            &host
                .get(&format!("/v1/generations?since={since}&user=admin"))
                .await,
            &["comment"]
        ),
        ["why"]
    );
    // Without a comment, what was done stands in for it.
    host.send(Method::PATCH, "/v1/kernels/d/1", json!({"state": "built"}))
        .await;
    assert_eq!(
        shown(&host.get("/v1/generations?limit=1").await, &["comment"]),
        ["Set d/1 to built"]
    );
}
