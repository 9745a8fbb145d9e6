//! Lists: pages, filters, CSV.

use std::collections::BTreeSet;

use pointsman_tests::{TestHost, success, text};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

#[tokio::test]
async fn pages_give_each_row_once_while_others_write() {
    let (_db, host) = TestHost::start().await;
    host.distro("a").await;
    host.distro("b").await;
    let versions: Vec<String> = (0..60).map(|n| format!("5.{n}")).collect();
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    host.kernels("a", &versions).await;
    host.kernels("b", &versions).await;

    let mut seen: Vec<String> = vec![];
    let mut cursor = String::new();
    for round in 0.. {
        let page = host.get(&format!("/v1/kernels?limit=7{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|k| format!("{}/{}", text(&k["distro"]), text(&k["version"]))),
        );
        // Before, behind and at the place where the page ended.
        let new = [
            format!("4.{round}"),
            format!("6.{round}"),
            format!("{}.x", text(&items[0]["version"])),
        ];
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        host.kernels("a", &new).await;
        // A row that moves to another state, or goes, does not disturb the others.
        host.send(
            Method::PATCH,
            &format!("/v1/kernels/b/5.{round}"),
            json!({"state": "built"}),
        )
        .await;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let once: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "no row twice");
    for distro in ["a", "b"] {
        for version in &versions {
            assert!(
                once.contains(&format!("{distro}/{version}")),
                "{distro}/{version} is missing"
            );
        }
    }
}

#[tokio::test]
async fn every_list_has_pages() {
    let (_db, host) = TestHost::start().await;
    for name in ["a", "b", "c"] {
        host.distro(name).await;
        host.post("/v1/tokens", json!({"name": name, "role": "reader"}))
            .await;
        host.post(
            "/v1/clusters",
            json!({"clusters": [{"name": name, "type": "own"}]}),
        )
        .await;
        host.post(
            "/v1/ignores",
            json!({"ignores": [{"kind": "like", "pattern": name, "reason": "r"}]}),
        )
        .await;
        host.kernels("a", &[name]).await;
        host.post(
            "/v1/runs",
            json!({"runs": [{"distro": "a", "version": name, "purpose": "test"}]}),
        )
        .await;
        let body = json!({"hosts": [{"cluster": name, "host": "h", "kernels": [{"distro": "a", "version": name}]}]});
        host.post("/v1/hosts", body).await;
        let note = json!({"hook": "ignore", "key": name, "value": "v"});
        host.post("/v1/pipelines/kernels/notes", json!({"notes": [note]}))
            .await;
    }
    for list in [
        "distros",
        "kernels",
        "runs",
        "ignores",
        "clusters",
        "hosts",
        "generations",
        "tokens",
        "pipelines/kernels/notes",
        "stale?over_seconds=0",
    ] {
        let sign = if list.contains('?') { '&' } else { '?' };
        let whole = host.get(&format!("/v1/{list}{sign}limit=1000")).await;
        assert!(
            whole["next"].is_null() && whole["items"].as_array().unwrap().len() >= 3,
            "{list}: {whole}"
        );
        let mut paged: Vec<Value> = vec![];
        let mut cursor = String::new();
        loop {
            let page = host.get(&format!("/v1/{list}{sign}limit=1{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 1, "{list}");
            paged.extend(items.iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(json!(paged), whole["items"], "{list}");
        for limit in ["0", "1001", "-1", "1.5", "x", "99999999999999"] {
            let refusal = host
                .refused(Method::GET, &format!("/v1/{list}{sign}limit={limit}"), None)
                .await;
            assert_eq!(refusal["status"], 422, "{list}, {limit}: {refusal}");
        }
        for cursor in ["x", "bnVsbA", "IiI!", "e30", &"A".repeat(3_000)] {
            let refusal = host
                .refused(
                    Method::GET,
                    &format!("/v1/{list}{sign}cursor={cursor}"),
                    None,
                )
                .await;
            assert_eq!(
                (&refusal["status"], &refusal["code"]),
                (&json!(422), &json!("cursor_invalid")),
                "{list}, {cursor}"
            );
        }
    }
}

#[tokio::test]
async fn csv_says_what_json_says() {
    let (db, host) = TestHost::start().await;
    host.distro("a").await;
    host.kernels("a", &["1", "2,3", "4\"5", "6"]).await;
    let missing =
        json!({"kernels": [{"distro": "a", "version": "7", "missing": ["image", "headers"]}]});
    host.post("/v1/detections", missing).await;
    host.idle().await;
    let mut psql = db.connect().await;
    // Reasons are what people type: a spreadsheet must not run them.
    for (version, reason) in [
        ("1", "=HYPERLINK(\"http://x\")"),
        ("2,3", "+1"),
        ("6", "two\nlines, \"quoted\""),
        ("7", "\t=1"),
    ] {
        sqlx::query(
            "insert into kernel_ignored (kernel_version_id, distro_id, version, scope, reason_code, reason_text, decision_id)
             select id, distro_id, version, 'all', 'test', $2, 1 from kernel_version where version = $1",
        )
        .bind(version)
        .bind(reason)
        .execute(&mut psql)
        .await
        .unwrap();
    }
    let json = host.get("/v1/kernels").await;
    let mut rows = vec![];
    let mut path = "/v1/kernels?format=csv&limit=2&distro=a&like=%25".to_owned();
    let mut pages = 0;
    loop {
        let answer = host.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
        let link = answer
            .headers()
            .get("link")
            .map(|l| l.to_str().unwrap().to_owned());
        let body = answer.text().await.unwrap();
        let mut records = parse_csv(&body);
        let head = [
            "distro",
            "version",
            "state",
            "state_since",
            "first_seen",
            "missing",
            "ignored",
            "reason",
            "generation",
        ];
        assert_eq!(records.remove(0), head);
        assert!(records.len() <= 2);
        rows.append(&mut records);
        pages += 1;
        match link {
            // The link keeps the filters, the format and the size of the page.
            Some(link) => {
                path = link
                    .trim_start_matches('<')
                    .split('>')
                    .next()
                    .unwrap()
                    .to_owned();
            }
            None => break,
        }
    }
    assert_eq!(pages, 3);
    let expected: Vec<Vec<String>> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| {
            let time = |v: &Value| text(v).replace('Z', "+00:00");
            let missing = k["missing"].as_array().cloned().unwrap_or_default();
            let reason = k["ignored"]["reason"].as_str().unwrap_or_default();
            let guard = if reason.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                "'"
            } else {
                ""
            };
            vec![
                text(&k["distro"]).to_owned(),
                text(&k["version"]).to_owned(),
                text(&k["state"]).to_owned(),
                time(&k["state_since"]),
                time(&k["first_seen"]),
                missing.iter().map(text).collect::<Vec<_>>().join(" "),
                k["ignored"]["scope"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                format!("{guard}{reason}"),
                k["generation"].to_string(),
            ]
        })
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(rows[0][7], "'=HYPERLINK(\"http://x\")");
    assert_eq!(rows[4][5], "headers image");
    let refusal = host
        .refused(Method::GET, "/v1/kernels?format=xml", None)
        .await;
    assert_eq!(
        (&refusal["code"], &refusal["field"]),
        (&json!("format_unknown"), &json!("format"))
    );
}

/// CSV as RFC 4180 has it.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (vec![], vec![], String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            c => field.push(c),
        }
    }
    rows
}

/// One version, as the test knows it.
struct Known {
    distro: &'static str,
    version: String,
    state: &'static str,
    deleted: bool,
    missing: bool,
    installed: bool,
    ignored: bool,
}

/// One yes or no about a version.
type Is = fn(&Known) -> bool;
/// One condition of a filter.
type Keep = Box<dyn Fn(&Known) -> bool>;

/// SQL's LIKE, said as simply as can be.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'%', rest)) => (0..=text.len()).any(|n| like(rest, &text[n..])),
        Some((b'_', rest)) => !text.is_empty() && like(rest, &text[1..]),
        Some((b'\\', rest)) => text.first() == rest.first() && like(&rest[1..], &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && like(rest, &text[1..]),
    }
}

/// SplitMix64: enough for choosing, the same on every machine.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const DISTROS: [&str; 3] = ["ubuntu-22.04", "debian-12", "alma-9"];
const STATES: [&str; 6] = [
    "seen",
    "fetched",
    "built",
    "tested",
    "ready-own",
    "ready-customers",
];

/// Combined filters against a loop over what the test itself put there.
#[tokio::test]
async fn combined_filters_give_what_a_plain_loop_gives() {
    let (db, host) = TestHost::start().await;
    for distro in DISTROS {
        host.distro(distro).await;
    }
    host.post(
        "/v1/clusters",
        json!({"clusters": [{"name": "c", "type": "own"}]}),
    )
    .await;
    let mut choose = Choices(1);
    let mut known: Vec<Known> = vec![];
    let mut names = BTreeSet::new();
    while known.len() < 400 {
        let distro = choose.of(&DISTROS);
        let version = format!(
            "{}.{}.{}{}{}",
            choose.of(&["5", "6", "6.5", "4_19"]),
            choose.below(8),
            choose.below(40),
            choose.of(&["-", "+", "_", "~"]),
            choose.of(&[
                "generic",
                "debug",
                "+debug-amd64",
                "el9_2.x86_64",
                "rt",
                "aws"
            ])
        );
        if names.insert((distro, version.clone())) {
            known.push(Known {
                distro,
                version,
                state: choose.of(&STATES),
                deleted: choose.one_in(6),
                missing: choose.one_in(4),
                installed: choose.one_in(3),
                ignored: choose.one_in(3),
            });
        }
    }
    let mut psql = db.connect().await;
    let rows: Vec<Value> = known
        .iter()
        .map(|k| {
            json!({"distro": k.distro, "version": k.version, "state": k.state, "deleted": k.deleted,
                "missing": k.missing, "installed": k.installed, "ignored": k.ignored})
        })
        .collect();
    let from = format!(
        "from jsonb_to_recordset('{}') x (distro text, version text, state text, deleted bool, missing bool,
           installed bool, ignored bool) join distro d on d.name = x.distro",
        json!(rows)
    );
    let sql = format!(
        "begin; select generation_start('random');
         insert into kernel_version (distro_id, version, state_id, missing, deleted_at)
           select d.id, x.version, s.id, case when x.missing then array['headers'] else '{{}}' end,
             case when x.deleted then now() end {from} join kernel_state s on s.name = x.state;
         insert into host_kernel (cluster_id, host, kernel_version_id)
           select (select id from cluster), 'h', k.id {from}
           join kernel_version k on k.distro_id = d.id and k.version = x.version where x.installed;
         insert into host_kernel (cluster_id, host, kernel_version_id, deleted_at)
           select (select id from cluster), 'gone', k.id, now() {from}
           join kernel_version k on k.distro_id = d.id and k.version = x.version where not x.installed;
         commit"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut psql)
        .await
        .unwrap();
    // What is ignored is the turn's to say, which has nothing more to do.
    host.idle().await;
    let sql = format!(
        "insert into kernel_ignored (kernel_version_id, distro_id, version, scope, reason_code, reason_text, decision_id)
         select k.id, k.distro_id, k.version, 'all', 'test', 'test', 1 {from}
         join kernel_version k on k.distro_id = d.id and k.version = x.version where x.ignored"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut psql)
        .await
        .unwrap();

    let likes = [
        "%",
        "6.5.%",
        "%+debug%",
        "%\\_%",
        "_.%",
        "%-generic",
        "5._.1_%",
        "",
        "%el9\\_2%",
        "nothing",
    ];
    let regexes = [
        r"^6\.5\.",
        "[+]debug",
        "generic$",
        r"^\d\.\d",
        "(rt|aws)$",
        "",
        r"[_~]",
        "e.*e",
        r"\.1\d[-+]",
        "x{3}",
    ];
    let order = |k: &Known| {
        (
            DISTROS.iter().position(|d| *d == k.distro),
            k.version.clone(),
        )
    };
    known.sort_by_key(order);
    let mut found = 0;
    for round in 0..150 {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut keep: Vec<Keep> = vec![];
        if choose.one_in(2) {
            let distro = choose.of(&DISTROS);
            query.append_pair("distro", distro);
            keep.push(Box::new(move |k| k.distro == distro));
        }
        for (name, inside) in [("state", true), ("without_state", false)] {
            if choose.one_in(3) {
                let states: Vec<&str> = (0..=choose.below(3)).map(|_| choose.of(&STATES)).collect();
                query.append_pair(name, &states.join(","));
                keep.push(Box::new(move |k| states.contains(&k.state) == inside));
            }
        }
        let flags: [(&str, Is); 3] = [
            ("ignored", |k| k.ignored),
            ("installed", |k| k.installed),
            ("missing", |k| k.missing),
        ];
        for (name, is) in flags {
            if choose.one_in(3) {
                let value = choose.one_in(2);
                query.append_pair(name, if value { "true" } else { "false" });
                keep.push(Box::new(move |k| is(k) == value));
            }
        }
        let deleted = choose.one_in(4);
        if deleted {
            query.append_pair("deleted", "true");
        }
        keep.push(Box::new(move |k| k.deleted == deleted));
        if choose.one_in(3) {
            let pattern = choose.of(&likes);
            query.append_pair("like", pattern);
            keep.push(Box::new(move |k| {
                like(pattern.as_bytes(), k.version.as_bytes())
            }));
        }
        if choose.one_in(3) {
            let pattern = choose.of(&regexes);
            query.append_pair("regex", pattern);
            let regex = regex::Regex::new(pattern).unwrap();
            keep.push(Box::new(move |k| regex.is_match(&k.version)));
        }
        query.append_pair(
            "limit",
            &(1 + choose.below(60) * choose.below(8)).to_string(),
        );
        let query = query.finish();
        if query.contains("like=&") || query.contains("regex=&") {
            // An empty pattern is refused or matches as it says; what it does is tested elsewhere.
            continue;
        }
        let expected: Vec<String> = known
            .iter()
            .filter(|k| keep.iter().all(|keep| keep(k)))
            .map(|k| format!("{}/{}", k.distro, k.version))
            .collect();
        found += expected.len();
        assert_eq!(
            host.kernel_names(&query).await,
            expected,
            "round {round}: {query}"
        );
    }
    assert!(
        found > 1_000,
        "the filters left too little to compare: {found}"
    );
    success(
        host.request(Method::GET, "/v1/kernels?state=seen,built&deleted=true")
            .send()
            .await
            .unwrap(),
    )
    .await;
}
