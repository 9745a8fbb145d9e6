//! How a call ended.

use std::fmt;
use std::time::Duration;

use super::limits::{CallLimits, MAX_TABLE_ELEMENTS, Refused};
use super::wit::types::Stop;

/// A call that is over: how it ended and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Called<A> {
    /// How it ended.
    pub outcome: Outcome<A>,
    /// Fuel burned, the start of the instance included; the same for the same question on the same
    /// engine.
    pub fuel: u64,
    /// What the guest printed, the last [`LOG_BYTES`](super::LOG_BYTES) of it; empty for a guest
    /// without WASI.
    pub log: String,
    /// Wall clock of the whole call: instance, call, and taking the instance down.
    pub duration: Duration,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<A> {
    /// The plugin answered. Whether the answer makes sense is for `plan` to say.
    Answered(A),
    /// The plugin stopped in the orderly way: it abstains, asks for facts, or refuses.
    Stopped(Stop),
    /// What came back breaks the canonical ABI: invalid UTF-8, a pointer out of bounds, too large.
    BadAnswer {
        /// What is wrong with it.
        detail: String,
    },
    /// The policy's own limit is used up.
    OutOfFuel {
        /// The limit.
        limit: u64,
    },
    /// The guest was refused memory, or table elements, and failed over it.
    OutOfMemory {
        /// What it wanted and what it may have.
        detail: String,
    },
    /// The guest stopped itself: a panic, a division by zero, an access out of bounds.
    Trapped {
        /// The kind of trap.
        message: String,
        /// Names of the functions it was in, innermost first, at most 20.
        frames: Vec<String>,
        /// The last lines that it printed: where an interpreter says what failed, and on which line.
        printed: String,
    },
    /// The guest's stack is used up: as a rule an endless recursion. How deep a stack goes depends on
    /// the engine and the processor.
    StackOverflow {
        /// Names of the functions it was in, innermost first, at most 20.
        frames: Vec<String>,
    },
    /// The wall-clock guard fired.
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// As many calls as this host allows at once were already in flight; nothing was run.
    Busy,
    /// The plugin does not export what was asked for; nothing was run.
    NotExported,
    /// The host could not make the call, for a reason that is not the plugin's.
    HostFailed {
        /// The reason, for operators.
        detail: String,
    },
}

impl<A> Outcome<A> {
    /// A stable code, for the record.
    pub fn code(&self) -> &'static str {
        match self {
            Outcome::Answered(_) => "answered",
            Outcome::Stopped(_) => "stopped",
            Outcome::BadAnswer { .. } => "bad-answer",
            Outcome::OutOfFuel { .. } => "out-of-fuel",
            Outcome::OutOfMemory { .. } => "out-of-memory",
            Outcome::Trapped { .. } => "trapped",
            Outcome::StackOverflow { .. } => "stack-overflow",
            Outcome::Deadline { .. } => "deadline",
            Outcome::Busy => "busy",
            Outcome::NotExported => "not-exported",
            Outcome::HostFailed { .. } => "host-failed",
        }
    }

    /// The same outcome with what was answered made into something else.
    pub fn try_map<B, E>(self, map: impl FnOnce(A) -> Result<B, E>) -> Result<Outcome<B>, E> {
        Ok(match self {
            Outcome::Answered(answer) => Outcome::Answered(map(answer)?),
            Outcome::Stopped(stop) => Outcome::Stopped(stop),
            Outcome::BadAnswer { detail } => Outcome::BadAnswer { detail },
            Outcome::OutOfFuel { limit } => Outcome::OutOfFuel { limit },
            Outcome::OutOfMemory { detail } => Outcome::OutOfMemory { detail },
            Outcome::Trapped {
                message,
                frames,
                printed,
            } => Outcome::Trapped {
                message,
                frames,
                printed,
            },
            Outcome::StackOverflow { frames } => Outcome::StackOverflow { frames },
            Outcome::Deadline { limit } => Outcome::Deadline { limit },
            Outcome::Busy => Outcome::Busy,
            Outcome::NotExported => Outcome::NotExported,
            Outcome::HostFailed { detail } => Outcome::HostFailed { detail },
        })
    }

    /// Whether the same call elsewhere would end the same way: a decision, and not a failure of the
    /// infrastructure. Running out of fuel is one only on the same engine, as prices differ.
    pub fn is_decision(&self) -> bool {
        match self {
            Outcome::Answered(_)
            | Outcome::Stopped(_)
            | Outcome::BadAnswer { .. }
            | Outcome::OutOfFuel { .. }
            | Outcome::OutOfMemory { .. }
            | Outcome::Trapped { .. }
            | Outcome::NotExported => true,
            Outcome::StackOverflow { .. }
            | Outcome::Deadline { .. }
            | Outcome::Busy
            | Outcome::HostFailed { .. } => false,
        }
    }

    /// What happened and what to do about it, in a sentence or two for the operator; `None` for an
    /// answer and a stop, which speak for themselves.
    pub fn detail(&self) -> Option<String> {
        match self {
            Outcome::Answered(_) | Outcome::Stopped(_) => None,
            Outcome::BadAnswer { detail } => Some(format!(
                "the plugin's answer cannot be read: {detail}; rebuild it with the SDK's bindings"
            )),
            Outcome::OutOfFuel { limit } => Some(format!(
                "the plugin used up its {limit} units of fuel; look for an endless loop, or raise the \
                 limit"
            )),
            Outcome::OutOfMemory { detail } => {
                Some(format!("the plugin ran out of memory: {detail}"))
            }
            Outcome::Trapped {
                message,
                frames,
                printed,
            } => Some(match printed.as_str() {
                "" => format!("the plugin trapped: {message}{}", Frames(frames)),
                printed => format!("the plugin trapped: {printed}: {message}{}", Frames(frames)),
            }),
            Outcome::StackOverflow { frames } => Some(format!(
                "the plugin's stack overflowed; look for an endless recursion{}",
                Frames(frames)
            )),
            Outcome::Deadline { limit } => Some(format!(
                "the plugin was still running after {limit:?}; where that is not the plugin's fault the \
                 machine is overloaded"
            )),
            Outcome::Busy => Some(
                "as many plugin calls as this host allows at once are in flight; ask again".into(),
            ),
            Outcome::NotExported => Some("the plugin does not export what was asked for".into()),
            Outcome::HostFailed { detail } => {
                Some(format!("the host could not call the plugin: {detail}"))
            }
        }
    }

    /// Names the way in which a call failed. `refused` is the growth that the limiter denied, if any.
    pub(super) fn of_error(
        error: &wasmtime::Error,
        phase: Phase,
        limits: &CallLimits,
        refused: Option<Refused>,
        log: &str,
    ) -> Outcome<A> {
        use wasmtime::{PoolConcurrencyLimitError, Trap};
        use wasmtime_wasi::I32Exit;

        if error.is::<PoolConcurrencyLimitError>() {
            return Outcome::Busy;
        }
        match (error.downcast_ref::<Trap>(), refused) {
            (Some(Trap::OutOfFuel), _) => Outcome::OutOfFuel { limit: limits.fuel },
            (Some(Trap::Interrupt), _) => Outcome::Deadline {
                limit: limits.deadline,
            },
            (Some(Trap::StackOverflow), _) => Outcome::StackOverflow {
                frames: frames(error),
            },
            // A guest that is refused memory aborts in a way of its own, so any other failure after a
            // refusal is laid to it. An instance too large to start fails without a trap.
            (_, Some(refused)) => Outcome::OutOfMemory {
                detail: refused.describe(limits),
            },
            (Some(trap), None) => Outcome::Trapped {
                message: trap.to_string(),
                frames: frames(error),
                printed: last_lines(log),
            },
            (None, None) if error.is::<I32Exit>() => Outcome::Trapped {
                message: "it ended itself with `exit`".to_owned(),
                frames: frames(error),
                printed: last_lines(log),
            },
            // What WASI refuses ends the guest where it called: there are frames then.
            (None, None) if error.is::<wasmtime::WasmBacktrace>() => Outcome::Trapped {
                message: error.root_cause().to_string(),
                frames: frames(error),
                printed: last_lines(log),
            },
            (None, None) => match phase {
                Phase::Start => Outcome::HostFailed {
                    detail: format!("{error:#}"),
                },
                Phase::Call => Outcome::BadAnswer {
                    detail: format!("{error:#}"),
                },
            },
        }
    }
}

/// Where in a call an error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Making the instance, its start functions included.
    Start,
    /// Lowering the question, running the guest, lifting the answer.
    Call,
}

/// Lines of a guest's log that are shown with a trap.
const MAX_PRINTED_LINES: usize = 6;

/// Characters of those lines: the end of them, and room is left for frames.
const MAX_PRINTED_CHARS: usize = 600;

/// The last lines of a log, in one.
fn last_lines(log: &str) -> String {
    let lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut last: Vec<&str> = lines.rev().take(MAX_PRINTED_LINES).collect();
    last.reverse();
    let joined = last.join(" / ");
    let beyond = joined.chars().count().saturating_sub(MAX_PRINTED_CHARS);
    joined
        .chars()
        .skip(beyond)
        .filter(|c| !c.is_control())
        .collect()
}

/// The most frames that are kept: the innermost tell what happened.
const MAX_FRAMES: usize = 20;

/// The longest function name that is kept, in characters: names are the guest's to choose.
const MAX_FRAME_CHARS: usize = 200;

/// Names of the functions the guest was in, from the name section of its modules.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| {
        let name = match frame.func_name() {
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {}", frame.func_index()),
        };
        name.chars().take(MAX_FRAME_CHARS).collect()
    };
    trace.frames().iter().take(MAX_FRAMES).map(name).collect()
}

impl Refused {
    fn describe(self, limits: &CallLimits) -> String {
        match self {
            Refused::Memory { wanted_bytes } => format!(
                "it wanted to grow a memory to {wanted_bytes} bytes, and has {} in all",
                limits.memory_bytes
            ),
            Refused::Table { wanted_elements } => format!(
                "it wanted to grow a table to {wanted_elements} elements, and may have \
                 {MAX_TABLE_ELEMENTS}"
            ),
        }
    }
}

/// ` in a <- b <- c`, or nothing.
struct Frames<'a>(&'a [String]);

impl fmt::Display for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, frame) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { " in " } else { " <- " })?;
            f.write_str(frame)?;
        }
        Ok(())
    }
}
