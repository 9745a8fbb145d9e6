//! The floor of a call: a plain program of wasmtime in the best configuration for many short calls. It
//! has no limits, counts nothing, measures nothing and tells no failures apart.

use pointsman_host::policy::wit::types::{Context, Stop};
use pointsman_host::policy::wit::{advance, ignore, review};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};

use super::site::wasmtime_error;

/// Instances that its pool has room for.
const INSTANCES: u32 = 4;
/// Of a memory, and of a table, what stays mapped between two calls: as the host has it.
const MEMORY_RESIDENT: usize = 256 * 1024;
const TABLE_RESIDENT: usize = 16 * 1024;
/// Stack of a guest, as the host has it.
const STACK: usize = 1024 * 1024;

/// A component, ready to be called.
pub(super) struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
}

impl Bare {
    /// An engine and a pool of its own for this component.
    pub(super) fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(INSTANCES)
            .total_core_instances(4 * INSTANCES)
            .total_memories(INSTANCES)
            .total_tables(2 * INSTANCES)
            .max_memory_size(512 << 20)
            .linear_memory_keep_resident(MEMORY_RESIDENT)
            .table_keep_resident(TABLE_RESIDENT);
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.pagemap_scan(Enabled::Yes);
        }
        let mut config = Config::new();
        config
            .max_wasm_stack(STACK)
            .concurrency_support(false)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).map_err(wasmtime_error)?;
        let component = Component::new(&engine, wasm).map_err(wasmtime_error)?;
        let pre = Linker::new(&engine)
            .instantiate_pre(&component)
            .map_err(wasmtime_error)?;
        Ok(Self { engine, pre })
    }
}

/// A hook of a bare component.
macro_rules! bare {
    ($name:ident, $hook:ident) => {
        pub(super) struct $name {
            bare: Bare,
            indices: $hook::GuestIndices,
        }

        impl $name {
            pub(super) fn new(wasm: &[u8]) -> anyhow::Result<Self> {
                let bare = Bare::new(wasm)?;
                let indices = $hook::GuestIndices::new(&bare.pre).map_err(wasmtime_error)?;
                Ok(Self { bare, indices })
            }

            /// A store, an instance, the call, and all of it down again.
            pub(super) fn call(
                &self,
                context: &Context,
                question: &$hook::Question,
            ) -> anyhow::Result<Result<$hook::Answer, Stop>> {
                let call = || {
                    let mut store = Store::new(&self.bare.engine, ());
                    let instance = self.bare.pre.instantiate(&mut store)?;
                    let guest = self.indices.load(&mut store, &instance)?;
                    guest.call_decide(&mut store, context, question)
                };
                call().map_err(wasmtime_error)
            }
        }
    };
}

bare!(Review, review);
bare!(Ignore, ignore);
bare!(Advance, advance);
