//! Why a file was not taken as a plugin.

/// Why a file was not taken as a plugin. Nothing of it was run, except where it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Larger than [`MAX_COMPONENT_BYTES`](super::MAX_COMPONENT_BYTES).
    #[error("the file has {bytes} bytes; a plugin has at most {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// No WebAssembly at all.
    #[error("the file is not WebAssembly: {found}")]
    NotWasm {
        /// What it looks like.
        found: String,
    },
    /// A core module, which is what compilers make before it is wrapped.
    #[error("the file is a WebAssembly core module, and a plugin is a component")]
    CoreModule,
    /// A component that breaks the rules of the format.
    #[error("the component is malformed at byte {offset}: {detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
        /// Where.
        offset: u64,
    },
    /// It imports something that is more than types of the contract.
    #[error(
        "the component imports `{import}` ({what}), and a plugin may import nothing but types of the contract and what WASI 0.2 has for commands"
    )]
    Import {
        /// The name of the first such import.
        import: String,
        /// What kind of thing it is.
        what: String,
    },
    /// It belongs to another version of the contract.
    #[error(
        "the component exports `{export}`, and this host speaks version {supported} of the contract"
    )]
    ContractVersion {
        /// The name of the export.
        export: String,
        /// The version that this host speaks.
        supported: &'static str,
    },
    /// It exports no hook.
    #[error("the component exports no hook; it exports {}", list(.exports))]
    NoHook {
        /// What it does export.
        exports: Vec<String>,
    },
    /// It exports a hook with other types than the contract's.
    #[error("the component's functions do not fit the contract: {detail}")]
    WrongTypes {
        /// The first difference.
        detail: String,
    },
    /// The compiler refuses it.
    #[error("the component does not compile: {detail}")]
    DoesNotCompile {
        /// The compiler's own words.
        detail: String,
    },
    /// Compiling takes too long.
    #[error("compiling the component took longer than {limit_secs} s")]
    CompileTooSlow {
        /// The limit.
        limit_secs: u64,
    },
    /// Compiling takes too much memory, or gives too much code.
    #[error("compiling the component needs too much memory: {detail}")]
    CompileTooBig {
        /// Which limit was passed.
        detail: String,
    },
    /// An instance cannot be made: a trap in a start function, too much memory. The start functions
    /// were run, within the limits of a call.
    #[error("the component does not start: {detail}")]
    DoesNotStart {
        /// The outcome's detail.
        detail: String,
    },
    /// This host could not do its part; the plugin may be fine.
    #[error("this host could not load the plugin: {detail}")]
    HostFailed {
        /// The cause, for operators.
        detail: String,
    },
}

impl Rejection {
    /// A stable code, for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::TooLarge { .. } => "plugin.too-large",
            Rejection::NotWasm { .. } => "plugin.not-wasm",
            Rejection::CoreModule => "plugin.core-module",
            Rejection::Malformed { .. } => "plugin.malformed",
            Rejection::Import { .. } => "plugin.import",
            Rejection::ContractVersion { .. } => "plugin.contract-version",
            Rejection::NoHook { .. } => "plugin.no-hook",
            Rejection::WrongTypes { .. } => "plugin.wrong-types",
            Rejection::DoesNotCompile { .. } => "plugin.does-not-compile",
            Rejection::CompileTooSlow { .. } => "plugin.compile-too-slow",
            Rejection::CompileTooBig { .. } => "plugin.compile-too-big",
            Rejection::DoesNotStart { .. } => "plugin.does-not-start",
            Rejection::HostFailed { .. } => "plugin.host-failed",
        }
    }

    /// Whether the plugin is to blame; if not, trying again can help.
    pub fn is_plugins_fault(&self) -> bool {
        !matches!(self, Rejection::HostFailed { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Rejection::TooLarge { .. } => {
                "strip debug information: build with `--release`, or run `wasm-tools strip`".into()
            }
            Rejection::NotWasm { .. } => {
                "give the `.wasm` component that the build of the plugin made".into()
            }
            Rejection::CoreModule => "wrap it with `wasm-tools component new`, or with the \
                `wit-component` library as the stock plugins are built"
                .into(),
            Rejection::Malformed { .. } => {
                "look at it with `wasm-tools validate`; was the file cut short?".into()
            }
            Rejection::Import { import, .. } => import_hint(import),
            Rejection::ContractVersion { supported, .. } => {
                format!("build the plugin against version {supported} of `wit/`")
            }
            Rejection::NoHook { .. } => format!(
                "export one hook or more: {}",
                super::Hook::ALL.map(|hook| format!("`{}`", super::hook::full_name(hook.name()))).join(", ")
            ),
            Rejection::WrongTypes { .. } => {
                "build it against the released files in `wit/`, unchanged".into()
            }
            Rejection::DoesNotCompile { .. } => {
                "this host runs WebAssembly 2.0 without threads, 64-bit memories and several memories \
                 in a module; build for `wasm32-unknown-unknown`"
                    .into()
            }
            Rejection::CompileTooSlow { .. } | Rejection::CompileTooBig { .. } => {
                "make it smaller: optimise for size, and drop what is not used".into()
            }
            Rejection::DoesNotStart { .. } => {
                "look at what runs before the hook is called: static initialisers, start functions"
                    .into()
            }
            Rejection::HostFailed { .. } => "see the server's log, then try again".into(),
        }
    }
}

fn import_hint(import: &str) -> String {
    if import.starts_with("wasi:") {
        "of WASI a policy is given `wasi:cli`, `clocks`, `filesystem`, `io`, `random` and `sockets` of \
         version 0.2, with nothing behind them; build it without the rest: in Rust for \
         `wasm32-unknown-unknown`"
            .into()
    } else {
        "take it out: everything that a policy may know comes with the question".into()
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join(", ")
    }
}
