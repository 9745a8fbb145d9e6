//! The stanzas of an index (deb822), one at a time. Nothing is kept but the fields that a kernel
//! needs; everything is checked, since a line that makes no sense means that the file is not what
//! it seems, or is cut, and then what is missing in it must not pass for removed.

use crate::deb_version::DebVersion;
use crate::error::ErrorKind;
use crate::limits::{Limits, MAX_FILENAME_BYTES, MAX_NAME_BYTES};
use crate::unpack::Unpacked;

/// The fields that are kept. All but `Depends` must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Package,
    Version,
    Architecture,
    Filename,
    Size,
    Sha256,
    Depends,
}

const FIELDS: [(Field, &str); 7] = [
    (Field::Package, "Package"),
    (Field::Version, "Version"),
    (Field::Architecture, "Architecture"),
    (Field::Filename, "Filename"),
    (Field::Size, "Size"),
    (Field::Sha256, "SHA256"),
    (Field::Depends, "Depends"),
];

/// One package, as its stanza describes it.
#[derive(Debug, Default)]
pub(crate) struct Stanza {
    values: [Option<String>; FIELDS.len()],
    /// Where it begins.
    line: u64,
    byte: u64,
    /// Bytes of its lines so far; 0 between stanzas.
    bytes: u64,
    /// The field that a continuation line belongs to.
    last: Option<Field>,
}

impl Stanza {
    fn get(&self, field: Field) -> &str {
        self.values[field as usize].as_deref().unwrap_or_default()
    }

    pub(crate) fn package(&self) -> &str {
        self.get(Field::Package)
    }
    pub(crate) fn version(&self) -> &str {
        self.get(Field::Version)
    }
    pub(crate) fn architecture(&self) -> &str {
        self.get(Field::Architecture)
    }
    pub(crate) fn filename(&self) -> &str {
        self.get(Field::Filename)
    }
    pub(crate) fn sha256(&self) -> &str {
        self.get(Field::Sha256)
    }
    /// Bytes of the package file.
    pub(crate) fn size(&self) -> u64 {
        self.get(Field::Size).parse().unwrap_or_default()
    }
    /// The relationship field as it is written.
    pub(crate) fn depends(&self) -> &str {
        self.get(Field::Depends)
    }
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    fn clear(&mut self) {
        // `None` marks a missing field, so the buffers are not kept: small, and reused by malloc.
        *self = Self::default();
    }

    /// What is wrong with it, if anything.
    fn fault(&self) -> Option<String> {
        if let Some((_, name)) = FIELDS
            .iter()
            .find(|(field, _)| *field != Field::Depends && self.get(*field).is_empty())
        {
            return Some(match self.package() {
                "" => format!("a stanza without `{name}`"),
                package => format!("`{package}` has no `{name}`"),
            });
        }
        let package = self.package();
        let too_long = |field, max| self.get(field).len() > max;
        if too_long(Field::Package, MAX_NAME_BYTES)
            || too_long(Field::Version, MAX_NAME_BYTES)
            || too_long(Field::Architecture, MAX_NAME_BYTES)
        {
            return Some(format!(
                "a name or version longer than {MAX_NAME_BYTES} bytes"
            ));
        }
        if too_long(Field::Filename, MAX_FILENAME_BYTES) {
            return Some(format!(
                "`{package}` has a Filename longer than {MAX_FILENAME_BYTES} bytes"
            ));
        }
        if DebVersion::parse(self.version()).is_none() {
            return Some(format!(
                "`{package}` has a Version that is none: {:?}",
                self.version()
            ));
        }
        let sha256 = self.sha256();
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Some(format!(
                "`{package}` has a SHA256 that is not 64 hex digits"
            ));
        }
        let size = self.get(Field::Size);
        if size.parse::<u64>().is_err() {
            return Some(format!(
                "`{package}` has a Size that is no number: {size:?}"
            ));
        }
        // Whoever joins it to a directory must stay inside.
        let filename = self.filename();
        if filename.starts_with('/')
            || filename.split('/').any(|part| part == "..")
            || filename.contains(|c: char| c.is_control())
        {
            return Some(format!("`{package}` has a Filename outside its archive"));
        }
        None
    }
}

/// Reads stanzas off an index.
pub(crate) struct Stanzas {
    text: Unpacked,
    limits: Limits,
    line: Vec<u8>,
    /// The number of that line and where it begins.
    number: u64,
    start: u64,
    /// Bytes of text read.
    read: u64,
    count: u64,
    stanza: Stanza,
}

impl Stanzas {
    pub(crate) fn new(text: Unpacked, limits: &Limits) -> Self {
        Self {
            text,
            limits: limits.clone(),
            line: Vec::new(),
            number: 0,
            start: 0,
            read: 0,
            count: 0,
            stanza: Stanza::default(),
        }
    }

    pub(crate) fn text(&self) -> &Unpacked {
        &self.text
    }
    /// Bytes of text so far.
    pub(crate) fn unpacked_bytes(&self) -> u64 {
        self.read
    }
    /// Stanzas so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The next stanza; `None` at the end of the text.
    pub(crate) fn next(&mut self) -> Result<Option<&Stanza>, ErrorKind> {
        self.stanza.clear();
        match self.read_stanza() {
            Ok(false) => Ok(None),
            Ok(true) if self.count == self.limits.stanzas => {
                Err(self.too_large("stanzas", self.limits.stanzas))
            }
            Ok(true) => {
                self.count += 1;
                Ok(Some(&self.stanza))
            }
            // Nothing has looked like an index so far: then it is something else.
            Err(ErrorKind::Malformed { line, why, .. }) if self.count == 0 => {
                Err(ErrorKind::NotAnIndex { line, why })
            }
            Err(
                ErrorKind::NulByte { line: line @ 1, .. }
                | ErrorKind::NotUtf8 { line: line @ 1, .. },
            ) => {
                let why = "it is no text".to_owned();
                Err(ErrorKind::NotAnIndex { line, why })
            }
            Err(kind) => Err(kind),
        }
    }

    fn read_stanza(&mut self) -> Result<bool, ErrorKind> {
        loop {
            if !self.read_line()? {
                return self.finish_at_end();
            }
            if self.line.trim_ascii().is_empty() {
                if self.stanza.bytes == 0 {
                    continue;
                }
                return match self.stanza.fault() {
                    None => Ok(true),
                    Some(why) => Err(ErrorKind::Malformed {
                        line: self.stanza.line,
                        byte: self.stanza.byte,
                        why,
                    }),
                };
            }
            if self.stanza.bytes == 0 {
                (self.stanza.line, self.stanza.byte) = (self.number, self.start);
            }
            self.stanza.bytes += self.line.len() as u64;
            if self.stanza.bytes > self.limits.stanza_bytes {
                return Err(self.too_large("bytes of one stanza", self.limits.stanza_bytes));
            }
            self.take_line()?;
        }
    }

    /// The text ends without an empty line: fine if the last stanza is whole, else it was cut.
    fn finish_at_end(&self) -> Result<bool, ErrorKind> {
        if self.stanza.bytes == 0 {
            return Ok(false);
        }
        match self.stanza.fault() {
            None => Ok(true),
            // A `Release` file or the like ends here too, and is not a piece of an index.
            Some(why) if self.stanza.package().is_empty() => Err(ErrorKind::Malformed {
                line: self.stanza.line,
                byte: self.stanza.byte,
                why,
            }),
            Some(why) => Err(self.truncated(why)),
        }
    }

    /// Reads and checks one line; `false` at the end of the text.
    fn read_line(&mut self) -> Result<bool, ErrorKind> {
        self.line.clear();
        self.start = self.read;
        self.number += 1;
        // One more than allowed, so that a line of exactly the limit passes.
        let max = self.limits.line_bytes + 1;
        let read = self
            .text
            .read_line(&mut self.line, max, self.number, self.start)?;
        self.read += read as u64;
        if read == 0 {
            self.number -= 1;
            return Ok(false);
        }
        if self.line.len() as u64 > self.limits.line_bytes {
            return Err(self.too_large("bytes of one line", self.limits.line_bytes));
        }
        if self.read > self.limits.unpacked_bytes {
            return Err(self.too_large("bytes of text", self.limits.unpacked_bytes));
        }
        if self.line.contains(&0) {
            let at = self.line.iter().take_while(|b| **b != 0).count();
            return Err(ErrorKind::NulByte {
                line: self.number,
                byte: self.start + at as u64,
            });
        }
        match std::str::from_utf8(&self.line) {
            Ok(_) => Ok(true),
            // The text ends inside a character.
            Err(error) if error.error_len().is_none() => {
                Err(self.truncated("the last character is cut".to_owned()))
            }
            Err(error) => Err(ErrorKind::NotUtf8 {
                line: self.number,
                byte: self.start + error.valid_up_to() as u64,
            }),
        }
    }

    /// Takes over what the line says.
    fn take_line(&mut self) -> Result<(), ErrorKind> {
        // Only the very last line of a text has no newline, and so it may be cut anywhere.
        let torn = self.line.last() != Some(&b'\n');
        let line = std::str::from_utf8(&self.line).unwrap_or_default();
        if line.starts_with([' ', '\t']) {
            if self.stanza.line == self.number {
                return Err(self.malformed("a continuation line that continues nothing"));
            }
            return match self.stanza.last {
                None => Ok(()),
                Some(Field::Depends) if torn => Err(self.torn()),
                Some(Field::Depends) => {
                    let depends = &mut self.stanza.values[Field::Depends as usize];
                    depends.get_or_insert_default().push_str(line.trim_end());
                    Ok(())
                }
                Some(_) => Err(self.malformed("a value over several lines where one is meant")),
            };
        }
        let named = line.split_once(':').filter(|(name, _)| {
            !name.is_empty()
                && !name.starts_with(['-', '#'])
                && name.bytes().all(|b| b.is_ascii_graphic())
        });
        let Some((name, value)) = named else {
            let page = line.starts_with('<');
            return Err(
                match (
                    torn && (self.count > 0 || !self.stanza.package().is_empty()),
                    page,
                ) {
                    (true, _) => self.torn(),
                    (_, true) => self.malformed("it looks like a web page"),
                    _ => self.malformed("a line that is not `Field: value`"),
                },
            );
        };
        let known = FIELDS
            .iter()
            .find(|(_, known)| name.eq_ignore_ascii_case(known));
        let Some((field, name)) = known else {
            self.stanza.last = None;
            return Ok(());
        };
        let value = value.trim_ascii();
        // A checksum has a known length, so it cannot be cut unnoticed; any other value can.
        if torn && (*field != Field::Sha256 || value.len() != 64) {
            return Err(self.torn());
        }
        if self.stanza.values[*field as usize].is_some() {
            return Err(self.malformed(&format!("`{name}` twice in one stanza")));
        }
        self.stanza.values[*field as usize] = Some(value.to_owned());
        self.stanza.last = Some(*field);
        Ok(())
    }

    fn malformed(&self, why: &str) -> ErrorKind {
        ErrorKind::Malformed {
            line: self.number,
            byte: self.start,
            why: why.to_owned(),
        }
    }

    fn torn(&self) -> ErrorKind {
        self.truncated("the last line is cut".to_owned())
    }

    fn truncated(&self, what: String) -> ErrorKind {
        ErrorKind::Truncated {
            line: self.number,
            byte: self.start,
            what,
        }
    }

    fn too_large(&self, what: &'static str, max: u64) -> ErrorKind {
        ErrorKind::TooLarge {
            what,
            max,
            line: self.number,
        }
    }
}
