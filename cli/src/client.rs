//! A blocking client of the HTTP API. It turns every answer that is no success into an [`Error`] and
//! repeats nothing but reads: whether a write that broke off was carried out is for a person to find out.

pub(crate) mod address;
pub(crate) mod endpoint;
pub(crate) mod stream;

use std::io::Read;
use std::thread;
use std::time::Duration;

use pointsman_api::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response, header};
use ureq::{Agent, AsSendBody, Body};
use url::Url;

use crate::client::address::Address;
use crate::client::endpoint::Endpoint;
use crate::error::Error;

/// How long to wait for a connection: a server on this planet answers within one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read of the record may take; the server gives up on its own queries much earlier.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a write may take: 20,000 versions in one batch, on a slow disk.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long an import or the compilation of a plugin may take.
const LONG_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// Waits before a read is tried again, which also says how often it is.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1000)];
/// Bytes of one JSON answer: a page of 1,000 rows is well below 10 MiB, a decision's input can have 60.
const MAX_ANSWER_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of an error's text that are read at all.
const MAX_PROBLEM_BYTES: u64 = 64 * 1024;
/// Characters that are shown of an answer that is no problem document.
const SHOWN_CHARACTERS: usize = 200;

/// Bytes of a log that the server sends at once, with room.
const MAX_PART_BYTES: u64 = 16 << 20;

/// Speaks to one server.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    endpoint: Endpoint,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    Write,
    Long,
}

impl Patience {
    fn limit(self) -> Duration {
        match self {
            Patience::Write => WRITE_TIMEOUT,
            Patience::Long => LONG_TIMEOUT,
        }
    }
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Client {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take the token elsewhere, or lose a write: better to be told.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")));
        if endpoint::is_loopback(&endpoint.url) {
            config = config.proxy(None);
        }
        Client {
            agent: config.build().new_agent(),
            endpoint,
        }
    }

    /// The server's own address.
    pub(crate) fn url(&self) -> &Url {
        &self.endpoint.url
    }

    /// An address under `/v1`.
    pub(crate) fn at(&self, segments: &[&str]) -> Address {
        Address::new(&self.endpoint.url, segments)
    }

    /// An address that people can open: a path is one below this server's.
    pub(crate) fn absolute(&self, link: &str) -> String {
        match link.starts_with('/') {
            true => format!("{}{link}", self.endpoint.url.as_str().trim_end_matches('/')),
            false => link.to_owned(),
        }
    }

    /// Reads one document.
    pub(crate) fn get<T: DeserializeOwned>(&self, address: &Address) -> Result<T, Error> {
        document(self.read(address, &[])?)
    }

    /// Reads something that is no document; the caller looks at its headers and takes its body.
    pub(crate) fn read(
        &self,
        address: &Address,
        headers: &[(&str, &str)],
    ) -> Result<Response<Body>, Error> {
        let mut waits = RETRY_WAITS.iter();
        loop {
            let request = self.request(&Method::GET, address, headers);
            let answer = request.and_then(|request| {
                let request = request.body(()).map_err(|error| self.unsendable(&error))?;
                let request = self
                    .agent
                    .configure_request(request)
                    .timeout_recv_response(Some(READ_TIMEOUT))
                    .timeout_per_read(Some(READ_TIMEOUT))
                    .build();
                self.run(request)
            });
            match (answer, waits.next()) {
                (Err(error), Some(wait)) if is_passing(&error) => thread::sleep(*wait),
                (answer, _) => return answer,
            }
        }
    }

    /// Reads bytes: a part of a log or of a file.
    pub(crate) fn bytes(&self, address: &Address) -> Result<(Vec<u8>, Option<u64>), Error> {
        let mut response = self.read(address, &[])?;
        let next = response.headers().get("pointsman-next");
        let next = next.and_then(|next| next.to_str().ok()?.parse().ok());
        let body = response.body_mut().with_config().limit(MAX_PART_BYTES);
        let bytes = body
            .read_to_vec()
            .map_err(|error| Error::failed(format!("the answer broke off: {error}")))?;
        Ok((bytes, next))
    }

    /// Writes: sends `body` as JSON and reads the answer.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        address: &Address,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.send_if(method, address, body, None)
    }

    /// As [`Client::send`], and only if the object is still of that generation.
    pub(crate) fn send_if<T: DeserializeOwned>(
        &self,
        method: &Method,
        address: &Address,
        body: &impl Serialize,
        generation: Option<i64>,
    ) -> Result<T, Error> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Error::failed(format!("cannot write the request as JSON: {error}")))?;
        let tag = generation.map(|generation| format!("\"{generation}\""));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(tag.as_deref().map(|tag| ("if-match", tag)));
        self.upload(method, address, &headers, bytes, Patience::Write)
    }

    /// Deletes; the comment is part of the address.
    pub(crate) fn delete<T: DeserializeOwned>(&self, address: &Address) -> Result<T, Error> {
        self.upload(&Method::DELETE, address, &[], (), Patience::Write)
    }

    /// Sends a body of any kind and reads the answer as a document.
    pub(crate) fn upload<T: DeserializeOwned>(
        &self,
        method: &Method,
        address: &Address,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
        patience: Patience,
    ) -> Result<T, Error> {
        let request = self
            .request(method, address, headers)?
            .body(body)
            .map_err(|error| self.unsendable(&error))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_per_write(Some(READ_TIMEOUT))
            .timeout_recv_response(Some(patience.limit()))
            .timeout_recv_body(Some(patience.limit()))
            .build();
        document(self.run(request)?)
    }

    /// A request with the token; the caller adds the body.
    fn request(
        &self,
        method: &Method,
        address: &Address,
        headers: &[(&str, &str)],
    ) -> Result<ureq::http::request::Builder, Error> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(address.as_str());
        if let Some(token) = &self.endpoint.token {
            let mut value = header::HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Error::failed("the token does not fit into a header"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request)
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, Error> {
        let response = self
            .agent
            .run(request)
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(&self.endpoint.url, response))
    }

    fn unsendable(&self, error: &ureq::http::Error) -> Error {
        Error::failed(format!(
            "cannot make a request to {}: {error}",
            self.endpoint.url
        ))
    }

    /// Nothing answered, or the answer broke off.
    fn unreachable(&self, error: &ureq::Error) -> Error {
        let refused = matches!(error, ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused);
        let hint = if refused || matches!(error, ureq::Error::ConnectionFailed) {
            "start a server with `pointsman up`, or say where one is with --url or POINTSMAN_URL"
        } else if matches!(error, ureq::Error::HostNotFound) {
            "check the name in --url or POINTSMAN_URL"
        } else if matches!(error, ureq::Error::Timeout(_)) {
            "the server is busy or gone; after a write, `pointsman generation list` shows if it was done"
        } else {
            "check --url and POINTSMAN_URL; after a write, `pointsman generation list` shows if it was done"
        };
        let cause = match error {
            ureq::Error::Io(io) => io.to_string(),
            ureq::Error::HostNotFound => "there is no host of this name".to_owned(),
            ureq::Error::Timeout(what) => format!("timed out ({what})"),
            other => other.to_string(),
        };
        Error::Unreachable {
            address: self.endpoint.url.as_str().trim_end_matches('/').to_owned(),
            cause,
            hint: hint.to_owned(),
        }
    }
}

/// Whether the next try of a read may well succeed. A refused connection is no such case: nobody is
/// there, and a person waits.
fn is_passing(error: &Error) -> bool {
    match error {
        // Not 504: what took too long once takes too long again.
        Error::Problem(problem) => matches!(problem.status, 502 | 503),
        Error::Reply { status, .. } => matches!(status, 502 | 503),
        Error::Unreachable { cause, .. } => {
            cause.contains("reset") || cause.contains("closed") || cause.contains("aborted")
        }
        _ => false,
    }
}

/// Reads the whole answer as JSON.
fn document<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Error> {
    let mut text = Vec::new();
    response
        .into_body()
        .into_with_config()
        .limit(MAX_ANSWER_BYTES)
        .reader()
        .read_to_end(&mut text)
        .map_err(|error| Error::failed(format!("the server's answer broke off: {error}")))?;
    Ok(serde_json::from_slice(&text)?)
}

/// What an answer without success says.
fn refusal(server: &Url, response: Response<Body>) -> Error {
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    // An error whose text breaks off is still the error that its status says.
    let _ = response
        .into_body()
        .into_reader()
        .take(MAX_PROBLEM_BYTES)
        .read_to_end(&mut bytes);
    if let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) {
        return Error::Problem(Box::new(problem));
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no text");
    Error::Reply {
        address: server.as_str().trim_end_matches('/').to_owned(),
        status,
        text: line
            .chars()
            .filter(|c| !c.is_control())
            .take(SHOWN_CHARACTERS)
            .collect(),
    }
}
