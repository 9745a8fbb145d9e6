//! What a request is called in the log and in its reply, where the client gave it no name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, RequestId};

/// Numbers behind a name of this process's own. A random name each time costs a call of the system.
#[derive(Clone)]
pub(super) struct Numbered {
    process: u64,
    next: Arc<AtomicU64>,
}

impl Numbered {
    pub(super) fn new() -> Self {
        let mut process = [0; 8];
        // Without chance the names of two processes may be the same, which misleads nobody but a reader.
        let _ = getrandom::fill(&mut process);
        Self {
            process: u64::from_le_bytes(process),
            next: Arc::new(AtomicU64::new(1)),
        }
    }
}

impl MakeRequestId for Numbered {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:016x}-{number}", self.process);
        HeaderValue::from_str(&name).ok().map(RequestId::new)
    }
}
