//! From stored bytes to text: finds the compression by its first bytes (a name may lie, a mirror
//! may unpack on the way), unpacks while reading, and says what went wrong in the reader's words.

mod lz4;
mod metered;

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;
use crate::limits::{Limits, MAX_XZ_MEMORY_BYTES};
use metered::{Meter, Metered};

/// Bytes read from a file or socket at once.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// The longest of the signatures below.
const MAGIC_BYTES: usize = 6;

/// How an index is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip, any number of members.
    Gzip,
    /// xz, any number of streams.
    Xz,
    /// lz4 frames, any number.
    Lz4,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
        })
    }
}

impl Compression {
    fn of_magic(head: &[u8]) -> Result<Self, ErrorKind> {
        let unsupported = |name| Err(ErrorKind::UnsupportedCompression(name));
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            [0x04, 0x22, 0x4d, 0x18, ..] => Ok(Self::Lz4),
            // A skippable frame may come before the first real one.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Lz4),
            [0x02, 0x21, 0x4c, 0x18, ..] => unsupported("legacy lz4 (`lz4 -l`)"),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => unsupported("zstd"),
            [0x5d, 0, 0, ..] => unsupported("lzma"),
            [b'P', b'K', 3, 4, ..] => unsupported("zip"),
            [0x1f, 0x9d, ..] => unsupported("compress (.Z)"),
            _ => Ok(Self::Plain),
        }
    }
}

/// The text of an index, as it comes out of its decoder.
pub(crate) struct Unpacked {
    reader: Box<dyn BufRead>,
    meter: Rc<Meter>,
    compression: Compression,
}

impl Unpacked {
    pub(crate) fn new(raw: Box<dyn Read>, limits: &Limits) -> Result<Self, ErrorKind> {
        let meter = Rc::new(Meter::default());
        let mut raw = BufReader::with_capacity(
            READ_BUFFER_BYTES,
            Metered::new(raw, Rc::clone(&meter), limits.compressed_bytes),
        );
        let mut head = Vec::with_capacity(MAGIC_BYTES);
        if let Err(error) = Read::by_ref(&mut raw)
            .take(MAGIC_BYTES as u64)
            .read_to_end(&mut head)
        {
            return Err(meter.take_fault().unwrap_or(ErrorKind::Io(error)));
        }
        let compression = Compression::of_magic(&head)?;
        let whole = Cursor::new(head).chain(raw);
        let reader: Box<dyn BufRead> = match compression {
            Compression::Plain => Box::new(whole),
            Compression::Gzip => Box::new(BufReader::with_capacity(
                READ_BUFFER_BYTES,
                MultiGzDecoder::new(whole),
            )),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY_BYTES, CONCATENATED)
                    .map_err(|error| ErrorKind::Io(error.into()))?;
                Box::new(BufReader::with_capacity(
                    READ_BUFFER_BYTES,
                    XzDecoder::new_stream(whole, stream),
                ))
            }
            Compression::Lz4 => Box::new(BufReader::with_capacity(
                READ_BUFFER_BYTES,
                lz4::Frames::new(whole),
            )),
        };
        Ok(Self {
            reader,
            meter,
            compression,
        })
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes read from below, as stored or sent.
    pub(crate) fn bytes(&self) -> u64 {
        self.meter.bytes()
    }

    /// Appends a line with its newline, of at most `max` bytes; fewer bytes without a newline mean
    /// that the text is over. `line` is the number of that line and `byte` where it begins.
    pub(crate) fn read_line(
        &mut self,
        into: &mut Vec<u8>,
        max: u64,
        line: u64,
        byte: u64,
    ) -> Result<usize, ErrorKind> {
        (&mut self.reader)
            .take(max)
            .read_until(b'\n', into)
            .map_err(|error| self.explain(error, line, byte))
    }

    /// Which of the layers failed: what is below the decoder has told the meter, what the decoder
    /// missed is a truncation, and anything else that it says is damage.
    fn explain(&self, error: io::Error, line: u64, byte: u64) -> ErrorKind {
        let format = self.compression;
        if let Some(fault) = self.meter.take_fault() {
            return match fault {
                ErrorKind::Truncated { what, .. } => ErrorKind::Truncated { line, byte, what },
                ErrorKind::TooLarge { what, max, .. } => ErrorKind::TooLarge { what, max, line },
                other => other,
            };
        }
        let inner = error.get_ref();
        if inner.and_then(|e| e.downcast_ref()) == Some(&liblzma::stream::Error::MemLimit) {
            return ErrorKind::TooLarge {
                what: "bytes of memory that its xz header asks for",
                max: MAX_XZ_MEMORY_BYTES,
                line,
            };
        }
        if let Some(refusal) = inner.and_then(|e| e.downcast_ref::<lz4::Refusal>()) {
            return refusal.explain(line);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ErrorKind::Truncated {
                line,
                byte,
                what: format!("the {format} data ends in the middle"),
            },
            _ if format == Compression::Plain => ErrorKind::Io(error),
            _ => ErrorKind::Corrupt {
                format,
                line,
                why: error.to_string(),
            },
        }
    }
}
