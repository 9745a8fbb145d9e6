//! Small pieces of text for people.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use pointsman_api::event::{Event, Operation};
use pointsman_api::generation::Written;
use serde_json::Value;

/// Characters of one value of a change; whoever wants more takes `--json`.
const SHOWN_VALUE_CHARACTERS: usize = 60;

/// Text that stays on its line and that cannot command a terminal: comments and reasons come from
/// whoever may write to the record.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '\x1b' => out.push('\u{241b}'),
            // Direction marks could make one name look like another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{2426}');
            }
            c if c.is_control() => out.push('\u{2426}'),
            c => out.push(c),
        }
    }
    out
}

/// A time to the minute, in UTC.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%MZ").to_string()
}

/// How long ago, in its largest unit.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let span = (now - at).max(TimeDelta::zero());
    match (span.num_days(), span.num_hours(), span.num_minutes()) {
        (0, 0, 0) => format!("{}s", span.num_seconds()),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, _) => format!("{hours}h"),
        (days, _, _) => format!("{days}d"),
    }
}

/// `1 version`, `2 versions`.
pub(crate) fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// Bytes in their largest unit.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, size)| number >= *size) {
        // Tenths are exact enough, and integers do not round up to a unit that is not reached.
        Some((unit, size)) => format!("{}.{} {unit}", number / size, number % size * 10 / size),
        None => format!("{number} B"),
    }
}

/// The first digits of a digest: enough to tell plugin versions apart, and to name one.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// What a write did.
pub(crate) fn written(written: &Written) -> String {
    let mut parts = Vec::new();
    for (number, what) in [
        (written.created, "created"),
        (written.updated, "changed"),
        (written.unchanged, "already as asked"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    match written.generation {
        Some(generation) => format!("generation {generation}: {}", parts.join(", ")),
        None => format!("no change: {}", parts.join(", ")),
    }
}

/// What an event changed, on one line.
pub(crate) fn changes(event: &Event) -> String {
    let Value::Object(fields) = &event.changes else {
        return value(&event.changes);
    };
    // In order: a map of JSON may keep the order in which they came.
    let fields: BTreeMap<&String, &Value> = fields.iter().collect();
    let parts: Vec<String> = fields
        .into_iter()
        .filter(|(_, change)| !change.is_null())
        .filter_map(|(field, change)| match (event.operation, change) {
            // The operation says it already.
            (Operation::Delete, _) if field == "deleted" => None,
            (Operation::Update, Value::Array(pair))
                if field == "deleted" && pair.last() == Some(&Value::Null) =>
            {
                Some("restored".to_owned())
            }
            (Operation::Update | Operation::Delete, Value::Array(pair)) if pair.len() == 2 => Some(
                format!("{field}: {} -> {}", value(&pair[0]), value(&pair[1])),
            ),
            _ => Some(format!("{field}: {}", value(change))),
        })
        .collect();
    parts.join(", ")
}

/// One JSON value as people write it.
fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| item.is_string()) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("+"),
        Value::Array(items) => format!("({})", items.len()),
        other => other.to_string(),
    };
    if text.chars().count() > SHOWN_VALUE_CHARACTERS {
        let cut: String = text.chars().take(SHOWN_VALUE_CHARACTERS - 1).collect();
        return format!("{cut}\u{2026}");
    }
    text
}

/// The word for what happened.
pub(crate) fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "created",
        Operation::Update => "changed",
        Operation::Delete => "deleted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone as _;
    use serde_json::json;

    fn event(operation: Operation, changes: Value) -> Event {
        Event {
            cursor: "c".to_owned(),
            generation: 7,
            at: Utc.with_ymd_and_hms(2026, 7, 31, 12, 0, 5).unwrap(),
            kind: "kernel_version".to_owned(),
            operation,
            name: "ubuntu-22.04/5.15.0-57-generic".to_owned(),
            changes,
            comment: "Jenkins build 13343".to_owned(),
            user: "jenkins".to_owned(),
        }
    }

    #[test]
    fn changes_read_like_sentences() {
        let lines = [
            changes(&event(
                Operation::Create,
                json!({"state": "seen", "missing": ["headers"], "deleted": null, "packages": [{"a": 1}]}),
            )),
            changes(&event(
                Operation::Update,
                json!({"state": ["seen", "built"], "missing": [["headers"], null]}),
            )),
            changes(&event(
                Operation::Delete,
                json!({"deleted": [null, "2026-07-31T12:00:00Z"], "state": ["built", null]}),
            )),
            changes(&event(
                Operation::Update,
                json!({"deleted": ["2026-07-31T12:00:00Z", null]}),
            )),
            changes(&event(
                Operation::Update,
                json!({"comment": ["", "x".repeat(100)]}),
            )),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        missing: headers, packages: (1), state: seen
        missing: headers -> -, state: seen -> built
        state: built -> -
        restored
        comment:  -> xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        ");
    }

    #[test]
    fn spans_and_sizes() {
        let now = Utc.with_ymd_and_hms(2026, 7, 31, 12, 0, 0).unwrap();
        let spans = [-5, 0, 59, 60, 3599, 3600, 86_399, 86_400, 8 * 86_400]
            .map(|seconds| ago(now - TimeDelta::seconds(seconds), now));
        insta::assert_compact_debug_snapshot!(spans, @r#"["0s", "0s", "59s", "1m", "59m", "1h", "23h", "1d", "8d"]"#);
        let sizes = [0, 1023, 1024, 1536, (1 << 20) - 1, 5 << 30].map(bytes);
        insta::assert_compact_debug_snapshot!(sizes, @r#"["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1023.9 KiB", "5.0 GiB"]"#);
    }

    #[test]
    fn writes_are_told() {
        let mut done = Written {
            generation: Some(7),
            created: 2,
            updated: 0,
            unchanged: 1,
            deleted: vec![],
        };
        insta::assert_snapshot!(written(&done), @"generation 7: 2 created, 1 already as asked");
        done = Written {
            generation: None,
            created: 0,
            updated: 0,
            unchanged: 3,
            deleted: vec![],
        };
        insta::assert_snapshot!(written(&done), @"no change: 3 already as asked");
        done.unchanged = 0;
        insta::assert_snapshot!(written(&done), @"no change: nothing to do");
    }
}
