//! One running git, which is never left behind.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::error::Error;
use crate::limits::STOP_GRACE;

/// A child with a process group of its own. It gets SIGTERM, never SIGKILL at once: git then removes
/// its lock files, which would bar a ref for ever.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    /// None once it was waited for: the number may then be another's.
    group: Option<Pid>,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Ok(Self { child, group })
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }

    /// Ends it, with what it started.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if timeout(STOP_GRACE, self.wait()).await.is_err() {
            self.signal(Signal::KILL);
            // After SIGKILL there is nothing left to do about a failure.
            let _ = self.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// A call that was given up is stopped too; tokio collects the child.
impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// Bounds work on some processes, and stops them when it fails or takes too long.
pub(crate) async fn within<T>(
    limit: Duration,
    command: &'static str,
    processes: &mut [Process],
    work: impl AsyncFnOnce(&mut [Process]) -> Result<T, Error>,
) -> Result<T, Error> {
    let result = timeout(limit, work(processes)).await.unwrap_or_else(|_| {
        Err(Error::TimedOut {
            command,
            seconds: limit.as_secs(),
        })
    });
    if result.is_err() {
        for process in processes {
            process.stop().await;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_stopped_with_what_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "tail -f /dev/null & wait"]);
        let mut processes = [Process::spawn(&mut command).unwrap()];
        let error = within(
            Duration::ZERO,
            "version",
            &mut processes,
            async |processes| {
                processes[0]
                    .wait()
                    .await
                    .map_err(Error::io("wait for", "sh"))
            },
        )
        .await
        .unwrap_err();
        assert_eq!(error.code(), "git-timed-out");
        assert!(processes[0].child.try_wait().unwrap().is_some());
        assert_eq!(processes[0].group, None);
    }
}
