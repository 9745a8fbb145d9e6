//! From the start of the command until nothing of it is left: what the shim does while it is awake.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeValLike;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid};

use super::{enter, ring, tree};
use crate::folder::{Folder, now_ms};
use crate::limits::CHECK_MS;
use crate::log::{LogWriter, Pumped, pump};
use crate::spec::Flood;
use crate::{Exit, Outcome, Spec};

/// Bytes of the pipe between job and shim: the most that an ordinary user may ask for.
const PIPE_BYTES: usize = 1024 * 1024;
/// Bytes read at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Buffers read before the shim looks at anything else.
const PUMP_STEPS: usize = 16;
/// Between two passes of SIGKILL: at first, and at most. A death wakes the shim earlier.
const KILL_PAUSE_MS: [u64; 2] = [1, 100];

/// Why the job is being ended, and when patience ends.
struct Ending {
    /// None: the command ended by itself, and only its leftovers are in the way.
    outcome: Option<Outcome>,
    kill_at: Instant,
    /// Of the next pass of SIGKILL.
    pause: Duration,
}

struct Watch<'a> {
    folder: &'a Folder,
    spec: Spec,
    command: Pid,
    command_end: Option<WaitStatus>,
    pipe: Option<File>,
    buffer: Vec<u8>,
    log: LogWriter,
    signals: SignalFd,
    wake: File,
    deadline: Option<Instant>,
    next_check: Instant,
    told_to_end: Option<i32>,
    ending: Option<Ending>,
    leftovers: BTreeSet<i32>,
}

/// Runs the command, and says how it ended once nothing of it is left. After an error it is not known to
/// be gone: then there is nothing to say, and the host finds the attempt lost.
pub(super) fn run(folder: &Folder, began_ms: u64) -> io::Result<Exit> {
    match begin(folder) {
        Ok((mut watch, report)) => {
            watch.until_nothing_is_left()?;
            Ok(watch.exit(began_ms, report))
        }
        Err(NotBegun(outcome)) => Ok(Exit::bare(outcome, Some(began_ms))),
    }
}

/// Nothing was run, and this is why.
struct NotBegun(Outcome);

impl From<io::Error> for NotBegun {
    fn from(error: io::Error) -> Self {
        let why = format!("the shim: {error}");
        Self(Outcome::CouldNotStart { why })
    }
}

impl From<Errno> for NotBegun {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// Up to the running command. To start it is the last thing here that can fail.
fn begin(folder: &Folder) -> Result<(Watch<'_>, UnixStream), NotBegun> {
    let spec = folder
        .spec()
        .map_err(|error| io::Error::other(error.to_string()))?;
    protect()?;
    let wake = OpenOptions::new()
        .read(true)
        // Both ways, so that it does not read as closed when the last host has gone.
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(folder.path("wake"))?;
    if let Some(why) = folder.cancelled() {
        return Err(NotBegun(Outcome::Cancelled { why }));
    }
    if now_ms() >= folder.lease().unwrap_or(spec.lease_until_ms) {
        return Err(NotBegun(Outcome::LeaseLapsed));
    }
    let signals = block_signals()?;
    let log = LogWriter::create(folder, spec.output_bytes)?;
    let (pipe, output) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
    rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
    let (report, told) = UnixStream::pair()?;
    let begun = Instant::now();
    let child = enter::spawn(folder, OwnedFd::from(told), output)?;
    let command = Pid::from_child(&child);
    ring(folder);
    let watch = Watch {
        folder,
        command,
        command_end: None,
        pipe: Some(pipe.into()),
        buffer: vec![0; BUFFER_BYTES],
        log,
        signals,
        wake,
        // Beyond what the clock can say, there is none.
        deadline: begun.checked_add(Duration::from_millis(spec.timeout_ms)),
        next_check: begun,
        told_to_end: None,
        ending: None,
        leftovers: BTreeSet::new(),
        spec,
    };
    Ok((watch, report))
}

/// Makes this process hard to kill and impossible to look into for a job, as far as it may.
fn protect() -> io::Result<()> {
    use rustix::process as own;
    tree::is_listable()?;
    own::set_child_subreaper(Some(getpid()))?;
    own::set_dumpable_behavior(own::DumpableBehavior::NotDumpable)?;
    // These two need root. A shim that must wait for the processor behind a fork bomb never gets to end it.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = own::setpriority_process(None, -10);
    // One descriptor a process of a wide tree.
    let mut files = own::getrlimit(own::Resource::Nofile);
    files.current = files.maximum;
    let _ = own::setrlimit(own::Resource::Nofile, files);
    Ok(())
}

fn block_signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [
        NixSignal::SIGCHLD,
        NixSignal::SIGTERM,
        NixSignal::SIGINT,
        NixSignal::SIGHUP,
        NixSignal::SIGQUIT,
    ] {
        set.add(signal);
    }
    set.thread_block()?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&set, flags)?)
}

impl Watch<'_> {
    fn until_nothing_is_left(&mut self) -> io::Result<()> {
        loop {
            self.pump(PUMP_STEPS);
            while let Ok(Some(signal)) = self.signals.read_signal() {
                if signal.ssi_signo.cast_signed() != NixSignal::SIGCHLD as i32 {
                    self.told_to_end = Some(signal.ssi_signo.cast_signed());
                }
            }
            if self.reap()? == Left::Nothing {
                // What the last of them wrote is still in the pipe, and fits in it.
                self.pump(PIPE_BYTES / BUFFER_BYTES + 1);
                return Ok(());
            }
            let now = Instant::now();
            self.decide(now);
            let wait = self.act(now);
            self.sleep(wait)?;
        }
    }

    fn pump(&mut self, steps: usize) {
        if let Some(pipe) = &mut self.pipe
            && pump(pipe, &mut self.buffer, steps, &mut self.log) == Pumped::Closed
        {
            self.pipe = None;
        }
    }

    /// Takes note of all that died.
    fn reap(&mut self) -> io::Result<Left> {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if pid == self.command {
                        self.command_end = Some(status);
                    }
                }
                Ok(None) => return Ok(Left::Some),
                Err(Errno::CHILD) => return Ok(Left::Nothing),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Finds the first reason to end it, if there is one. The first one stays.
    fn decide(&mut self, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        if self.command_end.is_some() {
            // Nothing to wait for: whoever started these has gone without them.
            self.begin_ending(None, now);
            return;
        }
        let outcome = if let Some(signal) = self.told_to_end {
            Some(Outcome::Interrupted { signal })
        } else if self.spec.flood == Flood::Kill && self.log.total() > self.spec.output_bytes {
            Some(Outcome::OutputLimit)
        } else if now >= self.next_check {
            self.next_check = now + Duration::from_millis(CHECK_MS);
            self.look()
        } else {
            None
        };
        let outcome = outcome.or_else(|| {
            let is_over = self.deadline.is_some_and(|deadline| now >= deadline);
            is_over.then_some(Outcome::TimedOut)
        });
        if outcome.is_some() {
            let grace = Duration::from_millis(self.spec.kill_grace_ms);
            let kill_at = now.checked_add(grace).unwrap_or(now);
            self.begin_ending(outcome, kill_at);
            // What gets SIGTERM is not left over yet.
            tree::signal(Signal::TERM, &mut BTreeSet::new());
        }
    }

    fn begin_ending(&mut self, outcome: Option<Outcome>, kill_at: Instant) {
        self.ending = Some(Ending {
            outcome,
            kill_at,
            pause: Duration::from_millis(KILL_PAUSE_MS[0]),
        });
    }

    /// What the host has to say.
    fn look(&mut self) -> Option<Outcome> {
        if let Some(why) = self.folder.cancelled() {
            return Some(Outcome::Cancelled { why });
        }
        let until_ms = self.folder.lease().unwrap_or(self.spec.lease_until_ms);
        let left_ms = until_ms.saturating_sub(now_ms());
        if left_ms == 0 {
            return Some(Outcome::LeaseLapsed);
        }
        let left = Duration::from_millis(left_ms.min(CHECK_MS));
        self.next_check = self.next_check.min(Instant::now() + left);
        None
    }

    /// Kills, if it is time, and says how long to sleep.
    fn act(&mut self, now: Instant) -> Duration {
        let Some(ending) = &mut self.ending else {
            let next = self
                .deadline
                .map_or(self.next_check, |d| d.min(self.next_check));
            return next.saturating_duration_since(now);
        };
        if now < ending.kill_at {
            return ending.kill_at - now;
        }
        tree::signal(Signal::KILL, &mut self.leftovers);
        let pause = ending.pause;
        ending.pause = (pause * 2).min(Duration::from_millis(KILL_PAUSE_MS[1]));
        pause
    }

    fn sleep(&mut self, at_most: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(at_most.min(Duration::from_millis(CHECK_MS)))
            .map_err(io::Error::other)?;
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
        ];
        if let Some(pipe) = &self.pipe {
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_woken = !fds[1].revents().is_empty();
        drop(fds);
        if is_woken {
            let mut bytes = [0; 64];
            while matches!(self.wake.read(&mut bytes), Ok(count) if count == bytes.len()) {}
            self.next_check = Instant::now();
        }
        Ok(())
    }

    /// All are gone: the sum of it.
    fn exit(mut self, began_ms: u64, mut report: UnixStream) -> Exit {
        let mut why = String::new();
        // The other end is closed, by the exec or by the end.
        let _ = report.read_to_string(&mut why);
        let ended_by_us = self.ending.take().and_then(|ending| ending.outcome);
        let outcome = if !why.is_empty() {
            Outcome::CouldNotStart { why }
        } else if let Some(outcome) = ended_by_us {
            outcome
        } else {
            self.own_end()
        };
        let mut exit = Exit::bare(outcome, Some(began_ms));
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) {
            let number = |value: i64| u64::try_from(value).unwrap_or(0);
            exit.user_ms = number(usage.user_time().num_milliseconds());
            exit.system_ms = number(usage.system_time().num_milliseconds());
            exit.max_rss_bytes = number(usage.max_rss()) * 1024;
        }
        exit.output_bytes = self.log.total();
        exit.cut_bytes = self.log.cut();
        exit.problem = self.log.problem();
        exit.leftovers = u32::try_from(self.leftovers.len()).unwrap_or(u32::MAX);
        exit
    }

    fn own_end(&self) -> Outcome {
        let status = self.command_end;
        if let Some(code) = status.and_then(WaitStatus::exit_status) {
            return Outcome::Exited { code };
        }
        match (
            status.and_then(WaitStatus::terminating_signal),
            self.told_to_end,
        ) {
            // A machine that goes down signals everybody; the job was merely first.
            (Some(_), Some(signal)) => Outcome::Interrupted { signal },
            (Some(signal), None) => Outcome::Signalled { signal },
            (None, _) => Outcome::Lost,
        }
    }
}

/// Whether the shim has a child, which is to say: whether anything of the job is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Some,
}
