//! How a policy becomes the exports of a component.

use crate::bindings::shared::pointsman::policy::types;
use crate::bindings::{advance, ignore, settings};
use crate::{Advance, Context, Ignore, Policy, Problem, Stop};

impl<P: Ignore> ignore::exports::pointsman::policy::ignore::Guest for P {
    fn decide(
        context: types::Context,
        question: crate::ignore::Question,
    ) -> Result<crate::ignore::Answer, Stop> {
        P::ignore(&Context::from_wire(context)?, question)
    }
}

impl<P: Advance> advance::exports::pointsman::policy::advance::Guest for P {
    fn decide(
        context: types::Context,
        question: crate::advance::Question,
    ) -> Result<crate::advance::Answer, Stop> {
        P::advance(&Context::from_wire(context)?, question)
    }
}

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
/// It names the type and what it exports, at least one of `ignore`, `advance` and `settings`. The host
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
    ($policy:ident settings) => {
        const _: () = $crate::hold::settings::<$policy>();
        #[cfg(target_family = "wasm")]
        $crate::bindings::settings::export_settings!($policy with_types_in $crate::bindings::settings);
    };
    ($policy:ident $other:ident) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($other), "` is not a hook: there are `ignore`, `advance` and `settings`"
        ));
    };
}

/// That a type has a hook.
pub mod hold {
    use crate::{Advance, Ignore, Policy};

    /// It answers `ignore`.
    pub const fn ignore<P: Ignore>() {}

    /// It answers `advance`.
    pub const fn advance<P: Advance>() {}

    /// It has settings.
    pub const fn settings<P: Policy>() {}
}
