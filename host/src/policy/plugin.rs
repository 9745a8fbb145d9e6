//! A loaded plugin, and how it is called.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Engine, Store};

use super::engine::EPOCH_TICK;
use super::hook::{Asks, Exports, Hook};
use super::limits::CallLimits;
use super::outcome::{Called, Outcome, Phase};
use super::rejection::Rejection;
use super::wasi::State;
use super::wit::types::{Context, Problem};
use super::wit::{advance, ignore};

/// The time that a call sees, in milliseconds since 1970, and its seed.
type Moment = (u64, u64);

/// For calls that are no decision: the start of a plugin, and its settings.
const NEVER: Moment = (0, 0);

/// A plugin that is ready to be called, from any number of threads at once. A clone is the same
/// plugin; its code is freed with the last clone, calls in flight included.
#[derive(Clone)]
pub struct Plugin(pub(super) Arc<Loaded>);

pub(super) struct Loaded {
    digest: String,
    pre: InstancePre<State>,
    exports: Exports,
    hooks: Vec<Hook>,
}

impl Plugin {
    /// The sha256 of the component, in lower-case hex.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The hooks that it answers, at least one.
    pub fn hooks(&self) -> &[Hook] {
        &self.0.hooks
    }

    /// Whether it has a schema for its settings and checks them.
    pub fn has_settings(&self) -> bool {
        self.0.exports.settings.is_some()
    }

    /// Asks `ignore`: which of these versions need no runs? See [`Plugin::ask`].
    pub fn ignore(
        &self,
        limits: &CallLimits,
        context: &Context,
        question: &ignore::Question,
    ) -> Called<ignore::Answer> {
        self.ask(limits, context, question)
    }

    /// Asks `advance`: what is next for these versions? See [`Plugin::ask`].
    pub fn advance(
        &self,
        limits: &CallLimits,
        context: &Context,
        question: &advance::Question,
    ) -> Called<advance::Answer> {
        self.ask(limits, context, question)
    }

    /// Asks the hook that the question belongs to, in an instance of its own.
    ///
    /// Blocks the calling thread for as long as the plugin runs, so async code calls it under
    /// `spawn_blocking`; the thread needs [`CALL_STACK_BYTES`](super::CALL_STACK_BYTES) of stack.
    pub fn ask<Q: Asks>(
        &self,
        limits: &CallLimits,
        context: &Context,
        question: &Q,
    ) -> Called<Q::Answer> {
        self.call(
            limits,
            (context.at, context.seed),
            Q::indices(&self.0.exports),
            |indices, store, instance| {
                Ok(match question.call(indices, store, instance, context)? {
                    Ok(answer) => Outcome::Answered(answer),
                    Err(stop) => Outcome::Stopped(stop),
                })
            },
        )
    }

    /// Makes an instance of it and takes it down again. Blocks like [`Plugin::ask`].
    pub fn start(&self, limits: &CallLimits) -> Called<()> {
        self.call(limits, NEVER, Some(&()), |(), _, _| {
            Ok(Outcome::Answered(()))
        })
    }

    /// The JSON Schema of its settings. Blocks like [`Plugin::ask`].
    pub fn settings_schema(&self, limits: &CallLimits) -> Called<String> {
        self.call(
            limits,
            NEVER,
            self.0.exports.settings.as_ref(),
            |indices, store, instance| {
                indices
                    .load(&mut *store, instance)?
                    .call_schema(store)
                    .map(Outcome::Answered)
            },
        )
    }

    /// Lets the plugin check settings (JSON that fits its schema): what is wrong with them, if
    /// anything. Blocks like [`Plugin::ask`].
    pub fn settings_check(
        &self,
        limits: &CallLimits,
        settings: &str,
    ) -> Called<Result<(), Vec<Problem>>> {
        self.call(
            limits,
            NEVER,
            self.0.exports.settings.as_ref(),
            |indices, store, instance| {
                indices
                    .load(&mut *store, instance)?
                    .call_check(store, settings)
                    .map(Outcome::Answered)
            },
        )
    }

    /// Links a component, and starts it once to see that it starts and that its types fit.
    pub(super) fn link(
        linker: &Linker<State>,
        component: &Component,
        digest: String,
    ) -> Result<Plugin, Rejection> {
        let unfit = |error: wasmtime::Error| Rejection::WrongTypes {
            detail: format!("{error:#}"),
        };
        let pre = linker.instantiate_pre(component).map_err(unfit)?;
        let exports = Exports::find(&pre).map_err(unfit)?;
        let hooks = exports.hooks();
        let plugin = Plugin(Arc::new(Loaded {
            digest,
            pre,
            exports,
            hooks,
        }));
        let mut types = Ok(());
        let limits = CallLimits::of_settings();
        let started = plugin.call(&limits, NEVER, Some(&()), |(), store, instance| {
            types = plugin.0.exports.check_types(store, instance);
            Ok(Outcome::Answered(()))
        });
        types.map_err(unfit)?;
        match started.outcome {
            Outcome::Answered(()) => Ok(plugin),
            outcome => {
                let detail = outcome.detail().unwrap_or_default();
                if outcome.is_decision() {
                    Err(Rejection::DoesNotStart { detail })
                } else {
                    Err(Rejection::HostFailed { detail })
                }
            }
        }
    }

    /// Makes an instance, calls it, and takes it down again.
    fn call<E, A>(
        &self,
        limits: &CallLimits,
        moment: Moment,
        export: Option<&E>,
        call: impl FnOnce(&E, &mut Store<State>, &Instance) -> wasmtime::Result<Outcome<A>>,
    ) -> Called<A> {
        let started = Instant::now();
        let (outcome, fuel, log) = match export {
            Some(export) => self.call_untimed(limits, moment, export, call),
            None => (Outcome::NotExported, 0, String::new()),
        };
        Called {
            outcome,
            fuel,
            log,
            duration: started.elapsed(),
        }
    }

    fn call_untimed<E, A>(
        &self,
        limits: &CallLimits,
        moment: Moment,
        export: &E,
        call: impl FnOnce(&E, &mut Store<State>, &Instance) -> wasmtime::Result<Outcome<A>>,
    ) -> (Outcome<A>, u64, String) {
        let mut store = match self.store(limits, moment) {
            Ok(store) => store,
            Err(error) => {
                return (
                    Outcome::HostFailed {
                        detail: format!("{error:#}"),
                    },
                    0,
                    String::new(),
                );
            }
        };
        let ended = match self.0.pre.instantiate(&mut store) {
            Ok(instance) => {
                call(export, &mut store, &instance).map_err(|error| (Phase::Call, error))
            }
            Err(error) => Err((Phase::Start, error)),
        };
        let fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
        let state = store.data();
        let log = state.log();
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err((phase, error)) => {
                Outcome::of_error(&error, phase, limits, state.limiter.refused(), &log)
            }
        };
        (outcome, fuel, log)
    }

    fn store(&self, limits: &CallLimits, moment: Moment) -> wasmtime::Result<Store<State>> {
        let mut store = Store::try_new(self.engine(), State::new(limits, moment.0, moment.1))?;
        store.limiter(|state| &mut state.limiter);
        store.set_fuel(limits.fuel)?;
        store.set_hostcall_fuel(limits.answer_bytes);
        store.set_epoch_deadline(ticks(limits.deadline));
        Ok(store)
    }

    fn engine(&self) -> &Engine {
        self.0.pre.engine()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("digest", &self.0.digest)
            .field("hooks", &self.0.hooks)
            .finish()
    }
}

/// One tick more than the deadline has: the first may end at once.
fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_nanos().div_ceil(EPOCH_TICK.as_nanos());
    u64::try_from(ticks)
        .unwrap_or(u64::MAX / 2)
        .saturating_add(1)
}
