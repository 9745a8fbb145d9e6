//! How long it takes from the end of a command to the bell, and from start to end of one that does
//! nothing. `cargo build --bins -p pointsman-jobs && cargo run --release -p pointsman-jobs --example latency -- target/debug/pointsman-shim`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints figures, and may end if it cannot"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pointsman_jobs::{AttemptId, Local, Spec, State, unix_ms};

const ROUNDS: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let exe = std::env::args_os().nth(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let local = Local::new(folder.path(), exe).unwrap();
    let bell = local.bell().unwrap();
    let (mut made, mut whole, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let id = AttemptId::new(format!("a{round}")).unwrap();
        // The last thing that the command does is to say what time it is.
        let command = ["/bin/sh", "-c", "exec date +%s%N"].map(str::to_owned);
        let begun = Instant::now();
        local
            .start(&id, &Spec::new(command.to_vec(), unix_ms() + 60_000))
            .await
            .unwrap();
        made.push(begun.elapsed());
        while !matches!(local.state(&id).await.unwrap(), State::Ended(_)) {
            bell.next().await.unwrap();
        }
        whole.push(begun.elapsed());
        let heard = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let said = local.read_log(&id, 0, 100).await.unwrap().bytes;
        let said: u64 = String::from_utf8(said).unwrap().trim().parse().unwrap();
        after.push(heard.saturating_sub(Duration::from_nanos(said)));
    }
    for (what, mut times) in [
        ("start returns", made),
        ("start to end known", whole),
        ("last word to end known", after),
    ] {
        times.sort();
        println!(
            "{what}: median {:?}, p90 {:?}, max {:?}",
            times[ROUNDS / 2],
            times[ROUNDS * 9 / 10],
            times[ROUNDS - 1]
        );
    }
}
