//! The order of Debian package versions (Debian Policy 5.6.12), which tells a rebuild from its
//! predecessor: epoch, then upstream version, then revision, digits as numbers, `~` before the end.

use std::cmp::Ordering;

/// A package version taken apart: `[epoch:]upstream[-revision]`. Equal means equal in order, as
/// for `dpkg`: `1.0` and `1.0-0` are equal.
#[derive(Debug, Clone, Copy)]
pub struct DebVersion<'a> {
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> DebVersion<'a> {
    /// Takes a version apart; `None` when it is not one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (epoch, rest) = match text.split_once(':') {
            // `dpkg` keeps the epoch in a C `int`.
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => {
                (epoch.parse::<i32>().ok()?.unsigned_abs(), rest)
            }
            Some(_) => return None,
            None => (0, text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        let upstream_ok = |b: u8| b.is_ascii_alphanumeric() || b".+~-:".contains(&b);
        let revision_ok = |b: u8| b.is_ascii_alphanumeric() || b".+~".contains(&b);
        let valid = upstream.bytes().next().is_some_and(|b| b.is_ascii_digit())
            && upstream.bytes().all(upstream_ok)
            && revision.bytes().all(revision_ok)
            && !(revision.is_empty() && rest.ends_with('-'));
        valid.then_some(Self {
            epoch,
            upstream,
            revision,
        })
    }
}

impl Ord for DebVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream.as_bytes(), other.upstream.as_bytes()))
            .then_with(|| compare_part(self.revision.as_bytes(), other.revision.as_bytes()))
    }
}

impl PartialOrd for DebVersion<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebVersion<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DebVersion<'_> {}

/// The order of kernel versions as people read them: `5.4.0-9` before `5.4.0-10`. Digits are
/// compared as numbers, by Debian's rule; what that finds equal is ordered by its bytes, so that
/// two different strings never compare as equal.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    compare_part(a.as_bytes(), b.as_bytes()).then_with(|| a.cmp(b))
}

/// Debian's comparison of one part: runs of non-digits and runs of digits by turns.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (weight(a.first()), weight(b.first()));
            if x != y {
                return x.cmp(&y);
            }
            if x == 0 {
                break;
            }
            (a, b) = (&a[1..], &b[1..]);
        }
        let (x, rest_a) = digits(a);
        let (y, rest_b) = digits(b);
        // Of two numbers without leading zeros the longer one is the greater, at any length.
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// The place of a byte in a run of non-digits: `~`, then the end of the run, letters, the rest.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

/// Splits off the leading digits, without their leading zeros.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let zeros = text[..end].iter().take_while(|b| **b == b'0').count();
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> DebVersion<'_> {
        DebVersion::parse(text).unwrap_or_else(|| panic!("{text} is a version"))
    }

    #[test]
    fn known_orders() {
        // From Debian Policy, from dpkg's own tests, and from real kernels.
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0a",
            "1.2.3",
            "1.2.3-1~bpo12+1",
            "1.2.3-1",
            "1.2.3-1+b1",
            "1.2.3-2",
            "1.2.10-1",
            "5.15.0-57.63",
            "5.15.0-100.110",
            "6.12.9-1~deb12u1",
            "6.12.117-1~deb12u1",
            "6.12.117-1",
            "1:0.4",
            "2:0",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(version(a).cmp(&version(b)), i.cmp(&j), "{a} against {b}");
            }
        }
    }

    #[test]
    fn equal_in_order() {
        for (a, b) in [
            ("1.0", "1.0-0"),
            ("0:1", "1"),
            ("1.00", "1.0"),
            ("1.0-0", "1.0-00"),
        ] {
            assert_eq!(version(a), version(b), "{a} and {b}");
        }
    }

    #[test]
    fn not_versions() {
        for text in [
            "",
            "a1",
            ":1",
            "x:1",
            "1:",
            "1-",
            "1_2",
            "1 2",
            "99999999999:1",
            "1-a_b",
            "é1",
        ] {
            assert!(DebVersion::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn kernels_read_naturally() {
        let mut versions = [
            "6.1.0-100-amd64",
            "6.1.0-9-amd64",
            "5.10.0-8-amd64",
            "6.1.0-09-amd64",
        ];
        versions.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            versions,
            [
                "5.10.0-8-amd64",
                "6.1.0-09-amd64",
                "6.1.0-9-amd64",
                "6.1.0-100-amd64"
            ]
        );
    }

    /// Few characters, so that equal beginnings, zeros and tildes are common.
    fn any_version() -> impl Strategy<Value = String> {
        "([0-2]:)?[0-2][0-2a.+~-]{0,5}(-[0-2a.+~]{1,4})?"
    }

    proptest! {
        #[test]
        fn a_total_order(a in any_version(), b in any_version(), c in any_version()) {
            let parsed = (DebVersion::parse(&a), DebVersion::parse(&b), DebVersion::parse(&c));
            let (Some(x), Some(y), Some(z)) = parsed else { return Ok(()) };
            prop_assert_eq!(x.cmp(&x), Ordering::Equal);
            prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
            if x <= y && y <= z {
                prop_assert!(x <= z);
            }
            if x == y {
                prop_assert_eq!(x.cmp(&z), y.cmp(&z));
            }
        }

        #[test]
        fn natural_order_is_total_and_strict(a in ".{0,8}", b in ".{0,8}", c in "[0-1a~.]{0,4}") {
            for (x, y) in [(&a, &b), (&a, &c), (&b, &c)] {
                prop_assert_eq!(natural_order(x, y), natural_order(y, x).reverse());
                prop_assert_eq!(natural_order(x, y) == Ordering::Equal, x == y);
            }
        }

        #[test]
        fn parse_never_panics(text in ".{0,20}") {
            if let Some(version) = DebVersion::parse(&text) {
                prop_assert_eq!(version.cmp(&version), Ordering::Equal);
            }
        }
    }
}
