//! Exports and imports, as tests of both take and compare them.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{TestDatabase, TestHost, text};

/// A host on a record that shares no beginning with any other: the databases of the other tests are
/// copies of one, and know the history that they have in common.
pub async fn newcomer() -> (TestDatabase, TestHost) {
    let mut db = TestDatabase::new().await;
    let mut url = url::Url::parse(&db.url).expect("an address");
    let name = format!("{}_new", url.path().trim_start_matches('/'));
    let mut admin = PgConnection::connect(&db.url).await.expect("connect");
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut admin)
        .await
        .expect("a database");
    url.set_path(&name);
    db.url = url.to_string();
    let host = db.serve().await;
    (db, host)
}

/// What a host exports.
pub async fn export(host: &TestHost) -> String {
    let answer = host
        .request(Method::GET, "/v1/export")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    answer.text().await.expect("a body")
}

/// The answer to an import.
pub async fn import(host: &TestHost, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let request = host.request(Method::POST, "/v1/import?comment=moving%20house");
    request
        .header("content-type", "application/x-ndjson")
        .body(body)
        .send()
        .await
        .expect("an answer")
}

/// The lines of each type, in an order of their own, without what an import cannot keep.
pub fn normal(export: &str) -> BTreeMap<String, Vec<Value>> {
    let mut sections: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in export.lines() {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let kind = text(&line["type"]).to_owned();
        if ["record", "epoch", "generation", "event"].contains(&kind.as_str()) {
            continue;
        }
        if let Some(fields) = line.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        sections.entry(kind).or_default().push(line);
    }
    for lines in sections.values_mut() {
        lines.sort_by_key(Value::to_string);
    }
    sections
}
