//! What an answer makes of a policy's notes, and of the tags that it hands on.

use crate::policy::wit::types::{Attrs, Note};

use super::{Refused, cut, refuse};

/// Notes of one subject: what a person can still read through.
pub const MAX_NOTES: usize = 64;
/// Bytes of a note, key and value together: a memory, not a store of documents.
pub const MAX_NOTE_BYTES: usize = 1_024;
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
        return refuse(
            "note-text",
            format!("the note `{}` holds a NUL", cut(key, SHOWN)),
        );
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
                "tag-name",
                format!(
                    "`{shown}` is no name of a tag: dotted lower-case words of {MAX_TAG_NAME_BYTES} bytes at most"
                ),
            );
        }
        if value.len() > MAX_TAG_BYTES {
            return refuse(
                "tag-too-long",
                format!(
                    "the tag `{shown}` has {} bytes, and {MAX_TAG_BYTES} are the most",
                    value.len()
                ),
            );
        }
        if value.contains('\0') {
            return refuse("tag-text", format!("the tag `{shown}` holds a NUL"));
        }
        if !named.insert(name) {
            return refuse("tag-twice", format!("the answer has two tags `{shown}`"));
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
            "tags-too-many",
            format!("{tags} tags would be handed on, and {MAX_TAGS} are the most"),
        );
    }
    Ok(())
}
