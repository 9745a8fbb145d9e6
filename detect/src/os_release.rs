//! From a machine's `os-release` file to the name of its distro in the record.

use crate::limits::MAX_NAME_BYTES;

/// The builder name of a distro, from the text of `/etc/os-release`: `debian-12`, `ubuntu-22.04`,
/// `centos7`. `None` when the file names no release, as in Debian unstable: a moving target is not
/// a distro that one can test against.
#[must_use]
pub fn distro_of_os_release(text: &str) -> Option<String> {
    let mut id = None;
    let mut version = None;
    for line in text.lines() {
        match line.trim().split_once('=') {
            // As in a shell, the last assignment counts.
            Some(("ID", value)) => id = unquote(value),
            Some(("VERSION_ID", value)) => version = unquote(value),
            _ => {}
        }
    }
    let id = id?.to_lowercase();
    let version = version?.to_lowercase();
    let plain = |text: &str| {
        text.len() <= MAX_NAME_BYTES / 8
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
    };
    if !plain(&id) || !plain(&version) {
        return None;
    }
    // The minor releases of this family share their kernels' module interface.
    let major = version.split('.').next().unwrap_or(&version);
    Some(match id.as_str() {
        // Its builder name has no dash, and never had.
        "centos" => format!("centos{major}"),
        "rhel" | "almalinux" | "rocky" => format!("{id}-{major}"),
        "ol" => format!("oracle-{major}"),
        _ => format!("{id}-{version}"),
    })
}

/// A value as a shell reads it: bare, in single quotes, or in double quotes with backslashes.
fn unquote(value: &str) -> Option<String> {
    let value = value.trim();
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.strip_suffix('\'').map(str::to_owned);
    }
    if let Some(rest) = value.strip_prefix('"') {
        let mut out = String::new();
        let mut chars = rest.strip_suffix('"')?.chars();
        while let Some(c) = chars.next() {
            out.push(if c == '\\' { chars.next()? } else { c });
        }
        return Some(out);
    }
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn real_files() {
        let cases = [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n",
                Some("debian-12"),
            ),
            (
                "NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nID=ubuntu\nID_LIKE=debian\n",
                Some("ubuntu-22.04"),
            ),
            (
                "NAME=\"CentOS Linux\"\nID=\"centos\"\nVERSION_ID=\"7\"\n",
                Some("centos7"),
            ),
            ("ID='almalinux'\nVERSION_ID='8.10'\n", Some("almalinux-8")),
            ("NAME=\"Debian GNU/Linux\"\nID=debian\n", None),
            ("ID=debian\nVERSION_ID=\"12/../..\"\n", None),
            ("ID=\nVERSION_ID=12\n", None),
            ("ID=\"debian\nVERSION_ID=12\n", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(distro_of_os_release(text).as_deref(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(ID|VERSION_ID)=.{0,12}\n(ID|VERSION_ID)=.{0,12}\n.{0,20}") {
            if let Some(name) = distro_of_os_release(&text) {
                prop_assert!(name.len() <= 63 && name.is_ascii());
            }
        }
    }
}
