//! lz4 frames, any number of them, with an end that is checked.
//!
//! The decoder of `lz4_flex` takes the end of its input between two blocks for the end of the
//! frame, so a file cut there would read as a shorter index. A frame says where it ends (a block
//! of size zero, then a checksum if its header promises one): [`Frame`] sits below the decoder,
//! follows that structure, and is what decides whether the frame was whole.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};

use lz4_flex::frame::FrameDecoder;

use crate::error;
use crate::limits::MAX_LZ4_FRAMES;

const MAGIC: u32 = 0x184d_2204;
const LEGACY_MAGIC: u32 = 0x184c_2102;
/// The low four bits are free.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// Magic, flags, block descriptor, header checksum.
const SHORTEST_HEADER_BYTES: usize = 7;
/// With content size and dictionary id.
const LONGEST_HEADER_BYTES: usize = 19;

/// What this reader will not do, as opposed to what is damaged.
#[derive(Debug)]
pub(super) enum Refusal {
    Legacy,
    TooManyFrames,
}

impl Refusal {
    pub(super) fn explain(&self, line: u64) -> error::ErrorKind {
        match self {
            Self::Legacy => error::ErrorKind::UnsupportedCompression("legacy lz4 (`lz4 -l`)"),
            Self::TooManyFrames => error::ErrorKind::TooLarge {
                what: "lz4 frames",
                max: u64::from(MAX_LZ4_FRAMES),
                line,
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refusal {}

/// All frames of a file, one after the other.
pub(super) struct Frames<R: BufRead> {
    state: State<R>,
    frames: u32,
}

enum State<R: BufRead> {
    Between(R),
    Inside(Box<FrameDecoder<Frame<R>>>),
    /// After the end, or after an error.
    Over,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            state: State::Between(input),
            frames: 0,
        }
    }

    /// Starts the next frame; `None` at the end of the file.
    fn next_frame(&mut self, mut input: R) -> io::Result<Option<Frame<R>>> {
        loop {
            if input.fill_buf()?.is_empty() {
                return Ok(None);
            }
            self.frames += 1;
            if self.frames > MAX_LZ4_FRAMES {
                return Err(io::Error::other(Refusal::TooManyFrames));
            }
            let mut magic = [0; 4];
            input.read_exact(&mut magic)?;
            match u32::from_le_bytes(magic) {
                MAGIC => return Ok(Some(Frame::new(input))),
                LEGACY_MAGIC => return Err(io::Error::other(Refusal::Legacy)),
                skippable if skippable & !0xf == SKIPPABLE_MAGIC => {
                    let mut size = [0; 4];
                    input.read_exact(&mut size)?;
                    let size = u64::from(u32::from_le_bytes(size));
                    if io::copy(&mut Read::by_ref(&mut input).take(size), &mut io::sink())? < size {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                _ => {
                    let why = "what follows a frame is no frame";
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(0),
                State::Between(input) => match self.next_frame(input)? {
                    None => return Ok(0),
                    Some(frame) => self.state = State::Inside(Box::new(FrameDecoder::new(frame))),
                },
                State::Inside(mut decoder) => {
                    let read = decoder.read(buf)?;
                    if read > 0 {
                        self.state = State::Inside(decoder);
                        return Ok(read);
                    }
                    if decoder.get_ref().is_over() {
                        self.state = State::Between(decoder.into_inner().input);
                    } else if decoder.get_mut().input.fill_buf()?.is_empty() {
                        return Err(ErrorKind::UnexpectedEof.into());
                    } else {
                        // An empty block: more may follow.
                        self.state = State::Inside(decoder);
                    }
                }
            }
        }
    }
}

/// One frame: hands its bytes to the decoder, follows its structure, and ends where it ends.
struct Frame<R> {
    input: R,
    piece: Piece,
    /// Bytes still to come of that piece.
    left: usize,
    /// The header, or the size of a block, as far as it was read.
    head: [u8; LONGEST_HEADER_BYTES],
    head_len: usize,
    block_checksum: bool,
    content_checksum: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Header,
    BlockSize,
    Block,
    ContentChecksum,
    Over,
}

impl<R: BufRead> Frame<R> {
    /// The magic number was read already; the decoder gets it from here.
    fn new(input: R) -> Self {
        Self {
            input,
            piece: Piece::Header,
            left: SHORTEST_HEADER_BYTES,
            head: [0; LONGEST_HEADER_BYTES],
            head_len: 0,
            block_checksum: false,
            content_checksum: false,
        }
    }

    fn is_over(&self) -> bool {
        self.piece == Piece::Over
    }

    fn follow(&mut self, bytes: &[u8]) {
        if matches!(self.piece, Piece::Header | Piece::BlockSize) {
            self.head[self.head_len..self.head_len + bytes.len()].copy_from_slice(bytes);
            self.head_len += bytes.len();
        }
        self.left -= bytes.len();
        if self.left > 0 {
            return;
        }
        match self.piece {
            Piece::Header => {
                let flags = self.head[4];
                self.block_checksum = flags & 0x10 != 0;
                self.content_checksum = flags & 0x04 != 0;
                let content_size = if flags & 0x08 != 0 { 8 } else { 0 };
                let dictionary = if flags & 0x01 != 0 { 4 } else { 0 };
                let whole = SHORTEST_HEADER_BYTES + content_size + dictionary;
                if self.head_len < whole {
                    self.left = whole - self.head_len;
                } else {
                    self.begin(Piece::BlockSize, 4);
                }
            }
            Piece::BlockSize => {
                let [a, b, c, d, ..] = self.head;
                let size = u32::from_le_bytes([a, b, c, d]);
                let checksum = if self.block_checksum { 4 } else { 0 };
                match (size & 0x7fff_ffff) as usize + checksum {
                    // The end mark: all 32 bits are zero and no checksum follows it.
                    _ if size == 0 && self.content_checksum => {
                        self.begin(Piece::ContentChecksum, 4);
                    }
                    _ if size == 0 => self.begin(Piece::Over, 0),
                    0 => self.begin(Piece::BlockSize, 4),
                    bytes => self.begin(Piece::Block, bytes),
                }
            }
            Piece::Block => self.begin(Piece::BlockSize, 4),
            Piece::ContentChecksum | Piece::Over => self.begin(Piece::Over, 0),
        }
    }

    fn begin(&mut self, piece: Piece, bytes: usize) {
        (self.piece, self.left, self.head_len) = (piece, bytes, 0);
    }
}

impl<R: BufRead> Read for Frame<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(self.left);
        let read = if self.piece == Piece::Header && self.head_len < 4 {
            let magic = MAGIC.to_le_bytes();
            let want = want.min(4 - self.head_len);
            buf[..want].copy_from_slice(&magic[self.head_len..self.head_len + want]);
            want
        } else {
            self.input.read(&mut buf[..want])?
        };
        self.follow(&buf[..read]);
        Ok(read)
    }
}
