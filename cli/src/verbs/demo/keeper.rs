//! Keeps a server running as a child process, kills it when its time has come, and starts it again on the
//! same data.
//!
//! The child is `pointsman serve` of this very program. Its standard input is a pipe that this process
//! holds: a server whose keeper dies, however, stops in order.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::kills::Kill;
use super::place::Place;
use super::story::Story;
use crate::client::Client;
use crate::client::endpoint::Endpoint;
use crate::error::Error;

/// The environment variable that names a failpoint and how often it is passed.
const FAILPOINT: &str = "POINTSMAN_FAILPOINT";
/// How often the child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a start may take: the first one makes a database.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long a stop in order may take until it is done by force.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// SIGKILL.
const KILLED: i32 = 9;

/// A kill that took place.
#[derive(Debug, Clone)]
pub(super) struct Killed {
    /// The failpoint; none: at random.
    pub(super) at: Option<&'static str>,
    /// It did not serve yet.
    pub(super) starting: bool,
}

/// See the module.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Of the server that serves now, or did a moment ago.
    client: Option<Client>,
    /// Whether kills may begin.
    kill: bool,
    left: VecDeque<Kill>,
    made: Vec<Killed>,
    stop: bool,
    failed: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half in it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Starts a server in `place`, to be killed as `kills` says once [`Keeper::begin_kills`] is called.
    pub(super) fn start(
        place: &Place,
        embedded: bool,
        kills: VecDeque<Kill>,
        story: &Story,
    ) -> Keeper {
        let state = State {
            left: kills,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let lives = Lives {
            data: place.data(),
            log: place.log(),
            embedded,
            story: story.clone(),
            shared: Arc::clone(&shared),
        };
        Keeper {
            shared,
            thread: Mutex::new(Some(thread::spawn(move || lives.run()))),
        }
    }

    /// A client of the server that runs; waits for one a moment. None: it is being started.
    pub(super) fn client(&self, wait: Duration) -> Result<Option<Client>, Error> {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, wait, |s| s.client.is_none() && s.failed.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(why) => Err(Error::failed(why.clone())),
            None => Ok(state.client.clone()),
        }
    }

    /// From now on it is killed.
    pub(super) fn begin_kills(&self) {
        self.shared.lock().kill = true;
    }

    /// The kills so far.
    pub(super) fn kills(&self) -> Vec<Killed> {
        self.shared.lock().made.clone()
    }

    /// Stops the server in order, and the database that it runs.
    pub(super) fn stop(&self) -> Result<(), Error> {
        self.shared.lock().stop = true;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            return Err(Error::failed("the keeper of the server broke"));
        }
        match self.shared.lock().failed.take() {
            Some(why) => Err(Error::failed(why)),
            None => Ok(()),
        }
    }
}

/// One server after the other.
struct Lives {
    data: PathBuf,
    log: PathBuf,
    embedded: bool,
    story: Story,
    shared: Arc<Shared>,
}

/// How a life ended.
enum End {
    Killed(Killed),
    Stopped,
}

impl Lives {
    fn run(&self) {
        let why = loop {
            match self.live() {
                Ok(End::Stopped) => return,
                Ok(End::Killed(killed)) => {
                    let at = match (&killed.at, killed.starting) {
                        (Some(name), _) => format!("at the moment `{name}`"),
                        (None, true) => "while it started".to_owned(),
                        (None, false) => "at random".to_owned(),
                    };
                    let mut state = self.shared.lock();
                    state.made.push(killed.clone());
                    let count = state.made.len();
                    drop(state);
                    let text = format!("the server is killed {at} ({count}), and started again");
                    let facts =
                        json!({"kill": count, "failpoint": killed.at, "starting": killed.starting});
                    self.story.tell("killed", &text, facts);
                }
                Err(why) => break why,
            }
        };
        // An embedded database outlives a server that did not stop in order.
        if self.embedded {
            self.sweep();
        }
        let mut state = self.shared.lock();
        state.client = None;
        state.failed = Some(why);
        self.shared.changed.notify_all();
    }

    /// One server, from its start to its end.
    fn live(&self) -> Result<End, String> {
        let kill = {
            let mut state = self.shared.lock();
            // The first life begins before kills do, so it has none yet.
            if state.kill {
                state.left.pop_front()
            } else {
                None
            }
        };
        let url = self.data.join("url");
        // What the last one left would be taken for the address of this one.
        let _ = fs::remove_file(&url);
        let mut child = self.spawn(kill, Stdio::piped())?;
        let begun = Instant::now();
        let mut kill = kill;
        let mut serves: Option<Instant> = None;
        loop {
            if let Some(status) = exited(&mut child)? {
                let starting = serves.is_none();
                return match kill {
                    Some(Kill::Failpoint { name, .. }) if status.signal() == Some(KILLED) => {
                        Ok(End::Killed(Killed {
                            at: Some(name),
                            starting,
                        }))
                    }
                    _ => Err(self.ended_by_itself(status)),
                };
            }
            if serves.is_none()
                && url.exists()
                && let Some(client) = self.client()
            {
                serves = Some(Instant::now());
                self.shared.lock().client = Some(client);
                self.shared.changed.notify_all();
            }
            {
                let mut state = self.shared.lock();
                if state.stop {
                    drop(state);
                    // A failpoint may be faster; then the database is left.
                    if !stop(child)?.success() && self.embedded {
                        self.sweep();
                    }
                    return Ok(End::Stopped);
                }
                if kill.is_none() && state.kill && serves.is_some() {
                    kill = state.left.pop_front();
                    // Its time counts from now.
                    serves = Some(Instant::now());
                }
            }
            let due = match kill {
                Some(Kill::Starting(after)) => begun.elapsed() >= after,
                Some(Kill::Serving(after)) => serves.is_some_and(|since| since.elapsed() >= after),
                Some(Kill::Failpoint { .. }) | None => false,
            };
            if due {
                kill_now(&mut child)?;
                return Ok(End::Killed(Killed {
                    at: None,
                    starting: serves.is_none(),
                }));
            }
            if serves.is_none() && begun.elapsed() > START_PATIENCE {
                kill_now(&mut child)?;
                return Err(format!(
                    "the server did not begin to serve within {} s; its log is {}",
                    START_PATIENCE.as_secs(),
                    self.log.display()
                ));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn spawn(&self, kill: Option<Kill>, stdin: Stdio) -> Result<Child, String> {
        let cannot = |error: std::io::Error| format!("cannot start the server: {error}");
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(cannot)?;
        let exe = std::env::current_exe().map_err(cannot)?;
        let mut command = Command::new(exe);
        // What is set for other servers of this user is not meant for this one.
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("POINTSMAN_") {
                command.env_remove(key);
            }
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--stop-with-stdin"])
            .arg("--data-dir")
            .arg(&self.data)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(log);
        if self.embedded {
            command.env_remove("DATABASE_URL").arg("--embedded");
        }
        if let Some(Kill::Failpoint { name, nth }) = kill {
            command.env(FAILPOINT, format!("{name}:{nth}"));
        }
        // In a group of its own: Ctrl-C is for this process, which stops the server when it is ready.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map_err(cannot)
    }

    /// A client, once the server answers it.
    fn client(&self) -> Option<Client> {
        let url = fs::read_to_string(self.data.join("url")).ok()?;
        let endpoint = Endpoint::own(url.trim(), &self.data.join("admin.token")).ok()?;
        let client = Client::new(endpoint);
        let known: Result<serde_json::Value, Error> = client.get(&client.at(&["whoami"]));
        known.is_ok().then_some(client)
    }

    fn ended_by_itself(&self, status: ExitStatus) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log
            .lines()
            .rev()
            .find(|line| line.contains("rror"))
            .or(log.lines().last())
            .unwrap_or("its log is empty");
        format!("the server ended by itself ({status}): {last}")
    }

    /// Ends what a dead server left running: the next one takes it over, and stops with it.
    fn sweep(&self) {
        if let Ok(child) = self.spawn(None, Stdio::null()) {
            let _ = stop(child);
        }
    }
}

fn exited(child: &mut Child) -> Result<Option<ExitStatus>, String> {
    child
        .try_wait()
        .map_err(|error| format!("cannot look after the server: {error}"))
}

fn kill_now(child: &mut Child) -> Result<(), String> {
    child
        .kill()
        .and_then(|()| child.wait())
        .map(|_| ())
        .map_err(|error| format!("cannot kill the server: {error}"))
}

/// Closes its standard input, and waits until it has stopped.
fn stop(mut child: Child) -> Result<ExitStatus, String> {
    drop(child.stdin.take());
    let begun = Instant::now();
    loop {
        if let Some(status) = exited(&mut child)? {
            return Ok(status);
        }
        if begun.elapsed() > STOP_PATIENCE {
            kill_now(&mut child)?;
            return Err(format!(
                "the server did not stop within {} s, and was killed",
                STOP_PATIENCE.as_secs()
            ));
        }
        thread::sleep(LOOK_EVERY);
    }
}
