//! The bottom layer: counts and bounds what is read, and remembers its own failure, which decoders
//! above would otherwise dress up as damaged data.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::rc::Rc;

use crate::error::ErrorKind;
use crate::source::network_fault;

#[derive(Default)]
pub(super) struct Meter {
    bytes: Cell<u64>,
    fault: RefCell<Option<ErrorKind>>,
}

impl Meter {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn take_fault(&self) -> Option<ErrorKind> {
        self.fault.borrow_mut().take()
    }
}

pub(super) struct Metered {
    inner: Box<dyn Read>,
    meter: Rc<Meter>,
    max: u64,
}

impl Metered {
    pub(super) fn new(inner: Box<dyn Read>, meter: Rc<Meter>, max: u64) -> Self {
        Self { inner, meter, max }
    }

    fn fail(&self, fault: ErrorKind) -> io::Error {
        *self.meter.fault.borrow_mut() = Some(fault);
        // Not `UnexpectedEof` and not `Interrupted`: decoders give those a meaning of their own.
        io::Error::other("the source failed")
    }
}

impl Read for Metered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match self.inner.read(buf) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.fail(ErrorKind::Truncated {
                    line: 0,
                    byte: 0,
                    what: "the connection closed before the end".to_owned(),
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Err(self.fail(ErrorKind::IsDirectory));
            }
            Err(error) => return Err(self.fail(network_fault(error))),
        };
        let bytes = self.meter.bytes.get() + read as u64;
        self.meter.bytes.set(bytes);
        if bytes > self.max {
            return Err(self.fail(ErrorKind::TooLarge {
                what: "bytes as stored or sent",
                max: self.max,
                line: 0,
            }));
        }
        Ok(read)
    }
}
