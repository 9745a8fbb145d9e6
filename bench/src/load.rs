//! Load in a closed loop: each connection sends its next request when it has its reply.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::http::Client;
use crate::lab::Host;

/// A small generator of chance, the same in each run (xorshift).
#[derive(Clone, Copy)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or_default()
    }
}

/// Requests a second, where each of `connections` takes one of `paths` by chance.
pub(crate) async fn run(
    host: &Host,
    connections: usize,
    how_long: Duration,
    paths: &[String],
) -> anyhow::Result<f64> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(host.client().await?);
    }
    let began = Instant::now();
    let until = began + how_long;
    let mut tasks = JoinSet::new();
    for (n, mut client) in (1..).zip(clients) {
        let requests: Vec<Vec<u8>> = paths
            .iter()
            .map(|path| client.request("GET", path, "", b""))
            .collect();
        tasks
            .spawn(async move { keep_asking(&mut client, &requests, until, Chance::new(n)).await });
    }
    let mut done = 0;
    while let Some(task) = tasks.join_next().await {
        done += task??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

async fn keep_asking(
    client: &mut Client,
    requests: &[Vec<u8>],
    until: Instant,
    mut chance: Chance,
) -> anyhow::Result<u64> {
    let mut done = 0;
    while Instant::now() < until {
        let reply = client.send(&requests[chance.below(requests.len())]).await?;
        ensure!(
            reply.status == 200,
            "{}: {}",
            reply.status,
            String::from_utf8_lossy(reply.body)
        );
        done += 1;
    }
    Ok(done)
}
