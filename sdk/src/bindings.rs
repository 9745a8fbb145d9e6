//! What `wit-bindgen` makes of the contract: one world a hook, all with the same shared types.
//!
//! A component must export the hooks that it has and no others, so there is no world of all hooks here:
//! [`export!`](crate::export) takes the worlds that a plugin names, and `wit-component` joins them.

pub mod shared {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        inline: "package pointsman:sdk; world shared { import pointsman:policy/types@0.1.0; }",
        additional_derives: [PartialEq, Eq],
        generate_all,
        generate_unused_types: true,
    });
}

macro_rules! world {
    ($module:ident, $world:tt, $macro_name:tt) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../wit/0.1",
                world: $world,
                with: { "pointsman:policy/types@0.1.0": crate::bindings::shared::pointsman::policy::types },
                additional_derives: [PartialEq, Eq],
                pub_export_macro: true,
                export_macro_name: $macro_name,
                disable_run_ctors_once_workaround: true,
            });
        }
    };
}

world!(ignore, "ignore-policy", "export_ignore");
world!(advance, "advance-policy", "export_advance");
world!(review, "review-policy", "export_review");
world!(gate, "gate-policy", "export_gate");
world!(select, "select-policy", "export_select");
world!(run, "run-policy", "export_run");
world!(triage, "triage-policy", "export_triage");
world!(react, "react-policy", "export_react");
world!(settings, "with-settings", "export_settings");
