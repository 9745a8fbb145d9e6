//! Addresses that open by themselves: whoever has one sees the log and the files of one attempt, or one
//! lane, with no token, until it expires.
//!
//! A token is what it opens, until when, and an HMAC-SHA256 of both under a secret that is a file and never in
//! the database: nothing is stored for a link, no list of them can leak, and to change the secret ends them all.
//! An expiry is the end of a day, so that a link is the same however often it is made on that day. Signatures by
//! JWT were left out: they say by themselves how they are to be checked, which is one choice too many.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Days, NaiveTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The secret's name in the data directory, where no other file is named.
pub const SECRET_FILE: &str = "link.secret";
/// Bytes of a secret at least: guessing it must be no easier than guessing a link.
const MIN_SECRET: usize = 32;
/// Bytes of a secret's file at most: more is some other file, named by mistake.
const MAX_SECRET: u64 = 4_096;
/// Stands before what is signed, so that the same secret signs nothing else that looks alike.
const DOMAIN: &[u8] = b"pointsman link 1\n";
/// Kind, subject, and the second since 1970 in which it expires.
const PAYLOAD: usize = 1 + 16 + 4;
/// Bytes of an HMAC-SHA256.
const TAG: usize = 32;

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// An attempt, by its key.
    Attempt([u8; 16]),
    /// A lane, by its id and when it was planned: in a restored database another lane may get that number.
    Lane {
        /// Its id.
        id: i64,
        /// Microseconds since 1970.
        planned: i64,
    },
}

/// Why a link does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It is none of ours.
    Forged,
    /// It was, until then.
    Expired(DateTime<Utc>),
}

/// The server's own address as people see it: `http` or `https`, a host, and perhaps a path before `/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|error| format!("it is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("it begins with http:// or https:// and names a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it is shown to everybody: no user and no password in it".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it ends before any `?` and `#`: /v1/... is put behind it".to_owned());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// Makes links, and opens them.
#[derive(Clone)]
pub struct Links {
    secret: Arc<[u8]>,
    /// Days that a link is good for which somebody is shown.
    days: u16,
    /// Days that one is good for which is written down.
    written_days: u16,
    public: Option<Arc<str>>,
}

impl Links {
    /// With the secret in `file`, or else with one of this data directory's own, which is made if need be. Links
    /// that are shown are good for `days`; those that are written down, in statuses and comments, for as long as
    /// there is something behind them (`kept_days`), if that is longer.
    pub fn open(
        file: Option<&Path>,
        data_dir: &Path,
        days: u16,
        kept_days: u16,
        public: Option<PublicUrl>,
    ) -> anyhow::Result<Self> {
        let secret = match file {
            Some(file) => read_secret(file)?.with_context(|| {
                format!(
                    "there is no {}: make it with `openssl rand -hex 32`, the same for all hosts",
                    file.display()
                )
            })?,
            None => own_secret(data_dir)?,
        };
        Ok(Self {
            secret: secret.into(),
            days,
            written_days: days.max(kept_days),
            public: public.map(|url| url.0.into()),
        })
    }

    /// Until when a link is good that is shown now.
    pub fn until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        end_of_day(now, self.days)
    }

    /// The address of a lane that is written down somewhere for good: none where people cannot be told one.
    pub fn written(&self, id: i64, planned: DateTime<Utc>, at: DateTime<Utc>) -> Option<String> {
        self.public.as_ref()?;
        let until = end_of_day(at, self.written_days);
        Some(self.address(&self.lane(id, planned, until)))
    }

    /// The address of a page: absolute where the server's public one is known, else below its own.
    pub fn address(&self, token: &str) -> String {
        let base = self.public.as_deref().unwrap_or_default();
        format!("{base}/v1/browse/{token}")
    }

    /// A token for an attempt; none: that is no key of one.
    pub fn attempt(&self, key: &str, until: DateTime<Utc>) -> Option<String> {
        let bytes = hex::decode(key.replace('-', "")).ok()?;
        Some(self.token(Opens::Attempt(bytes.try_into().ok()?), until))
    }

    /// A token for a lane.
    pub fn lane(&self, id: i64, planned: DateTime<Utc>, until: DateTime<Utc>) -> String {
        let planned = planned.timestamp_micros();
        self.token(Opens::Lane { id, planned }, until)
    }

    fn token(&self, opens: Opens, until: DateTime<Utc>) -> String {
        let mut bytes = Vec::with_capacity(PAYLOAD + TAG);
        match opens {
            Opens::Attempt(key) => {
                bytes.push(1);
                bytes.extend(key);
            }
            Opens::Lane { id, planned } => {
                bytes.push(2);
                bytes.extend(id.to_be_bytes());
                bytes.extend(planned.to_be_bytes());
            }
        }
        let seconds = u32::try_from(until.timestamp()).unwrap_or(u32::MAX);
        bytes.extend(seconds.to_be_bytes());
        let tag = self.mac(&bytes).finalize().into_bytes();
        bytes.extend(tag);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token opens, and until when. The signature is looked at first: whoever forges one learns nothing.
    pub fn read(&self, token: &str, now: DateTime<Utc>) -> Result<(Opens, DateTime<Utc>), Closed> {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| Closed::Forged)?;
        let Some((payload, tag)) = bytes.split_at_checked(PAYLOAD) else {
            return Err(Closed::Forged);
        };
        // In constant time.
        let genuine = self.mac(payload).verify_slice(tag);
        genuine.map_err(|_| Closed::Forged)?;
        let number = |from: usize| {
            let part = payload[from..from + 8].try_into();
            part.map(i64::from_be_bytes).map_err(|_| Closed::Forged)
        };
        let opens = match payload[0] {
            1 => Opens::Attempt(payload[1..17].try_into().map_err(|_| Closed::Forged)?),
            2 => Opens::Lane {
                id: number(1)?,
                planned: number(9)?,
            },
            _ => return Err(Closed::Forged),
        };
        let seconds: [u8; 4] = payload[17..].try_into().map_err(|_| Closed::Forged)?;
        let until = DateTime::from_timestamp(u32::from_be_bytes(seconds).into(), 0);
        let until = until.ok_or(Closed::Forged)?;
        if until <= now {
            return Err(Closed::Expired(until));
        }
        Ok((opens, until))
    }

    fn mac(&self, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        mac.update(DOMAIN);
        mac.update(payload);
        mac
    }
}

/// The key of an attempt, as the API writes it.
pub fn attempt_key(bytes: [u8; 16]) -> String {
    let mut key = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            key.push('-');
        }
        let _ = write!(key, "{byte:02x}");
    }
    key
}

fn end_of_day(from: DateTime<Utc>, days: u16) -> DateTime<Utc> {
    let day = from
        .date_naive()
        .checked_add_days(Days::new(u64::from(days) + 1));
    day.map_or(DateTime::<Utc>::MAX_UTC, |day| {
        day.and_time(NaiveTime::MIN).and_utc()
    })
}

/// Reads a secret; none: there is no such file.
fn read_secret(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    anyhow::ensure!(
        metadata.len() <= MAX_SECRET,
        "{} has more than {MAX_SECRET} bytes: that is no secret of links",
        path.display()
    );
    if metadata.mode() & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "every user of this machine can read the secret of links");
    }
    let secret = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let secret = secret.trim_ascii().to_vec();
    anyhow::ensure!(
        secret.len() >= MIN_SECRET,
        "{} has fewer than {MIN_SECRET} characters: make it with `openssl rand -hex 32`",
        path.display()
    );
    Ok(Some(secret))
}

/// The data directory's own, made at the first start; no other host is at it.
fn own_secret(data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    let path = data_dir.join(SECRET_FILE);
    if let Some(secret) = read_secret(&path)? {
        return Ok(secret);
    }
    let mut random = [0_u8; MIN_SECRET];
    getrandom::fill(&mut random).context("the system gives no random bytes")?;
    let secret = hex::encode(random);
    let made = || {
        // Under another name, 0600, and moved: whoever sees it sees all of it.
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        writeln!(file, "{secret}")?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&path)?;
        std::io::Result::Ok(())
    };
    made().with_context(|| format!("cannot make {}", path.display()))?;
    Ok(secret.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn links(dir: &Path) -> Links {
        Links::open(None, dir, 30, 90, None).expect("links")
    }

    #[test]
    fn a_link_opens_what_it_was_made_for_until_it_expires() {
        let dir = tempfile::tempdir().expect("a directory");
        let links = links(dir.path());
        let now = Utc::now();
        let until = links.until(now);
        let token = links.attempt(KEY, until).expect("a key");
        let (opens, end) = links.read(&token, now).expect("it opens");
        let Opens::Attempt(key) = opens else {
            panic!("{opens:?}");
        };
        assert_eq!((attempt_key(key).as_str(), end), (KEY, until));
        assert!(until >= now + chrono::Duration::days(30));
        assert_eq!(links.read(&token, until), Err(Closed::Expired(until)));
        let lane = links.lane(7, now, until);
        let planned = now.timestamp_micros();
        let opened = links.read(&lane, now).map(|(opens, _)| opens);
        assert_eq!(opened, Ok(Opens::Lane { id: 7, planned }));
        // The same on the same day.
        let midnight = end_of_day(now, 0);
        let early = midnight - chrono::Duration::days(1);
        let late = midnight - chrono::Duration::seconds(1);
        assert_eq!(links.until(early), links.until(late));
    }

    #[test]
    fn no_character_of_a_link_can_be_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let links = links(dir.path());
        let now = Utc::now();
        let token = links.attempt(KEY, links.until(now)).expect("a key");
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII");
            assert_eq!(links.read(&forged, now), Err(Closed::Forged), "{at}");
            assert_eq!(links.read(&token[..at], now), Err(Closed::Forged), "{at}");
        }
        assert_eq!(links.read(&format!("{token}A"), now), Err(Closed::Forged));
    }

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone_and_another_one_opens_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let now = Utc::now();
        let first = links(dir.path());
        let token = first.lane(1, now, first.until(now));
        assert!(links(dir.path()).read(&token, now).is_ok());
        let mode = std::fs::metadata(dir.path().join(SECRET_FILE))
            .expect("a file")
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().expect("a directory");
        assert_eq!(links(other.path()).read(&token, now), Err(Closed::Forged));
    }

    #[test]
    fn a_secret_that_is_named_must_be_there_and_be_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("shared");
        let open = || Links::open(Some(&file), dir.path(), 1, 1, None).err();
        let told = open().expect("refused").to_string();
        assert!(told.contains("openssl rand"), "{told}");
        std::fs::write(&file, "short\n").expect("a file");
        assert!(open().expect("refused").to_string().contains("fewer than"));
        std::fs::write(&file, "x".repeat(64)).expect("a file");
        assert!(open().is_none());
    }

    #[test]
    fn a_public_address_is_one_that_people_can_use() {
        for (given, kept) in [
            ("https://ci.example.org/", "https://ci.example.org"),
            ("http://10.0.0.1:8650", "http://10.0.0.1:8650"),
            ("https://e.org/pointsman/", "https://e.org/pointsman"),
        ] {
            assert_eq!(given.parse(), Ok(PublicUrl(kept.to_owned())));
        }
        for bad in [
            "ci.example.org",
            "ftp://e.org",
            "https://a:b@e.org",
            "https://e.org/?x",
            "https://e.org/#x",
            "javascript:alert(1)",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
