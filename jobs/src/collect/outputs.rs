//! The file in which a job says something: `key=value`, a line each.

use std::fs::File;
use std::io::Read;

use super::Report;
use crate::limits::{MAX_OUTPUT_KEY_BYTES, MAX_OUTPUT_VALUE_BYTES, MAX_OUTPUTS, MAX_OUTPUTS_BYTES};

pub(super) fn read(file: File, report: &mut Report) {
    let mut content = Vec::new();
    if let Err(error) = file.take(MAX_OUTPUTS_BYTES + 1).read_to_end(&mut content) {
        return report.problem("bad-outputs", None, error.to_string());
    }
    if content.len() as u64 > MAX_OUTPUTS_BYTES {
        let text = format!("only the first {MAX_OUTPUTS_BYTES} bytes of the outputs were read");
        report.problem("bad-outputs", None, text);
        // The line that the cut goes through would be a wrong value.
        let end = content.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        content.truncate(end);
    }
    parse(&String::from_utf8_lossy(&content), report);
}

fn parse(text: &str, report: &mut Report) {
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let bad = |why: String| format!("line {number} of the outputs {why}");
        let Some((key, value)) = line.split_once('=') else {
            report.problem("bad-outputs", None, bad("has no `=`".to_owned()));
            continue;
        };
        if !is_key(key) {
            let text = bad("has a key that is not of A-Z, a-z, 0-9, `.`, `_` and `-`".to_owned());
            report.problem("bad-outputs", None, text);
        } else if value.len() > MAX_OUTPUT_VALUE_BYTES {
            let text = bad(format!(
                "has a value of over {MAX_OUTPUT_VALUE_BYTES} bytes"
            ));
            report.problem("bad-outputs", None, text);
        } else if report.outputs.len() >= MAX_OUTPUTS && !report.outputs.contains_key(key) {
            let text = format!("only the first {MAX_OUTPUTS} outputs are kept");
            return report.problem("bad-outputs", None, text);
        } else {
            report.outputs.insert(key.to_owned(), value.to_owned());
        }
    }
}

fn is_key(key: &str) -> bool {
    (1..=MAX_OUTPUT_KEY_BYTES).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
