//! What a slow step shows meanwhile: a spinner on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;
use crate::output::text::safe;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Shows what is being done. Cheap to clone; every clone is the same spinner.
#[derive(Clone)]
pub(crate) enum Progress {
    Spinner(ProgressBar),
    Lines,
    Silent,
}

impl Progress {
    pub(crate) fn new(out: &Output) -> Progress {
        if out.is_quiet() {
            return Progress::Silent;
        }
        if !io::stderr().is_terminal() {
            return Progress::Lines;
        }
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(TICK);
        Progress::Spinner(spinner)
    }

    /// A new step begins.
    pub(crate) fn step(&self, text: &str) {
        match self {
            Progress::Spinner(spinner) => spinner.set_message(safe(text)),
            // Nobody reading stderr is no reason to fail.
            Progress::Lines => {
                let _ = writeln!(io::stderr().lock(), "{}", safe(text));
            }
            Progress::Silent => {}
        }
    }

    /// How far the present step is: too much for plain lines.
    pub(crate) fn detail(&self, text: impl FnOnce() -> String) {
        if let Progress::Spinner(spinner) = self {
            spinner.set_message(safe(&text()));
        }
    }

    /// Takes the spinner away, before something else is printed.
    pub(crate) fn clear(&self) {
        if let Progress::Spinner(spinner) = self {
            spinner.finish_and_clear();
        }
    }
}
