//! The same policy the way Kubewarden's policy server calls one: the request is made JSON, a permit of a
//! semaphore is waited for, a thread for blocking work makes a store and an instance from the default
//! allocator, the guest reads the JSON and writes its answer as JSON, and that is read.
//!
//! Left out, to its favour: WASI (a context for each call there), the callbacks of its host, its traces
//! and metrics. The epoch deadline is on, as it is there; there is no fuel.

use std::sync::Arc;
use std::time::Duration;

use pointsman_host::policy::wit::review::Question;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine, Store};

use super::site::wasmtime_error;

wasmtime::component::bindgen!({
    inline: "package bench:json; world policy { export validate: func(request: string) -> string; }",
});

/// Ticks of the epoch that a call may take, and how long one is.
const DEADLINE_TICKS: u64 = 2;
const TICK: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Request<'a> {
    settings: serde_json::Value,
    request: &'a Question,
}

/// What the guest answers.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) approval: String,
    #[expect(dead_code, reason = "an answer is read whole")]
    wanted: Vec<String>,
    #[expect(dead_code, reason = "an answer is read whole")]
    code: String,
    pub(super) text: String,
}

/// A policy of that kind.
#[derive(Clone)]
pub(super) struct Json(Arc<Inner>);

struct Inner {
    engine: Engine,
    pre: PolicyPre<()>,
    permits: Semaphore,
}

impl Json {
    pub(super) fn new(wasm: &[u8], at_once: usize) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(wasmtime_error)?;
        let component = Component::new(&engine, wasm).map_err(wasmtime_error)?;
        let pre: InstancePre<()> = Linker::new(&engine)
            .instantiate_pre(&component)
            .map_err(wasmtime_error)?;
        let pre = PolicyPre::new(pre).map_err(wasmtime_error)?;
        let ticking = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = ticking.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        });
        Ok(Self(Arc::new(Inner {
            engine,
            pre,
            permits: Semaphore::new(at_once),
        })))
    }

    /// One request.
    pub(super) async fn validate(&self, question: Arc<Question>) -> anyhow::Result<Answer> {
        let _permit = self.0.permits.acquire().await?;
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || inner.call(&question)).await?
    }
}

impl Inner {
    fn call(&self, question: &Question) -> anyhow::Result<Answer> {
        let request = serde_json::to_string(&Request {
            settings: serde_json::json!({}),
            request: question,
        })?;
        let call = || {
            let mut store = Store::new(&self.engine, ());
            store.set_epoch_deadline(DEADLINE_TICKS);
            let policy = self.pre.instantiate(&mut store)?;
            policy.call_validate(&mut store, &request)
        };
        let answer = call().map_err(wasmtime_error)?;
        Ok(serde_json::from_str(&answer)?)
    }
}
