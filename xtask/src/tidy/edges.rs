//! Which part of the host may know which: the design's edges, held by a check.

use std::path::Path;

use super::Finding;
use super::rust::Source;

/// What a part may not mention, and why.
struct Edge {
    /// The beginning of the path of its files, without `.rs`.
    part: &'static str,
    /// Paths by their beginning.
    forbidden: &'static [&'static str],
    /// Paths below forbidden ones that it may mention all the same.
    except: &'static [&'static str],
    because: &'static str,
}

const EDGES: [Edge; 3] = [
    Edge {
        part: "host/src/server",
        forbidden: &["crate::policy", "crate::forge", "wasmtime", "sqlx"],
        except: &[],
        because: "the server parses and replies; it asks `turn`, and never runs a policy itself",
    },
    Edge {
        part: "host/src/policy",
        forbidden: &["crate::db", "crate::server", "sqlx"],
        except: &[],
        because: "a policy is asked with no transaction open, and sees only its input",
    },
    Edge {
        part: "host/src/plan",
        forbidden: &[
            "crate::db",
            "crate::policy",
            "crate::server",
            "sqlx",
            "tokio",
            "wasmtime",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::env",
            "std::time::SystemTime",
            "std::time::Instant",
            "chrono::Utc::now",
            "Utc::now",
        ],
        // The questions and answers themselves.
        except: &["crate::policy::wit"],
        because: "planning is pure: what it needs is in the snapshot, the clock too",
    },
];

/// The parts that may hold SQL: the record's, and the statements that make the cluster itself.
const SQL_PARTS: [&str; 2] = ["host/src/db", "host/src/postgres"];

/// What runs SQL, as the second name of a path that begins with `sqlx`.
const SQL_NAMES: [&str; 3] = ["query", "raw_sql", "QueryBuilder"];

pub(super) fn check(file: &Path, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, path) in &source.paths {
        for edge in EDGES.iter().filter(|edge| is_in(file, edge.part)) {
            let excepted = edge.except.iter().any(|start| begins(path, start));
            let forbidden = edge.forbidden.iter().find(|start| begins(path, start));
            if let Some(forbidden) = forbidden.filter(|_| !excepted) {
                findings.push(Finding::new(
                    file,
                    *line,
                    format!("`{}` mentions `{forbidden}`: {}", edge.part, edge.because),
                ));
            }
        }
        let runs_sql = path[0] == "sqlx" && SQL_NAMES.iter().any(|name| path[1].starts_with(name));
        if runs_sql && is_shipped(file) && !SQL_PARTS.iter().any(|part| is_in(file, part)) {
            findings.push(Finding::new(
                file,
                *line,
                format!(
                    "`{}` outside of host/src/db, the only home of SQL",
                    path.join("::")
                ),
            ));
        }
    }
    findings
}

/// Whether the file is `part.rs` or below `part/`.
fn is_in(file: &Path, part: &str) -> bool {
    file.with_extension("") == Path::new(part) || file.starts_with(part)
}

/// Whether the file is part of a program that is shipped: tests and benchmarks look into the database
/// on purpose.
fn is_shipped(file: &Path) -> bool {
    let is_apart = |name: &str| name == "tests" || name == "benches" || name == "bench";
    !file
        .components()
        .any(|part| part.as_os_str().to_str().is_some_and(is_apart))
}

fn begins(path: &[String], start: &str) -> bool {
    let mut names = path.iter();
    start
        .split("::")
        .all(|name| names.next().is_some_and(|have| have == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> usize {
        check(Path::new(file), &Source::parse(text)).len()
    }

    #[test]
    fn each_edge_is_held_in_the_file_and_below_it() {
        for file in ["host/src/server.rs", "host/src/server/kernels.rs"] {
            assert_eq!(
                findings(file, "use crate::{turn, policy::Engine};"),
                1,
                "{file}"
            );
        }
        assert_eq!(findings("host/src/policy/run.rs", "crate::db::read();"), 1);
        assert_eq!(
            findings("host/src/plan.rs", "use std::{fs, fmt}; tokio::spawn();"),
            2
        );
        assert_eq!(
            findings("host/src/plan.rs", "use std::time::{Duration, Instant};"),
            1
        );
        assert_eq!(
            findings("host/src/plan.rs", "use crate::policy::{wit::ignore, run};"),
            1
        );
        assert_eq!(findings("host/src/turn.rs", "use crate::{db, policy};"), 0);
        // Another part whose name begins the same.
        assert_eq!(findings("host/src/planner.rs", "use std::fs::read;"), 0);
    }

    #[test]
    fn sql_has_one_home() {
        assert_eq!(
            findings("host/src/turn.rs", "sqlx::query!(\"SELECT 1\");"),
            1
        );
        assert_eq!(
            findings("cli/src/main.rs", "use sqlx::{query_as, PgPool};"),
            1
        );
        assert_eq!(
            findings("host/src/db/kernel.rs", "sqlx::query_as!(A, \"SELECT 1\");"),
            0
        );
        assert_eq!(findings("host/src/db.rs", "sqlx::query(\"SELECT 1\");"), 0);
        assert_eq!(
            findings("host/tests/record.rs", "sqlx::query(\"SELECT 1\");"),
            0
        );
    }
}
