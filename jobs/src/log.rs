//! The output of a job on disk: its beginning in `log`, its end in a ring in `log.tail`. Whatever the
//! job writes, and for however long, the disk holds [`crate::Spec::output_bytes`] of it and no more.
//!
//! Offsets are those of the whole output, so that a reader who follows it keeps its place when the
//! middle goes. `log.tail` begins with three little-endian numbers: the ring's capacity, how far the
//! writer may have overwritten (`reserved`), and how far it has written (`committed`). The writer moves
//! `reserved` before it touches the ring and `committed` after; a reader reads `committed`, then the
//! bytes, then `reserved`, and believes the bytes only if the writer cannot have been there. So the two
//! processes need no lock.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::folder::Folder;
use crate::limits::MAX_LOG_PART_BYTES;

/// Bytes before the ring in `log.tail`.
const HEADER_BYTES: u64 = 24;
/// How often a reader tries again because the writer was faster. After the first time it begins half a
/// ring later, so a second time is rare.
const READ_ATTEMPTS: usize = 8;

/// A part of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// The bytes. Where some were cut before them, a line that says so comes first.
    pub bytes: Vec<u8>,
    /// Where to read on.
    pub next: u64,
    /// Bytes between what was asked for and what there is: cut.
    pub skipped: u64,
    /// The attempt has ended and this was the last part.
    pub ended: bool,
}

/// What is missing from the middle of an output that is kept as one file; a line stands in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The first byte that is missing.
    pub at: u64,
    /// How many are.
    pub bytes: u64,
}

impl Cut {
    /// As it is written down; none: that is no such text.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (at, bytes) = text.trim().split_once(' ')?;
        Some(Self {
            at: at.parse().ok()?,
            bytes: bytes.parse().ok()?,
        })
    }

    /// Where in the file a byte of the whole output is; of one that is missing, where the line is that says so.
    #[must_use]
    pub fn place(&self, offset: u64) -> u64 {
        match offset {
            before if before <= self.at => before,
            missing if missing < self.at + self.bytes => self.at,
            behind => behind - self.bytes + self.line(),
        }
    }

    /// Which byte of the whole output is at this place of the file.
    #[must_use]
    pub fn offset(&self, place: u64) -> u64 {
        match place {
            before if before <= self.at => before,
            behind => (behind + self.bytes)
                .saturating_sub(self.line())
                .max(self.at + self.bytes),
        }
    }

    fn line(&self) -> u64 {
        cut_line(self.bytes).len() as u64
    }
}

/// The writing side, in the shim.
#[derive(Debug)]
pub(crate) struct LogWriter {
    head: File,
    head_bytes: u64,
    tail: Option<File>,
    tail_bytes: u64,
    folder: Folder,
    /// Bytes given so far.
    total: u64,
    /// Bytes that the disk refused, and the first reason.
    refused: u64,
    problem: Option<String>,
}

impl LogWriter {
    pub(crate) fn create(folder: &Folder, output_bytes: u64) -> io::Result<Self> {
        let head_bytes = output_bytes.div_ceil(2);
        Ok(Self {
            head: create(&folder.path("log"))?,
            head_bytes,
            tail: None,
            // A ring of nothing would divide by zero.
            tail_bytes: (output_bytes - head_bytes).max(1),
            folder: folder.clone(),
            total: 0,
            refused: 0,
            problem: None,
        })
    }

    /// Takes everything: what the disk refuses is counted as cut, and the job goes on.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        if self.total < self.head_bytes {
            let room = usize::try_from(self.head_bytes - self.total).unwrap_or(usize::MAX);
            let (head, rest) = bytes.split_at(room.min(bytes.len()));
            self.total += head.len() as u64;
            if let Err(error) = self.head.write_all(head) {
                self.refuse(head.len(), &error);
            }
            bytes = rest;
        }
        if !bytes.is_empty()
            && let Err(error) = self.write_tail(bytes)
        {
            self.refuse(bytes.len(), &error);
        }
    }

    fn write_tail(&mut self, bytes: &[u8]) -> io::Result<()> {
        let begin = self.total;
        self.total += bytes.len() as u64;
        if self.tail.is_none() {
            let tail = create(&self.folder.path("log.tail"))?;
            tail.write_all_at(&self.tail_bytes.to_le_bytes(), 0)?;
            tail.write_all_at(&begin.to_le_bytes(), 16)?;
            self.tail = Some(tail);
        }
        let Some(tail) = &self.tail else {
            return Ok(());
        };
        tail.write_all_at(&self.total.to_le_bytes(), 8)?;
        let mut at = begin - self.head_bytes;
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let place = at % self.tail_bytes;
            let room = usize::try_from(self.tail_bytes - place).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            tail.write_all_at(now, HEADER_BYTES + place)?;
            at += now.len() as u64;
            bytes = rest;
        }
        tail.write_all_at(&self.total.to_le_bytes(), 16)
    }

    fn refuse(&mut self, bytes: usize, error: &io::Error) {
        self.refused += bytes as u64;
        self.problem
            .get_or_insert_with(|| format!("the log could not be written: {error}"));
    }

    /// Bytes given so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that are not kept.
    pub(crate) fn cut(&self) -> u64 {
        let room = self.head_bytes + self.tail_bytes;
        self.total.saturating_sub(room).max(self.refused)
    }

    /// What the disk said, if it refused any.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Reads at most `max` bytes from offset `from` on. `ended` of the answer only says that there is no
/// more at the moment.
pub(crate) fn read(folder: &Folder, from: u64, max: usize) -> io::Result<LogPart> {
    let max = max.clamp(1, MAX_LOG_PART_BYTES);
    let nothing = LogPart {
        bytes: Vec::new(),
        next: from,
        skipped: 0,
        ended: true,
    };
    let head = match File::open(folder.path("log")) {
        Ok(head) => head,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing),
        Err(error) => return Err(error),
    };
    // Before the head's length: once there is a tail, the head is complete.
    let tail = match File::open(folder.path("log.tail")) {
        Ok(tail) => Some(tail),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let head_bytes = head.metadata()?.len();
    if from < head_bytes {
        let room = usize::try_from(head_bytes - from).unwrap_or(usize::MAX);
        let mut bytes = vec![0; max.min(room)];
        head.read_exact_at(&mut bytes, from)?;
        let next = from + bytes.len() as u64;
        return Ok(LogPart {
            bytes,
            next,
            skipped: 0,
            ended: next == head_bytes && tail.is_none(),
        });
    }
    match tail {
        Some(tail) => read_tail(&tail, head_bytes, from, max),
        None => Ok(nothing),
    }
}

fn read_tail(tail: &File, head_bytes: u64, from: u64, max: usize) -> io::Result<LogPart> {
    for attempt in 0..READ_ATTEMPTS {
        let capacity = number(tail, 0)?;
        let committed = number(tail, 16)?;
        if capacity == 0 || committed <= from {
            break;
        }
        let oldest = |end: u64| head_bytes.max(end.saturating_sub(capacity));
        let mut start = from.max(oldest(committed));
        if attempt > 0 {
            start = start.max(committed - (committed - oldest(committed)).min(capacity / 2));
        }
        let room = usize::try_from(committed - start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; max.min(room)];
        let mut at = start - head_bytes;
        let mut filled = 0;
        while filled < bytes.len() {
            let place = at % capacity;
            let until_wrap = usize::try_from(capacity - place).unwrap_or(usize::MAX);
            let end = bytes.len().min(filled + until_wrap);
            tail.read_exact_at(&mut bytes[filled..end], HEADER_BYTES + place)?;
            at += (end - filled) as u64;
            filled = end;
        }
        if oldest(number(tail, 8)?) > start {
            continue;
        }
        let next = start + bytes.len() as u64;
        let skipped = start - from;
        if skipped > 0 {
            bytes.splice(0..0, cut_line(skipped).into_bytes());
        }
        return Ok(LogPart {
            bytes,
            next,
            skipped,
            ended: next == committed,
        });
    }
    Ok(LogPart {
        bytes: Vec::new(),
        next: from,
        skipped: 0,
        ended: true,
    })
}

/// What stands in place of what was cut.
fn cut_line(bytes: u64) -> String {
    format!("\n[pointsman: {bytes} bytes of output were cut here]\n")
}

fn number(file: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(u64::from_le_bytes(bytes)),
        // The header is being written.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        Err(error) => Err(error),
    }
}

/// The kept output as one file, for who wants to read or store it whole; where some is missing, with another one that says
/// what ([`Cut`]).
pub(crate) fn whole(folder: &Folder) -> io::Result<(File, Option<File>)> {
    if !folder.path("log.tail").exists() {
        let file = match File::open(folder.path("log")) {
            // It never ran, so it said nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::open("/dev/null"),
            other => other,
        };
        return Ok((file?, None));
    }
    let mut cut = None;
    let path = folder.path("log.whole");
    let temporary = crate::folder::temporary_beside(&path);
    let mut file = create(&temporary)?;
    io::copy(&mut File::open(folder.path("log"))?, &mut file)?;
    let mut from = file.metadata()?.len();
    loop {
        let part = read(folder, from, MAX_LOG_PART_BYTES)?;
        file.write_all(&part.bytes)?;
        if part.skipped > 0 {
            let path = folder.path("log.cut");
            std::fs::write(&path, format!("{from} {}\n", part.skipped))?;
            cut = Some(File::open(path)?);
        }
        from = part.next;
        if part.ended {
            break;
        }
    }
    std::fs::rename(&temporary, &path)?;
    Ok((File::open(&path)?, cut))
}

/// Reads what a pipe holds at the moment, in bounded steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// It is empty for now, or the step was full.
    Open,
    /// Nobody can write to it any more.
    Closed,
}

/// Moves at most `steps` buffers from a non-blocking pipe into the log.
pub(crate) fn pump(
    pipe: &mut File,
    buffer: &mut [u8],
    steps: usize,
    log: &mut LogWriter,
) -> Pumped {
    for _ in 0..steps {
        match pipe.read(buffer) {
            Ok(0) => return Pumped::Closed,
            Ok(count) => log.write(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Pumped::Open,
        }
    }
    Pumped::Open
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever reads a kept file by the offsets of the whole output finds each byte that is there at its place, and
        /// reads on where the part before it ended.
        #[test]
        fn offsets_outlive_the_cut(at in 0_u64..50, bytes in 1_u64..2_000, tail in 0_u64..50) {
            let cut = Cut { at, bytes };
            prop_assert_eq!(Cut::read(&format!("{at} {bytes}\n")), Some(cut));
            let total = at + bytes + tail;
            let file = at + cut_line(bytes).len() as u64 + tail;
            prop_assert_eq!(cut.place(total), file);
            prop_assert_eq!(cut.offset(file), total);
            for offset in (0..at).chain(at + bytes..total) {
                prop_assert_eq!(cut.offset(cut.place(offset)), offset);
            }
            for missing in at..at + bytes {
                prop_assert_eq!(cut.place(missing), at);
            }
        }
    }
}
