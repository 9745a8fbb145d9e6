//! The hook that rings the bell after a push.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use tokio::fs;

use crate::error::Error;
use crate::file;
use crate::repository::Repository;

impl Repository {
    /// Writes the `post-receive` hook, which runs `EXE __pushed BELL NAME` in the background with
    /// nothing attached, and so neither fails nor delays a push. That command should call
    /// [`crate::ring`]. Replaces the hook that is there; repeatable.
    ///
    /// # Errors
    /// The hook cannot be written.
    pub async fn install_hook(&self, exe: &Path, bell: &Path) -> Result<(), Error> {
        let hooks = self.path().join("hooks");
        fs::create_dir_all(&hooks)
            .await
            .map_err(Error::io("make", &hooks))?;
        let hook = hooks.join("post-receive");
        // The hook runs in the repository's folder.
        let exe = std::path::absolute(exe).map_err(Error::io("find", exe))?;
        let bell = std::path::absolute(bell).map_err(Error::io("find", bell))?;
        let text = script(&exe, &bell, self.name().as_str());
        match fs::read(&hook).await {
            Ok(present) if present == text && is_executable(&hook).await => Ok(()),
            _ => file::replace(&hook, &text, 0o755).await,
        }
    }
}

async fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path)
        .await
        .is_ok_and(|meta| meta.permissions().mode() & 0o111 == 0o111)
}

fn script(exe: &Path, bell: &Path, name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    text.extend_from_slice(
        b"#!/bin/sh\n# Written by pointsman: tells the server of a push. A lost call costs time only.\n",
    );
    quote(&mut text, exe.as_os_str());
    text.extend_from_slice(b" __pushed ");
    quote(&mut text, bell.as_os_str());
    text.push(b' ');
    quote(&mut text, name.as_ref());
    // With nothing of the push attached, nobody waits for the command.
    text.extend_from_slice(b" </dev/null >/dev/null 2>&1 &\nexit 0\n");
    text
}

/// A word that the shell takes as it is.
fn quote(text: &mut Vec<u8>, word: &OsStr) {
    text.push(b'\'');
    for byte in word.as_bytes() {
        if *byte == b'\'' {
            text.extend_from_slice(b"'\\''");
        } else {
            text.push(*byte);
        }
    }
    text.push(b'\'');
}
