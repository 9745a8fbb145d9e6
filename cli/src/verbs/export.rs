//! `pointsman export`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::args::journal::Export;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::text;
use crate::progress::Progress;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) fn run(context: &Context, args: &Export) -> Result<Exit, Error> {
    let client = context.client()?;
    let address = client.at(&["export"]);
    let Some(path) = &args.output else {
        let mut stdout = io::stdout().lock();
        let mut body = client.read(&address, &[])?.into_body().into_reader();
        copy(&mut body, &mut |bytes| Ok(stdout.write_all(bytes)?))?;
        stdout.flush()?;
        return Ok(Exit::Ok);
    };
    // Before anything is asked for: a file that cannot be written costs no export.
    let mut whole = Partial::create(path)?;
    let progress = Progress::new(&context.out);
    let mut body = client.read(&address, &[])?.into_body().into_reader();
    let mut total: u64 = 0;
    let mut lines: u64 = 0;
    let done = copy(&mut body, &mut |bytes| {
        total += bytes.len() as u64;
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        progress.detail(|| format!("exporting: {}", text::bytes(total)));
        whole.write(bytes)
    });
    progress.clear();
    done?;
    whole.keep()?;
    context.out.note(format!(
        "{}: {}, {}",
        path.display(),
        text::count(lines, "line"),
        text::bytes(total)
    ));
    Ok(Exit::Ok)
}

/// Copies until the end. An end that comes too early is an error of the reader: the body is chunked.
fn copy(
    body: &mut dyn Read,
    write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match body.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => write(&chunk[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Error::hinted(
                    format!("the export broke off: {error}"),
                    "what was written so far is not the whole record: try again",
                ));
            }
        }
    }
}

/// A file that has its name only once it is whole.
struct Partial {
    path: PathBuf,
    partial: PathBuf,
    file: Option<File>,
}

impl Partial {
    fn create(path: &Path) -> Result<Partial, Error> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(partial);
        let file = File::create_new(&partial).map_err(|error| unwritable(&partial, &error))?;
        Ok(Partial {
            path: path.to_owned(),
            partial,
            file: Some(file),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.file {
            Some(file) => file
                .write_all(bytes)
                .map_err(|error| unwritable(&self.partial, &error)),
            None => Ok(()),
        }
    }

    fn keep(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        file.sync_all()
            .and_then(|()| fs::rename(&self.partial, &self.path))
            .map_err(|error| unwritable(&self.path, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Half a record is of no use to anybody; a failure to remove it harms nobody.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::failed(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.ndjson");
        let mut half = Partial::create(&path).unwrap();
        half.write(b"{}\n").unwrap();
        drop(half);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut whole = Partial::create(&path).unwrap();
        whole.write(b"{}\n").unwrap();
        whole.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
