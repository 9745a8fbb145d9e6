//! `pointsman demo merge`: a throwaway server lands pull requests, is killed meanwhile if asked for, and
//! what came of it is held against git. It uses the server as everybody does: over HTTP, with `git push`.

mod acts;
mod cast;
mod keeper;
mod kills;
mod narrator;
mod place;
mod proof;
mod runs;
mod site;
mod story;
mod summary;
mod worktree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pointsman_host::Database;

use crate::args::demo::{Demo, Merge};
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::demo::acts::Play;
use crate::verbs::demo::keeper::Keeper;
use crate::verbs::demo::place::Place;
use crate::verbs::demo::site::Site;
use crate::verbs::demo::story::Story;
use crate::verbs::demo::summary::Summary;
use crate::verbs::serve::{self, Signals};

pub(super) fn run(context: &Context, demo: &Demo) -> Result<Exit, Error> {
    match demo {
        Demo::Merge(args) => merge(context, args),
    }
}

fn merge(context: &Context, args: &Merge) -> Result<Exit, Error> {
    // Refused before anything is made.
    let plugins = plugins(args.plugins.as_deref())?;
    let runtime = serve::runtime()?;
    if let Some(Database::Url(url)) = serve::database() {
        // Before there is a server on it: one would take up the work of a record that is in use.
        let unused = runtime.block_on(pointsman_host::is_unused(&url));
        if !unused.map_err(|error| serve::from_host(&error))? {
            return Err(Error::usage(
                "the database that DATABASE_URL names is somebody's already",
                "a demonstration wants an empty one: name another, or unset DATABASE_URL for an embedded one",
            ));
        }
    }
    let place = Place::make(args.dir.as_deref())?;
    let called_off = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&called_off);
    let mut signals = {
        let _in = runtime.enter();
        Signals::new()?
    };
    runtime.spawn(async move {
        loop {
            signals.next().await;
            flag.store(true, Ordering::Relaxed);
        }
    });
    let story = Story::begin(context.out);
    let embedded = serve::database().is_none();
    let kills = kills::plan(args.kill, args.seed);
    let keeper = Arc::new(Keeper::start(&place, embedded, kills, &story));
    let site = Arc::new(Site {
        keeper,
        story: story.clone(),
        called_off: Arc::clone(&called_off),
    });
    let (summary, stopped) = play(site, &place, &plugins, args);
    story.end();
    // Where something is not as it must be, what there is to look at stays. That nobody listens is no such
    // thing.
    let proven = match &summary {
        Ok(summary) => summary.exit() == Exit::Ok,
        Err(error) => matches!(error, Error::ReaderGone) || called_off.load(Ordering::Relaxed),
    };
    let stays = args.keep || !proven;
    let kept = stays.then(|| place.root().to_owned());
    let printed = match &summary {
        Ok(summary) => summary.print(context, kept.as_deref()),
        Err(_) => Ok(()),
    };
    let removed = match stays {
        true => Ok(()),
        false => place.remove(),
    };
    let exit = match (summary, kept) {
        (Ok(summary), _) => summary.exit(),
        (Err(error), Some(kept)) => {
            let hint = format!(
                "{} is left as it is: server.log in it says more",
                kept.display()
            );
            return Err(match error {
                Error::Failed { message, .. } => Error::hinted(message, hint),
                other => {
                    context.out.note(hint);
                    other
                }
            });
        }
        (Err(error), None) => return Err(error),
    };
    printed?;
    stopped?;
    removed?;
    Ok(exit)
}

/// The demonstration, and the end of the server, whatever came of it.
fn play(
    site: Arc<Site>,
    place: &Place,
    plugins: &Path,
    args: &Merge,
) -> (Result<Summary, Error>, Result<(), Error>) {
    let story = site.story.clone();
    let keeper = Arc::clone(&site.keeper);
    let summary = (|| {
        let mut play = Play::set(site, place, plugins)?;
        play.run(usize::from(args.kill))?;
        story.doing("comparing the record with git");
        Ok(Summary {
            found: proof::find(&play)?,
            kills: play.site.keeper.kills(),
            took: story.elapsed(),
        })
    })();
    story.doing("stopping the server");
    (summary, keeper.stop())
}

/// The directory that the stock plugins are in.
fn plugins(named: Option<&Path>) -> Result<PathBuf, Error> {
    let beside = || {
        let exe = std::env::current_exe().ok()?;
        // Cargo puts the program a folder below those that it was built with.
        let near = [
            exe.parent()?.join("plugins"),
            exe.parent()?.parent()?.join("plugins"),
        ];
        near.into_iter().find(|dir| missing(dir).is_none())
    };
    let dir = named.map(Path::to_owned).or_else(beside);
    let hint = "--plugins names the directory that holds the stock plugins: `cargo xtask plugins` builds them";
    let Some(dir) = dir else {
        return Err(Error::usage(
            "the stock plugins are not beside this program",
            hint,
        ));
    };
    match missing(&dir) {
        Some(file) => Err(Error::usage(
            format!("{} is not there", file.display()),
            hint,
        )),
        None => Ok(dir),
    }
}

fn missing(dir: &Path) -> Option<PathBuf> {
    acts::plugins()
        .map(|plugin| dir.join(format!("{plugin}.wasm")))
        .find(|file| !file.is_file())
}
