//! Plugins in this very process: what the author's tools run on. The runtime is the server's own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use pointsman_host::policy::{
    COMPILE_DEADLINE, Compiler, Plugin, Rejection, Runtime, RuntimeConfig,
};

use crate::error::Error;

/// This very program, even after its file was replaced by a newer one.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// Calls at once, and thus threads of a replay.
pub(crate) const CALLS_AT_ONCE: u32 = 8;

/// Loads plugins, with a cache of its own for what was compiled.
pub(crate) struct Local {
    runtime: Runtime,
    tokio: tokio::runtime::Runtime,
}

impl Local {
    pub(crate) fn new() -> Result<Local, Error> {
        let config = RuntimeConfig {
            compiler: Compiler::Child {
                command: vec![
                    OsString::from(THIS_PROGRAM),
                    OsString::from("__compile-plugin"),
                ],
                deadline: COMPILE_DEADLINE,
            },
            cache_dir: cache_dir(),
            calls_at_once: CALLS_AT_ONCE,
        };
        let runtime = Runtime::new(config)
            .map_err(|error| Error::failed(format!("cannot run plugins here: {error:#}")))?;
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::failed(format!("cannot start threads: {error}")))?;
        Ok(Local { runtime, tokio })
    }

    /// Which engine this is.
    pub(crate) fn engine(&self) -> &str {
        self.runtime.engine_fingerprint()
    }

    /// Loads a component as the server would.
    pub(crate) fn load(&self, wasm: Vec<u8>) -> Result<Plugin, Rejection> {
        self.tokio.block_on(self.runtime.load(wasm.into()))
    }

    /// Loads a file, and says what is wrong with it in the server's words.
    pub(crate) fn load_file(&self, file: &Path) -> Result<Plugin, Error> {
        self.load(read(file)?).map_err(|rejection| {
            Error::hinted(format!("{}: {rejection}", file.display()), rejection.hint())
        })
    }
}

/// The bytes of a component.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file)
        .map_err(|error| Error::failed(format!("cannot read {}: {error}", file.display())))
}

/// Where compiled plugins of this user's tools are kept; without a home they are compiled each time.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("pointsman/plugins"))
}
