//! Links to logs and files of attempts: what opens with no token, what does not, and what a browser is told.

use std::path::Path;

use chrono::{Duration, Utc};
use pointsman_host::links::{Links, SECRET_FILE};
use pointsman_tests::command::Cli;
use pointsman_tests::forge::Site;
use pointsman_tests::{TestDatabase, TestHost, text, wait_for};
use reqwest::Response;
use serde_json::{Value, json};

const PUBLIC: &str = "https://ci.example.org/pm";

/// A host that knows its public address.
async fn public() -> (TestDatabase, TestHost) {
    let database = TestDatabase::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    let host = TestHost::with(&database.url, dir, |config| {
        config.public_url = Some(PUBLIC.parse().expect("an address"));
    })
    .await;
    (database, host)
}

/// A pull request whose lane failed, with one attempt.
async fn failed(site: &Site<'_>) -> Value {
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    site.lane_until(number, "failed").await
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().expect("ASCII"))
}

/// What every reply says, whatever it is.
fn guarded(response: &Response) {
    assert_eq!(header(response, "x-content-type-options"), "nosniff");
    assert_eq!(header(response, "referrer-policy"), "no-referrer");
    assert_eq!(header(response, "cache-control"), "private, no-store");
    let policy = header(response, "content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("sandbox"), "{policy}");
}

async fn body(response: Response, status: u16) -> String {
    guarded(&response);
    assert_eq!(response.status(), status);
    response.text().await.expect("text")
}

/// What leads away from a page.
fn hrefs(page: &str) -> Vec<String> {
    page.split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().expect("an end").to_owned())
        .collect()
}

#[tokio::test]
async fn a_status_that_a_policy_posted_leads_to_the_log_with_no_token() {
    let (_db, host) = public().await;
    let site = Site::new(&host).await;
    site.stock("echo it is rotten; false").await;
    site.bind("react", "status-comment", json!({})).await;
    let lane = failed(&site).await;
    let number = lane["members"][0]["number"].as_i64().expect("a number");
    let status = wait_for("a status is posted", async || {
        let pull = site.pull(number).await;
        (pull["statuses"][0]["state"] == "failure").then(|| pull["statuses"][0].clone())
    })
    .await;
    let link = text(&status["link"]);
    assert!(link.starts_with(&format!("{PUBLIC}/v1/browse/")), "{link}");
    let page = body(host.open(link).await, 200).await;
    assert!(
        page.contains(&format!("Lane {} of main", lane["id"])),
        "{page}"
    );
    // Pages lead on by paths beside their own, so that a proxy may put them anywhere.
    let attempt = &hrefs(&page)[0];
    let page = body(host.open(&format!("/v1/browse/{attempt}")).await, 200).await;
    assert!(page.contains("exited 1"), "{page}");
    let log = hrefs(&page)
        .into_iter()
        .find(|href| href.ends_with("/log"))
        .expect("a log");
    let log = host.open(&format!("/v1/browse/{log}")).await;
    assert_eq!(header(&log, "content-type"), "text/plain; charset=utf-8");
    assert!(body(log, 200).await.contains("it is rotten"));
    // The API's own replies have links, too, and they are the same all day.
    let attempt = &lane["jobs"][0]["attempts"][0];
    for link in [&lane["link"], &attempt["link"]] {
        assert!(text(link).starts_with(PUBLIC), "{link}");
        body(host.open(text(link)).await, 200).await;
    }
    assert!(attempt["kept_until"].is_string(), "{attempt}");
    let listed = host.get("/v1/pipelines/main/lanes").await;
    assert!(text(&listed["items"][0]["link"]).starts_with(PUBLIC));
    let shown = Cli::new(&host)
        .ok(&["lane", "show", &lane["id"].to_string()])
        .await;
    assert!(shown.contains(text(&lane["link"])), "{shown}");
    assert!(shown.contains(text(&attempt["link"])), "{shown}");
    host.stop().await;
}

#[tokio::test]
async fn without_a_public_address_nobody_is_told_one() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("false").await;
    site.bind("react", "status-comment", json!({})).await;
    let lane = failed(&site).await;
    let number = lane["members"][0]["number"].as_i64().expect("a number");
    let status = wait_for("a status is posted", async || {
        let pull = site.pull(number).await;
        (pull["statuses"][0]["state"] == "failure").then(|| pull["statuses"][0].clone())
    })
    .await;
    assert!(status["link"].is_null(), "{status}");
    // Whoever asked this server knows where it is.
    assert!(text(&lane["link"]).starts_with("/v1/browse/"), "{lane}");
    body(host.open(text(&lane["link"])).await, 200).await;
    host.stop().await;
}

#[tokio::test]
async fn what_is_forged_opens_nothing_and_what_expired_says_so() {
    let (_db, host) = public().await;
    let site = Site::new(&host).await;
    site.stock("false").await;
    let lane = failed(&site).await;
    let key = text(&lane["jobs"][0]["attempts"][0]["key"]);
    let open = |file: &Path| Links::open(Some(file), host.dir(), 1, 1, None).expect("links");
    let links = open(&host.dir().join(SECRET_FILE));
    let now = Utc::now();
    let soon = now + Duration::hours(1);
    let planned = text(&lane["created_at"]).parse().expect("a time");
    let id = lane["id"].as_i64().expect("an id");
    let path = |token: &str, rest: &str| format!("/v1/browse/{token}{rest}");

    let token = links.attempt(key, soon).expect("a token");
    for rest in ["", "/log"] {
        body(host.open(&path(&token, rest)).await, 200).await;
    }
    let expired = links
        .attempt(key, now - Duration::hours(1))
        .expect("a token");
    for rest in ["", "/log", "/files/x"] {
        let page = body(host.open(&path(&expired, rest)).await, 410).await;
        assert!(page.contains("This link has expired"), "{page}");
    }
    let mut tampered = token.clone();
    // A later expiry, the same seal.
    tampered.replace_range(24..26, "__");
    let other = host.dir().join("other");
    std::fs::write(&other, "another secret, which is long enough for one").expect("a file");
    let foreign = open(&other).attempt(key, soon).expect("a token");
    let unknown = links
        .attempt("00000000-0000-0000-0000-000000000000", soon)
        .expect("a token");
    let reused = links.lane(id, planned + Duration::seconds(1), soon);
    for token in [&*tampered, &*foreign, &*unknown, &*reused, "x", &token[1..]] {
        for rest in ["", "/log", "/files/x"] {
            let page = body(host.open(&path(token, rest)).await, 404).await;
            assert!(!page.contains(key), "{page}");
        }
    }
    // A lane has a page, and no log.
    let lane = links.lane(id, planned, soon);
    body(host.open(&path(&lane, "")).await, 200).await;
    body(host.open(&path(&lane, "/log")).await, 404).await;
    // It opens this attempt and nothing else: the API still needs a token.
    let log = host.open(&format!("/v1/attempts/{key}/log")).await;
    assert_eq!(log.status(), 401);
    host.stop().await;
}

#[tokio::test]
async fn what_a_job_wrote_is_never_a_page_of_ours() {
    let (_db, host) = public().await;
    let site = Site::new(&host).await;
    for (hook, plugin, settings) in [
        ("review", "reviews", json!({})),
        ("gate", "gate-basics", json!({})),
        ("select", "select-oldest", json!({})),
        ("triage", "exit-code", json!({})),
    ] {
        site.bind(hook, plugin, settings).await;
    }
    let report = r#"<testsuite><testcase name="&lt;b&gt;bold"><failure message="&lt;script&gt;alert(2)&lt;/script&gt;"/></testcase></testsuite>"#;
    let script = format!(
        "mkdir out; echo '<script>alert(1)</script>'\n\
         echo '<b>' > 'out/<img src=x onerror=alert(3)>.html'\n\
         echo '100%' > 'out/a \"b\" #1?%41.txt'\n\
         echo '{report}' > out/report.xml\nfalse"
    );
    let job =
        json!({"name": "test", "script": script, "artifacts": ["out/*"], "junit": ["out/*.xml"]});
    site.bind("run", "job-template", json!({"jobs": [job]}))
        .await;
    let lane = failed(&site).await;
    let attempt = &lane["jobs"][0]["attempts"][0];
    let response = host.open(text(&attempt["link"])).await;
    assert_eq!(
        header(&response, "content-type"),
        "text/html; charset=utf-8"
    );
    let policy = header(&response, "content-security-policy").to_owned();
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!policy.contains("allow-scripts"), "{policy}");
    let page = body(response, 200).await;
    for hostile in ["<script", "<img", "<b>"] {
        assert!(!page.contains(hostile), "{hostile}: {page}");
    }
    assert!(page.contains("&#60;script&#62;alert(2)"), "{page}");
    // Its log is text, with what looks like a tag as it is.
    let log = host.open(&format!("{}/log", text(&attempt["link"]))).await;
    assert_eq!(header(&log, "content-type"), "text/plain; charset=utf-8");
    assert!(body(log, 200).await.contains("<script>alert(1)</script>"));
    // Each file is found by the page's own link to it; only text is shown.
    let files: Vec<String> = hrefs(&page)
        .into_iter()
        .filter(|href| href.contains("/files/"))
        .collect();
    assert_eq!(files.len(), 3, "{page}");
    for file in files {
        let file = host.open(&format!("/v1/browse/{file}")).await;
        let kind = header(&file, "content-type").to_owned();
        let shown = header(&file, "content-disposition").to_owned();
        let bytes = body(file, 200).await;
        match bytes.trim() {
            "<b>" => {
                assert_eq!(kind, "application/octet-stream");
                assert_eq!(shown, "attachment");
            }
            "100%" => assert_eq!((&*kind, &*shown), ("text/plain; charset=utf-8", "inline")),
            other => assert!(other.contains("testsuite"), "{other}"),
        }
    }
    let out = format!("{}/files/..%2flog", text(&attempt["link"]));
    body(host.open(&out).await, 404).await;
    host.stop().await;
}

#[tokio::test]
async fn a_log_is_read_while_it_grows_and_however_long_it_is() {
    let (_db, host) = public().await;
    let site = Site::new(&host).await;
    let gate = host.dir().join("gate");
    // Five parts of a megabyte, and then it waits.
    site.stock(&format!(
        "yes 0123456789abcde | head -c 5000000; echo; echo half way; while [ ! -e {} ]; do sleep 0.02; done; echo the end; false",
        gate.display()
    ))
    .await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    let lane = site.lane_until(number, "running").await;
    let link = wait_for("it has an attempt", async || {
        let lane = host.get(&format!("/v1/lanes/{}", lane["id"])).await;
        let link = lane["jobs"][0]["attempts"][0]["link"].as_str();
        link.map(str::to_owned)
    })
    .await;
    let log = format!("{link}/log");
    let half = wait_for("it is half way", async || {
        let response = host.open(&log).await;
        let is_there = response.status() == 200;
        let text = response.text().await.expect("text");
        (is_there && text.contains("half way")).then_some(text)
    })
    .await;
    assert!(half.len() > 5_000_000);
    assert!(
        body(host.open(&link).await, 200)
            .await
            .contains("as far as it is")
    );
    std::fs::write(&gate, "").expect("a file");
    site.lane_until(number, "failed").await;
    let whole = body(host.open(&log).await, 200).await;
    assert!(whole.starts_with(&half), "what was there stays");
    assert!(whole.contains("the end"));
    let rest = body(host.open(&format!("{log}?from={}", half.len())).await, 200).await;
    assert_eq!(rest, whole[half.len()..]);
    host.stop().await;
}
