//! The policy runtime: loads plugins and calls them. The only code that touches wasmtime.
//!
//! A plugin is a component of `wit/` that imports nothing, or WASI with nothing behind it (`wasi`). [`Runtime::load`] looks at the file, compiles
//! it in a limited child process ([`Compiler`]), keeps the artifact on the node, and gives a [`Plugin`].
//! Each call of a plugin gets a fresh instance with limits of its own ([`CallLimits`]), is deterministic,
//! and ends in exactly one [`Outcome`]: nothing that a plugin does is an error of the server.
//!
//! A call is synchronous and takes some microseconds where the policy is small; see [`Plugin::ask`].

mod cache;
mod compile;
mod engine;
mod evaluate;
mod hook;
mod inspect;
mod limits;
mod outcome;
mod plugin;
mod rejection;
#[cfg(test)]
mod tests;
mod wasi;
pub mod wit;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

pub use compile::{COMPILE_DEADLINE, Compiler, compile_child_main};
pub use engine::CALL_STACK_BYTES;
pub use evaluate::{Decided, Ending, FACT_ROUNDS, Facts, MAX_QUERIES, NoFacts, Recorded, unknown};
pub use hook::{Asks, Hook, UnknownHook};
pub use inspect::MAX_COMPONENT_BYTES;
pub use limits::{
    ADVANCE_FUEL, CALL_ANSWER_BYTES, CALL_DEADLINE, CALL_MEMORY_BYTES, CallLimits, IGNORE_FUEL,
    MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS, SELECT_FUEL, SETTINGS_FUEL, SUBJECT_FUEL, TRIAGE_FUEL,
};
pub use outcome::{Called, Outcome};
pub use plugin::Plugin;
pub use rejection::Rejection;
pub use wasi::LOG_BYTES;

use cache::Cache;
use plugin::Loaded;
use wasi::State;

/// Plugin calls in flight at once. One pipeline makes one at a time, so this covers a host's share of
/// many pipelines; each costs 8 GiB of address space, and memory only while it runs.
pub const DEFAULT_CALLS_AT_ONCE: u32 = 64;

/// Compilations at once. They take seconds of a core each, and calls and requests go first.
const COMPILATIONS_AT_ONCE: usize = 1;

/// Plugins that stay loaded though nobody uses them: the last that were loaded, so that a binding that is
/// swapped back, or checked and then swapped in, is in force at once. A Rust plugin has some megabytes.
const KEPT_LOADED: usize = 8;

/// How a [`Runtime`] is set up.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// How components are compiled.
    pub compiler: Compiler,
    /// A directory for compiled plugins, made where it is missing, for this user alone; `None` compiles
    /// at every start.
    pub cache_dir: Option<PathBuf>,
    /// Plugin calls in flight at once; one more is answered with [`Outcome::Busy`].
    pub calls_at_once: u32,
}

/// Loads plugins. A clone is the same runtime.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    fingerprint: String,
    compiler: Compiler,
    compilations: Semaphore,
    cache: Option<Cache>,
    plugins: Mutex<HashMap<String, Slot>>,
    /// The newest last.
    kept: Mutex<VecDeque<Plugin>>,
}

/// One digest: who loads it holds the lock, so it is compiled once however many ask.
type Slot = Arc<tokio::sync::Mutex<Weak<Loaded>>>;

impl Runtime {
    /// Sets up the engine, its pool and its clock, and opens the cache.
    ///
    /// # Errors
    /// The address space for the pool cannot be had, or the cache directory cannot be used.
    pub fn new(config: RuntimeConfig) -> anyhow::Result<Runtime> {
        let engine = engine::running(config.calls_at_once)?;
        let fingerprint = engine::fingerprint(&engine);
        let mut linker = Linker::new(&engine);
        wasi::add_to_linker(&mut linker).map_err(|error| engine::into_anyhow(&error))?;
        let cache = config
            .cache_dir
            .map(|dir| Cache::open(&dir, &fingerprint))
            .transpose()?;
        Ok(Runtime(Arc::new(Inner {
            linker,
            engine,
            fingerprint,
            compiler: config.compiler,
            compilations: Semaphore::new(COMPILATIONS_AT_ONCE),
            cache,
            plugins: Mutex::default(),
            kept: Mutex::default(),
        })))
    }

    /// Which engine this is: version, settings, processor. Artifacts and fuel are comparable only
    /// where it is the same.
    pub fn engine_fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The plugin of this digest, if it is loaded: its wasm need not be looked at again.
    pub fn loaded(&self, digest: &str) -> Option<Plugin> {
        let plugins = lock(&self.0.plugins);
        let loaded = plugins.get(digest)?.try_lock().ok()?.upgrade()?;
        Some(Plugin(loaded))
    }

    /// Loads a component: from memory if it is loaded, from the cache if it was compiled before, and
    /// else by compiling it, which can take seconds.
    ///
    /// # Errors
    /// See [`Rejection`]. A file that is refused leaves nothing behind.
    pub async fn load(&self, wasm: Bytes) -> Result<Plugin, Rejection> {
        let bytes = wasm.clone();
        let digest = self
            .blocking(move |_| {
                inspect::inspect(&bytes)?;
                Ok(hex::encode(Sha256::digest(&bytes)))
            })
            .await?;
        let slot = self.slot(&digest);
        let mut loaded = slot.lock().await;
        if let Some(loaded) = loaded.upgrade() {
            return Ok(Plugin(loaded));
        }
        let plugin = self.load_new(wasm, digest).await?;
        *loaded = Arc::downgrade(&plugin.0);
        let mut kept = lock(&self.0.kept);
        kept.push_back(plugin.clone());
        while kept.len() > KEPT_LOADED {
            kept.pop_front();
        }
        Ok(plugin)
    }

    async fn load_new(&self, wasm: Bytes, digest: String) -> Result<Plugin, Rejection> {
        let key = digest.clone();
        let cached = self.blocking(move |inner| Ok(inner.cached(&key))).await?;
        let component = match cached {
            Some(component) => component,
            None => {
                let artifact = {
                    // Closed never, so this only waits.
                    let _turn = self.0.compilations.acquire().await;
                    self.0.compiler.compile(&self.0.engine, wasm).await?
                };
                let key = digest.clone();
                self.blocking(move |inner| inner.take_in(&key, &artifact))
                    .await?
            }
        };
        self.blocking(move |inner| Plugin::link(&inner.linker, &component, digest))
            .await
    }

    /// The slot of a digest. Slots of plugins that nobody holds are dropped on the way.
    fn slot(&self, digest: &str) -> Slot {
        let mut plugins = lock(&self.0.plugins);
        plugins.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|held| held.strong_count() > 0)
        });
        plugins.entry(digest.to_owned()).or_default().clone()
    }

    /// Runs what takes long, or touches files, off the async threads.
    async fn blocking<A: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<A, Rejection> + Send + 'static,
    ) -> Result<A, Rejection> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|error| {
                Err(Rejection::HostFailed {
                    detail: format!("loading it crashed: {error}"),
                })
            })
    }
}

/// What is locked is never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// The component of this digest from the cache.
    fn cached(&self, digest: &str) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let artifact = cache.get(digest)?;
        match self.deserialize(&artifact) {
            Ok(component) => Some(component),
            Err(error) => {
                cache.discard(digest, &format!("{error:#}"));
                None
            }
        }
    }

    /// Takes what the compiler made, and keeps it in the cache once it is known to load.
    fn take_in(&self, digest: &str, artifact: &[u8]) -> Result<Component, Rejection> {
        let component = self.deserialize(artifact).map_err(|error| {
            // The compiler knows wasm's limits, the pool the host's (tables, memories, instances).
            Rejection::DoesNotCompile {
                detail: format!("{error:#}"),
            }
        })?;
        if let Some(cache) = &self.cache {
            cache.put(digest, artifact);
        }
        Ok(component)
    }

    #[expect(unsafe_code, reason = "native code has no safe way in")]
    fn deserialize(&self, artifact: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: an artifact is native code, and sound if it is what `precompile_component` made and
        // nobody changed it since. There are two ways to here: the bytes were read from the pipe of
        // our own compiling child a moment ago; or they come from a file that this node sealed, under
        // a secret that only this user can read, after it came that way, and the seal was found
        // unbroken. wasmtime itself checks that version and settings are those of this engine.
        unsafe { Component::deserialize(&self.engine, artifact) }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("engine", &self.0.fingerprint)
            .finish_non_exhaustive()
    }
}
