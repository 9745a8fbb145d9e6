//! Reading kernel versions: one, pages, and those that sit still.

mod regex;
mod select;

use chrono::{DateTime, Utc};
use pointsman_api::kernel::{Ignored, Kernel, Package};
use pointsman_api::page::Page;
use pointsman_patterns::Pattern;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, QueryBuilder, Row as _};

use super::{Db, cursor};
use crate::error::{Error, Kind, Refusal, Result};

/// What a list of kernel versions is filtered by. Names are already ids.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this distro.
    pub distro: Option<i32>,
    /// In one of these states; none: in any.
    pub states: Option<Vec<i32>>,
    /// Ignored or not.
    pub ignored: Option<bool>,
    /// SQL LIKE over the version.
    pub like: Option<Pattern>,
    /// A regular expression found in the version.
    pub regex: Option<Pattern>,
    /// Installed on some host, or on none.
    pub installed: Option<bool>,
    /// Lacking headers or image, or complete.
    pub missing: Option<bool>,
    /// Those marked as deleted, instead of those that are not.
    pub deleted: bool,
}

impl Filter {
    fn has_pattern(&self) -> bool {
        self.like.is_some() || self.regex.is_some()
    }

    /// Whether a page is a walk along an index that passes nothing over.
    fn is_quick(&self) -> bool {
        !self.has_pattern()
            && self.ignored.is_none()
            && self.installed.is_none()
            && self.missing.is_none()
    }
}

pub(super) struct Row {
    pub(super) distro_id: i32,
    version: String,
    state_id: i32,
    state_since: DateTime<Utc>,
    first_seen: DateTime<Utc>,
    missing: Vec<String>,
    deleted: bool,
    generation: i64,
    scope: Option<String>,
    ignore_id: Option<i64>,
    reason_text: Option<String>,
    decision_id: Option<i64>,
}

/// The columns of [`Row`], in its order.
pub(super) const COLUMNS: &str = "k.distro_id, k.version, k.state_id, k.state_since, k.first_seen, \
    k.missing, k.deleted_at is not null as deleted, k.generation, \
    i.scope, i.ignore_id, i.reason_text, i.decision_id";

/// By place instead of by name, and without asking each value for its type: a page has a hundred rows,
/// and looking up twelve names in each took as long as the rest of the reading.
impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            distro_id: row.try_get_unchecked(0)?,
            version: row.try_get_unchecked(1)?,
            state_id: row.try_get_unchecked(2)?,
            state_since: row.try_get_unchecked(3)?,
            first_seen: row.try_get_unchecked(4)?,
            missing: row.try_get_unchecked(5)?,
            deleted: row.try_get_unchecked(6)?,
            generation: row.try_get_unchecked(7)?,
            scope: row.try_get_unchecked(8)?,
            ignore_id: row.try_get_unchecked(9)?,
            reason_text: row.try_get_unchecked(10)?,
            decision_id: row.try_get_unchecked(11)?,
        })
    }
}

impl Db {
    /// One kernel version, with its packages.
    pub async fn kernel(&self, distro: &str, version: &str) -> Result<Kernel> {
        let distro_id = self.names.distro_id(distro, "distro").await?;
        let row = sqlx::query!(
            r#"select k.state_id, k.state_since, k.first_seen, k.missing, k.packages,
                 k.deleted_at is not null as "deleted!", k.generation,
                 i.scope as "scope?", i.ignore_id, i.reason_text as "reason_text?",
                 i.decision_id as "decision_id?"
               from kernel_version k left join kernel_ignored i on i.kernel_version_id = k.id
               where k.distro_id = $1 and k.version = $2"#,
            distro_id,
            version,
        )
        .fetch_optional(&self.quick)
        .await?
        .ok_or_else(|| unknown(distro, version))?;
        let packages: Vec<Package> =
            serde_json::from_value(row.packages).map_err(|e| Error::Internal(e.into()))?;
        let row = Row {
            distro_id,
            version: version.to_owned(),
            state_id: row.state_id,
            state_since: row.state_since,
            first_seen: row.first_seen,
            missing: row.missing,
            deleted: row.deleted,
            generation: row.generation,
            scope: row.scope,
            ignore_id: row.ignore_id,
            reason_text: row.reason_text,
            decision_id: row.decision_id,
        };
        let (distro, state) = self.names_of(&row).await?;
        let mut kernel = shape(row, distro, state);
        kernel.packages = Some(packages);
        Ok(kernel)
    }

    /// One page, in the order (distro, version).
    pub async fn kernels(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Kernel>> {
        let after: Option<(i32, String)> = after.map(cursor::decode).transpose()?;
        let Some(mut sql) = select::page(filter, after.as_ref(), i64::from(limit) + 1) else {
            return Ok(Page {
                items: vec![],
                next: None,
            });
        };
        let pool = if filter.is_quick() {
            &self.quick
        } else {
            &self.read
        };
        let rows: Vec<Row> = sql
            .build_query_as()
            // A pattern's best plan depends on the pattern, so it is planned each time.
            .persistent(!filter.has_pattern())
            .fetch_all(pool)
            .await
            .map_err(|e| pattern_timeout(e, filter.has_pattern()))?;
        self.page(rows, limit, |row| {
            cursor::encode(&(row.distro_id, &row.version))
        })
        .await
    }

    /// Versions that have been in their state since before `before`, the longest first.
    pub async fn stale(
        &self,
        before: DateTime<Utc>,
        distro: Option<i32>,
        states: &[i32],
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Kernel>> {
        let after: Option<(DateTime<Utc>, i32, String)> = after.map(cursor::decode).transpose()?;
        let fetch = i64::from(limit) + 1;
        let mut sql = QueryBuilder::new("select * from (");
        for (n, state) in states.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { " union all (" })
                .push("select ")
                .push(COLUMNS)
                .push(
                    " from kernel_version k left join kernel_ignored i on i.kernel_version_id = k.id \
                     where k.deleted_at is null and i.kernel_version_id is null and k.state_id = ",
                )
                .push_bind(*state)
                .push(" and k.state_since < ")
                .push_bind(before);
            if let Some(distro) = distro {
                sql.push(" and k.distro_id = ").push_bind(distro);
            }
            if let Some((since, distro_id, version)) = &after {
                sql.push(" and k.state_since >= ")
                    .push_bind(*since)
                    .push(" and (k.state_since, k.distro_id, k.version) > (")
                    .push_bind(*since)
                    .push(", ")
                    .push_bind(*distro_id)
                    .push(", ")
                    .push_bind(version.clone())
                    .push(")");
            }
            sql.push(" order by k.state_since, k.distro_id, k.version limit ")
                .push_bind(fetch)
                .push(")");
        }
        sql.push(") pages order by state_since, distro_id, version limit ")
            .push_bind(fetch);
        if states.is_empty() {
            return Ok(Page {
                items: vec![],
                next: None,
            });
        }
        let rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        self.page(rows, limit, |row| {
            cursor::encode(&(row.state_since, row.distro_id, &row.version))
        })
        .await
    }

    /// The states that a policy moves versions through, the last of them left out: those in which a
    /// version should not stay.
    pub async fn unsettled_states(&self) -> Result<Vec<i32>> {
        Ok(sqlx::query_scalar!(
            "select id from kernel_state
             where rank < (select max(rank) from kernel_state where moved_by = 'policy') order by rank"
        )
        .fetch_all(&self.read)
        .await?)
    }

    async fn page(
        &self,
        mut rows: Vec<Row>,
        limit: u32,
        cursor_of: impl Fn(&Row) -> String,
    ) -> Result<Page<Kernel>> {
        let limit = limit as usize;
        let next = (rows.len() > limit).then(|| {
            rows.truncate(limit);
            rows.last().map(cursor_of)
        });
        let mut items = Vec::with_capacity(rows.len());
        let known = self.names.known();
        for row in rows {
            let (distro, state) = match known.of(row.distro_id, row.state_id) {
                Some((distro, state)) => (distro.to_owned(), state.to_owned()),
                None => self.names_of(&row).await?,
            };
            items.push(shape(row, distro, state));
        }
        Ok(Page {
            items,
            next: next.flatten(),
        })
    }

    async fn names_of(&self, row: &Row) -> Result<(String, String)> {
        let distro = self.names.distro(row.distro_id).await?.to_string();
        Ok((distro, self.names.state(row.state_id).await?.to_string()))
    }
}

fn shape(row: Row, distro: String, state: String) -> Kernel {
    Kernel {
        distro,
        version: row.version,
        state,
        state_since: row.state_since,
        first_seen: row.first_seen,
        missing: row.missing,
        ignored: match (row.scope, row.reason_text, row.decision_id) {
            (Some(scope), Some(reason), Some(decision)) => Some(Ignored {
                scope,
                ignore: row.ignore_id,
                reason,
                decision,
            }),
            _ => None,
        },
        deleted: row.deleted,
        generation: row.generation,
        packages: None,
    }
}

/// The refusal for a kernel version that the record does not have.
pub fn unknown(distro: &str, version: &str) -> Error {
    let (distro, version) = (super::names::shown(distro), super::names::shown(version));
    Refusal::new(
        Kind::NotFound,
        "kernel_unknown",
        format!("there is no kernel version `{distro}/{version}`"),
    )
    .field("version")
    .hint("`pointsman kernel list` shows those there are; `pointsman kernel add` adds one.")
    .into()
}

/// A pattern that ran into the time limit gets a refusal that says what to do about patterns.
fn pattern_timeout(error: sqlx::Error, pattern: bool) -> Error {
    match (Error::from(error), pattern) {
        (Error::Refused(refusal), true) if refusal.kind == Kind::TimedOut => Refusal::new(
            Kind::TimedOut,
            "pattern_too_slow",
            format!(
                "the pattern was not found within {} ms",
                super::READ_TIMEOUT_MS
            ),
        )
        .hint("Give it three literal characters in a row, or name a distro or a state.")
        .into(),
        (error, _) => error,
    }
}
