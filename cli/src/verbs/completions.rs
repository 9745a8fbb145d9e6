//! `pointsman completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;

pub(super) fn run(context: &Context, shell: Shell) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pointsman", &mut script);
    context.out.raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
