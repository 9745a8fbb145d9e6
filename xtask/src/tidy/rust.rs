//! Just enough of Rust's grammar to know which paths a file mentions.
//!
//! `use` trees are taken apart, so that `use crate::{db, server::route}` is `crate::db` and
//! `crate::server::route`; comments and texts are told from code. A real parser would also expand
//! macros and resolve aliases, and take a minute to build.

/// What one source file says.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Each path of two or more names, with the line that it ends on.
    pub(super) paths: Vec<(usize, Vec<String>)>,
    /// Each `name!` that is called.
    pub(super) macros: Vec<(usize, String)>,
    /// Each line of comment.
    pub(super) comments: Vec<(usize, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    /// `::`
    Colons,
    Sign(char),
}

impl Source {
    pub(super) fn parse(text: &str) -> Self {
        let mut source = Self::default();
        let tokens = source.tokens(text);
        let mut at = 0;
        while at < tokens.len() {
            if let (line, Token::Name(name)) = &tokens[at]
                && matches!(tokens.get(at + 1), Some((_, Token::Sign('!'))))
            {
                source.macros.push((*line, name.clone()));
            }
            at = source.path(&tokens, at, &mut Vec::new());
        }
        source
    }

    /// Reads a path or a `use` tree that begins at `at`, and returns where the next thing begins.
    fn path(
        &mut self,
        tokens: &[(usize, Token)],
        mut at: usize,
        before: &mut Vec<String>,
    ) -> usize {
        let outer = before.len();
        while let Some((line, Token::Name(name))) = tokens.get(at) {
            before.push(name.clone());
            at += 1;
            if !matches!(tokens.get(at), Some((_, Token::Colons))) {
                if before.len() > 1 {
                    self.paths.push((*line, before.clone()));
                }
                before.truncate(outer);
                return at;
            }
            at += 1;
        }
        match tokens.get(at) {
            Some((_, Token::Sign('{'))) if before.len() > outer => {
                at += 1;
                while at < tokens.len() && tokens[at].1 != Token::Sign('}') {
                    let renames = matches!(&tokens[at].1, Token::Name(name) if name == "as");
                    at = match renames {
                        // The new name is none of the path's.
                        true => at + 2,
                        false => self.path(tokens, at, before),
                    };
                }
                at += 1;
            }
            // `::*`, or a turbofish: what came before it is a path all the same.
            Some((line, _)) => {
                if before.len() > outer && before.len() > 1 {
                    self.paths.push((*line, before.clone()));
                }
                at += 1;
            }
            None => {}
        }
        before.truncate(outer);
        at
    }

    fn tokens(&mut self, text: &str) -> Vec<(usize, Token)> {
        let mut tokens = Vec::new();
        let mut line = 1;
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = if let Some(comment) = rest.strip_prefix("//") {
                let comment = comment.lines().next().unwrap_or_default();
                self.comments.push((line, comment.to_owned()));
                2 + comment.len()
            } else if rest.starts_with("/*") {
                let length = block_comment(rest);
                for (index, text) in rest[..length].lines().enumerate() {
                    self.comments.push((line + index, text.to_owned()));
                }
                length
            } else if let Some(length) = raw_text(rest) {
                length
            } else if first == '"' {
                quoted(rest, '"')
            } else if first == '\'' {
                character(rest)
            } else if is_name(first) {
                let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
                tokens.push((line, Token::Name(rest[..end].to_owned())));
                end
            } else if rest.starts_with("::") {
                tokens.push((line, Token::Colons));
                2
            } else {
                if !first.is_whitespace() {
                    tokens.push((line, Token::Sign(first)));
                }
                first.len_utf8()
            };
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
        }
        tokens
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of `r"..."`, `br#"..."#` and the like; `None` when the text begins with something else.
fn raw_text(text: &str) -> Option<usize> {
    let after = ["br", "cr", "r"]
        .into_iter()
        .find_map(|prefix| text.strip_prefix(prefix))?;
    let body = after.trim_start_matches('#');
    let hashes = after.len() - body.len();
    let body = body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + length)
}

/// The length of a quoted text with escapes, both quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// The length of a character such as `'"'`, or of the quote alone where it begins a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => quoted(text, '\''),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::parse(text);
        source
            .paths
            .iter()
            .map(|(_, path)| path.join("::"))
            .collect()
    }

    #[test]
    fn use_trees_are_taken_apart() {
        assert_eq!(
            paths("use crate::{db, server::{route, page::Page as P}, plan::*};"),
            [
                "crate::db",
                "crate::server::route",
                "crate::server::page::Page",
                "crate::plan"
            ]
        );
        assert_eq!(
            paths("let x = std::fs::read::<u8>(&a::B);"),
            ["std::fs::read", "a::B"]
        );
        assert_eq!(
            paths("fn f<'a>(x: &'a b::C) -> d::E { g::h!('\"', '\\'') }").len(),
            3
        );
    }

    #[test]
    fn comments_and_texts_are_no_code() {
        let text = r####"
            // a::b
            /* c::d /* e::f */ g::h */
            const S: &str = "i::j \" k::l"; const R: &str = r#"m::n " o::p"#;
            const C: char = '"'; use q::r;
        "####;
        assert_eq!(paths(text), ["q::r"]);
        assert_eq!(Source::parse(text).comments.len(), 2);
    }

    #[test]
    fn lines_are_counted() {
        let source = Source::parse("\"\n\n\" /*\n*/\nuse a::b; todo!()");
        assert_eq!(source.paths, [(5, vec!["a".to_owned(), "b".to_owned()])]);
        assert_eq!(source.macros, [(5, "todo".to_owned())]);
    }

    #[test]
    fn broken_text_ends_too() {
        for text in [
            "\"", "'", "/*", "r#\"", "a::", "use a::{", "'\\", "a::{}}", "ü'é'",
        ] {
            Source::parse(text);
        }
    }
}
