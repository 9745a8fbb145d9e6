//! `cargo xtask tidy`: what the compiler does not check.
//!
//! The edges between the parts of the host, where SQL may be, links in the documents, and leftovers.
//! Findings are printed as `file:line: message`; an error fails the command, a warning does not.

mod edges;
mod links;
mod rust;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use self::rust::Source;

/// A file that needs more scrolling than this, tests apart, probably has two jobs.
const LONG_FILE_LINES: usize = 400;

/// Folders that are not ours to check: built, or other people's.
const SKIPPED_DIRS: [&str; 3] = ["target", "node_modules", "vendor"];

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the repository.
    file: PathBuf,
    line: usize,
    message: String,
}

impl Finding {
    fn new(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            message: message.into(),
        }
    }

    fn print(&self, kind: &str) {
        println!(
            "{kind}: {}:{}: {}",
            self.file.display(),
            self.line,
            self.message
        );
    }
}

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let files = files(root)?;
    for file in &files {
        let extension = file.extension().unwrap_or_default();
        if extension != "rs" && extension != "md" {
            continue;
        }
        let path = root.join(file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", file.display()))?;
        if extension == "md" {
            errors.extend(links::check(root, file, &text));
        } else {
            let source = Source::parse(&text);
            errors.extend(edges::check(file, &source));
            errors.extend(leftovers(file, &source));
            warnings.extend(length(file, &text));
        }
    }
    for warning in &warnings {
        warning.print("warning");
    }
    for error in &errors {
        error.print("error");
    }
    if !errors.is_empty() {
        bail!("tidy found {} errors", errors.len());
    }
    println!("tidy: {} files, {} warnings", files.len(), warnings.len());
    Ok(())
}

/// All files, relative to the root, in order.
fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !name.starts_with('.') && !SKIPPED_DIRS.contains(&name.as_str()) {
                dirs.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Marks of unfinished work.
fn leftovers(file: &Path, source: &Source) -> Vec<Finding> {
    let in_code = source
        .macros
        .iter()
        .filter(|(_, name)| ["todo", "unimplemented", "dbg"].contains(&name.as_str()))
        .map(|(line, name)| Finding::new(file, *line, format!("a leftover {name}!")));
    let in_comments = source.comments.iter().filter_map(|(line, text)| {
        let mark = ["TODO", "FIXME", "XXX"].into_iter().find(|mark| {
            text.split(|c: char| !c.is_alphanumeric())
                .any(|word| word == *mark)
        })?;
        Some(Finding::new(
            file,
            *line,
            format!("a {mark} comment: do it, or file an issue and say why here"),
        ))
    });
    in_code.chain(in_comments).collect()
}

fn length(file: &Path, text: &str) -> Option<Finding> {
    let is_test = file.components().any(|part| part.as_os_str() == "tests");
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .count();
    (lines > LONG_FILE_LINES && !is_test).then(|| {
        Finding::new(
            file,
            lines,
            format!("{lines} lines without tests, more than {LONG_FILE_LINES}: has it two jobs?"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        run(&crate::repository()).unwrap();
    }

    #[test]
    fn leftovers_are_found_in_code_and_comments_but_not_in_texts() {
        let source = Source::parse(
            "fn f() { todo!() }\n// A FIXME here.\nconst S: &str = \"todo!() TODO\"; // TODOS\n",
        );
        let lines: Vec<usize> = leftovers(Path::new("a.rs"), &source)
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let body = "fn f() {}\n".repeat(LONG_FILE_LINES);
        let tests = format!("{body}#[cfg(test)]\nmod tests {{\n{body}}}\n");
        assert_eq!(length(Path::new("src/a.rs"), &tests), None);
        assert!(length(Path::new("src/a.rs"), &(body.clone() + "fn g() {}\n")).is_some());
        assert_eq!(
            length(Path::new("tests/a.rs"), &(body + "fn g() {}\n")),
            None
        );
    }
}
