//! What an answer makes of a policy's notes, and of the tags that it hands on.

use crate::policy::wit::types::{Attrs, Note};

use super::{Refused, cut, refuse};

/// Notes of one subject: what a person can still read through.
const MAX_NOTES: usize = 64;
/// Bytes of a note, key and value together: a memory, not a store of documents.
const MAX_NOTE_BYTES: usize = 1_024;
/// Tags of one answer, and of a chain's answers together.
const MAX_TAGS: usize = 32;
/// Bytes of a tag's name.
const MAX_TAG_NAME_BYTES: usize = 64;
/// Bytes of a tag's value: tags travel with every question about the distro.
const MAX_TAG_BYTES: usize = 256;
/// Characters of a key that a refusal shows.
const SHOWN: usize = 40;

/// Which of the proposed changes change anything, for a subject that has the notes `held`, sorted by key.
///
/// # Errors
/// A key or a value that cannot be kept, a key that is named twice, or more notes than a subject may have.
pub fn notes(held: &[(String, String)], proposed: &[Note]) -> Result<Vec<Note>, Refused> {
    let mut named = std::collections::HashSet::with_capacity(proposed.len());
    let mut changes = vec![];
    let mut count = held.len();
    for note in proposed {
        sound(&note.key, note.value.as_deref())?;
        if !named.insert(note.key.as_str()) {
            let key = cut(&note.key, SHOWN);
            return refuse("note-twice", format!("the answer has two notes `{key}`"));
        }
        let before = held
            .binary_search_by(|(key, _)| key.cmp(&note.key))
            .ok()
            .map(|at| &held[at].1);
        match (before, &note.value) {
            (None, Some(_)) => count += 1,
            (Some(_), None) => count -= 1,
            _ => {}
        }
        if before != note.value.as_ref() {
            changes.push(note.clone());
        }
    }
    if count > MAX_NOTES {
        return refuse(
            "notes-too-many",
            format!("with this answer {count} notes would be kept, and {MAX_NOTES} are the most"),
        );
    }
    Ok(changes)
}

/// Whether a note can be kept, whoever writes it.
///
/// # Errors
/// What is wrong with it.
pub fn sound(key: &str, value: Option<&str>) -> Result<(), Refused> {
    if key.is_empty() || key.chars().any(|c| c.is_control() || c == '/') {
        return refuse(
            "note-key",
            format!(
                "`{}` is no key of a note: it is not empty, and has neither control characters nor a slash",
                cut(key, SHOWN)
            ),
        );
    }
    let bytes = key.len() + value.map_or(0, str::len);
    if bytes > MAX_NOTE_BYTES {
        return refuse(
            "note-too-long",
            format!(
                "the note `{}` has {bytes} bytes, key and value together, and {MAX_NOTE_BYTES} are the most",
                cut(key, SHOWN)
            ),
        );
    }
    if value.is_some_and(|value| value.contains('\0')) {
        return refuse("nul", format!("the note `{}` holds a NUL", cut(key, SHOWN)));
    }
    Ok(())
}

/// Whether tags can be handed on.
pub(super) fn check_tags(tags: &Attrs) -> Result<(), Refused> {
    too_many(tags.len())?;
    let mut named = std::collections::HashSet::with_capacity(tags.len());
    for (name, value) in tags {
        let word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let shown = cut(name, SHOWN);
        if name.len() > MAX_TAG_NAME_BYTES || !name.split('.').all(word) {
            return refuse(
                "bad-tag",
                format!(
                    "`{shown}` is no name of a tag: dotted lower-case words of {MAX_TAG_NAME_BYTES} bytes at most"
                ),
            );
        }
        if value.len() > MAX_TAG_BYTES {
            return refuse(
                "bad-tag",
                format!(
                    "the tag `{shown}` has {} bytes, and {MAX_TAG_BYTES} are the most",
                    value.len()
                ),
            );
        }
        if value.contains('\0') {
            return refuse("nul", format!("the tag `{shown}` holds a NUL"));
        }
        if !named.insert(name) {
            return refuse("bad-tag", format!("the answer has two tags `{shown}`"));
        }
    }
    Ok(())
}

/// Adds the tags of a later answer of a chain, whose word counts; keeps them sorted.
pub(super) fn hand_on(tags: &mut Attrs, later: &Attrs) -> Result<(), Refused> {
    for (name, value) in later {
        match tags.binary_search_by(|(held, _)| held.cmp(name)) {
            Ok(at) => tags[at].1.clone_from(value),
            Err(at) => tags.insert(at, (name.clone(), value.clone())),
        }
    }
    too_many(tags.len())
}

fn too_many(tags: usize) -> Result<(), Refused> {
    if tags > MAX_TAGS {
        return refuse(
            "too-many-tags",
            format!("{tags} tags would be handed on, and {MAX_TAGS} are the most"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn note(key: &str, value: Option<&str>) -> Note {
        Note {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let long = "x".repeat(MAX_NOTE_BYTES);
        for (proposed, code) in [
            (vec![note("", None)], "note-key"),
            (vec![note("a/b", Some("1"))], "note-key"),
            (vec![note("a\u{85}", Some("1"))], "note-key"),
            (vec![note("a", Some(&long))], "note-too-long"),
            (vec![note(&"y".repeat(1_025), None)], "note-too-long"),
            (vec![note("a", Some("\0"))], "nul"),
            (vec![note("a", None), note("a", None)], "note-twice"),
        ] {
            assert_eq!(
                notes(&[], &proposed).unwrap_err().code,
                code,
                "{proposed:?}"
            );
        }
        let fits = [note("a", Some(&long[1..]))];
        assert_eq!(notes(&[], &fits).unwrap(), fits);
    }

    #[test]
    fn a_full_memory_takes_a_note_in_place_of_another() {
        let held: Attrs = (0..MAX_NOTES)
            .map(|n| pair(&format!("k{n:02}"), "v"))
            .collect();
        let one_more = [note("more", Some("v"))];
        assert_eq!(notes(&held, &one_more).unwrap_err().code, "notes-too-many");
        let exchanged = [note("more", Some("v")), note("k07", None)];
        assert_eq!(notes(&held, &exchanged).unwrap(), exchanged);
        let overwritten = [note("k07", Some("w"))];
        assert_eq!(notes(&held, &overwritten).unwrap(), overwritten);
    }

    #[test]
    fn tags_have_a_form_and_a_limit() {
        for (tags, code) in [
            (vec![pair("", "v")], "bad-tag"),
            (vec![pair("a..b", "v")], "bad-tag"),
            (vec![pair("Risk", "v")], "bad-tag"),
            (vec![pair(&"a".repeat(65), "v")], "bad-tag"),
            (vec![pair("a", &"v".repeat(257))], "bad-tag"),
            (vec![pair("a", "\0")], "nul"),
            (
                vec![pair("a", "v"), pair("b", "v"), pair("a", "w")],
                "bad-tag",
            ),
            (
                (0..33).map(|n| pair(&format!("t{n}"), "")).collect(),
                "too-many-tags",
            ),
        ] {
            assert_eq!(check_tags(&tags).unwrap_err().code, code, "{tags:?}");
        }
        let good = vec![pair("retry.budget", "3"), pair("areas.net-4", "")];
        assert_eq!(check_tags(&good), Ok(()));
    }

    #[test]
    fn the_last_of_a_chain_has_its_way_and_together_they_have_the_limit() {
        let mut tags = vec![];
        hand_on(&mut tags, &vec![pair("risk", "low"), pair("areas", "net")]).unwrap();
        hand_on(&mut tags, &vec![pair("risk", "high")]).unwrap();
        assert_eq!(tags, [pair("areas", "net"), pair("risk", "high")]);
        let more: Attrs = (0..MAX_TAGS - 1)
            .map(|n| pair(&format!("t{n}"), ""))
            .collect();
        assert_eq!(hand_on(&mut tags, &more).unwrap_err().code, "too-many-tags");
    }

    proptest! {
        /// Against a naive model: carried out, the changes give what was proposed, none of them is idle,
        /// and an answer is refused if and only if it breaks a limit.
        #[test]
        fn changes_are_exactly_the_difference(
            held in prop::collection::btree_map("[a-d]{1,2}", "[xy]{0,2}", 0..20),
            filler in 0usize..70,
            proposed in prop::collection::vec(("[a-d]{0,2}", prop::option::of("[xy]{0,2}")), 0..8),
        ) {
            let mut before: BTreeMap<String, String> = held;
            before.extend((0..filler.min(MAX_NOTES.saturating_sub(before.len()))).map(|n| pair(&format!("z{n}"), "")));
            let held: Attrs = before.clone().into_iter().collect();
            let proposed: Vec<Note> = proposed.into_iter().map(|(key, value)| Note { key, value }).collect();
            let mut after = before.clone();
            for note in &proposed {
                match &note.value {
                    Some(value) => after.insert(note.key.clone(), value.clone()),
                    None => after.remove(&note.key),
                };
            }
            let keys: std::collections::HashSet<&str> = proposed.iter().map(|n| n.key.as_str()).collect();
            let sound = keys.len() == proposed.len() && !keys.contains("") && after.len() <= MAX_NOTES;
            let changes = notes(&held, &proposed);
            prop_assert_eq!(changes.is_ok(), sound);
            for change in changes.unwrap_or_default() {
                let was = match &change.value {
                    Some(value) => before.insert(change.key.clone(), value.clone()),
                    None => before.remove(&change.key),
                };
                prop_assert_ne!(was, change.value);
            }
            if sound {
                prop_assert_eq!(before, after);
            }
        }
    }
}
