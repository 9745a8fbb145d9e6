//! The hooks: their names, and how each is asked.
//!
//! A new hook is an interface in `wit/`, a variant of [`Hook`], a field of [`Exports`], one `asks!`
//! line, and its fuel in `limits`.

use std::fmt;
use std::str::FromStr;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::limits::Limiter;
use super::wit::types::{Context, Stop};
use super::wit::{CONTRACT_PACKAGE, CONTRACT_VERSION, advance, ignore, settings};

/// One question that a plugin answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Which of these versions need no runs?
    Ignore,
    /// What is next for these versions, and what should run?
    Advance,
}

impl Hook {
    /// Every hook that this host asks.
    pub const ALL: [Hook; 2] = [Hook::Ignore, Hook::Advance];

    /// Its name in the contract, the API and the record: `ignore`.
    pub const fn name(self) -> &'static str {
        match self {
            Hook::Ignore => "ignore",
            Hook::Advance => "advance",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no hook's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no hook `{0}`; this host asks `ignore` and `advance`")]
pub struct UnknownHook(pub String);

impl FromStr for Hook {
    type Err = UnknownHook;

    fn from_str(name: &str) -> Result<Hook, UnknownHook> {
        let found = Hook::ALL.into_iter().find(|hook| hook.name() == name);
        found.ok_or_else(|| UnknownHook(name.to_owned()))
    }
}

/// The question of one hook: `ignore::Question`, `advance::Question`. Nobody else's types fit the
/// contract, so nobody else can implement it.
pub trait Asks: sealed::Call {
    /// The hook that answers it.
    const HOOK: Hook;
}

/// What a component exports of the contract, looked up once when it is loaded: a call does no lookup
/// by name.
pub struct Exports {
    ignore: Option<ignore::GuestIndices>,
    advance: Option<advance::GuestIndices>,
    pub(super) settings: Option<settings::GuestIndices>,
}

impl Exports {
    pub(super) fn find(pre: &InstancePre<Limiter>) -> wasmtime::Result<Exports> {
        let exported = |interface: &str| {
            pre.component()
                .get_export_index(None, full_name(interface))
                .is_some()
        };
        Ok(Exports {
            ignore: exported("ignore")
                .then(|| ignore::GuestIndices::new(pre))
                .transpose()?,
            advance: exported("advance")
                .then(|| advance::GuestIndices::new(pre))
                .transpose()?,
            settings: exported("settings")
                .then(|| settings::GuestIndices::new(pre))
                .transpose()?,
        })
    }

    pub(super) fn hooks(&self) -> Vec<Hook> {
        let exports = |hook: &Hook| match hook {
            Hook::Ignore => self.ignore.is_some(),
            Hook::Advance => self.advance.is_some(),
        };
        Hook::ALL.into_iter().filter(exports).collect()
    }

    /// Checks the type of every exported function against the contract.
    pub(super) fn check_types(
        &self,
        store: &mut Store<Limiter>,
        instance: &Instance,
    ) -> wasmtime::Result<()> {
        if let Some(indices) = &self.ignore {
            indices.load(&mut *store, instance)?;
        }
        if let Some(indices) = &self.advance {
            indices.load(&mut *store, instance)?;
        }
        if let Some(indices) = &self.settings {
            indices.load(&mut *store, instance)?;
        }
        Ok(())
    }
}

/// The name of an interface as a component exports it: `pointsman:policy/ignore@0.1.0`.
pub(super) fn full_name(interface: &str) -> String {
    format!("{CONTRACT_PACKAGE}/{interface}@{CONTRACT_VERSION}")
}

pub(super) mod sealed {
    use super::*;

    /// How a question is put to a guest.
    pub trait Call {
        /// What the plugin answers.
        type Answer;
        /// Where the hook's function is in a component.
        type Indices;

        /// `None` where the component lacks the hook.
        fn indices(exports: &Exports) -> Option<&Self::Indices>;

        /// Calls the guest. The inner result is the plugin's own, the outer one that of the call.
        fn call(
            &self,
            indices: &Self::Indices,
            store: &mut Store<Limiter>,
            instance: &Instance,
            context: &Context,
        ) -> wasmtime::Result<Result<Self::Answer, Stop>>;
    }
}

macro_rules! asks {
    ($interface:ident, $hook:ident) => {
        impl Asks for $interface::Question {
            const HOOK: Hook = Hook::$hook;
        }

        impl sealed::Call for $interface::Question {
            type Answer = $interface::Answer;
            type Indices = $interface::GuestIndices;

            fn indices(exports: &Exports) -> Option<&Self::Indices> {
                exports.$interface.as_ref()
            }

            fn call(
                &self,
                indices: &Self::Indices,
                store: &mut Store<Limiter>,
                instance: &Instance,
                context: &Context,
            ) -> wasmtime::Result<Result<Self::Answer, Stop>> {
                indices
                    .load(&mut *store, instance)?
                    .call_decide(store, context, self)
            }
        }
    };
}

asks!(ignore, Ignore);
asks!(advance, Advance);
