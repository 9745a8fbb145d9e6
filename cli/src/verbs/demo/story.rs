//! The story as it happens: one line for each happening, and never silence.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;
use crate::output::Output;
use crate::output::text::safe;

/// After how much silence something is said anyway: nobody should wonder for two seconds.
const SILENCE: Duration = Duration::from_millis(1500);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Tells the story. Cheap to clone; every clone tells the same one.
#[derive(Clone)]
pub(super) struct Story {
    out: Output,
    begun: Instant,
    told: Arc<Mutex<Told>>,
    over: Arc<AtomicBool>,
}

struct Told {
    last: Instant,
    /// What is being waited for.
    doing: String,
    /// Why it could not be told: the first time.
    failed: Option<Error>,
}

impl Story {
    pub(super) fn begin(out: Output) -> Story {
        let now = Instant::now();
        let story = Story {
            out,
            begun: now,
            told: Arc::new(Mutex::new(Told {
                last: now,
                doing: String::new(),
                failed: None,
            })),
            over: Arc::new(AtomicBool::new(false)),
        };
        let beat = story.clone();
        thread::spawn(move || beat.beat());
        story
    }

    /// Since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Something happened.
    pub(super) fn tell(&self, what: &str, text: &str, facts: Value) {
        let mut told = self.lock();
        told.last = Instant::now();
        let printed = self.print(what, text, facts);
        if let Err(error) = printed {
            told.failed.get_or_insert(error);
        }
    }

    /// What is being waited for, until the next such word.
    pub(super) fn doing(&self, text: impl Into<String>) {
        self.lock().doing = text.into();
    }

    /// Whether anybody still listens.
    pub(super) fn heard(&self) -> Result<(), Error> {
        match self.lock().failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Nothing more is told by itself.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn print(&self, what: &str, text: &str, facts: Value) -> Result<(), Error> {
        if self.out.is_quiet() {
            return Ok(());
        }
        let elapsed = self.elapsed();
        if !self.out.is_json() {
            let seconds = elapsed.as_secs_f64();
            return self.out.line(format!("{seconds:6.1} s  {}", safe(text)));
        }
        let mut line = json!({
            "what": what,
            "at_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "text": text,
        });
        if let (Some(line), Value::Object(facts)) = (line.as_object_mut(), facts) {
            line.extend(facts);
        }
        self.out.record(&line)
    }

    fn beat(&self) {
        while !self.over.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
            let told = self.lock();
            if told.last.elapsed() < SILENCE || told.doing.is_empty() {
                continue;
            }
            let text = format!("... {}", told.doing);
            drop(told);
            self.tell("waiting", &text, json!({}));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // A panic elsewhere leaves nothing half in it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
