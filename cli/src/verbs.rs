//! One file per verb, and what several of them share.

mod cluster;
mod completions;
mod decision;
mod demo;
mod detect;
mod distro;
mod event;
mod export;
mod generation;
mod host;
mod ignore;
mod import;
mod input;
mod kernel;
mod lane;
mod list;
mod note;
mod pipeline;
mod plugin;
mod pr;
mod repo;
mod run;
mod serve;
mod state;
mod token;
mod up;
mod whoami;

use std::process::ExitCode;

use pointsman_api::generation::{Because, Written};

use crate::args::{Verb, Why};
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::text;

/// Does what the command line says.
pub(crate) fn run(context: &Context, verb: Verb) -> Result<ExitCode, Error> {
    let exit = match verb {
        Verb::Up(args) => up::run(context, &args),
        Verb::Serve(args) => serve::run(context, &args),
        Verb::Migrate(_) => serve::migrate(context),
        Verb::Openapi(_) => {
            context.out.raw(&pointsman_host::openapi_json())?;
            Ok(Exit::Ok)
        }
        Verb::Token(verb) => token::run(context, verb),
        Verb::Whoami(_) => whoami::run(context),
        Verb::Distro(verb) => distro::run(context, verb),
        Verb::State(verb) => state::run(context, verb),
        Verb::Kernel(verb) => kernel::run(context, *verb),
        Verb::Run(verb) => run::run(context, verb),
        Verb::Ignore(verb) => ignore::run(context, verb),
        Verb::Cluster(verb) => cluster::run(context, verb),
        Verb::Host(verb) => host::run(context, verb),
        Verb::Generation(verb) => generation::run(context, verb),
        Verb::Event(verb) => event::run(context, verb),
        Verb::Plugin(verb) => plugin::run(context, verb),
        Verb::Pipeline(verb) => pipeline::run(context, verb),
        Verb::Repo(verb) => repo::run(context, verb),
        Verb::Pr(verb) => pr::run(context, verb),
        Verb::Lane(verb) => lane::run(context, verb),
        Verb::Note(verb) => note::run(context, verb),
        Verb::Decision(verb) => decision::run(context, verb),
        Verb::Demo(verb) => demo::run(context, &verb),
        Verb::Export(args) => export::run(context, &args),
        Verb::Import(args) => import::run(context, &args),
        Verb::Completions { shell } => completions::run(context, shell),
        // The child's codes are between it and the server; they are none of `Exit`.
        Verb::CompilePlugin => return Ok(pointsman_host::compile_child_main()),
        Verb::Pushed { bell, repository } => {
            pointsman_forge::ring(&bell, &repository);
            Ok(Exit::Ok)
        }
    };
    exit.map(ExitCode::from)
}

impl From<Why> for Because {
    fn from(why: Why) -> Because {
        Because {
            comment: why.comment,
        }
    }
}

/// Tells what a write did.
fn tell(context: &Context, written: &Written) -> Result<Exit, Error> {
    if context.out.is_json() {
        context.out.document(written)?;
    } else if !context.out.is_quiet() {
        context.out.line(text::written(written))?;
    }
    warn_of_deleted(context, written);
    Ok(Exit::Ok)
}

/// What is marked as deleted was left so: most likely not what was meant.
fn warn_of_deleted(context: &Context, written: &Written) {
    if !written.deleted.is_empty() {
        context.out.warn(format!(
            "marked as deleted, and left so: {}; `restore` brings them back",
            text::safe(&written.deleted.join(", "))
        ));
    }
}
