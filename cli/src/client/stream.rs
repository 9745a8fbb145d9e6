//! The live stream of events (Server-Sent Events), which survives restarts of the server: it goes on
//! after the last event that was handled, so nothing is missed and nothing comes twice.

use std::io::{BufRead, BufReader, Read};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, header};

use crate::client::Client;
use crate::client::address::Address;
use crate::error::Error;

/// The server sends a heartbeat every few seconds; without any byte for so long it is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(90);
/// The first wait before connecting again; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait: a server that comes back is noticed within half a minute.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Bytes of one line: an event carries at most 16 packages of a kernel version twice.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;

/// One message of a stream.
#[derive(Debug, Default, PartialEq)]
struct Message {
    id: Option<String>,
    data: String,
}

impl Client {
    /// Hands over each event, for ever: until `handle` or the server says no. `lost` is told when the
    /// connection broke and is tried again.
    pub(crate) fn follow(
        &self,
        address: &Address,
        handle: &mut dyn FnMut(Value) -> Result<(), Error>,
        lost: &mut dyn FnMut(&Error),
    ) -> Result<(), Error> {
        let mut last = None;
        let mut wait = FIRST_WAIT;
        let mut met = false;
        loop {
            let error = match self.connect(address, last.as_deref()) {
                Ok(body) => {
                    met = true;
                    wait = FIRST_WAIT;
                    match each_message(body, &mut |message| {
                        handle(serde_json::from_str(&message.data)?)?;
                        last = message.id.or(last.take());
                        Ok(())
                    }) {
                        Ok(()) => self.broken("the server closed the stream"),
                        Err(Broken::Connection(cause)) => self.broken(&cause),
                        Err(Broken::Handler(error)) => return Err(error),
                    }
                }
                // A server that was never there is an error at once; one that went away comes back.
                Err(error) if met && is_away(&error) => error,
                Err(error) => return Err(error),
            };
            lost(&error);
            thread::sleep(wait);
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    fn connect(&self, address: &Address, last: Option<&str>) -> Result<impl Read + use<>, Error> {
        let mut headers = vec![
            ("accept", "text/event-stream"),
            ("cache-control", "no-store"),
        ];
        headers.extend(last.map(|id| ("last-event-id", id)));
        let request = self
            .request(&Method::GET, address, &headers)?
            // A compressed stream would be held back until a block is full.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(())
            .map_err(|error| self.unsendable(&error))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .build();
        Ok(self.run(request)?.into_body().into_reader())
    }

    fn broken(&self, cause: &str) -> Error {
        Error::Unreachable {
            address: self.url().as_str().trim_end_matches('/').to_owned(),
            cause: cause.to_owned(),
            hint: String::new(),
        }
    }
}

fn is_away(error: &Error) -> bool {
    error.exit() == crate::exit::Exit::Unreachable
}

/// Why reading a stream ended.
enum Broken {
    Connection(String),
    Handler(Error),
}

/// Reads messages until the stream ends.
fn each_message(
    body: impl Read,
    handle: &mut dyn FnMut(Message) -> Result<(), Error>,
) -> Result<(), Broken> {
    let mut lines = BufReader::new(body);
    let mut message = Message::default();
    loop {
        let mut line = Vec::new();
        let read = (&mut lines)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| Broken::Connection(error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            return Err(Broken::Connection(
                "the stream broke off within a line".to_owned(),
            ));
        }
        let line = String::from_utf8(line)
            .map_err(|_| Broken::Connection("the stream is not UTF-8".to_owned()))?;
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            if !message.data.is_empty() {
                handle(std::mem::take(&mut message)).map_err(Broken::Handler)?;
            }
            message = Message::default();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => message.id = Some(value.to_owned()),
            "data" => {
                if !message.data.is_empty() {
                    message.data.push('\n');
                }
                message.data += value;
            }
            // Comments (an empty field name) are heartbeats; the kind of event is always the same.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> (Vec<(Option<String>, String)>, bool) {
        let mut seen = Vec::new();
        let whole = each_message(text.as_bytes(), &mut |message| {
            seen.push((message.id, message.data));
            Ok(())
        })
        .is_ok();
        (seen, whole)
    }

    #[test]
    fn messages_end_with_an_empty_line() {
        let (seen, whole) = messages(
            ": heartbeat\n\nid: 1.5\nevent: event\ndata: {\"a\":1}\n\nid: 2\r\ndata:x\r\ndata: y\r\n\r\n: beat\n\n",
        );
        assert!(whole);
        insta::assert_compact_debug_snapshot!(seen, @r#"[(Some("1.5"), "{\"a\":1}"), (Some("2"), "x\ny")]"#);
    }

    #[test]
    fn half_a_message_is_none() {
        assert_eq!(messages("id: 1\ndata: x\n"), (vec![], true));
        assert_eq!(messages("id: 1\ndata: x"), (vec![], false));
    }
}
