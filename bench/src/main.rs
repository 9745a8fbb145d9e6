//! `cargo xtask bench record`: what the record costs, and `cargo xtask bench policy`: what policies cost;
//! `cargo xtask bench merge`: what landing costs;
//! each figure against a floor that is measured in the same run at the same concurrency.
//!
//! A figure is one line on stdout, `ratio NAME VALUE target >=0.6`; the raw numbers stand before it as
//! comments (`# ...`). Progress goes to stderr. The process ends with success whether or not a target
//! is met: a benchmark reports, it does not judge.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures are this program's data"
)]

mod create;
mod fill;
mod http;
mod ignore;
mod lab;
mod latency;
mod load;
mod merge;
mod policy;
mod reads;
mod report;
mod scale;
mod sweep;
mod used;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use lab::Lab;
use scale::Scale;

/// As the command `pointsman` has it, since its server is what is measured here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Benchmarks of Pointsman")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The record: reads, batches, latency at scale, the ignore policy
    Record(Record),
    /// Policies: calls, decisions kept, replay, swaps, quiet turns, start-up
    Policy(policy::Args),
    /// Pull requests: turns, landings, jobs a second
    Merge(merge::Args),
    /// A host as a process of its own, which is what the others measure
    #[command(name = "__serve", hide = true)]
    Serve {
        data_dir: PathBuf,
        database_url: String,
    },
}

#[derive(clap::Args)]
struct Record {
    /// How much of everything; `small` is a smoke run of seconds
    #[arg(long, value_enum, default_value_t = Size::Full)]
    scale: Size,
    /// Only these parts [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where the throwaway databases go, some 10 GB [default: the system's folder for such]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Size {
    Small,
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Filtered reads against pgbench
    Reads,
    /// A batch of new versions against one SQL statement
    Create,
    /// The ignore plugin against the same code run natively
    Ignore,
    /// Latency of pages and patterns at scale, and what a new pattern re-decides
    Scale,
}

fn main() -> ExitCode {
    // What the host of a measurement starts as, where `pointsman` would be.
    let mut args = std::env::args_os().skip(1);
    match (args.next(), args.next()) {
        (Some(verb), Some(path)) if verb == "__shim" => return pointsman_jobs::shim(path.as_ref()),
        (Some(verb), Some(bell)) if verb == "__pushed" => {
            let name = args.next().unwrap_or_default();
            pointsman_forge::ring(bell.as_ref(), &name.to_string_lossy());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let done = match Cli::parse().what {
        What::Record(args) => record(&args),
        What::Policy(args) => policy::run(&args),
        What::Merge(args) => merge::run(&args),
        What::Serve {
            data_dir,
            database_url,
        } => lab::serve(data_dir, database_url),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread for everything here: the machine's cores are for what is measured.
#[tokio::main(flavor = "current_thread")]
async fn record(args: &Record) -> anyhow::Result<()> {
    let scale = match args.scale {
        Size::Small => Scale::small(),
        Size::Full => Scale::full(),
    };
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    report::machine(&scale)?;
    if wants(Part::Ignore) {
        ignore::run(&scale).await?;
    }
    if ![Part::Reads, Part::Create, Part::Scale]
        .into_iter()
        .any(wants)
    {
        return Ok(());
    }
    let lab = Lab::start(args.dir.as_deref()).await?;
    let measured = async {
        if wants(Part::Reads) {
            reads::run(&lab, &scale).await?;
        }
        if wants(Part::Create) {
            create::run(&lab, &scale).await?;
        }
        if wants(Part::Scale) {
            latency::run(&lab, &scale).await?;
        }
        anyhow::Ok(())
    }
    .await;
    // Stopped in any case, so that nothing is left running.
    lab.stop().await?;
    measured
}
