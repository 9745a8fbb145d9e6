//! Guests that misbehave, each in one way, and what becomes of them. They are written in WebAssembly
//! text against the canonical ABI, so that nothing stands between the test and what is tested.

mod cached;
mod calls;
mod guest;
mod loading;
mod wasi;

use std::sync::LazyLock;

use bytes::Bytes;

use super::wit::types::Context;
use super::wit::{advance, ignore};
use super::{CallLimits, Called, Compiler, Hook, Plugin, Rejection, Runtime, RuntimeConfig};

/// One runtime for all tests that need nothing special of it: a pool is made once.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| runtime(in_process()));

fn in_process() -> RuntimeConfig {
    RuntimeConfig {
        compiler: Compiler::InProcess,
        cache_dir: None,
        calls_at_once: 8,
    }
}

fn runtime(config: RuntimeConfig) -> Runtime {
    Runtime::new(config).unwrap()
}

/// Loads on a runtime of tokio that is gone again afterwards: calls are synchronous.
fn load_on(runtime: &Runtime, wasm: Vec<u8>) -> Result<Plugin, Rejection> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(runtime.load(Bytes::from(wasm)))
}

fn load(wasm: Vec<u8>) -> Plugin {
    load_on(&RUNTIME, wasm).unwrap_or_else(|rejection| panic!("{rejection}"))
}

fn refusal(wasm: Vec<u8>) -> Rejection {
    load_on(&RUNTIME, wasm).expect_err("the file was taken")
}

fn limits() -> CallLimits {
    CallLimits {
        fuel: 100_000_000,
        ..CallLimits::of(Hook::Ignore)
    }
}

fn context() -> Context {
    Context {
        pipeline: "kernels".into(),
        at: 1_700_000_000_000,
        seed: 7,
        settings: "{}".into(),
        notes: Vec::new(),
        facts: Vec::new(),
        attrs: Vec::new(),
    }
}

fn question() -> ignore::Question {
    ignore::Question {
        distro: "ubuntu-22.04".into(),
        distro_attrs: vec![("supported".into(), "true".into())],
        rules: Vec::new(),
        names: "5.15.0-57-generic\0".into(),
        versions: vec![ignore::Version {
            first_seen: 1,
            hosts: 2,
        }],
        version_attrs: Vec::new(),
    }
}

/// Asks `ignore` under the limits of the tests.
fn ask(plugin: &Plugin) -> Called<ignore::Answer> {
    plugin.ignore(&limits(), &context(), &question())
}

fn advance_question() -> advance::Question {
    advance::Question {
        distro: "debian-12".into(),
        distro_attrs: Vec::new(),
        stages: Vec::new(),
        kernels: Vec::new(),
        settled: String::new(),
    }
}
