//! The one configuration of wasmtime, for the process that runs plugins and for the child that
//! compiles them.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel};
use wasmtime::{PoolingAllocationConfig, WasmBacktraceDetails};

use super::limits::{
    MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS, MAX_TABLES,
};

/// How often the wall-clock guard looks. A deadline is late by at most one tick, and a tick costs a
/// wake-up of one thread.
pub(super) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Stack of a guest. Recursive descent in an interpreter (JavaScript, Python) needs more than
/// wasmtime's 512 KiB, and the threads that call have 2 MiB.
const MAX_WASM_STACK_BYTES: usize = 1024 * 1024;

/// Stack that a thread needs to call a plugin: the guest's, and as much again for the host's frames.
/// It is what Rust and tokio give a thread by default.
pub const CALL_STACK_BYTES: usize = 2 * MAX_WASM_STACK_BYTES;

/// Bytes of a linear memory that stay mapped in the pool between two calls and are zeroed by hand: for
/// most policies all that they touch, so that a call does no `madvise` and takes no page fault. It
/// bounds the pool's idle memory to this many bytes a slot.
const KEEP_RESIDENT_BYTES: usize = 256 * 1024;

/// The same for a table; a Rust policy has some hundred elements of 8 bytes. Without it each call of
/// the stock policies took twice as long.
const TABLE_KEEP_RESIDENT_BYTES: usize = 16 * 1024;

/// The settings that make code what it is: the compiling child and the running host must agree.
fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        // The same question must get the same bytes, on any processor.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_simd(true)
        // A memory of 32 bits is all that the toolchains make.
        .wasm_memory64(false)
        // A module may use several, as wasmtime's own do that stand between the parts of a component
        // that is composed of others (every JavaScript plugin): without it such a component crashes the
        // compiler. It may define one of them: more, the pool does not hold.
        .wasm_multi_memory(true)
        // No async, so no state for it in every store.
        .concurrency_support(false)
        // Names of functions come from the name section. Lines would come from DWARF, which is a
        // large parser to let a guest feed.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .cranelift_opt_level(OptLevel::Speed);
    config
}

/// An engine that runs plugins, at most `calls` of them at once.
pub(super) fn running(calls: u32) -> anyhow::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(MAX_CORE_INSTANCES))
        .total_memories(calls.saturating_mul(MAX_MEMORIES))
        .total_tables(calls.saturating_mul(MAX_TABLES))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .max_memory_size(MAX_MEMORY_BYTES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes);
    } else {
        tracing::info!(
            "this kernel lacks PAGEMAP_SCAN (Linux 6.7 has it): plugin calls take some 10 us longer"
        );
    }
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).map_err(|error| into_anyhow(&error)).with_context(|| {
        format!(
            "cannot set up the pool for {calls} plugin calls at once; it reserves address space \
             (not memory), so lift `ulimit -v` or allow fewer calls at once"
        )
    })?;
    tick(&engine)?;
    Ok(engine)
}

/// An engine that only compiles: no pool, no ticker, hardly any address space.
pub(super) fn compiling() -> anyhow::Result<Engine> {
    Engine::new(&config())
        .map_err(|error| into_anyhow(&error))
        .context("cannot set up the compiler")
}

/// Says which engine a plugin ran on: `wasmtime-48-1f0c...`. Artifacts and fuel can be compared only
/// where it is the same. It covers the version, the settings and the features of the processor.
pub(super) fn fingerprint(engine: &Engine) -> String {
    let mut hasher = StableHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    MAX_WASM_STACK_BYTES.hash(&mut hasher);
    let digest = hex::encode(hasher.0.finalize());
    format!("wasmtime-{}-{}", WASMTIME_MAJOR, &digest[..16])
}

/// For people; the hash holds the exact version.
const WASMTIME_MAJOR: u32 = 48;

/// The hash's own bytes, so that a fingerprint means the same after an upgrade of Rust.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// Starts the wall clock of the engine. The thread lives until the last plugin of the engine is gone.
fn tick(engine: &Engine) -> anyhow::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("policy-clock".into())
        .spawn(move || {
            loop {
                std::thread::sleep(EPOCH_TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .context("cannot start the clock thread of the policy runtime")?;
    Ok(())
}

/// wasmtime's error is no `std` error; its whole chain is kept as text.
pub(super) fn into_anyhow(error: &wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}
