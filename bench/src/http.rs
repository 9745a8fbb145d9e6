//! A client that costs next to nothing, since it shares the cores with what it measures: HTTP/1.1 over
//! one kept connection, one request at a time, and of a reply only the status and the length are read.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Room for a reply at first; it grows with what comes.
const BUFFER: usize = 256 * 1024;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    host: String,
    token: String,
    buffer: Vec<u8>,
}

/// A reply.
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// From the first byte sent to the last byte read.
    pub(crate) took: Duration,
}

impl Client {
    /// Connects to a host at `http://address:port`.
    pub(crate) async fn connect(url: &str, token: &str) -> anyhow::Result<Self> {
        let host = url
            .strip_prefix("http://")
            .context("an http address")?
            .to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host,
            token: token.to_owned(),
            buffer: vec![0; BUFFER],
        })
    }

    /// The bytes of a request, to be made once where it is sent often.
    pub(crate) fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n",
            self.host, self.token
        );
        if !body.is_empty() {
            request.push_str(&format!(
                "content-type: {kind}\r\ncontent-length: {}\r\n",
                body.len()
            ));
        }
        request.push_str("\r\n");
        [request.as_bytes(), body].concat()
    }

    /// Sends a request and reads the reply.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<Reply<'_>> {
        let began = Instant::now();
        self.stream.write_all(request).await?;
        let mut read = 0;
        let (status, head, length) = loop {
            read += self.read_more(read).await?;
            if let Some(end) = find(&self.buffer[..read], b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                let status = head.get(9..12).context("a status line")?.parse()?;
                let length = head
                    .lines()
                    .find_map(|line| {
                        let (name, value) = line.split_once(':')?;
                        name.eq_ignore_ascii_case("content-length")
                            .then(|| value.trim().parse::<usize>())
                    })
                    .with_context(|| format!("a reply without a length: {head}"))??;
                break (status, end + 4, length);
            }
        };
        while read < head + length {
            read += self.read_more(read).await?;
        }
        ensure!(read == head + length, "a reply that nobody asked for");
        let took = began.elapsed();
        Ok(Reply {
            status,
            body: &self.buffer[head..head + length],
            took,
        })
    }

    async fn read_more(&mut self, at: usize) -> anyhow::Result<usize> {
        if self.buffer.len() < at + BUFFER / 2 {
            self.buffer.resize(at + BUFFER, 0);
        }
        match self.stream.read(&mut self.buffer[at..]).await? {
            0 => bail!("the host closed the connection"),
            read => Ok(read),
        }
    }

    /// Reads JSON; anything but success is an error.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<serde_json::Value> {
        let request = self.request("GET", path, "", b"");
        self.json(&request, path).await
    }

    /// Sends JSON; anything but success is an error.
    pub(crate) async fn post(
        &mut self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let request = self.request(
            method,
            path,
            "application/json",
            body.to_string().as_bytes(),
        );
        self.json(&request, path).await
    }

    /// Sends a request whose reply is JSON.
    pub(crate) async fn json(
        &mut self,
        request: &[u8],
        path: &str,
    ) -> anyhow::Result<serde_json::Value> {
        let reply = self.send(request).await?;
        ensure!(
            reply.status == 200,
            "{path}: {} {}",
            reply.status,
            String::from_utf8_lossy(reply.body)
        );
        Ok(serde_json::from_slice(reply.body)?)
    }
}

/// A text as it stands in a query.
pub(crate) fn query(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
