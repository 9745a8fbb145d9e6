//! What is read from files and from standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::args::values::{KernelArg, KernelName};
use crate::error::Error;

/// Kernel versions in one batch: what the server takes.
pub(super) const MAX_KERNELS: usize = 20_000;
/// Bytes of a text that is read whole: settings, distros, hosts.
const MAX_TEXT_BYTES: u64 = 64 * 1024 * 1024;

/// Whether the name means standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// How a file is called in messages.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// The text of a file, or of standard input for `-`.
pub(super) fn text(path: &Path) -> Result<String, Error> {
    let unreadable =
        |error: io::Error| Error::failed(format!("cannot read {}: {error}", name(path)));
    let source: Box<dyn Read> = if is_stdin(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut text = String::new();
    source
        .take(MAX_TEXT_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(Error::hinted(
            format!("{} has more than {} MiB", name(path), MAX_TEXT_BYTES >> 20),
            "split it",
        ));
    }
    Ok(text)
}

/// The kernels that the arguments name, with those on standard input in the place of `-`.
pub(super) fn kernels(arguments: &[KernelArg]) -> Result<Vec<KernelName>, Error> {
    let mut names = Vec::new();
    let mut stdin_taken = false;
    for argument in arguments {
        match argument {
            KernelArg::Name(name) => names.push(name.clone()),
            KernelArg::Stdin if stdin_taken => {
                return Err(Error::usage(
                    "`-` is given twice",
                    "standard input can be read once",
                ));
            }
            KernelArg::Stdin => {
                stdin_taken = true;
                read_kernels(BufReader::new(io::stdin().lock()), &mut names)?;
            }
        }
    }
    if names.is_empty() {
        return Err(Error::usage(
            "no kernel is named",
            "standard input had no line like debian-12/6.1.0-49-amd64",
        ));
    }
    Ok(names)
}

/// One kernel per line; empty lines and lines that begin with `#` do not count.
fn read_kernels(lines: impl BufRead, names: &mut Vec<KernelName>) -> Result<(), Error> {
    // Bounded, so that something else than a list does not fill the memory.
    for (at, line) in lines.take(MAX_TEXT_BYTES).lines().enumerate() {
        let line =
            line.map_err(|error| Error::failed(format!("cannot read standard input: {error}")))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        names.push(line.parse().map_err(|error| {
            Error::usage(
                format!("line {} of standard input: {error}", at + 1),
                "nothing was changed",
            )
        })?);
        if names.len() > MAX_KERNELS {
            return Err(Error::usage(
                format!("standard input names more than {MAX_KERNELS} kernels"),
                "one change takes no more: split the list",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_kernels() {
        let mut names = Vec::new();
        read_kernels("\n# mine\n a/1 \r\nb/2".as_bytes(), &mut names).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a/1", "b/2"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = read_kernels("a/1\nb".as_bytes(), &mut Vec::new()).unwrap_err();
        insta::assert_snapshot!(error, @"line 2 of standard input: write a kernel as distro/version, like debian-12/6.1.0-49-amd64");
    }

    #[test]
    fn a_list_has_an_end() {
        let text = "a/1\n".repeat(MAX_KERNELS + 1);
        assert!(read_kernels(text.as_bytes(), &mut Vec::new()).is_err());
        let text = "a/1\n".repeat(MAX_KERNELS);
        assert!(read_kernels(text.as_bytes(), &mut Vec::new()).is_ok());
    }
}
