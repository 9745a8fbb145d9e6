//! Values that several verbs take, parsed where they are typed so that a mistake is told at once.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::policy::Limit;

/// Characters of a kernel version: what the record stores.
const MAX_VERSION_CHARACTERS: usize = 128;
/// Characters of a distro's name: what the record stores.
const MAX_DISTRO_CHARACTERS: usize = 63;
/// Seconds of the longest time that one can mean: a hundred years.
const MAX_AGE_SECONDS: u64 = 100 * 365 * 86_400;

/// `distro/version`, as in `ubuntu-22.04/5.15.0-57-generic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelName {
    pub(crate) distro: String,
    pub(crate) version: String,
}

impl FromStr for KernelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((distro, version)) = text.split_once('/') else {
            return Err(
                "write a kernel as distro/version, like debian-12/6.1.0-49-amd64".to_owned(),
            );
        };
        let distro_ok =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._+-".contains(&b);
        if distro.is_empty()
            || distro.len() > MAX_DISTRO_CHARACTERS
            || !distro.bytes().all(distro_ok)
        {
            return Err(format!(
                "{distro:?} is no distro's name: lower-case letters, digits and ._+-, at most {MAX_DISTRO_CHARACTERS}"
            ));
        }
        // `.` and `..` would be steps of an address.
        if version.is_empty()
            || version.len() > MAX_VERSION_CHARACTERS
            || !version.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
            || matches!(version, "." | "..")
            || matches!(distro, "." | "..")
        {
            return Err(format!(
                "{version:?} is no kernel version: printable ASCII without spaces and slashes, at most {MAX_VERSION_CHARACTERS}"
            ));
        }
        Ok(KernelName {
            distro: distro.to_owned(),
            version: version.to_owned(),
        })
    }
}

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.distro, self.version)
    }
}

/// A kernel, or `-` for a list of them on standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KernelArg {
    Name(KernelName),
    Stdin,
}

impl FromStr for KernelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-" => Ok(KernelArg::Stdin),
            text => text.parse().map(KernelArg::Name),
        }
    }
}

/// A length of time: `30m`, `12h`, `7d`, `2w`, or several, as in `1d12h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) seconds: u64,
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("{text:?} is no length of time: write it like 30m, 12h, 7d, 2w or 1d12h");
        let mut seconds: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
            let unit = match rest[digits..].chars().next() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 3600,
                Some('d') => 86_400,
                Some('w') => 7 * 86_400,
                _ => return Err(bad()),
            };
            seconds = number
                .checked_mul(unit)
                .and_then(|more| seconds.checked_add(more))
                .ok_or_else(bad)?;
            rest = &rest[digits + 1..];
        }
        if text.is_empty() || seconds > MAX_AGE_SECONDS {
            return Err(bad());
        }
        Ok(Age { seconds })
    }
}

impl Age {
    fn delta(self) -> TimeDelta {
        TimeDelta::seconds(i64::try_from(self.seconds).unwrap_or(i64::MAX / 1000))
    }
}

/// A time in the past: RFC 3339, a date, or how long ago.
/// A limit: a number, or `default`.
pub(crate) fn limit<T: std::str::FromStr>(text: &str) -> Result<Limit<T>, String> {
    match text {
        "default" => Ok(Limit::Default),
        text => text
            .parse()
            .map(Limit::Set)
            .map_err(|_| "a whole number, or `default`".to_owned()),
    }
}

pub(crate) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    moment(text, Direction::Ago)
}

/// A time in the future: RFC 3339, a date, or how far ahead.
pub(crate) fn expiry(text: &str) -> Result<DateTime<Utc>, String> {
    moment(text, Direction::Ahead)
}

#[derive(Clone, Copy)]
enum Direction {
    Ago,
    Ahead,
}

fn moment(text: &str, direction: Direction) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.with_timezone(&Utc));
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let bad =
        || format!("{text:?} is no time: write it like 2026-07-31, 2026-07-31T12:00:00Z or 7d");
    let age: Age = text.parse().map_err(|_| bad())?;
    match direction {
        Direction::Ago => Utc::now().checked_sub_signed(age.delta()),
        Direction::Ahead => Utc::now().checked_add_signed(age.delta()),
    }
    .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kernel_names() {
        let name: KernelName = "ubuntu-22.04/5.15.0-57-generic".parse().unwrap();
        assert_eq!(
            (name.distro.as_str(), name.version.as_str()),
            ("ubuntu-22.04", "5.15.0-57-generic")
        );
        for text in [
            "",
            "/",
            "debian-12",
            "debian-12/",
            "/6.1",
            "a/b/c",
            "a/b c",
            "A/b",
            "a/é",
            "a/b\0",
            "a/..",
            "../a",
        ] {
            assert!(text.parse::<KernelName>().is_err(), "{text:?}");
        }
        assert!(
            format!("a/{}", "x".repeat(128))
                .parse::<KernelName>()
                .is_ok()
        );
        assert!(
            format!("a/{}", "x".repeat(129))
                .parse::<KernelName>()
                .is_err()
        );
        assert_eq!("-".parse::<KernelArg>().unwrap(), KernelArg::Stdin);
    }

    #[test]
    fn ages() {
        for (text, seconds) in [
            ("30m", 1800),
            ("12h", 43_200),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("1d12h", 129_600),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Age { seconds }), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "7x",
            "-7d",
            "7 d",
            "1.5h",
            "99999999999999999999d",
            "101000w",
            "7é",
        ] {
            assert!(text.parse::<Age>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(
            since("2026-07-31").unwrap().to_rfc3339(),
            "2026-07-31T00:00:00+00:00"
        );
        assert_eq!(
            since("2026-07-31T12:00:00+02:00").unwrap().to_rfc3339(),
            "2026-07-31T10:00:00+00:00"
        );
        assert!(since("7d").unwrap() < Utc::now());
        assert!(expiry("7d").unwrap() > Utc::now());
        for text in ["", "yesterday", "2026-13-01", "2026-07-31 12:00"] {
            assert!(since(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,24}") {
            let _ = text.parse::<Age>();
            let _ = since(&text);
            let _ = expiry(&text);
            if let Ok(name) = text.parse::<KernelName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn ages_add_up(days in 0u64..1000, hours in 0u64..1000) {
            let age: Age = format!("{days}d{hours}h").parse().unwrap();
            prop_assert_eq!(age.seconds, days * 86_400 + hours * 3600);
        }
    }
}
