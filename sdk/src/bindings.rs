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

pub mod ignore {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "ignore-policy",
        with: { "pointsman:policy/types@0.1.0": crate::bindings::shared::pointsman::policy::types },
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_ignore",
        disable_run_ctors_once_workaround: true,
    });
}

pub mod advance {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "advance-policy",
        with: { "pointsman:policy/types@0.1.0": crate::bindings::shared::pointsman::policy::types },
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_advance",
        disable_run_ctors_once_workaround: true,
    });
}

pub mod settings {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "with-settings",
        with: { "pointsman:policy/types@0.1.0": crate::bindings::shared::pointsman::policy::types },
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_settings",
        disable_run_ctors_once_workaround: true,
    });
}
