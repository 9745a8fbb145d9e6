//! The `pointsman` command: the server, and a client of its HTTP API.
//!
//! clap parses (`args`), one file per verb acts (`verbs`), `client` speaks HTTP and `output` prints:
//! data to stdout, messages to stderr. What went wrong is an [`error::Error`], which knows its
//! [`exit::Exit`] code and its `hint:`.

mod args;
mod client;
mod context;
mod error;
mod exit;
mod local;
mod output;
mod progress;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::context::Context;
use crate::exit::Exit;

/// A page of the API is some thousand small texts made and dropped: a tenth less work for the host than
/// with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before there is a thread or an open file: the shim of a job closes all it was given.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|verb| verb == "__shim")
        && let Some(path) = args.next()
    {
        return pointsman_jobs::shim(path.as_ref());
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no errors. A reader that went away is none either.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            }
            .into();
        }
    };
    let context = Context::new(&cli.global);
    match verbs::run(&context, cli.verb) {
        Ok(code) => code,
        Err(error) => {
            context.out.error(&error);
            error.exit().into()
        }
    }
}
