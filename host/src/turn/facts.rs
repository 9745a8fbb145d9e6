//! What a policy may ask back while it decides about kernel versions.
//!
//! The record answers these at once, with no transaction open. What was given is kept with the decision,
//! so that a replay gives the same.

use serde_json::json;
use tokio::runtime::Handle;

use crate::db::Db;
use crate::error::Error;
use crate::policy::wit::types::{Found, Query, Reason};
use crate::policy::{Facts, unknown};

/// Runs of one version that a fact has at most.
const MAX_RUNS: i64 = 100;
/// Names that a fact has at most.
const MAX_NAMES: i64 = 1_000;

/// Where the facts of one call come from.
pub(crate) trait Source: Facts {
    /// Why something could not be looked up; none: everything could. What the policy made of a failure
    /// is no decision.
    fn failed(&mut self) -> Option<Failure>;
}

/// A look-up that failed through no fault of the policy's.
pub(crate) enum Failure {
    /// The whole turn is taken again.
    Turn(Error),
    /// This call alone counts as one that the host could not make, with what to tell operators.
    Call(String),
}

/// Facts of the record about one distro.
pub(crate) struct Record {
    db: Db,
    distro: i32,
    runtime: Handle,
    failed: Option<Error>,
}

impl Record {
    pub(crate) fn new(db: &Db, distro: i32) -> Self {
        Self {
            db: db.clone(),
            distro,
            runtime: Handle::current(),
            failed: None,
        }
    }

    async fn look(&mut self, query: &Query) -> Found {
        let arg = |name: &str| {
            let arg = query.args.iter().find(|(key, _)| key == name);
            arg.map(|(_, value)| value.as_str())
        };
        let found = match query.kind.as_str() {
            "runs" => {
                let Some(version) = arg("version") else {
                    return refused("query.argument", "`runs` needs the argument `version`");
                };
                self.db
                    .runs_of(self.distro, version, MAX_RUNS)
                    .await
                    .map(|runs| runs.map(|runs| json!(runs)))
            }
            "versions" => {
                let Some(state) = arg("state") else {
                    return refused("query.argument", "`versions` needs the argument `state`");
                };
                self.db
                    .versions_in(self.distro, state, MAX_NAMES)
                    .await
                    .map(|names| names.map(|names| json!(names)))
            }
            _ => return unknown(query),
        };
        match found {
            Ok(Some(value)) => Found::Value(value.to_string()),
            Ok(None) => Found::Absent,
            Err(error) => {
                self.failed = Some(error);
                refused(
                    "query.failed",
                    "the record could not be read; ask again later",
                )
            }
        }
    }
}

impl Facts for Record {
    fn find(&mut self, query: &Query) -> Found {
        // Within a call, where the turn's thread may wait.
        self.runtime.clone().block_on(self.look(query))
    }
}

impl Source for Record {
    fn failed(&mut self) -> Option<Failure> {
        self.failed.take().map(Failure::Turn)
    }
}

pub(crate) fn refused(code: &str, text: &str) -> Found {
    Found::Refused(Reason {
        code: code.to_owned(),
        text: text.to_owned(),
        details: vec![],
    })
}
