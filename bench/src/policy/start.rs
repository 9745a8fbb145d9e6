//! The start of a host whose cache holds 50 plugins: from its process until it answers, and until all that
//! can be bound is loaded; and the loading of all 50.

use std::time::Instant;

use anyhow::ensure;
use pointsman_host::policy::{Compiler, Runtime, RuntimeConfig};

use super::Amount;
use super::site::{Site, another_build, guest};
use crate::fill;
use crate::ignore::wasm;
use crate::lab::Lab;
use crate::report::{Target, list, median, ms, note, progress, ratio};
use crate::sweep::until_idle;

/// Places in the chain of a hook.
const CHAIN: usize = 16;
/// Starts that are measured.
const STARTS: usize = 5;

pub(super) async fn run(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    let mut site = Site::new(lab, "start", 1, 10, 10).await?;
    let kinds = [
        (Some("ignore"), "ignore-patterns", wasm("ignore-patterns")?),
        (Some("advance"), "kernel-ladder", wasm("kernel-ladder")?),
        (None, "bench-review", guest("bench-review")?),
    ];
    let mut builds = vec![];
    let mut bound = 0;
    for n in 0..amount.plugins {
        progress(format!(
            "start-50: compiling {} of {}",
            n + 1,
            amount.plugins
        ));
        // As many of each hook as a chain has places, and others that are bound nowhere.
        let (hook, name, wasm) = &kinds[(n / CHAIN).min(2)];
        let build = another_build(wasm.clone(), n);
        let digest = site.upload(name, &build).await?;
        if let Some(hook) = hook {
            site.bind(hook, n % CHAIN, &digest).await?;
            bound += 1;
        }
        builds.push(build);
    }
    site.until_idle().await?;
    let Site {
        url, name, host, ..
    } = site;
    host.stop().await?;

    let cache = lab.dir().join(format!("host-{name}")).join("plugins");
    let (mut ready, mut decided, mut loaded) = (vec![], vec![], vec![]);
    for start in 0..STARTS {
        progress(format!("start-50: start {} of {STARTS}", start + 1));
        // Something to decide, so that the first turn loads what is bound.
        let sql = format!(
            "begin; select generation_start('Versions', 'bench');
             insert into kernel_version (distro_id, version, state_id)
               select d.id, '7.0.{start}-1-generic', s.id from distro d, kernel_state s order by s.rank limit 1;
             commit"
        );
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await?;
        fill::run(&mut connection, &sql).await?;
        let newest = "select coalesce(max(id), 0) from decision";
        let before: i64 = sqlx::query_scalar(newest)
            .fetch_one(&mut connection)
            .await?;
        let began = Instant::now();
        let host = lab.host(&name, &url).await?;
        let mut client = host.client().await?;
        let request = client.request("GET", "/readyz", "", b"");
        let status = client.send(&request).await?.status;
        ready.push(ms(began.elapsed()));
        ensure!(status == 200, "the host is not ready: {status}");
        until_idle(&mut client).await?;
        decided.push(ms(began.elapsed()));
        let after: i64 = sqlx::query_scalar(newest)
            .fetch_one(&mut connection)
            .await?;
        ensure!(after > before, "the first turn decided nothing");
        host.stop().await?;

        // What a host does that has all of them bound.
        let began = Instant::now();
        let runtime = Runtime::new(RuntimeConfig {
            compiler: Compiler::InProcess,
            cache_dir: Some(cache.clone()),
            calls_at_once: pointsman_host::policy::DEFAULT_CALLS_AT_ONCE,
        })?;
        let mut plugins = vec![];
        for build in &builds {
            let plugin = runtime.load(build.clone().into()).await;
            plugins.push(plugin.map_err(|rejection| anyhow::anyhow!("{rejection}"))?);
        }
        loaded.push(ms(began.elapsed()));
    }
    note(format!(
        "start-50: {} plugins in the cache, {bound} of them bound; medians of {STARTS} starts: the process answers after {:.0} ms, has loaded all that is bound and decided after {:.0} ms; loading all {} takes {:.0} ms ({})",
        amount.plugins,
        median(ready.clone()),
        median(decided.clone()),
        amount.plugins,
        median(loaded.clone()),
        list(&loaded)
    ));
    let together: Vec<f64> = ready
        .iter()
        .zip(&loaded)
        .map(|(a, b)| (a + b) / 1e3)
        .collect();
    note(
        "start-50: in seconds, until it answers and the loading of all of them one after the other",
    );
    ratio("start-50", median(together), Target::AtMost(1.0));
    ratio(
        "start-50-decided",
        median(decided) / 1e3,
        Target::AtMost(1.0),
    );
    Ok(())
}
