//! Waits until the pipeline has decided about everything that was just written.

use std::thread;
use std::time::{Duration, Instant};

use pointsman_api::pipeline::Pipeline;

use crate::client::Client;
use crate::error::Error;
use crate::progress::Progress;
use crate::verbs::up::plugins::PIPELINE;

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long it may go on without any visible progress. A first call of a plugin on a slow machine
/// takes seconds; a record of a million versions takes minutes, and shows progress meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// The pipeline once it is idle, or once it is clear that it will not be: paused, or held.
pub(super) fn wait(client: &Client, progress: &Progress) -> Result<Pipeline, Error> {
    let mut since = Instant::now();
    let mut last = None;
    loop {
        let pipeline: Pipeline = client.get(&client.at(&["pipelines", PIPELINE]))?;
        if pipeline.idle || pipeline.paused.is_some() || pipeline.held.is_some() {
            return Ok(pipeline);
        }
        let now = (pipeline.turns, pipeline.pending);
        if last != Some(now) {
            last = Some(now);
            since = Instant::now();
            progress.detail(|| {
                format!(
                    "waiting until the policies have decided: {} versions to look at",
                    pipeline.pending
                )
            });
        }
        if since.elapsed() > PATIENCE {
            return Err(Error::hinted(
                format!(
                    "nothing moved for {} s, and the pipeline is still not done",
                    PATIENCE.as_secs()
                ),
                "`pointsman pipeline show kernels` says how far it is; it goes on by itself",
            ));
        }
        thread::sleep(INTERVAL);
    }
}
