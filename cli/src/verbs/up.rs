//! `pointsman up`: the server, and the set-up that makes it useful at once. Once the server runs, this
//! is a client of it like any other: everything it does, one can do with the other verbs.

mod distros;
mod first_detection;
mod plugins;
mod settle;
mod summary;

use pointsman_api::distro::Distro;
use pointsman_api::page::Page;
use pointsman_host::{Database, Server};

use crate::args::server::Up;
use crate::client::Client;
use crate::client::endpoint::Endpoint;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::verbs::serve::{self, Signals, Started};
use crate::verbs::up::summary::Summary;

pub(super) fn run(context: &Context, args: &Up) -> Result<Exit, Error> {
    serve::log(context, &args.logs, "warn");
    let database = serve::database().unwrap_or(Database::Embedded);
    let config = serve::config(context.data_dir()?, args.listen, database, &args.decisions);
    // Refused before anything is started, where it can be known that early.
    let plugins = plugins::directory(args.plugins.as_deref())?;
    let progress = Progress::new(&context.out);
    let runtime = serve::runtime()?;
    let exit = runtime.block_on(async {
        let mut signals = Signals::new()?;
        progress.step("starting the database and the server");
        let started = serve::start(config, serve::host_progress(&progress), &mut signals).await;
        let mut server = match started.inspect_err(|_| progress.clear())? {
            Started::Runs(server) => server,
            Started::Interrupted(server) => {
                progress.clear();
                return serve::stop(server, &mut signals).await.map(|()| Exit::Ok);
            }
        };
        let set_up = SetUp {
            client: own_client(&server)?,
            plugins,
            distro: args.distro.clone(),
            progress: progress.clone(),
        };
        let ended = tokio::select! {
            // Blocking calls, so on a thread of their own; a signal leaves it behind.
            summary = tokio::task::spawn_blocking(move || set_up.run()) => match summary {
                Ok(summary) => report(context, args, &progress, &server, summary),
                Err(panic) => Err(Error::failed(format!("the set-up broke: {panic}"))),
            },
            error = server.failed() => Err(serve::from_host(&error)),
            () = signals.next() => Ok(Next::Stop(Exit::Ok)),
        };
        progress.clear();
        let ended = match ended {
            Ok(Next::Stay) => {
                let ended = serve::until_stopped(&mut server, &mut signals).await;
                context.out.note("stopping");
                ended
            }
            Ok(Next::Stop(exit)) => Ok(exit),
            Err(error) => Err(error),
        };
        // Whatever went wrong, nothing is left running.
        let stopped = serve::stop(server, &mut signals).await;
        let exit = ended?;
        stopped.map(|()| exit)
    });
    // A set-up that a signal interrupted may still be waiting for an answer that will not come.
    runtime.shutdown_background();
    exit
}

/// What comes after the summary.
enum Next {
    Stay,
    Stop(Exit),
}

fn own_client(server: &Server) -> Result<Client, Error> {
    Ok(Client::new(Endpoint::own(
        server.url(),
        server.admin_token_file(),
    )?))
}

fn report(
    context: &Context,
    args: &Up,
    progress: &Progress,
    server: &Server,
    summary: Result<Summary, Error>,
) -> Result<Next, Error> {
    progress.clear();
    let mut summary = summary?;
    summary.url = server.url().to_owned();
    summary.token_file = server.admin_token_file().to_owned();
    summary.data_dir = server.data_dir().to_owned();
    summary.print(context, args.once)?;
    Ok(match (args.once, summary.troubles.is_empty()) {
        (true, true) => Next::Stop(Exit::Ok),
        (true, false) => Next::Stop(Exit::Failure),
        (false, _) => Next::Stay,
    })
}

/// Everything that is done once the server answers.
struct SetUp {
    client: Client,
    plugins: Option<std::path::PathBuf>,
    distro: Option<String>,
    progress: Progress,
}

impl SetUp {
    /// A step that fails is told in the summary, and the others are done all the same: the server runs,
    /// and is of use without it.
    fn run(self) -> Result<Summary, Error> {
        let known: Page<Distro> = self
            .client
            .get(&self.client.at(&["distros"]).with("limit", 1))?;
        let mut summary = Summary::default();
        summary.continued = !known.items.is_empty();

        self.progress.step("installing the stock plugins");
        match &self.plugins {
            Some(dir) => match plugins::install(&self.client, dir) {
                Ok(bound) => summary.plugins = bound,
                Err(error) => summary.trouble("the stock plugins", &error),
            },
            None => summary.plugins_missing = true,
        }

        self.progress.step("loading the stock distros");
        match distros::load(&self.client) {
            Ok(written) => summary.distros = Some(written),
            Err(error) => summary.trouble("the stock distros", &error),
        }

        self.progress.step("detecting kernel versions");
        let source = first_detection::choose(self.distro.as_deref());
        match first_detection::run(&self.client, &self.progress, source) {
            Ok(detected) => summary.detected(detected),
            Err(error) => summary.trouble("the detection", &error),
        }

        self.progress
            .step("waiting until the policies have decided");
        match settle::wait(&self.client, &self.progress) {
            Ok(pipeline) => summary.pipeline = Some(pipeline),
            Err(error) => summary.trouble("the policies", &error),
        }
        if let Err(error) = summary.look(&self.client) {
            summary.trouble("the summary", &error);
        }
        Ok(summary)
    }
}
