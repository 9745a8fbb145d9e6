//! Tokens and roles: refused before any work.

use pointsman_tests::{TestHost, problem, success, text, wait_for};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn token(host: &TestHost, name: &str, role: &str) -> String {
    text(
        &host
            .post("/v1/tokens", json!({"name": name, "role": role}))
            .await["secret"],
    )
    .to_owned()
}

#[tokio::test]
async fn each_role_may_do_what_it_says() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    let reader = token(&host, "reader", "reader").await;
    let writer = token(&host, "writer", "writer").await;
    let reads = [
        "/v1/whoami",
        "/v1/distros",
        "/v1/distros/d",
        "/v1/states?counts=true",
        "/v1/kernels",
        "/v1/kernels/d/1",
        "/v1/stale",
        "/v1/wanted",
        "/v1/runs",
        "/v1/ignores",
        "/v1/clusters",
        "/v1/hosts",
        "/v1/generations",
        "/v1/events",
        "/v1/plugins",
        "/v1/pipelines",
        "/v1/pipelines/kernels/notes",
        "/v1/decisions",
    ];
    for path in reads {
        for token in [&reader, &writer, &host.token] {
            success(
                host.request_as(token, Method::GET, path)
                    .send()
                    .await
                    .unwrap(),
            )
            .await;
        }
    }
    let because = json!({});
    let writes = [
        (
            Method::POST,
            "/v1/distros",
            json!({"distros": [{"name": "x", "variant": "X"}]}),
        ),
        (Method::PATCH, "/v1/distros/d", json!({"supported": false})),
        (Method::DELETE, "/v1/distros/x", because.clone()),
        (Method::POST, "/v1/distros/x/restore", because.clone()),
        (
            Method::POST,
            "/v1/kernels",
            json!({"kernels": [{"distro": "d", "version": "2"}]}),
        ),
        (
            Method::PATCH,
            "/v1/kernels",
            json!({"kernels": [{"distro": "d", "version": "1", "state": "built"}]}),
        ),
        (
            Method::POST,
            "/v1/detections",
            json!({"kernels": [{"distro": "d", "version": "3"}]}),
        ),
        (Method::PATCH, "/v1/kernels/d/1", json!({"state": "tested"})),
        (Method::DELETE, "/v1/kernels/d/2", because.clone()),
        (Method::POST, "/v1/kernels/d/2/restore", because.clone()),
        (
            Method::POST,
            "/v1/runs",
            json!({"runs": [{"distro": "d", "version": "1", "purpose": "test"}]}),
        ),
        (
            Method::POST,
            "/v1/ignores",
            json!({"ignores": [{"kind": "like", "pattern": "x%", "reason": "r"}]}),
        ),
        (
            Method::POST,
            "/v1/clusters",
            json!({"clusters": [{"name": "c", "type": "own"}]}),
        ),
        (
            Method::POST,
            "/v1/hosts",
            json!({"hosts": [{"cluster": "c", "host": "h", "kernels": []}]}),
        ),
        (Method::DELETE, "/v1/clusters/c", because.clone()),
    ];
    for (method, path, body) in writes {
        let send = async |token: &str| {
            host.request_as(token, method.clone(), path)
                .json(&body)
                .send()
                .await
                .unwrap()
        };
        let refusal = problem(send(&reader).await).await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(403), &json!("role_too_weak")),
            "{path}"
        );
        assert!(text(&refusal["detail"]).contains("`reader`"), "{refusal}");
        success(send(&writer).await).await;
    }
    let digest = "0".repeat(64);
    let administration = [
        (
            Method::PUT,
            "/v1/states",
            json!({"states": [{"name": "smoke", "rank": 35}]}),
        ),
        (
            Method::POST,
            "/v1/tokens",
            json!({"name": "more", "role": "reader"}),
        ),
        (Method::GET, "/v1/tokens", because.clone()),
        (Method::DELETE, "/v1/tokens/reader", because.clone()),
        (Method::POST, "/v1/plugins?name=p", because.clone()),
        (
            Method::PATCH,
            "/v1/pipelines/kernels",
            json!({"paused": "no"}),
        ),
        (
            Method::PUT,
            "/v1/pipelines/kernels/bindings/ignore/0",
            json!({"digest": digest}),
        ),
        (
            Method::DELETE,
            "/v1/pipelines/kernels/bindings/ignore/0",
            because.clone(),
        ),
        (
            Method::POST,
            "/v1/pipelines/kernels/bindings/ignore/0/rollback",
            because.clone(),
        ),
        (
            Method::POST,
            "/v1/pipelines/kernels/notes",
            json!({"notes": [{"hook": "ignore", "key": "k", "value": "v"}]}),
        ),
        (Method::GET, "/v1/export", because.clone()),
        (Method::POST, "/v1/import", because.clone()),
    ];
    for (method, path, body) in administration {
        for token in [&reader, &writer] {
            let answer = host
                .request_as(token, method.clone(), path)
                .json(&body)
                .send()
                .await
                .unwrap();
            assert_eq!(
                problem(answer).await["code"],
                "role_too_weak",
                "{method} {path}"
            );
        }
    }
    // What the writer did stands under its name.
    let generations = host.get("/v1/generations?user=writer").await;
    let generations = generations["items"].as_array().unwrap();
    assert!(generations.len() >= 10, "{generations:#?}");
    assert!(
        generations
            .iter()
            .all(|g| g["user"] == "writer" && g["address"] == "127.0.0.1")
    );
    assert_eq!(
        host.get("/v1/generations?user=reader").await["items"],
        json!([])
    );
}

#[tokio::test]
async fn every_address_asks_for_a_token() {
    let (_db, host) = TestHost::start().await;
    let description: Value = serde_json::from_str(&pointsman_host::openapi_json()).unwrap();
    let open = ["/healthz", "/readyz", "/metrics"];
    let client = Client::new();
    let mut seen = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let url = format!("{}{}", host.url, path.replace(['{', '}'], ""));
            let request = || client.request(method.clone(), &url);
            if open.contains(&path.as_str()) {
                assert_eq!(request().send().await.unwrap().status(), 200, "{path}");
                continue;
            }
            if path.starts_with("/v1/browse/") {
                // Its authority is in the address.
                assert_eq!(request().send().await.unwrap().status(), 404, "{path}");
                continue;
            }
            seen += 1;
            let missing = request().send().await.unwrap();
            assert_eq!(missing.headers()["www-authenticate"], "Bearer");
            assert_eq!(
                problem(missing).await["code"],
                "token_missing",
                "{method} {path}"
            );
            for wrong in ["pmt_wrong", "x", &"y".repeat(5_000), "admin", "pmt_"] {
                // A body that could not be read either: the token comes first.
                let answer = request()
                    .bearer_auth(wrong)
                    .body("{not json")
                    .send()
                    .await
                    .unwrap();
                assert_eq!(
                    problem(answer).await["code"],
                    "token_wrong",
                    "{method} {path}"
                );
            }
            let basic = request()
                .basic_auth("admin", Some(&host.token))
                .send()
                .await
                .unwrap();
            assert_eq!(
                problem(basic).await["code"],
                "token_missing",
                "{method} {path}"
            );
        }
    }
    assert!(seen > 40, "{seen} addresses");
}

#[tokio::test]
async fn a_wrong_token_is_refused_before_the_body_is_read() {
    let (_db, host) = TestHost::start().await;
    let reader = token(&host, "reader", "reader").await;
    let address = host.url.strip_prefix("http://").unwrap();
    for (token, status) in [("wrong", "401"), (reader.as_str(), "403")] {
        for path in ["/v1/kernels", "/v1/import", "/v1/plugins?name=p"] {
            // It announces a body that never comes.
            let mut connection = TcpStream::connect(address).await.unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{{"
            );
            connection.write_all(head.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            tokio::time::timeout(
                pointsman_tests::PATIENCE,
                connection.read_exact(&mut answer),
            )
            .await
            .expect("an answer before the body")
            .unwrap();
            assert_eq!(
                std::str::from_utf8(&answer).unwrap(),
                format!("HTTP/1.1 {status}"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_revoked_or_expired_token_is_refused() {
    let (db, host) = TestHost::start().await;
    let secret = token(&host, "ci", "writer").await;
    let whoami = async |secret: &str| {
        host.request_as(secret, Method::GET, "/v1/whoami")
            .send()
            .await
            .unwrap()
    };
    assert_eq!(
        success(whoami(&secret).await).await,
        json!({"name": "ci", "role": "writer"})
    );
    // Other hosts on the same database know it within a moment.
    let second = db.serve().await;
    let there = async || {
        second
            .request_as(&secret, Method::GET, "/v1/whoami")
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(there().await, 200);

    host.send(Method::DELETE, "/v1/tokens/ci?comment=leaked", json!({}))
        .await;
    assert_eq!(problem(whoami(&secret).await).await["code"], "token_wrong");
    wait_for("the other host refuses it", async || {
        (there().await == 401).then_some(())
    })
    .await;
    assert_eq!(
        host.send(Method::DELETE, "/v1/tokens/ci", json!({})).await["unchanged"],
        1
    );
    // Its name is never given again: generations name it.
    let again = host
        .refused(
            Method::POST,
            "/v1/tokens",
            Some(json!({"name": "ci", "role": "reader"})),
        )
        .await;
    assert_eq!(
        (&again["status"], &again["code"]),
        (&json!(409), &json!("token_exists"))
    );
    let unknown = host
        .refused(Method::DELETE, "/v1/tokens/nobody", None)
        .await;
    assert_eq!(unknown["code"], "token_unknown");

    let past = json!({"name": "late", "role": "reader", "expires": "2020-01-01T00:00:00Z"});
    assert_eq!(
        host.refused(Method::POST, "/v1/tokens", Some(past)).await["code"],
        "expires_past"
    );
    let soon = json!({"name": "soon", "role": "reader", "expires": "2999-01-01T00:00:00Z"});
    let soon = text(&host.post("/v1/tokens", soon).await["secret"]).to_owned();
    success(whoami(&soon).await).await;
    let mut psql = db.connect().await;
    sqlx::raw_sql(
        "begin; select generation_start('time flies');
         update token set expires = now() - interval '1 second' where name = 'soon'; commit",
    )
    .execute(&mut psql)
    .await
    .unwrap();
    wait_for("it has expired", async || {
        (whoami(&soon).await.status() == 401).then_some(())
    })
    .await;

    let listed = host.get("/v1/tokens").await;
    let ci = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["name"] == "ci")
        .unwrap();
    assert_eq!(
        (&ci["revoked"], &ci["role"]),
        (&json!(true), &json!("writer"))
    );
    for bad in [
        json!({"name": "", "role": "reader"}),
        json!({"name": "a b", "role": "reader"}),
        json!({"name": "x", "role": "god"}),
    ] {
        assert_eq!(
            host.refused(Method::POST, "/v1/tokens", Some(bad)).await["status"],
            422
        );
    }
}

#[tokio::test]
async fn secrets_are_stored_hashed_and_shown_once() {
    let (db, host) = TestHost::start().await;
    let secret = token(&host, "ci", "writer").await;
    let kernel = json!({"distros": [{"name": "d", "variant": "D"}]});
    success(
        host.request_as(&secret, Method::POST, "/v1/distros")
            .json(&kernel)
            .send()
            .await
            .unwrap(),
    )
    .await;
    host.events("kind=distro", 1).await;
    let mut psql = db.connect().await;
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&mut psql)
            .await
            .unwrap();
    for table in tables {
        // Every column of every row, in Postgres' own text form, where bytes are shown in hex.
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select t::text from {table} t"
        )))
        .fetch_all(&mut psql)
        .await
        .unwrap();
        for secret in [&secret, &host.token] {
            let bare = secret.strip_prefix("pmt_").unwrap();
            let hex: String = bare.bytes().map(|b| format!("{b:02x}")).collect();
            for row in &rows {
                assert!(
                    !row.contains(bare) && !row.contains(&hex),
                    "{table} holds a secret"
                );
            }
        }
    }
    let shown = [
        host.get("/v1/tokens").await,
        host.get("/v1/events?kind=token").await,
        host.get("/v1/generations").await,
    ];
    for reply in shown {
        let reply = reply.to_string();
        assert!(!reply.contains(&secret) && !reply.contains(&host.token));
    }
}
