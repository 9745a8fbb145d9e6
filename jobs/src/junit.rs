//! Reads JUnit XML, the format in which nearly every test runner can report and which no two write
//! alike. It is read as a stream: memory does not grow with the file, and no entity but XML's own five
//! and character references means anything, so nothing can be expanded.
//!
//! The counts come from the test cases that are there, never from the totals that a suite claims.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_JUNIT_DEPTH, MAX_TEST_MESSAGE_BYTES, MAX_TEST_NAME_BYTES, MAX_TESTS};

/// All tests of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tests {
    /// The first [`MAX_TESTS`], those that did not pass before those that did.
    pub kept: Vec<Test>,
    /// How many there were.
    pub total: u64,
    /// Of these: passed.
    pub passed: u64,
    /// An assertion failed.
    pub failed: u64,
    /// Something else went wrong.
    pub errored: u64,
    /// Not run.
    pub skipped: u64,
    /// What the tests took, one after the other, in milliseconds.
    pub duration_ms: u64,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Its class, or else the suite that it stands in; empty if there is neither.
    pub suite: String,
    /// How it did.
    pub outcome: TestOutcome,
    /// The first KiB of what it said, if it did not pass.
    pub message: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// How a test did. The order is that of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestOutcome {
    /// An assertion failed.
    Failed,
    /// Something else went wrong.
    Errored,
    /// It was not run.
    Skipped,
    /// It passed.
    Passed,
}

impl Tests {
    fn add(&mut self, test: Test) {
        self.total += 1;
        self.duration_ms = self.duration_ms.saturating_add(test.duration_ms);
        *match test.outcome {
            TestOutcome::Failed => &mut self.failed,
            TestOutcome::Errored => &mut self.errored,
            TestOutcome::Skipped => &mut self.skipped,
            TestOutcome::Passed => &mut self.passed,
        } += 1;
        self.kept.push(test);
        // Sorting now and then costs little; sorting each time, or keeping all, would not.
        if self.kept.len() >= 4 * MAX_TESTS {
            self.settle();
        }
    }

    /// Keeps the most interesting, in the order of the files.
    pub(crate) fn settle(&mut self) {
        self.kept.sort_by_key(|test| test.outcome);
        self.kept.truncate(MAX_TESTS);
    }
}

/// Adds the tests of one file. What was read before a fault counts.
pub(crate) fn parse(xml: &[u8], tests: &mut Tests) -> Result<(), String> {
    let mut reader = Reader::from_reader(xml);
    // `<a></b>` is a fault, which the reader finds; text is taken as it is.
    reader.config_mut().check_end_names = true;
    let mut state = Parse {
        tests,
        path: Vec::new(),
        suites: Vec::new(),
        current: None,
        seen_root: false,
    };
    loop {
        let fault = |why: String, at: u64| Err(format!("{why} (byte {at})"));
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => return fault(error.to_string(), reader.error_position()),
        };
        let done = match event {
            Event::Start(tag) => state.start(&tag),
            Event::Empty(tag) => state.start(&tag).map(|()| state.end()),
            Event::End(_) => {
                state.end();
                Ok(())
            }
            Event::Text(text) => {
                state.text(&String::from_utf8_lossy(&text));
                Ok(())
            }
            Event::CData(text) => {
                state.text(&String::from_utf8_lossy(&text));
                Ok(())
            }
            Event::GeneralRef(reference) => {
                state.reference(&reference);
                Ok(())
            }
            Event::Eof if !state.path.is_empty() => Err("it ends in the middle".to_owned()),
            Event::Eof if !state.seen_root => Err("it has no element".to_owned()),
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => Ok(()),
        };
        if let Err(why) = done {
            return fault(why, reader.buffer_position());
        }
    }
}

/// What an element means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Suite,
    Case,
    /// Says how the case did, and why.
    Verdict,
    Other,
}

struct Parse<'a> {
    tests: &'a mut Tests,
    path: Vec<Element>,
    suites: Vec<String>,
    current: Option<Test>,
    seen_root: bool,
}

impl Parse<'_> {
    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        if self.path.len() >= MAX_JUNIT_DEPTH {
            return Err(format!(
                "it has over {MAX_JUNIT_DEPTH} elements within one another"
            ));
        }
        let name = tag.local_name();
        let element = match name.as_ref() {
            b"testsuites" => Element::Other,
            b"testsuite" => Element::Suite,
            b"testcase" => Element::Case,
            b"failure" | b"error" | b"skipped" if self.path.last() == Some(&Element::Case) => {
                Element::Verdict
            }
            _ => Element::Other,
        };
        if !self.seen_root && !matches!(name.as_ref(), b"testsuites" | b"testsuite" | b"testcase") {
            let root = String::from_utf8_lossy(name.as_ref());
            let root: String = root.chars().take(40).collect();
            return Err(format!(
                "its first element is <{root}>, which is not JUnit's"
            ));
        }
        self.seen_root = true;
        match element {
            // Cut here: each of its cases takes it over.
            Element::Suite => self.suites.push(bounded(
                attribute(tag, b"name").unwrap_or_default(),
                MAX_TEST_NAME_BYTES,
            )),
            Element::Case => self.case(tag)?,
            Element::Verdict => self.verdict(tag, name.as_ref()),
            Element::Other => {}
        }
        self.path.push(element);
        Ok(())
    }

    fn case(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        if self.current.is_some() {
            return Err("it has a test case within a test case".to_owned());
        }
        let class = attribute(tag, b"classname").filter(|class| !class.is_empty());
        let suite = class.unwrap_or_else(|| self.suites.last().cloned().unwrap_or_default());
        self.current = Some(Test {
            name: bounded(
                attribute(tag, b"name").unwrap_or_default(),
                MAX_TEST_NAME_BYTES,
            ),
            suite: bounded(suite, MAX_TEST_NAME_BYTES),
            outcome: TestOutcome::Passed,
            message: String::new(),
            duration_ms: duration_ms(attribute(tag, b"time").as_deref()),
        });
        Ok(())
    }

    fn verdict(&mut self, tag: &BytesStart<'_>, name: &[u8]) {
        let Some(test) = &mut self.current else {
            return;
        };
        let outcome = match name {
            b"failure" => TestOutcome::Failed,
            b"error" => TestOutcome::Errored,
            _ => TestOutcome::Skipped,
        };
        // pytest reports a test that failed and then could not be torn down with both; the worst counts.
        test.outcome = test.outcome.min(outcome);
        if let Some(message) = attribute(tag, b"message") {
            append(&mut test.message, &message);
            append(&mut test.message, "\n");
        }
    }

    fn text(&mut self, text: &str) {
        if self.path.last() == Some(&Element::Verdict)
            && let Some(test) = &mut self.current
        {
            append(&mut test.message, text);
        }
    }

    fn reference(&mut self, reference: &BytesRef<'_>) {
        let character = match reference.resolve_char_ref() {
            Ok(Some(character)) => character,
            _ => match &**reference {
                b"lt" => '<',
                b"gt" => '>',
                b"amp" => '&',
                b"apos" => '\'',
                b"quot" => '"',
                // Declared in the file, perhaps to grow: it stays unsaid.
                _ => '\u{fffd}',
            },
        };
        self.text(character.encode_utf8(&mut [0; 4]));
    }

    fn end(&mut self) {
        match self.path.pop() {
            Some(Element::Suite) => {
                self.suites.pop();
            }
            Some(Element::Case) => {
                if let Some(mut test) = self.current.take() {
                    test.message.truncate(test.message.trim_end().len());
                    self.tests.add(test);
                }
            }
            _ => {}
        }
    }
}

/// An attribute's value; one that refers to what is not there is taken as it stands.
fn attribute(tag: &BytesStart<'_>, name: &[u8]) -> Option<String> {
    // Without the check for duplicates, whose time grows with the square of their number.
    let mut attributes = tag.attributes();
    let found = attributes
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)?;
    Some(match found.normalized_value(XmlVersion::Implicit1_0) {
        Ok(value) => value.into_owned(),
        Err(_) => String::from_utf8_lossy(&found.value).into_owned(),
    })
}

/// Seconds as runners write them: `0.012`, `1,234.5` (Maven), nothing, nonsense.
fn duration_ms(text: Option<&str>) -> u64 {
    /// A test that claims to have taken longer than a year did not.
    const MAX_SECONDS: f64 = 366.0 * 86_400.0;
    let seconds: f64 = text
        .and_then(|text| text.trim().replace(',', "").parse().ok())
        .unwrap_or(0.0);
    if seconds.is_finite() {
        let ms = (seconds.clamp(0.0, MAX_SECONDS) * 1000.0).round();
        std::time::Duration::from_secs_f64(ms / 1000.0)
            .as_micros()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(0)
    } else {
        0
    }
}

fn bounded(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
        // What was cut is given back: a name of megabytes is not held once for each test.
        text.shrink_to_fit();
    }
    text
}

fn append(message: &mut String, text: &str) {
    let room = MAX_TEST_MESSAGE_BYTES.saturating_sub(message.len());
    message.push_str(&text[..text.floor_char_boundary(room.min(text.len()))]);
}
