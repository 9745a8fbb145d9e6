//! Equal for two changes that are the same but for where they stand.
//!
//! `git patch-id` is not used: it leaves out white space, so that a Python block moved out of its
//! `if` has the same id, and in old versions it leaves out what changes in binary files. An approval
//! must not carry over either. This one covers the paths, modes and every line of the change with its
//! context; of binary files, which have no lines, the ids of both contents. It leaves out where in
//! the file a change stands, which is what a clean rebase alters.

use sha2::{Digest as _, Sha256};

/// Says what is hashed, and in which way: another way needs another line.
const DOMAIN: &[u8] = b"pointsman patch id 1\0";

/// Bytes of a line that tell what it is. An `index` line is the longest that is read whole.
const LINE_START_BYTES: usize = 256;

/// Reads the text of a patch as it comes.
pub(super) struct PatchHash {
    hash: Sha256,
    /// The beginning of the line that is being read.
    start: Vec<u8>,
    line: Line,
    part: Part,
    /// The ids of both contents of the present file.
    index: Vec<u8>,
}

/// What happens to the rest of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Not enough of it is there to tell.
    Unknown,
    Hashed,
    Dropped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before the first hunk of a file. Its paths and modes were given by `raw` already, where no
    /// path can be taken for anything else.
    Header,
    /// In hunks, where each line begins with a space, `+`, `-`, `\` or `@`.
    Hunks,
}

impl PatchHash {
    pub(super) fn new() -> Self {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        Self {
            hash,
            start: Vec::new(),
            line: Line::Unknown,
            part: Part::Header,
            index: Vec::new(),
        }
    }

    /// Part of a path, a mode or a status, NUL at its end.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// More of the patch.
    pub(super) fn patch(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = piece.ends_with(b"\n");
            match self.line {
                Line::Hashed => self.hash.update(piece),
                Line::Dropped => {}
                Line::Unknown => {
                    self.start.extend_from_slice(piece);
                    if whole || self.start.len() >= LINE_START_BYTES {
                        let start = std::mem::take(&mut self.start);
                        self.line = self.begin(&start);
                        if self.line == Line::Hashed {
                            self.hash.update(&start);
                        }
                    }
                }
            }
            if whole {
                self.line = Line::Unknown;
            }
        }
    }

    pub(super) fn finish(mut self) -> String {
        // A patch ends with a line break; what does not is hashed as it is.
        self.hash.update(&self.start);
        hex::encode(self.hash.finalize())
    }

    fn begin(&mut self, start: &[u8]) -> Line {
        if start.starts_with(b"@@ ") {
            self.part = Part::Hunks;
            self.hash.update(b"@@\n");
            return Line::Dropped;
        }
        if start.starts_with(b"diff ") {
            self.part = Part::Header;
            self.index.clear();
            self.hash.update(b"diff\n");
            return Line::Dropped;
        }
        if self.part == Part::Hunks {
            return Line::Hashed;
        }
        if start.starts_with(b"index ") {
            self.index = start.to_vec();
        } else if start.starts_with(b"Binary files ") {
            self.hash.update(&self.index);
        }
        Line::Dropped
    }
}
