//! How a policy becomes the exports of a component.

use crate::bindings::shared::pointsman::policy::types;
use crate::bindings::{advance, gate, ignore, react, review, run, select, settings, triage};
use crate::{
    Advance, Context, Gate, Ignore, Policy, Problem, React, Review, Run, Select, Stop, Triage,
};

macro_rules! guest {
    ($module:ident, $hook:ident, $question:ty) => {
        impl<P: $hook> $module::exports::pointsman::policy::$module::Guest for P {
            fn decide(
                context: types::Context,
                question: $question,
            ) -> Result<crate::$module::Answer, Stop> {
                P::$module(&Context::from_wire(context)?, question)
            }
        }
    };
}

guest!(ignore, Ignore, crate::ignore::Question);
guest!(advance, Advance, crate::advance::Question);
guest!(review, Review, crate::review::Question);
guest!(gate, Gate, types::Work);
guest!(select, Select, crate::select::Question);
guest!(run, Run, types::Work);
guest!(triage, Triage, crate::triage::Question);
guest!(react, React, crate::react::Question);

impl<P: Policy> settings::exports::pointsman::policy::settings::Guest for P {
    fn schema() -> String {
        crate::settings_schema::<P>()
    }

    fn check(settings: String) -> Result<(), Vec<Problem>> {
        crate::check_settings::<P>(&settings)
    }
}

/// Makes the hooks of a policy the exports of the component that this crate becomes:
/// `export!(MyPolicy: ignore, settings)`.
///
/// It names the type and what it exports, at least one of the hooks, and `settings`. The host
/// takes a component for exactly what it exports, so a hook that is implemented and not named is not
/// there. It is written once, at the top of `lib.rs` or below the type.
#[macro_export]
macro_rules! export {
    ($policy:ident: $($hook:ident),+ $(,)?) => {
        $( $crate::__export_hook!($policy $hook); )+
    };
}

// Off WebAssembly the symbols are left out, as `@` in their names means something else to other
// linkers; that the policy has the hook is checked all the same.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($policy:ident ignore) => {
        const _: () = $crate::hold::ignore::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::ignore::export_ignore!($policy with_types_in $crate::bindings::ignore);
    };
    ($policy:ident advance) => {
        const _: () = $crate::hold::advance::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::advance::export_advance!($policy with_types_in $crate::bindings::advance);
    };
    ($policy:ident review) => {
        const _: () = $crate::hold::review::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::review::export_review!($policy with_types_in $crate::bindings::review);
    };
    ($policy:ident gate) => {
        const _: () = $crate::hold::gate::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::gate::export_gate!($policy with_types_in $crate::bindings::gate);
    };
    ($policy:ident select) => {
        const _: () = $crate::hold::select::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::select::export_select!($policy with_types_in $crate::bindings::select);
    };
    ($policy:ident run) => {
        const _: () = $crate::hold::run::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::run::export_run!($policy with_types_in $crate::bindings::run);
    };
    ($policy:ident triage) => {
        const _: () = $crate::hold::triage::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::triage::export_triage!($policy with_types_in $crate::bindings::triage);
    };
    ($policy:ident react) => {
        const _: () = $crate::hold::react::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::react::export_react!($policy with_types_in $crate::bindings::react);
    };
    ($policy:ident settings) => {
        const _: () = $crate::hold::settings::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::settings::export_settings!($policy with_types_in $crate::bindings::settings);
    };
    ($policy:ident $other:ident) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($other), "` is not a hook: there are `ignore`, `advance`, `review`, `gate`, `select`, `run`, `triage`, `react`, and `settings`"
        ));
    };
}

/// That a type has a hook.
pub mod hold {
    use crate::{Advance, Gate, Ignore, Policy, React, Review, Run, Select, Triage};

    /// It answers `ignore`.
    pub const fn ignore<P: Ignore>() {}

    /// It answers `advance`.
    pub const fn advance<P: Advance>() {}

    /// It answers `review`.
    pub const fn review<P: Review>() {}

    /// It answers `gate`.
    pub const fn gate<P: Gate>() {}

    /// It answers `select`.
    pub const fn select<P: Select>() {}

    /// It answers `run`.
    pub const fn run<P: Run>() {}

    /// It answers `triage`.
    pub const fn triage<P: Triage>() {}

    /// It answers `react`.
    pub const fn react<P: React>() {}

    /// It has settings.
    pub const fn settings<P: Policy>() {}
}
