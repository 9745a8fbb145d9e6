//! The hooks: their names, and how each is asked.
//!
//! A new hook is an interface in `wit/`, a line of [`hooks!`], and its fuel in `limits`.

use std::fmt;
use std::str::FromStr;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::wasi::State;
use super::wit::types::{Context, Stop};
use super::wit::{
    CONTRACT_PACKAGE, CONTRACT_VERSION, advance, gate, ignore, react, review, run, select,
    settings, triage,
};

/// The question of one hook: `ignore::Question`, `advance::Question`. Nobody else's types fit the
/// contract, so nobody else can implement it.
pub trait Asks: sealed::Call {
    /// The hook that answers it.
    const HOOK: Hook;
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
            store: &mut Store<State>,
            instance: &Instance,
            context: &Context,
        ) -> wasmtime::Result<Result<Self::Answer, Stop>>;
    }
}

/// Everything that there is once a hook, from one line each: name, variant, what it is asked, and how
/// the generated code is given the question.
macro_rules! hooks {
    ($($interface:ident $hook:ident $asked:literal |$question:ident| $raw:expr;)+) => {
        /// One question that a plugin answers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Hook {
            $(#[doc = $asked] $hook,)+
        }

        impl Hook {
            /// Every hook that this host asks, in the order in which a subject meets them.
            pub const ALL: [Hook; [$(Hook::$hook),+].len()] = [$(Hook::$hook),+];

            /// Its name in the contract, the API and the record: `ignore`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Hook::$hook => stringify!($interface),)+
                }
            }

            /// What it is asked.
            pub const fn asked(self) -> &'static str {
                match self {
                    $(Hook::$hook => $asked,)+
                }
            }
        }

        /// What a component exports of the contract, looked up once when it is loaded: a call does no
        /// lookup by name.
        pub struct Exports {
            $($interface: Option<$interface::GuestIndices>,)+
            pub(super) settings: Option<settings::GuestIndices>,
        }

        impl Exports {
            pub(super) fn find(pre: &InstancePre<State>) -> wasmtime::Result<Exports> {
                let exported = |interface: &str| {
                    pre.component()
                        .get_export_index(None, full_name(interface))
                        .is_some()
                };
                Ok(Exports {
                    $($interface: exported(stringify!($interface))
                        .then(|| $interface::GuestIndices::new(pre))
                        .transpose()?,)+
                    settings: exported("settings")
                        .then(|| settings::GuestIndices::new(pre))
                        .transpose()?,
                })
            }

            pub(super) fn hooks(&self) -> Vec<Hook> {
                let mut hooks = vec![];
                $(if self.$interface.is_some() {
                    hooks.push(Hook::$hook);
                })+
                hooks
            }

            /// Checks the type of every exported function against the contract.
            pub(super) fn check_types(
                &self,
                store: &mut Store<State>,
                instance: &Instance,
            ) -> wasmtime::Result<()> {
                $(if let Some(indices) = &self.$interface {
                    indices.load(&mut *store, instance)?;
                })+
                if let Some(indices) = &self.settings {
                    indices.load(&mut *store, instance)?;
                }
                Ok(())
            }
        }

        $(
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
                    store: &mut Store<State>,
                    instance: &Instance,
                    context: &Context,
                ) -> wasmtime::Result<Result<Self::Answer, Stop>> {
                    let $question = self;
                    indices
                        .load(&mut *store, instance)?
                        .call_decide(store, context, $raw)
                }
            }
        )+

        /// Does the same with the types of any hook: `with_hook!(hook, T => expression)`, in which `T`
        /// is the hook's question.
        macro_rules! with_hook {
            ($which:expr, $question_type:ident => $body:expr) => {
                match $which {
                    $($crate::policy::Hook::$hook => {
                        type $question_type = $crate::policy::wit::$interface::Question;
                        $body
                    })+
                }
            };
        }
        pub(super) use with_hook;
    };
}

hooks! {
    ignore Ignore "Which of these versions need no runs?" |question| question;
    advance Advance "What is next for these versions, and what should run?" |question| question;
    review Review "Is this head approved?" |question| question;
    gate Gate "Does this need a run, and may it have one?" |question| &question.0;
    select Select "Which lanes should there be now, and which may land?" |question| question;
    run Run "Which jobs test this?" |question| &question.0;
    triage Triage "Did it pass?" |question| question;
    react React "What should be said or done about this event?" |question| question;
}

impl Hook {
    /// Whether a pipeline of this kind asks it.
    pub fn is_asked_by(self, kind: &str) -> bool {
        match self {
            Hook::Ignore | Hook::Advance => kind == "kernel",
            Hook::Review | Hook::Gate | Hook::Select | Hook::React => kind == "merge",
            Hook::Run | Hook::Triage => kind == "merge" || kind == "kernel",
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
#[error("there is no hook `{0}`; there are {all}", all = Hook::ALL.map(Hook::name).join(", "))]
pub struct UnknownHook(pub String);

impl FromStr for Hook {
    type Err = UnknownHook;

    fn from_str(name: &str) -> Result<Hook, UnknownHook> {
        let found = Hook::ALL.into_iter().find(|hook| hook.name() == name);
        found.ok_or_else(|| UnknownHook(name.to_owned()))
    }
}

/// The name of an interface as a component exports it: `pointsman:policy/ignore@0.1.0`.
pub(super) fn full_name(interface: &str) -> String {
    format!("{CONTRACT_PACKAGE}/{interface}@{CONTRACT_VERSION}")
}
