//! The SQL of a page of kernel versions.
//!
//! A page costs what its rows cost, however many versions there are: each form below walks an index in
//! the order of the page and stops when the page is full, or looks at the few rows that a trigram finds.
//! Which of the two a pattern deserves is the planner's choice, by the statistics of `version`.

use pointsman_patterns::Pattern;
use sqlx::{Postgres, QueryBuilder};

use super::regex::in_postgres;
use super::{COLUMNS, Filter};

/// What is selected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Whole rows.
    Rows,
    /// Only keys, which indexes hold: rows that a pattern passes over are never read.
    Keys,
}

/// A place in the order (distro, version).
type Place = (i32, String);

/// The first `fetch` rows behind `after`. None: no row can match.
pub(super) fn page(
    filter: &Filter,
    after: Option<&Place>,
    fetch: i64,
) -> Option<QueryBuilder<Postgres>> {
    if matches!(filter.states.as_deref(), Some([])) {
        return None;
    }
    let mut sql = QueryBuilder::new("");
    if !filter.has_pattern() {
        states(&mut sql, What::Rows, filter, after, fetch);
        return Some(sql);
    }
    sql.push("select ").push(COLUMNS).push(" from (");
    states(&mut sql, What::Keys, filter, after, fetch);
    sql.push(
        ") p join kernel_version k on k.id = p.id \
         left join kernel_ignored i on i.kernel_version_id = k.id order by p.distro_id, p.version",
    );
    Some(sql)
}

/// A page of each state by its own index, then the first of them all: an index can give the order for
/// one state, never for several.
fn states(
    sql: &mut QueryBuilder<Postgres>,
    what: What,
    filter: &Filter,
    after: Option<&Place>,
    fetch: i64,
) {
    match filter.states.as_deref() {
        Some(states) if states.len() > 1 => {
            sql.push("select * from (");
            for (n, state) in states.iter().enumerate() {
                sql.push(if n == 0 { "(" } else { " union all (" });
                one_state(sql, what, filter, Some(*state), after, fetch);
                sql.push(")");
            }
            sql.push(") pages order by distro_id, version limit ")
                .push_bind(fetch);
        }
        Some([state]) => one_state(sql, what, filter, Some(*state), after, fetch),
        _ => one_state(sql, what, filter, None, after, fetch),
    }
}

fn one_state(
    sql: &mut QueryBuilder<Postgres>,
    what: What,
    filter: &Filter,
    state: Option<i32>,
    after: Option<&Place>,
    fetch: i64,
) {
    if what == What::Keys
        && filter.distro.is_none()
        && filter.ignored != Some(true)
        && by_prefix(filter)
    {
        return distro_by_distro(sql, filter, state, after, fetch);
    }
    // Ignored versions are walked along their own index.
    let (order, key) = match filter.ignored {
        Some(true) => (
            " order by i.distro_id, i.version limit ",
            ("i.distro_id", "i.version"),
        ),
        _ => (
            " order by k.distro_id, k.version limit ",
            ("k.distro_id", "k.version"),
        ),
    };
    from(sql, what, filter);
    conditions(sql, filter, state);
    if let Some(distro) = filter.distro {
        sql.push(" and ").push(key.0).push(" = ").push_bind(distro);
    }
    if let Some((distro, version)) = after {
        match filter.distro {
            // The distro is fixed: the version alone is the key, and the index range is tight.
            Some(filtered) if filtered == *distro => {
                sql.push(" and ")
                    .push(key.1)
                    .push(" > ")
                    .push_bind(version.clone());
            }
            _ => {
                sql.push(" and (")
                    .push(key.0)
                    .push(", ")
                    .push(key.1)
                    .push(") > (")
                    .push_bind(*distro)
                    .push(", ")
                    .push_bind(version.clone())
                    .push(")");
            }
        }
    }
    sql.push(order).push_bind(fetch);
}

/// A prefix is a range of the index within a distro, not across distros. So one distro after the other
/// gives its range, until the page is full.
fn distro_by_distro(
    sql: &mut QueryBuilder<Postgres>,
    filter: &Filter,
    state: Option<i32>,
    after: Option<&Place>,
    fetch: i64,
) {
    sql.push("select k.id, k.distro_id, k.version from distro d cross join lateral (");
    from(sql, What::Keys, filter);
    conditions(sql, filter, state);
    sql.push(" and k.distro_id = d.id");
    if let Some((distro, version)) = after {
        sql.push(" and k.version > case when d.id = ")
            .push_bind(*distro)
            .push(" then ")
            .push_bind(version.clone())
            .push(" else '' end");
    }
    sql.push(" order by k.version limit ")
        .push_bind(fetch)
        .push(") k");
    if let Some((distro, _)) = after {
        sql.push(" where d.id >= ").push_bind(*distro);
    }
    sql.push(" order by d.id, k.version limit ")
        .push_bind(fetch);
}

fn from(sql: &mut QueryBuilder<Postgres>, what: What, filter: &Filter) {
    sql.push("select ").push(match what {
        What::Rows => COLUMNS,
        What::Keys => "k.id, k.distro_id, k.version",
    });
    sql.push(" from kernel_version k");
    match (filter.ignored, what) {
        (Some(true), _) => sql.push(" join kernel_ignored i on i.kernel_version_id = k.id"),
        (None, What::Keys) => sql,
        _ => sql.push(" left join kernel_ignored i on i.kernel_version_id = k.id"),
    };
}

fn conditions(sql: &mut QueryBuilder<Postgres>, filter: &Filter, state: Option<i32>) {
    sql.push(if filter.deleted {
        " where k.deleted_at is not null"
    } else {
        " where k.deleted_at is null"
    });
    if let Some(state) = state {
        sql.push(" and k.state_id = ").push_bind(state);
    }
    if filter.ignored == Some(false) {
        sql.push(" and i.kernel_version_id is null");
    }
    if let Some(like) = &filter.like {
        sql.push(" and k.version like ")
            .push_bind(like.source().to_owned());
    }
    if let Some(regex) = &filter.regex {
        matches_regex(sql, regex);
    }
    if let Some(installed) = filter.installed {
        sql.push(if installed {
            " and exists ("
        } else {
            " and not exists ("
        })
        .push(
            "select from host_kernel h where h.kernel_version_id = k.id and h.deleted_at is null)",
        );
    }
    if let Some(missing) = filter.missing {
        sql.push(if missing {
            " and k.missing <> '{}'"
        } else {
            " and k.missing = '{}'"
        });
    }
}

/// A regex, behind a LIKE that every match passes and that costs a twentieth.
///
/// The planner would take the two for independent and guess far too few rows, so the regex is hidden
/// from its guess: the LIKE alone finds the rows and says how many there are.
fn matches_regex(sql: &mut QueryBuilder<Postgres>, regex: &Pattern) {
    let longest = |any: &Vec<String>| any.iter().map(String::len).min();
    let sieve = match (
        regex.prefix(),
        regex.prefilter().into_iter().max_by_key(longest),
    ) {
        (Some(prefix), any) if any.as_ref().and_then(longest) <= Some(prefix.len()) => {
            vec![format!("{}%", escape_like(&prefix))]
        }
        (_, Some(any)) => any
            .iter()
            .map(|text| format!("%{}%", escape_like(text)))
            .collect(),
        (_, None) => vec![],
    };
    match <[String; 1]>::try_from(sieve) {
        Ok([like]) => {
            sql.push(" and k.version like ").push_bind(like);
        }
        Err(any) if any.is_empty() => {
            sql.push(" and k.version ~ ")
                .push_bind(in_postgres(regex.source()));
            return;
        }
        Err(any) => {
            sql.push(" and k.version like any(")
                .push_bind(any)
                .push(")");
        }
    }
    sql.push(" and coalesce(k.version ~ ")
        .push_bind(in_postgres(regex.source()))
        .push(", false)");
}

/// Whether what a pattern begins with is the best that is known of it: nothing else in it that is as
/// long could be found by its trigrams.
fn by_prefix(filter: &Filter) -> bool {
    let patterns = || [&filter.like, &filter.regex].into_iter().flatten();
    let Some(prefix) = patterns()
        .filter_map(Pattern::prefix)
        .max_by_key(String::len)
    else {
        return false;
    };
    patterns().flat_map(Pattern::prefilter).all(|any| {
        any.iter()
            .any(|text| prefix.contains(text.as_str()) || text.len() < prefix.len())
    })
}

/// A text as it stands in a LIKE pattern.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}
