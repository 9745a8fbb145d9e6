//! Files that are there as a whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{fs, io};

use crate::error::Error;

/// Writes a file of this mode beside its place and moves it there.
pub(crate) async fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let (target, bytes) = (path.to_owned(), bytes.to_owned());
    tokio::task::spawn_blocking(move || write(&target, &bytes, mode))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
        .map_err(Error::io("write", path))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
