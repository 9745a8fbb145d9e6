//! `pointsman token`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pointsman_api::token::{CreatedToken, NewToken, Token as Row};
use ureq::http::Method;

use crate::args::server::{Token, TokenCreate};
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::rows::role;
use crate::verbs::{list, serve, tell};

/// Read and write for the owner, nothing for anybody else.
const SECRET_MODE: u32 = 0o600;

pub(super) fn run(context: &Context, verb: Token) -> Result<Exit, Error> {
    match verb {
        Token::Create(args) => create(context, args),
        Token::List(paging) => {
            let address = context.client()?.at(&["tokens"]);
            list::print::<Row>(context, &address, &paging, "no tokens")
        }
        Token::Revoke { name, why } => {
            let client = context.client()?;
            let address = client.at(&["tokens", &name]).maybe("comment", why.comment);
            tell(context, &client.delete(&address)?)
        }
    }
}

fn create(context: &Context, args: TokenCreate) -> Result<Exit, Error> {
    // Before the token is made: its secret is told once, and must have a place to go.
    let file = args.out.as_deref().map(SecretFile::create).transpose()?;
    let new = NewToken {
        comment: args.why.comment,
        name: args.name,
        role: args.role.into(),
        expires: args.expires,
    };
    let created: CreatedToken = if args.database {
        serve::create_token(new)?
    } else {
        let client = context.client()?;
        client.send(&Method::POST, &client.at(&["tokens"]), &new)?
    };
    let told = format!(
        "token {} ({})",
        created.token.name,
        role(created.token.role)
    );
    match file {
        Some(file) => {
            let path = file.keep(&created.secret)?;
            if context.out.is_json() {
                context.out.document(&created.token)?;
            }
            context
                .out
                .note(format!("{told}: the secret is in {}", path.display()));
        }
        None if context.out.is_json() => context.out.document(&created)?,
        None => {
            context.out.line(&created.secret)?;
            context.out.note(format!(
                "{told}: keep the line above, it is not shown again"
            ));
        }
    }
    Ok(Exit::Ok)
}

/// A new file for a secret; gone again unless a secret got into it.
struct SecretFile {
    path: PathBuf,
    file: Option<File>,
}

impl SecretFile {
    fn create(path: &Path) -> Result<SecretFile, Error> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(SECRET_MODE)
            .open(path);
        let file = file.map_err(|error| {
            Error::hinted(
                format!("cannot make {}: {error}", path.display()),
                "--out takes the name of a file that does not exist yet, in a directory that does",
            )
        })?;
        Ok(SecretFile {
            path: path.to_owned(),
            file: Some(file),
        })
    }

    fn keep(mut self, secret: &str) -> Result<PathBuf, Error> {
        let path = std::mem::take(&mut self.path);
        let written = match self.file.take() {
            Some(mut file) => writeln!(file, "{secret}").and_then(|()| file.sync_all()),
            None => Ok(()),
        };
        match written {
            Ok(()) => Ok(path),
            Err(error) => Err(Error::hinted(
                format!(
                    "the token is made, and its secret could not be written to {}: {error}",
                    path.display()
                ),
                "revoke it with `pointsman token revoke`, and make another",
            )),
        }
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Empty, since no token was made; a failure to remove it harms nobody.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        drop(SecretFile::create(&path).unwrap());
        assert!(!path.exists(), "no token, no file");
        SecretFile::create(&path).unwrap().keep("pm_1").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "pm_1\n");
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o777,
            SECRET_MODE
        );
        assert!(
            SecretFile::create(&path).is_err(),
            "an existing file is left alone"
        );
    }
}
