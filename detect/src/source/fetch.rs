//! Downloads, with a bound on everything that a server decides.

use std::io::{self, Read};

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use url::Url;

use crate::error::ErrorKind;
use crate::limits::{CONNECT_TIMEOUT, Limits, MAX_REDIRECTS};

/// The address as people may see it: user name, password and query can be secrets.
pub(super) fn display(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail only for addresses without a host, which have nothing to hide.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

/// Where the archive of an index begins: before `dists/`, or beside the index if it is a flat one.
pub(super) fn archive(url: &Url) -> Option<String> {
    let shown = display(url);
    let end = match shown.rfind("/dists/") {
        Some(at) => at + 1,
        None => shown.rfind('/')? + 1,
    };
    Some(shown[..end].to_owned())
}

/// Starts the download; the second value is the number of bytes to come, if the server says.
pub(super) fn open(url: &Url, limits: &Limits) -> Result<(Box<dyn Read>, Option<u64>), ErrorKind> {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(limits.fetch_timeout))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(limits.stall_timeout))
        .max_redirects(MAX_REDIRECTS)
        // An index is compressed already, and its own size is what progress counts in.
        .accept_encoding("identity")
        .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(trusted(url)).build())
        .build()
        .into();
    let response = agent.get(url.as_str()).call().map_err(fault)?;
    let total = response.body().content_length();
    if total.is_some_and(|total| total > limits.compressed_bytes) {
        return Err(ErrorKind::TooLarge {
            what: "bytes as stored or sent",
            max: limits.compressed_bytes,
            line: 0,
        });
    }
    Ok((Box::new(response.into_body().into_reader()), total))
}

/// Whom to trust: whom this machine trusts, since a mirror inside a company is often signed by its
/// own authority; where the machine has no store (a bare container), Mozilla's list.
fn trusted(url: &Url) -> RootCerts {
    if url.scheme() != "https" {
        return RootCerts::WebPki;
    }
    // What cannot be loaded of the store is trusted less, never more.
    let certs = rustls_native_certs::load_native_certs().certs;
    if certs.is_empty() {
        return RootCerts::WebPki;
    }
    let certs: Vec<_> = certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    RootCerts::new_with_certs(&certs)
}

/// An error of reading, which may carry one of the network.
pub(crate) fn network_fault(error: io::Error) -> ErrorKind {
    if error
        .get_ref()
        .is_some_and(|inner| inner.is::<ureq::Error>())
    {
        return fault(ureq::Error::from(error));
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            ErrorKind::TimedOut(error.to_string())
        }
        _ => ErrorKind::Io(error),
    }
}

fn fault(error: ureq::Error) -> ErrorKind {
    match error {
        ureq::Error::StatusCode(status) => ErrorKind::HttpStatus(status),
        ureq::Error::Timeout(which) => ErrorKind::TimedOut(which.to_string()),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            ErrorKind::TimedOut(error.to_string())
        }
        other => ErrorKind::Network(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = Url::parse(
            "https://me:secret@h/debian/dists/bookworm/main/binary-amd64/Packages.xz?token=t",
        )
        .unwrap();
        assert_eq!(
            display(&url),
            "https://h/debian/dists/bookworm/main/binary-amd64/Packages.xz"
        );
        assert_eq!(archive(&url).as_deref(), Some("https://h/debian/"));
        let flat = Url::parse("http://h/repo/Packages").unwrap();
        assert_eq!(archive(&flat).as_deref(), Some("http://h/repo/"));
    }
}
