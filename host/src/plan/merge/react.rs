//! What `react` may do.

use crate::plan::Refused;
use crate::policy::wit::react;

/// Acts of one answer, as the contract says.
const MAX_ACTS: usize = 20;
/// Bytes of a comment, as the contract says.
const MAX_BODY: usize = 16 << 10;
/// Bytes of a status's text and of other short arguments.
const MAX_TEXT: usize = 1_024;

/// One thing that `react` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Says something; with the same key it is edited, not repeated.
    Comment {
        /// What it is found by.
        key: Option<String>,
        /// The text.
        body: String,
    },
    /// Sets the status of the head that the event is about, else of the present one.
    Status {
        /// Which one.
        context: String,
        /// pending, success, failure, error.
        state: String,
        /// One sentence.
        text: String,
        /// Where there is more.
        link: Option<String>,
    },
    /// Puts a label on, or takes it off.
    Label {
        /// The label.
        name: String,
        /// On or off.
        set: bool,
    },
}

/// The acts of an answer, or why it is refused.
pub fn acts(answer: &react::Answer, decision: usize) -> Result<Vec<Act>, Refused> {
    let refuse = |code: &'static str, text: String| Refused {
        code,
        text,
        decision: Some(decision),
    };
    if answer.acts.len() > MAX_ACTS {
        let text = format!("{} acts, and {MAX_ACTS} may be", answer.acts.len());
        return Err(refuse("too-many-acts", text));
    }
    let read = |act: &react::Act| read(act).map_err(|(code, text)| refuse(code, text));
    answer.acts.iter().map(read).collect()
}

fn read(act: &react::Act) -> Result<Act, (&'static str, String)> {
    let known: &[&str] = match act.kind.as_str() {
        "comment" => &["body", "key"],
        "status" => &["context", "state", "text", "link"],
        "label" | "unlabel" => &["name"],
        "dispatch" | "request-review" => {
            let text = format!("the local forge has no `{}`", act.kind);
            return Err(("act-unsupported", text));
        }
        other => {
            let other: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(("unknown-act", format!("the act `{other}` is not known")));
        }
    };
    if let Some((key, _)) = act
        .args
        .iter()
        .find(|(key, _)| !known.contains(&key.as_str()))
    {
        let key: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err((
            "unknown-argument",
            format!("`{}` has no argument `{key}`", act.kind),
        ));
    }
    let arg = |name: &str| {
        act.args
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, v)| v.clone())
    };
    let needed = |name: &str, max: usize| match arg(name) {
        Some(value) if !value.is_empty() && value.len() <= max && !value.contains('\0') => {
            Ok(value)
        }
        _ => {
            let text = format!("`{}` needs `{name}`, of 1 to {max} bytes", act.kind);
            Err(("bad-argument", text))
        }
    };
    Ok(match act.kind.as_str() {
        "comment" => Act::Comment {
            key: arg("key").map(|_| needed("key", MAX_TEXT)).transpose()?,
            body: needed("body", MAX_BODY)?,
        },
        "status" => {
            let state = needed("state", MAX_TEXT)?;
            if !matches!(state.as_str(), "pending" | "success" | "failure" | "error") {
                let text = "a status is `pending`, `success`, `failure` or `error`";
                return Err(("bad-argument", text.to_owned()));
            }
            Act::Status {
                context: needed("context", 255)?,
                state,
                text: needed("text", MAX_TEXT)?,
                link: arg("link").filter(|link| !link.is_empty()),
            }
        }
        kind => Act::Label {
            name: needed("name", 128)?,
            set: kind == "label",
        },
    })
}
