//! Bad input: a clear refusal, nothing half-written, and the host lives.

use pointsman_tests::{TestHost, problem, success, text};
use reqwest::Method;
use serde_json::{Value, json};

/// What the record holds: unchanged by whatever is refused.
async fn everything(host: &TestHost) -> Vec<Value> {
    let mut all = vec![];
    for list in [
        "distros",
        "kernels",
        "runs",
        "ignores",
        "clusters",
        "hosts",
        "generations",
        "tokens",
        "states",
    ] {
        let limit = if list == "states" { "" } else { "?limit=1000" };
        all.push(host.get(&format!("/v1/{list}{limit}")).await);
    }
    all
}

async fn small_record() -> (pointsman_tests::TestDatabase, TestHost) {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    host.post(
        "/v1/clusters",
        json!({"clusters": [{"name": "c", "type": "own"}]}),
    )
    .await;
    (db, host)
}

#[tokio::test]
async fn a_bad_row_refuses_its_whole_batch() {
    let (_db, host) = small_record().await;
    let before = everything(&host).await;
    let long = "x".repeat(129);
    let good = |rest: Value| -> Value {
        json!([{"distro": "d", "version": "new-1"}, rest, {"distro": "d", "version": "new-2"}])
    };
    let kernel = |rest: Value| json!({"kernels": good(rest)});
    let run = |rest: Value| json!({"runs": [{"distro": "d", "version": "1", "purpose": "test", "verdict": "pass"}, rest]});
    let hosts = |rest: Value| json!({"hosts": [{"cluster": "c", "host": "good", "kernels": [{"distro": "d", "version": "9"}]}, rest]});
    let distro = |rest: Value| json!({"distros": [{"name": "good", "variant": "GOOD"}, rest]});
    let cluster = |rest: Value| json!({"clusters": [{"name": "good", "type": "own"}, rest]});
    let post = Method::POST;
    let cases: Vec<(&Method, &str, Value, &str)> = vec![
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "nowhere", "version": "1"})),
            "distro_unknown",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "", "version": "1"})),
            "distro_unknown",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "D", "version": "1"})),
            "distro_unknown",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": ""})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "a b"})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "a/b"})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "../../etc/passwd"})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "-1"})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "5.1é"})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "5\u{0}1"})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "5\n1"})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": long})),
            "version_malformed",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "2", "state": "perfect"})),
            "state_unknown",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "2", "missing": ["soul"]})),
            "missing_unknown",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d", "version": "2", "colour": "red"})),
            "body_invalid",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": "d"})),
            "body_invalid",
        ),
        (
            &post,
            "/v1/kernels",
            kernel(json!({"distro": 7, "version": "2"})),
            "body_invalid",
        ),
        (&post, "/v1/kernels", kernel(json!(null)), "body_invalid"),
        (
            &post,
            "/v1/kernels",
            kernel(
                json!({"distro": "d", "version": "2", "packages": vec![json!({"name": "p", "version": "1"}); 17]}),
            ),
            "packages_too_many",
        ),
        (
            &post,
            "/v1/detections",
            kernel(
                json!({"distro": "d", "version": "2", "packages": [{"name": "p\u{0}", "version": "1"}]}),
            ),
            "package_invalid",
        ),
        (
            &post,
            "/v1/detections",
            kernel(
                json!({"distro": "d", "version": "2", "packages": [{"name": "p", "version": "1", "size": -1}]}),
            ),
            "body_invalid",
        ),
        (
            &Method::PATCH,
            "/v1/kernels",
            json!({"kernels": [{"distro": "d", "version": "1", "state": "built"}, {"distro": "d", "version": "2", "state": "built"}]}),
            "kernel_unknown",
        ),
        (
            &Method::PATCH,
            "/v1/kernels",
            json!({"kernels": [{"distro": "d", "version": "1", "state": "built"}, {"distro": "d", "version": "1", "state": "done"}]}),
            "state_unknown",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "d", "version": "2", "purpose": "test"})),
            "kernel_unknown",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "x", "version": "1", "purpose": "test"})),
            "distro_unknown",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "d", "version": "1", "purpose": "Test Run"})),
            "value_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "d", "version": "1", "purpose": "test", "verdict": "great"})),
            "body_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(
                json!({"distro": "d", "version": "1", "purpose": "test", "link": "javascript:alert(1)"}),
            ),
            "link_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "d", "version": "1", "purpose": "test", "link": "/relative"})),
            "link_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(
                json!({"distro": "d", "version": "1", "purpose": "test", "link": format!("http://x/{}", "y".repeat(2_048))}),
            ),
            "value_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(
                json!({"distro": "d", "version": "1", "purpose": "test", "comment": "z".repeat(4_097)}),
            ),
            "value_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "d", "version": "1", "purpose": "test", "comment": "\u{0}"})),
            "text_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "d", "version": "1", "purpose": "test", "release": "\u{0}"})),
            "text_invalid",
        ),
        (
            &post,
            "/v1/runs",
            run(json!({"distro": "d", "version": "1", "purpose": "test", "key": ""})),
            "value_invalid",
        ),
        (
            &post,
            "/v1/hosts",
            hosts(json!({"cluster": "x", "host": "h", "kernels": []})),
            "cluster_unknown",
        ),
        (
            &post,
            "/v1/hosts",
            hosts(
                json!({"cluster": "c", "host": "h", "kernels": [{"distro": "x", "version": "1"}]}),
            ),
            "distro_unknown",
        ),
        (
            &post,
            "/v1/hosts",
            hosts(
                json!({"cluster": "c", "host": "h", "kernels": [{"distro": "d", "version": "a b"}]}),
            ),
            "value_invalid",
        ),
        (
            &post,
            "/v1/hosts",
            hosts(
                json!({"cluster": "c", "host": "a/b", "kernels": [{"distro": "d", "version": "1"}]}),
            ),
            "value_invalid",
        ),
        (
            &post,
            "/v1/hosts",
            hosts(json!({"cluster": "c", "host": "h", "kernels": [
                {"distro": "d", "version": "1", "current": true}, {"distro": "d", "version": "2", "current": true}]})),
            "current_twice",
        ),
        (
            &post,
            "/v1/hosts",
            hosts(
                json!({"cluster": "c", "host": "h", "kernels": vec![json!({"distro": "d", "version": "1"}); 101]}),
            ),
            "kernels_too_many",
        ),
        (
            &post,
            "/v1/distros",
            distro(json!({"name": "Bad Name", "variant": "X"})),
            "value_invalid",
        ),
        (
            &post,
            "/v1/distros",
            distro(json!({"name": "x".repeat(64), "variant": "X"})),
            "value_invalid",
        ),
        (
            &post,
            "/v1/distros",
            distro(json!({"name": "ok", "variant": ""})),
            "value_invalid",
        ),
        (
            &post,
            "/v1/distros",
            distro(json!({"name": "o\u{0}k", "variant": "X"})),
            "text_invalid",
        ),
        (
            &post,
            "/v1/clusters",
            cluster(json!({"name": "a/b", "type": "own"})),
            "value_invalid",
        ),
        (
            &post,
            "/v1/clusters",
            cluster(json!({"name": "a", "type": "Not A Type"})),
            "value_invalid",
        ),
        (
            &post,
            "/v1/clusters",
            cluster(json!({"name": "\u{0}", "type": "own"})),
            "text_invalid",
        ),
        (
            &Method::PUT,
            "/v1/states",
            json!({"states": [{"name": "smoke", "rank": 35}, {"name": "Bad State", "rank": 36}]}),
            "value_invalid",
        ),
        (
            &Method::PUT,
            "/v1/states",
            json!({"states": [{"name": "smoke", "rank": 10}]}),
            "conflict",
        ),
        (
            &Method::PUT,
            "/v1/states",
            json!({"states": [{"name": "smoke", "rank": 1, "moved_by": "magic"}]}),
            "value_invalid",
        ),
        (
            &Method::PUT,
            "/v1/states",
            json!({"states": [{"name": "smoke", "rank": 99_999_999_999_u64}]}),
            "body_invalid",
        ),
    ];
    for (method, path, body, code) in cases {
        let refusal = host.refused(method.clone(), path, Some(body.clone())).await;
        assert_eq!(refusal["code"], code, "{method} {path} {body}: {refusal}");
    }
    // The field at fault is named, with its place in the batch.
    let body = kernel(json!({"distro": "nowhere", "version": "1"}));
    let refusal = host.refused(Method::POST, "/v1/kernels", Some(body)).await;
    assert_eq!(
        (&refusal["status"], &refusal["field"]),
        (&json!(404), &json!("/kernels/1/distro"))
    );
    assert!(
        text(&refusal["detail"]).contains("`nowhere`")
            && refusal["hint"].is_string()
            && refusal["request_id"].is_string()
    );
    assert_eq!(everything(&host).await, before, "nothing was written");
}

#[tokio::test]
async fn absurd_sizes_are_refused() {
    let (_db, host) = small_record().await;
    let before = everything(&host).await;
    for (method, path, field, row, limit) in [
        (
            Method::POST,
            "/v1/kernels",
            "kernels",
            json!({"distro": "d", "version": "2"}),
            20_000,
        ),
        (
            Method::POST,
            "/v1/detections",
            "kernels",
            json!({"distro": "d", "version": "2"}),
            20_000,
        ),
        (
            Method::PATCH,
            "/v1/kernels",
            "kernels",
            json!({"distro": "d", "version": "1", "state": "built"}),
            20_000,
        ),
        (
            Method::POST,
            "/v1/runs",
            "runs",
            json!({"distro": "d", "version": "1", "purpose": "test"}),
            10_000,
        ),
        (
            Method::POST,
            "/v1/ignores",
            "ignores",
            json!({"kind": "like", "pattern": "a", "reason": "r"}),
            1_000,
        ),
        (
            Method::POST,
            "/v1/pipelines/kernels/notes",
            "notes",
            json!({"hook": "ignore", "key": "k", "value": "v"}),
            1_000,
        ),
        (
            Method::POST,
            "/v1/clusters",
            "clusters",
            json!({"name": "x", "type": "own"}),
            1_000,
        ),
        (
            Method::POST,
            "/v1/hosts",
            "hosts",
            json!({"cluster": "c", "host": "h", "kernels": []}),
            1_000,
        ),
        (
            Method::POST,
            "/v1/distros",
            "distros",
            json!({"name": "x", "variant": "X"}),
            1_000,
        ),
        (
            Method::PUT,
            "/v1/states",
            "states",
            json!({"name": "x", "rank": 1}),
            64,
        ),
    ] {
        let refusal = host
            .refused(
                method.clone(),
                path,
                Some(json!({field: vec![row; limit + 1]})),
            )
            .await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(413), &json!("batch_too_large")),
            "{path}"
        );
        assert!(
            text(&refusal["detail"]).contains(&limit.to_string()),
            "{refusal}"
        );
        let empty = host.refused(method, path, Some(json!({field: []}))).await;
        assert_eq!(empty["code"], "batch_empty", "{path}");
    }
    let body = json!({"comment": "x".repeat(4_097), "kernels": [{"distro": "d", "version": "2"}]});
    let refusal = host.refused(Method::POST, "/v1/kernels", Some(body)).await;
    assert_eq!(
        (&refusal["status"], &refusal["code"], &refusal["field"]),
        (&json!(422), &json!("comment_too_long"), &json!("comment"))
    );
    let path = format!("/v1/kernels/d/1?comment={}", "x".repeat(4_097));
    assert_eq!(
        host.refused(Method::DELETE, &path, None).await["code"],
        "comment_too_long"
    );
    // A comment of 4,096 bytes is kept; one that is cut by the limit inside a character is not cut at all.
    let fits = json!({"comment": "é".repeat(2_048), "state": "seen"});
    assert_eq!(
        host.send(Method::PATCH, "/v1/kernels/d/1", fits).await["unchanged"],
        1
    );

    let huge = host
        .request(Method::POST, "/v1/kernels")
        .header("content-type", "application/json");
    let answer = huge.body(vec![b' '; (32 << 20) + 1]).send().await;
    // The host may hang up on a sender that does not stop; if it was heard, it said why.
    if let Ok(answer) = answer {
        let refusal = problem(answer).await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(413), &json!("body_too_large"))
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = host
        .request(Method::POST, "/v1/kernels")
        .header("content-type", "application/json")
        .body(deep);
    assert_eq!(problem(answer.send().await.unwrap()).await["status"], 422);
    let long = "x".repeat(60_000);
    for path in [
        format!("/v1/kernels/d/{long}"),
        format!("/v1/distros/{long}"),
        format!("/v1/kernels?distro={long}"),
    ] {
        let refusal = host.refused(Method::GET, &path, None).await;
        assert_eq!(refusal["status"], 404);
        assert!(
            refusal.to_string().len() < 1_000,
            "it does not echo what it was sent"
        );
    }
    assert_eq!(everything(&host).await, before, "nothing was written");
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() {
    let (_db, host) = small_record().await;
    let before = everything(&host).await;
    let send = async |kind: Option<&str>, body: &[u8]| {
        let mut request = host
            .request(Method::POST, "/v1/kernels")
            .body(body.to_vec());
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        problem(request.send().await.unwrap()).await
    };
    let json = Some("application/json");
    for (kind, body, code) in [
        (json, &b"{not json"[..], "json_malformed"),
        (json, b"{\"kernels\": [", "json_malformed"),
        (
            json,
            b"{\"kernels\": [{\"distro\": \"d\", \"version\": \"\xff\xfe\"}]}",
            "json_malformed",
        ),
        (json, b"\xff", "json_malformed"),
        (
            json,
            b"{\"kernels\": [{\"distro\": \"d\", \"version\": \"\\ud800\"}]}",
            "json_malformed",
        ),
        (json, b"{\"kernels\": []}{}", "json_malformed"),
        (json, b"[]", "body_invalid"),
        (json, b"null", "body_invalid"),
        (json, b"", "body_invalid"),
        (json, b"{\"kernels\": [], \"kernels\": []}", "body_invalid"),
        (json, b"{\"kernels\": {}, \"colour\": 1}", "body_invalid"),
        (Some("text/plain"), b"{\"kernels\": []}", "content_type"),
        (
            Some("application/x-www-form-urlencoded"),
            b"kernels=1",
            "content_type",
        ),
        (
            Some("multipart/form-data; boundary=x"),
            b"--x--",
            "content_type",
        ),
        (
            json,
            b"{\"comment\": \"\\u0000\", \"kernels\": [{\"distro\": \"d\", \"version\": \"2\"}]}",
            "text_invalid",
        ),
    ] {
        let refusal = send(kind, body).await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(422), &json!(code)),
            "{}: {refusal}",
            String::from_utf8_lossy(body)
        );
    }
    // A charset, and no type at all, are fine.
    for kind in [Some("application/json; charset=utf-8"), None] {
        assert_eq!(
            send(kind, b"{\"kernels\": []}").await["code"],
            "batch_empty"
        );
    }
    assert_eq!(everything(&host).await, before, "nothing was written");
}

#[tokio::test]
async fn an_address_that_does_not_exist_is_refused() {
    let (_db, host) = small_record().await;
    for (method, path, status, code) in [
        (Method::GET, "/", 404, "route_unknown"),
        (Method::GET, "/v1", 404, "route_unknown"),
        (Method::GET, "/v2/kernels", 404, "route_unknown"),
        (Method::GET, "/v1/kernels/", 404, "route_unknown"),
        (Method::GET, "/v1/kernels/d/1/2/3", 404, "route_unknown"),
        (Method::GET, "/v1/../etc/passwd", 404, "route_unknown"),
        (Method::PUT, "/v1/kernels", 405, "method_unknown"),
        (Method::DELETE, "/v1/kernels", 405, "method_unknown"),
        (Method::POST, "/v1/events", 405, "method_unknown"),
        (Method::GET, "/v1/kernels/d/2", 404, "kernel_unknown"),
        (Method::GET, "/v1/kernels/x/1", 404, "distro_unknown"),
        (Method::GET, "/v1/distros/x", 404, "distro_unknown"),
        (Method::PATCH, "/v1/distros/x", 404, "distro_unknown"),
        (Method::DELETE, "/v1/distros/x", 404, "distro_unknown"),
        (Method::DELETE, "/v1/kernels/d/2", 404, "kernel_unknown"),
        (
            Method::POST,
            "/v1/kernels/d/2/restore",
            404,
            "kernel_unknown",
        ),
        (Method::PATCH, "/v1/kernels/d/1", 422, "nothing_to_change"),
        (Method::DELETE, "/v1/clusters/x", 404, "cluster_unknown"),
        (Method::GET, "/v1/runs/1", 404, "run_unknown"),
        (Method::GET, "/v1/runs/x", 422, "path_invalid"),
        (
            Method::GET,
            "/v1/runs/99999999999999999999",
            422,
            "path_invalid",
        ),
        (
            Method::GET,
            "/v1/generations/999999",
            404,
            "generation_unknown",
        ),
        (Method::GET, "/v1/generations/-1", 404, "generation_unknown"),
        (Method::GET, "/v1/decisions/1", 404, "decision_unknown"),
        (Method::GET, "/v1/pipelines/x", 404, "pipeline_unknown"),
        (Method::GET, "/v1/kernels/d/%ff%fe", 422, "path_invalid"),
        (Method::GET, "/v1/kernels/d/%00", 422, "text_invalid"),
        (Method::GET, "/v1/kernels/%00/1", 404, "distro_unknown"),
        (
            Method::GET,
            "/v1/kernels?distro=nowhere",
            404,
            "distro_unknown",
        ),
        (
            Method::GET,
            "/v1/kernels?state=seen,perfect",
            404,
            "state_unknown",
        ),
        (
            Method::GET,
            "/v1/kernels?without_state=perfect",
            404,
            "state_unknown",
        ),
        (Method::GET, "/v1/kernels?state=", 404, "state_unknown"),
        (
            Method::GET,
            "/v1/kernels?ignored=maybe",
            422,
            "query_invalid",
        ),
        (Method::GET, "/v1/kernels?distros=d", 422, "query_invalid"),
        (
            Method::GET,
            "/v1/kernels?distro=d&distro=d",
            422,
            "query_invalid",
        ),
        (Method::GET, "/v1/kernels?like=%00", 422, "pattern_invalid"),
        (
            Method::GET,
            "/v1/hosts?below_state=perfect",
            404,
            "state_unknown",
        ),
        (Method::GET, "/v1/hosts?host=%00", 422, "text_invalid"),
        (Method::GET, "/v1/runs?verdict=great", 422, "query_invalid"),
        (Method::GET, "/v1/runs?purpose=%00", 422, "text_invalid"),
        (Method::GET, "/v1/events?name=%00", 422, "text_invalid"),
        (Method::GET, "/v1/generations?user=%00", 422, "text_invalid"),
        (Method::GET, "/v1/generations?since=0", 422, "query_invalid"),
        (
            Method::GET,
            "/v1/stale?over_seconds=-1",
            422,
            "query_invalid",
        ),
        (
            Method::GET,
            "/v1/decisions?subject=%00",
            422,
            "text_invalid",
        ),
    ] {
        let body = (method == Method::PATCH).then(|| json!({}));
        let refusal = host.refused(method.clone(), path, body).await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(status), &json!(code)),
            "{method} {path}: {refusal}"
        );
    }
    // What a caller sends is not read as SQL.
    for text in ["d' or '1'='1", "d\"; drop table event; --", "%25", "_"] {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        assert_eq!(
            host.refused(Method::GET, &format!("/v1/kernels?distro={encoded}"), None)
                .await["code"],
            "distro_unknown"
        );
        let found = host.get(&format!("/v1/hosts?host={encoded}")).await;
        assert_eq!(found["items"], json!([]));
    }
    success(
        host.request(Method::GET, "/v1/events")
            .send()
            .await
            .unwrap(),
    )
    .await;
}

/// A pattern without three literal characters in a row reads every version, and is bounded by time.
#[tokio::test]
async fn a_pattern_that_takes_too_long_is_cut_off_and_says_so() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    let mut psql = db.connect().await;
    // Names without a rhythm, and a pattern that is in hundreds of states at once: slow on any machine.
    sqlx::raw_sql(
        "begin; select generation_start('many');
         insert into kernel_version (distro_id, version, state_id)
           select d.id, n || translate(md5(n::text) || md5(n || 'x') || md5(n || 'y'),
               '0123456789abcdef', 'abababababababab'), s.id
           from distro d, kernel_state s, generate_series(1, 10000) n
           where d.name = 'd' and s.name = 'seen';
         commit",
    )
    .execute(&mut psql)
    .await
    .unwrap();
    let pattern = "(?:a[ab]{80}|b[ab]{70}|ab[ab]{60}|ba[ab]{50}|aa[ab]{40}|bb[ab]{30}){1,3}[cd]";
    let pattern: String = url::form_urlencoded::byte_serialize(pattern.as_bytes()).collect();
    let refusal = host
        .refused(Method::GET, &format!("/v1/kernels?regex={pattern}"), None)
        .await;
    assert_eq!(
        (&refusal["status"], &refusal["code"]),
        (&json!(504), &json!("pattern_too_slow")),
        "{refusal}"
    );
    assert!(
        text(&refusal["hint"]).contains("three literal characters"),
        "{refusal}"
    );
    assert_eq!(
        host.get("/v1/kernels?limit=1").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "the host lives"
    );
}
