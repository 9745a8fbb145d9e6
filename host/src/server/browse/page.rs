//! The pages behind links. Everything in them is escaped by the templates (`host/templates`).

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use pointsman_api::lane::{Attempt, Lane};
use serde_json::Value;

use super::super::App;
use super::{Nothing, Sandbox, guarded};
use crate::db::browse::Shown;
use crate::error::Error;

/// Why there is nothing to see.
#[derive(Template)]
#[template(path = "closed.html")]
pub(super) struct Closed {
    heading: &'static str,
    text: String,
    hint: &'static str,
}

impl Closed {
    pub(super) fn new(heading: &'static str, text: impl Into<String>, hint: &'static str) -> Self {
        let text = text.into();
        Self {
            heading,
            text,
            hint,
        }
    }
}

#[derive(Template)]
#[template(path = "attempt.html")]
struct AttemptPage<'a> {
    token: &'a str,
    /// Of its lane's page.
    up: String,
    shown: &'a Shown,
    state: String,
    running: bool,
    removed: Option<String>,
    files: Vec<File<'a>>,
    tests: Vec<Test<'a>>,
    until: String,
}

struct File<'a> {
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
    /// Why it was not kept.
    problem: &'a str,
}

struct Test<'a> {
    name: &'a str,
    outcome: &'a str,
    message: &'a str,
}

#[derive(Template)]
#[template(path = "lane.html")]
struct LanePage<'a> {
    lane: &'a Lane,
    rows: Vec<Row>,
    until: String,
}

struct Row {
    job: String,
    state: String,
    attempt: String,
    /// Where `attempt` leads to; empty: nowhere.
    link: String,
    ended: String,
    tests: String,
    detail: String,
}

/// The page of an attempt.
pub(super) async fn of_attempt(
    app: &App,
    token: &str,
    key: &str,
    until: DateTime<Utc>,
) -> Result<Response, Nothing> {
    let shown = app.db.shown_attempt(key).await?;
    let shown = &shown.ok_or(Nothing::Closed(crate::links::Closed::Forged))?;
    let up = match (shown.lane, shown.planned) {
        (Some(lane), Some(planned)) => app.links.lane(lane, planned, until),
        _ => String::new(),
    };
    let page = AttemptPage {
        token,
        up,
        shown,
        state: state(&shown.state, shown.ended.as_deref(), shown.exit_code),
        running: shown.state != "ended",
        removed: shown.removed_at.as_ref().map(time),
        files: list(&shown.artifacts)
            .iter()
            .map(|file| File {
                path: word(file, "path"),
                bytes: file["bytes"].as_u64().unwrap_or_default(),
                sha256: word(file, "sha256"),
                problem: word(file, "problem"),
            })
            .collect(),
        tests: list(&shown.tests)
            .iter()
            .map(|test| Test {
                name: word(test, "name"),
                outcome: word(test, "outcome"),
                message: word(test, "message"),
            })
            .collect(),
        until: time(&until),
    };
    Ok(respond(StatusCode::OK, &page))
}

/// The page of a lane, which leads to its attempts, and to those of a lane whose passes count for it.
pub(super) async fn of_lane(
    app: &App,
    id: i64,
    planned: i64,
    until: DateTime<Utc>,
) -> Result<Response, Nothing> {
    let mut lane = app.db.lane(id).await?;
    if lane.created_at.timestamp_micros() != planned {
        // Another one has its number now.
        return Err(Nothing::Closed(crate::links::Closed::Forged));
    }
    let mut rows = vec![];
    for job in lane.jobs.take().unwrap_or_default() {
        let row = |attempt: Option<&Attempt>| Row {
            job: job.name.clone(),
            state: job.state.clone(),
            attempt: attempt.map(|a| a.number.to_string()).unwrap_or_default(),
            link: attempt
                .and_then(|a| app.links.attempt(&a.key, until))
                .unwrap_or_default(),
            ended: attempt
                .map(|a| state(&a.state, a.ended.as_deref(), a.exit_code))
                .unwrap_or_default(),
            tests: attempt
                .filter(|a| a.tests_total > 0)
                .map(|a| format!("{}/{}", a.tests_passed, a.tests_total))
                .unwrap_or_default(),
            detail: attempt.and_then(|a| a.detail.clone()).unwrap_or_default(),
        };
        rows.extend(job.attempts.iter().map(|attempt| row(Some(attempt))));
        if job.attempts.is_empty() {
            let mut row = row(None);
            if let Some(of) = job.reused_from {
                row.detail = "passed on the same tree".to_owned();
                if let Some(planned) = app.db.lane_planned(of).await? {
                    row.attempt = format!("in lane {of}");
                    row.link = app.links.lane(of, planned, until);
                }
            } else if let Some(skipped) = &job.skipped {
                row.detail.clone_from(&skipped.text);
            }
            rows.push(row);
        }
    }
    let page = LanePage {
        lane: &lane,
        rows,
        until: time(&until),
    };
    Ok(respond(StatusCode::OK, &page))
}

pub(super) fn respond(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => {
            let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            guarded((status, kind, html).into_response(), Sandbox::Page)
        }
        Err(error) => guarded(Error::Internal(error.into()).into_response(), Sandbox::Data),
    }
}

pub(super) fn time(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn state(state: &str, ended: Option<&str>, code: Option<i32>) -> String {
    match (ended, code) {
        (Some(ended), Some(code)) => format!("{ended} {code}"),
        (Some(ended), None) => ended.to_owned(),
        (None, _) => state.to_owned(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
