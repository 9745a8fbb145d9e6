//! `cargo xtask bench policy`: what policies cost, each figure against a floor or a limit.

mod bare;
mod calls;
mod cores;
mod json;
mod kept;
mod pull;
mod quiet;
mod replay;
mod site;
mod start;
mod swap;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::Size;
use crate::lab::Lab;
use crate::report;
use crate::scale::Scale;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How much of everything; `small` is a smoke run of seconds
    #[arg(long, value_enum, default_value_t = Size::Full)]
    scale: Size,
    /// Only these parts [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where the throwaway databases go, some 2 GB [default: the system's folder for such]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One call as a turn makes it, against a bare loop of wasmtime
    IsolatedCall,
    /// The same policy the way Kubewarden calls it, against one call as a turn makes it
    KubewardenWay,
    /// Calls on two threads against two bare loops side by side
    TwoCores,
    /// Decisions with their full record against a multi-row insert of the same rows
    FullRecord,
    /// Decisions made again against bare calls of the same plugin
    Replay,
    /// Swaps of a binding under load
    Swap,
    /// Turns in which nothing changed
    Quiet,
    /// The start of a host with 50 plugins in its cache
    #[value(name = "start-50")]
    Start50,
}

impl Part {
    /// Whether it needs a database.
    fn needs_lab(self) -> bool {
        !matches!(
            self,
            Part::IsolatedCall | Part::KubewardenWay | Part::TwoCores
        )
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
struct Amount {
    /// Rounds of each comparison; the median counts.
    rounds: usize,
    /// Calls on one side of a round.
    calls: usize,
    /// Decisions in a turn whose record is kept.
    decisions: usize,
    /// Versions in one question that is replayed.
    versions: usize,
    /// Swaps, and the API calls that they happen among.
    swaps: usize,
    api_calls: u64,
    /// Quiet versions.
    quiet: usize,
    /// Plugins in the cache.
    plugins: usize,
}

impl Amount {
    fn of(scale: Size) -> Self {
        match scale {
            Size::Full => Self {
                rounds: 21,
                calls: 20_000,
                decisions: 1_000,
                versions: 1_000,
                swaps: 1_000,
                api_calls: 200_000,
                quiet: 1_000,
                plugins: 50,
            },
            Size::Small => Self {
                rounds: 5,
                calls: 2_000,
                decisions: 100,
                versions: 100,
                swaps: 20,
                api_calls: 2_000,
                quiet: 100,
                plugins: 6,
            },
        }
    }
}

/// One thread for everything here: the machine's cores are for what is measured.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let scale = match args.scale {
        Size::Small => Scale::small(),
        Size::Full => Scale::full(),
    };
    let amount = Amount::of(args.scale);
    let all = Part::value_variants().iter().copied();
    let parts: Vec<Part> = all
        .filter(|part| args.only.is_empty() || args.only.contains(part))
        .collect();
    report::machine(&scale)?;
    if parts.iter().any(|part| !part.needs_lab()) {
        let wants = |part| parts.contains(&part);
        let guests = calls::Guests::load().await?;
        if wants(Part::IsolatedCall) || wants(Part::KubewardenWay) {
            calls::run(&guests, &amount)?;
        }
        if wants(Part::TwoCores) {
            cores::run(&guests, &amount)?;
        }
    }
    if !parts.iter().any(|part| part.needs_lab()) {
        return Ok(());
    }
    let lab = Lab::start(args.dir.as_deref()).await?;
    let measured = async {
        for part in &parts {
            match part {
                Part::IsolatedCall | Part::KubewardenWay | Part::TwoCores => {}
                Part::FullRecord => kept::run(&lab, &amount).await?,
                Part::Replay => replay::run(&lab, &amount).await?,
                Part::Swap => swap::run(&lab, &amount).await?,
                Part::Quiet => quiet::run(&lab, &amount).await?,
                Part::Start50 => start::run(&lab, &amount).await?,
            }
        }
        anyhow::Ok(())
    }
    .await;
    // Stopped in any case, so that nothing is left running.
    lab.stop().await?;
    measured
}
