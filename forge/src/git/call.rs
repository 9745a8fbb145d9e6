//! One call: its arguments, its input, and what is read of its output.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::SemaphorePermit;

use super::{Git, Process, tells_damage, tells_lock, within};
use crate::error::Error;
use crate::limits::{OUTPUT_BYTES, QUICK, STDERR_BYTES};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    /// The beginning of it.
    pub(crate) stderr: String,
}

/// A call that was not made yet.
pub(crate) struct Call {
    git: Arc<Git>,
    repository: Option<PathBuf>,
    subcommand: &'static str,
    args: Vec<OsString>,
    vars: Vec<(&'static str, OsString)>,
    input: Vec<u8>,
    limit: Duration,
}

impl Call {
    pub(super) fn new(git: Arc<Git>, repository: Option<&Path>, subcommand: &'static str) -> Self {
        Self {
            git,
            repository: repository.map(Path::to_owned),
            subcommand,
            args: Vec::new(),
            vars: Vec::new(),
            input: Vec::new(),
            limit: QUICK,
        }
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn var(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.vars.push((name, value.into()));
        self
    }

    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it and keeps what it writes. A status that is not among the expected ones is an error.
    pub(crate) async fn output(self, expected: &[i32]) -> Result<Output, Error> {
        let command = self.subcommand;
        let mut stdout = Vec::new();
        let (code, stderr) = self
            .stream(expected, |chunk: &[u8]| {
                if stdout.len() + chunk.len() > OUTPUT_BYTES {
                    return Err(Error::TooMuchOutput {
                        command,
                        bytes: OUTPUT_BYTES,
                    });
                }
                stdout.extend_from_slice(chunk);
                Ok(())
            })
            .await?;
        Ok(Output {
            code,
            stdout,
            stderr,
        })
    }

    /// Runs it and hands on what it writes, piece by piece. Gives the status and the beginning of
    /// what it said on its standard error.
    pub(crate) async fn stream(
        self,
        expected: &[i32],
        sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(i32, String), Error> {
        let _slot = self.slots(1).await?;
        let mut processes = [self.spawn()?];
        let command = self.subcommand;
        let (status, stderr) = within(self.limit, command, &mut processes, async |processes| {
            let [process] = processes else {
                return Err(self.io("run"));
            };
            let mut stdin = process.child.stdin.take();
            let (Some(stdout), Some(stderr)) =
                (process.child.stdout.take(), process.child.stderr.take())
            else {
                return Err(self.io("read from"));
            };
            let write = async {
                if let Some(mut pipe) = stdin.take() {
                    // A git that fails early reads no further: its status tells why.
                    let _ = pipe.write_all(&self.input).await;
                }
                Ok(())
            };
            let (_, (), stderr) =
                tokio::try_join!(write, self.drain(stdout, sink), self.complaint(stderr))?;
            let status = process
                .wait()
                .await
                .map_err(Error::io("wait for", &self.git.program))?;
            Ok((status, stderr))
        })
        .await?;
        match status.code() {
            Some(code) if expected.contains(&code) => Ok((code, stderr)),
            _ => Err(self.failure(status, &stderr)),
        }
    }

    /// Waits for places among the processes that may run at once. Who needs several takes them
    /// together, so that two who each hold one never wait for each other.
    pub(crate) async fn slots(&self, number: u32) -> Result<SemaphorePermit<'_>, Error> {
        self.git
            .slots
            .acquire_many(number)
            .await
            .map_err(|_| self.io("queue for"))
    }

    /// Starts it with all three streams piped.
    pub(crate) fn spawn(&self) -> Result<Process, Error> {
        let mut command = Command::new(&self.git.program);
        command
            .env_clear()
            .envs(Git::environment())
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            // The repository is always named, so where we stand must not matter.
            .current_dir("/")
            .args(Git::settings())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = &self.repository {
            command.arg("--git-dir").arg(path);
        }
        command.arg(self.subcommand).args(&self.args);
        Process::spawn(&mut command).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                Error::GitMissing {
                    program: self.git.program.clone(),
                }
            }
            _ => Error::io("run", &self.git.program)(source),
        })
    }

    /// Reads a stream to its end.
    pub(crate) async fn drain(
        &self,
        mut pipe: impl AsyncRead + Unpin,
        mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = pipe
                .read(&mut chunk)
                .await
                .map_err(Error::io("read from", &self.git.program))?;
            if read == 0 {
                return Ok(());
            }
            sink(&chunk[..read])?;
        }
    }

    /// The beginning of what it says on its standard error, which is read to its end.
    pub(crate) async fn complaint(&self, pipe: impl AsyncRead + Unpin) -> Result<String, Error> {
        let mut kept = Vec::new();
        self.drain(pipe, |chunk| {
            let room = STDERR_BYTES.saturating_sub(kept.len());
            kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
            Ok(())
        })
        .await?;
        Ok(String::from_utf8_lossy(&kept).into_owned())
    }

    /// Names a failure by what git said about it.
    pub(crate) fn failure(&self, status: ExitStatus, stderr: &str) -> Error {
        let detail = stderr.trim().replace('\n', "; ");
        let Some(path) = self.repository.clone() else {
            return self.failed(status.to_string(), detail);
        };
        if tells_lock(stderr) {
            Error::Locked { path, detail }
        } else if tells_damage(stderr) {
            Error::Corrupt { path, detail }
        } else {
            self.failed(status.to_string(), detail)
        }
    }

    pub(crate) fn failed(&self, status: String, detail: String) -> Error {
        Error::Failed {
            command: self.subcommand,
            status,
            detail,
        }
    }

    /// A stream or a process that is not there, though it was asked for.
    fn io(&self, what: &'static str) -> Error {
        Error::io(what, &self.git.program)(std::io::ErrorKind::BrokenPipe.into())
    }
}
