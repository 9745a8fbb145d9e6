//! What the parts have in common: guests, and a host with versions and stock plugins.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::fill::{self, distro_name, version_name};
use crate::http::Client;
use crate::ignore;
use crate::lab::{Host, Lab};
use crate::sweep::until_idle;

/// Versions in one request.
const BATCH: usize = 10_000;

/// wasmtime's error is no `std` error; its whole chain is kept as text.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
pub(super) fn wasmtime_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// A guest of the benchmarks, from where `cargo xtask bench` puts them.
pub(super) fn guest(name: &str) -> anyhow::Result<Vec<u8>> {
    let dir = std::env::var_os("POINTSMAN_BENCH_GUESTS")
        .map_or_else(|| PathBuf::from("target/bench-guests"), PathBuf::from);
    let file = dir.join(format!("{name}.wasm"));
    std::fs::read(&file).with_context(|| {
        format!(
            "cannot read {}; `cargo xtask bench policy` builds it",
            file.display()
        )
    })
}

/// The same component with another digest: a section that nothing reads.
pub(super) fn another_build(mut wasm: Vec<u8>, n: usize) -> Vec<u8> {
    let name = format!("build-{n:04}");
    wasm.extend([0, name.len() as u8 + 1, name.len() as u8]);
    wasm.extend(name.as_bytes());
    wasm
}

/// A host with distros, versions and ignore patterns, and nothing bound.
pub(super) struct Site {
    pub(super) url: String,
    pub(super) name: String,
    pub(super) host: Host,
    pub(super) client: Client,
}

impl Site {
    pub(super) async fn new(
        lab: &Lab,
        name: &str,
        distros: u64,
        versions: u64,
        patterns: usize,
    ) -> anyhow::Result<Self> {
        let url = lab.database(name).await?;
        let mut connection = PgConnection::connect(&url).await?;
        fill::run(
            &mut connection,
            &format!(
                "begin; select generation_start('Distros', 'bench');
                 insert into distro (name, variant)
                   select 'distro-' || to_char(n, 'FM00'), 'DISTRO' || n from generate_series(0, {distros} - 1) n order by n;
                 commit"
            ),
        )
        .await?;
        let host = lab.host(name, &url).await?;
        let mut client = host.client().await?;
        let kernels: Vec<Value> = (0..distros * versions)
            .map(|n| json!({"distro": distro_name(n % distros), "version": version_name(n / distros)}))
            .collect();
        for kernels in kernels.chunks(BATCH) {
            let body = json!({"comment": "bench", "kernels": kernels});
            client.post("POST", "/v1/kernels", &body).await?;
        }
        let ignores: Vec<Value> = ignore::patterns()
            .into_iter()
            .take(patterns)
            // One that matches something even where there are few versions.
            .chain((patterns > 0).then(|| ("like", "%-cloud-amd64".to_owned())))
            .map(|(kind, pattern)| json!({"kind": kind, "pattern": pattern, "reason": "Bench."}))
            .collect();
        if !ignores.is_empty() {
            let body = json!({"comment": "bench", "ignores": ignores});
            client.post("POST", "/v1/ignores", &body).await?;
        }
        until_idle(&mut client).await?;
        Ok(Self {
            url,
            name: name.to_owned(),
            host,
            client,
        })
    }

    /// A connection to its database.
    pub(super) async fn database(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.url).await?)
    }

    /// Uploads a component; gives its digest.
    pub(super) async fn upload(&mut self, name: &str, wasm: &[u8]) -> anyhow::Result<String> {
        let path = format!("/v1/plugins?name={name}");
        let request = self.client.request("POST", &path, "application/wasm", wasm);
        let uploaded = self.client.json(&request, &path).await?;
        let digest = uploaded["plugin"]["digest"].as_str();
        Ok(digest.context("a digest")?.to_owned())
    }

    /// Binds a version.
    pub(super) async fn bind(
        &mut self,
        hook: &str,
        position: usize,
        digest: &str,
    ) -> anyhow::Result<()> {
        let path = format!("/v1/pipelines/kernels/bindings/{hook}/{position}");
        let body = json!({"digest": digest, "settings": {}});
        self.client.post("PUT", &path, &body).await?;
        Ok(())
    }

    /// Binds the stock plugins, and waits until they have decided about everything.
    pub(super) async fn bind_stock(&mut self) -> anyhow::Result<()> {
        for (hook, name) in [("ignore", "ignore-patterns"), ("advance", "kernel-ladder")] {
            let digest = self.upload(name, &ignore::wasm(name)?).await?;
            self.bind(hook, 0, &digest).await?;
        }
        self.until_idle().await
    }

    /// Waits until all that is committed is decided.
    pub(super) async fn until_idle(&mut self) -> anyhow::Result<()> {
        until_idle(&mut self.client).await
    }
}
