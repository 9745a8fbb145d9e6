//! Which server is meant, and with which token.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use url::{Host, Url};

use crate::error::Error;

/// Where `pointsman up` listens unless told otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8650";

/// Bytes of a file that holds an address or a token: more is some other file, named by mistake.
const MAX_SMALL_FILE_BYTES: usize = 4096;

/// An address and the token to show there.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    pub(crate) token: Option<String>,
}

impl Endpoint {
    /// The address: `url` (option or environment), else the `url` file of the data directory, else
    /// the default. The token: `token_file`, else `POINTSMAN_TOKEN`, else `POINTSMAN_TOKEN_FILE`, else
    /// the data directory's own, which is shown to no other server than the one of that directory.
    pub(crate) fn find(
        url: Option<&str>,
        token_file: Option<&Path>,
        data_dir: &Path,
    ) -> Result<Endpoint, Error> {
        let local = read_small(&data_dir.join("url"))?;
        let local = parse(local.as_deref().unwrap_or(DEFAULT_URL))?;
        let url = url.map_or_else(|| Ok(local.clone()), parse)?;
        let token = match token_file {
            Some(path) => Some(token_in(path)?),
            None => match std::env::var("POINTSMAN_TOKEN") {
                Ok(token) => Some(checked(&token, "POINTSMAN_TOKEN")?),
                Err(_) => match std::env::var_os("POINTSMAN_TOKEN_FILE") {
                    Some(path) => Some(token_in(Path::new(&path))?),
                    None if same_server(&url, &local) => own_token(&data_dir.join("admin.token"))?,
                    None => None,
                },
            },
        };
        Ok(Endpoint { url, token })
    }

    /// The server that this process runs itself.
    pub(crate) fn own(url: &str, token_file: &Path) -> Result<Endpoint, Error> {
        Ok(Endpoint {
            url: parse(url)?,
            token: Some(token_in(token_file)?),
        })
    }
}

/// Reads an address of a server.
fn parse(text: &str) -> Result<Url, Error> {
    let bad = |why: String| {
        Error::usage(
            format!("{text:?} is not the address of a server: {why}"),
            format!("write it like {DEFAULT_URL}, in --url or POINTSMAN_URL"),
        )
    };
    let url = Url::parse(text.trim()).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad("it must begin with http:// or https://".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a name or a password does not belong in it".to_owned()));
    }
    Ok(url)
}

/// Whether both are one server: `localhost` and the loopback addresses are one host.
fn same_server(a: &Url, b: &Url) -> bool {
    let hosts = match (a.host(), b.host()) {
        _ if is_loopback(a) && is_loopback(b) => true,
        (a, b) => a == b,
    };
    hosts && a.scheme() == b.scheme() && a.port_or_known_default() == b.port_or_known_default()
}

/// Whether requests to it stay on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// The token of the data directory, if there is one that this user may read.
fn own_token(path: &Path) -> Result<Option<String>, Error> {
    match read_small(path) {
        Ok(Some(text)) => checked(&text, &path.display().to_string()).map(Some),
        // Another user's server: then the token must be named.
        Ok(None) | Err(_) => Ok(None),
    }
}

fn token_in(path: &Path) -> Result<String, Error> {
    match read_small(path)? {
        Some(text) => checked(&text, &path.display().to_string()),
        None => Err(Error::hinted(
            format!("the token file {} does not exist", path.display()),
            "`pointsman token create NAME --out FILE` makes one",
        )),
    }
}

/// A token as a header can carry it. Never echoed: it may be a secret all the same.
fn checked(text: &str, from: &str) -> Result<String, Error> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::hinted(
            format!("{from} holds no token"),
            "a token is one line of printable characters, as `pointsman token create` prints it",
        ));
    }
    Ok(token.to_owned())
}

/// The text of a small file; none if there is no such file.
fn read_small(path: &Path) -> Result<Option<String>, Error> {
    let text = match fs::read(path) {
        Ok(bytes) if bytes.len() <= MAX_SMALL_FILE_BYTES => String::from_utf8(bytes).ok(),
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A data directory of another user says nothing about this one's server.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && path.ends_with("url") => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Error::failed(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    };
    text.map(Some)
        .ok_or_else(|| Error::failed(format!("{} is not a small text file", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        parse(text).unwrap()
    }

    #[test]
    fn addresses_that_are_none() {
        for text in [
            "",
            "127.0.0.1:8650",
            "ftp://host",
            "http://",
            "http://ann:secret@host",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_server_under_several_names() {
        let local = url(DEFAULT_URL);
        assert!(same_server(&local, &url("http://localhost:8650/")));
        assert!(same_server(&local, &url("http://[::1]:8650")));
        assert!(!same_server(&local, &url("http://127.0.0.1:8651")));
        assert!(!same_server(&local, &url("http://10.0.0.1:8650")));
        assert!(!same_server(&local, &url("https://127.0.0.1:8650")));
    }

    #[test]
    fn the_data_directory_names_the_server_and_its_token() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("url"), "http://127.0.0.1:9999\n").unwrap();
        std::fs::write(dir.path().join("admin.token"), "pm_secret\n").unwrap();
        let found = Endpoint::find(None, None, dir.path()).unwrap();
        assert_eq!(found.url.as_str(), "http://127.0.0.1:9999/");
        // Under test the environment may name a token; it is the owner's choice then.
        if std::env::var_os("POINTSMAN_TOKEN").is_none()
            && std::env::var_os("POINTSMAN_TOKEN_FILE").is_none()
        {
            assert_eq!(found.token.as_deref(), Some("pm_secret"));
            let other = Endpoint::find(Some("http://example.org"), None, dir.path()).unwrap();
            assert_eq!(
                other.token, None,
                "the token of this machine is not for others"
            );
        }
    }

    #[test]
    fn a_token_file_holds_one_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for text in ["", "\n", "two words", "line\nline", "b\u{e9}"] {
            std::fs::write(&path, text).unwrap();
            assert!(token_in(&path).is_err(), "{text:?}");
        }
        std::fs::write(&path, "x".repeat(MAX_SMALL_FILE_BYTES + 1)).unwrap();
        assert!(token_in(&path).is_err());
        std::fs::write(&path, " pm_1 \n").unwrap();
        assert_eq!(token_in(&path).unwrap(), "pm_1");
    }
}
