//! What one call of a plugin may use, and the limiter that holds a running guest to it.

use std::time::Duration;

use pointsman_api::pipeline::Limits;
use wasmtime::ResourceLimiter;

use super::hook::Hook;

const MIB: usize = 1024 * 1024;

/// Fuel of one `ignore` call (about one unit a wasm instruction, so some 3 s). The largest question,
/// 10,000 versions against 100 patterns, needs a tenth of it with a linear-time regex; the rest is for
/// interpreted languages.
pub const IGNORE_FUEL: u64 = 10_000_000_000;

/// Fuel of one `advance` call (some 0.3 s): at most 1,000 kernels, and a few hundred instructions each
/// in the stock policy. The rest is for interpreted languages.
pub const ADVANCE_FUEL: u64 = 1_000_000_000;

/// Fuel of one `select` call (some 0.3 s): at most 1,000 candidates and a few hundred lanes.
pub const SELECT_FUEL: u64 = 1_000_000_000;

/// Fuel of one `triage` call (some 0.3 s): jobs with at most 1,000 tests each.
pub const TRIAGE_FUEL: u64 = 1_000_000_000;

/// Fuel of one call of `review`, `gate`, `run` or `react` (some 0.1 s): each is about one pull request,
/// or one lane of a few. The rest is for interpreted languages, which burn some 50 million to start.
pub const SUBJECT_FUEL: u64 = 300_000_000;

/// Fuel of `settings.schema` and `settings.check` (some 0.1 s): both run while a person waits for a
/// binding to be saved.
pub const SETTINGS_FUEL: u64 = 300_000_000;

/// Wall-clock guard of one call. Fuel is what stops a policy; this only catches what fuel does not
/// see (a stalled machine, one instruction that copies megabytes again and again), so it is far above
/// what the fuel allows on any machine worth serving from.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Linear memory of one instance. JavaScript engines start at 10 to 20 MiB and Python at some 40; a
/// Rust policy uses 1 to 4.
pub const CALL_MEMORY_BYTES: usize = 64 * MIB;

/// The most that [`CallLimits::memory_bytes`] can be set to: the size of a slot in the pool.
pub const MAX_MEMORY_BYTES: usize = 512 * MIB;

/// Bytes of the answer, as the host would hold it. Stops a guest that answers with gigabytes made of
/// one string named a million times: the largest honest answer (10,000 ignored versions with a reason
/// each) is some 2 MiB.
pub const CALL_ANSWER_BYTES: usize = 16 * MIB;

/// Elements of one table: function pointers, some 10,000 in a JavaScript engine. Stops a table bomb.
pub const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Core instances in one component; Python, which links its standard library dynamically, has some 40.
pub(super) const MAX_CORE_INSTANCES: u32 = 100;

/// Linear memories in one component: one, and one for an adapter.
pub(super) const MAX_MEMORIES: u32 = 2;

/// Tables in one component: one a module as a rule, and a few for adapters and shared libraries.
pub(super) const MAX_TABLES: u32 = 16;

/// What one call may use. A call that uses more ends with an outcome of its own, never with an error
/// of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Fuel, about one unit a wasm instruction; the policy's own, deterministic limit.
    pub fuel: u64,
    /// Bytes of linear memory, all memories of the instance together; at most [`MAX_MEMORY_BYTES`].
    pub memory_bytes: usize,
    /// Bytes of the answer as the host holds it.
    pub answer_bytes: usize,
    /// Wall clock; not deterministic, so an outcome of the infrastructure.
    pub deadline: Duration,
}

impl CallLimits {
    /// The limits of a call of this hook where the binding sets none.
    pub const fn of(hook: Hook) -> CallLimits {
        CallLimits::with_fuel(match hook {
            Hook::Ignore => IGNORE_FUEL,
            Hook::Advance => ADVANCE_FUEL,
            Hook::Select => SELECT_FUEL,
            Hook::Triage => TRIAGE_FUEL,
            Hook::Review | Hook::Gate | Hook::Run | Hook::React => SUBJECT_FUEL,
        })
    }

    /// The most that bindings may set where the operator says nothing else: some half a minute of a core,
    /// and memory for any interpreter.
    pub const CEILINGS: CallLimits = CallLimits {
        fuel: 100_000_000_000,
        memory_bytes: 256 * MIB,
        answer_bytes: 64 * MIB,
        deadline: Duration::from_secs(60),
    };

    /// The most that there can be at all.
    pub const HIGHEST: CallLimits = CallLimits {
        fuel: u64::MAX / 2,
        memory_bytes: MAX_MEMORY_BYTES,
        answer_bytes: MAX_MEMORY_BYTES,
        deadline: Duration::from_secs(3_600),
    };

    /// These with what a binding sets, and never more than the ceilings.
    #[must_use]
    pub fn set(self, limits: &Limits, ceilings: &CallLimits) -> CallLimits {
        let bytes = |mib: u32| (mib as usize).saturating_mul(MIB);
        let deadline = limits
            .deadline_ms
            .map(|ms| Duration::from_millis(ms.into()));
        CallLimits {
            fuel: limits.fuel.unwrap_or(self.fuel).min(ceilings.fuel),
            memory_bytes: limits
                .memory_mib
                .map_or(self.memory_bytes, bytes)
                .min(ceilings.memory_bytes),
            answer_bytes: limits
                .answer_mib
                .map_or(self.answer_bytes, bytes)
                .min(ceilings.answer_bytes),
            deadline: deadline.unwrap_or(self.deadline).min(ceilings.deadline),
        }
    }

    /// What of these is not as the hook has it, as a binding would set it.
    #[must_use]
    pub fn beside(&self, hook: Hook) -> Limits {
        let own = CallLimits::of(hook);
        let mib = |bytes: usize| u32::try_from(bytes / MIB).unwrap_or(u32::MAX);
        Limits {
            fuel: (self.fuel != own.fuel).then_some(self.fuel),
            memory_mib: (self.memory_bytes != own.memory_bytes).then(|| mib(self.memory_bytes)),
            answer_mib: (self.answer_bytes != own.answer_bytes).then(|| mib(self.answer_bytes)),
            deadline_ms: (self.deadline != own.deadline)
                .then(|| u32::try_from(self.deadline.as_millis()).unwrap_or(u32::MAX)),
        }
    }

    /// The first limit that is zero or above the ceilings: its name, what it is, and the ceiling.
    #[must_use]
    pub fn out_of_range(
        limits: &Limits,
        ceilings: &CallLimits,
    ) -> Option<(&'static str, u64, u64)> {
        let mib = |bytes: usize| (bytes / MIB) as u64;
        [
            ("fuel", limits.fuel, ceilings.fuel),
            (
                "memory_mib",
                limits.memory_mib.map(u64::from),
                mib(ceilings.memory_bytes),
            ),
            (
                "answer_mib",
                limits.answer_mib.map(u64::from),
                mib(ceilings.answer_bytes),
            ),
            (
                "deadline_ms",
                limits.deadline_ms.map(u64::from),
                u64::try_from(ceilings.deadline.as_millis()).unwrap_or(u64::MAX),
            ),
        ]
        .into_iter()
        .find_map(|(name, value, ceiling)| {
            let value = value?;
            (value == 0 || value > ceiling).then_some((name, value, ceiling))
        })
    }

    /// The limits of `settings.schema` and `settings.check`.
    pub const fn of_settings() -> CallLimits {
        CallLimits::with_fuel(SETTINGS_FUEL)
    }

    const fn with_fuel(fuel: u64) -> CallLimits {
        CallLimits {
            fuel,
            memory_bytes: CALL_MEMORY_BYTES,
            answer_bytes: CALL_ANSWER_BYTES,
            deadline: CALL_DEADLINE,
        }
    }
}

/// The state of a store: what the guest holds, and whether it was ever refused more.
///
/// A refused growth is not the end of a call: `memory.grow` gives -1, which a careful guest survives.
/// Only a call that fails after a refusal counts as out of memory.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_left: usize,
    refused: Option<Refused>,
}

/// What the guest asked for and did not get.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused {
    /// Growth of a linear memory to this many bytes.
    Memory { wanted_bytes: usize },
    /// Growth of a table to this many elements.
    Table { wanted_elements: usize },
}

impl Limiter {
    pub(super) fn new(limits: &CallLimits) -> Limiter {
        Limiter {
            memory_left: limits.memory_bytes.min(MAX_MEMORY_BYTES),
            refused: None,
        }
    }

    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let Some(left) = self
            .memory_left
            .checked_sub(desired.saturating_sub(current))
        else {
            self.refused = Some(Refused::Memory {
                wanted_bytes: desired,
            });
            return Ok(false);
        };
        // Beyond its own declared maximum a memory cannot grow anyway: that is no fault of ours.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.memory_left = left;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            self.refused = Some(Refused::Table {
                wanted_elements: desired,
            });
            return Ok(false);
        }
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES as usize
    }
}
