//! What people and programs read: data to stdout, messages to stderr.

pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod text;

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::args::Global;
use crate::error::Error;
use crate::output::table::Table;

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    loudness: Loudness,
    colour: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Aligned text.
    People,
    /// JSON documents; one per line where there are several.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loudness {
    Quiet,
    Normal,
    Verbose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    On,
    Off,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Output {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output {
            format: if global.json {
                Format::Json
            } else {
                Format::People
            },
            loudness: match (global.quiet, global.verbose) {
                (true, _) => Loudness::Quiet,
                (false, 0) => Loudness::Normal,
                (false, _) => Loudness::Verbose,
            },
            colour: if io::stderr().is_terminal() && !plain {
                Colour::On
            } else {
                Colour::Off
            },
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.loudness == Loudness::Quiet
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.loudness == Loudness::Verbose
    }

    /// Whether stderr takes colours.
    pub(crate) fn is_coloured(&self) -> bool {
        self.colour == Colour::On
    }

    /// A line of data.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Error> {
        Ok(writeln!(io::stdout().lock(), "{text}")?)
    }

    /// Text as it is, for data that has its own line ends.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Error> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// A table, or nothing where it is empty.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Error> {
        if table.is_empty() {
            Ok(())
        } else {
            self.line(table)
        }
    }

    /// One JSON document, indented: for something that there is one of.
    pub(crate) fn document(&self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Error::failed(format!("cannot write JSON: {error}")))?;
        self.line(text)
    }

    /// One JSON document on one line: for something that there are several of. Flushed, so that a
    /// program that follows along sees it now.
    pub(crate) fn record(&self, value: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_string(value)
            .map_err(|error| Error::failed(format!("cannot write JSON: {error}")))?;
        text.push('\n');
        self.raw(&text)
    }

    /// A message for people. Nobody reading stderr is no reason to fail.
    pub(crate) fn note(&self, text: impl Display) {
        if self.loudness > Loudness::Quiet {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Something that did not go as it should, though the command goes on.
    pub(crate) fn warn(&self, text: impl Display) {
        let _ = writeln!(
            io::stderr().lock(),
            "{} {text}",
            self.paint("warning:", "33")
        );
    }

    /// A `hint:` line.
    pub(crate) fn hint(&self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{} {text}", self.paint("hint:", "36"));
    }

    /// Why the command failed.
    pub(crate) fn error(&self, error: &Error) {
        if matches!(error, Error::ReaderGone) {
            return;
        }
        let _ = writeln!(
            io::stderr().lock(),
            "{} {}",
            self.paint("error:", "31"),
            text::safe(&error.to_string())
        );
        if let Some(hint) = error.hint().filter(|hint| !hint.is_empty()) {
            self.hint(text::safe(hint));
        }
        if let Some(details) = error.details()
            && (self.loudness == Loudness::Verbose || error.is_the_servers())
        {
            let _ = writeln!(io::stderr().lock(), "{details}");
        }
    }

    fn paint(&self, word: &str, code: &str) -> String {
        match self.colour {
            Colour::On => format!("\x1b[1;{code}m{word}\x1b[0m"),
            Colour::Off => word.to_owned(),
        }
    }
}
