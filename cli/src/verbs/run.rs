//! `pointsman run`.

use pointsman_api::run::{Run as Row, Verdict};

use crate::args::record::Run;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::rows;
use crate::output::table::Table;
use crate::output::text::time;
use crate::verbs::list;

pub(super) fn run(context: &Context, verb: Run) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Run::List(args) => {
            let (distro, version) = match args.kernel {
                Some(kernel) => (Some(kernel.distro), Some(kernel.version)),
                None => (args.distro, None),
            };
            let address = client
                .at(&["runs"])
                .maybe("distro", distro)
                .maybe("version", version)
                .maybe("purpose", args.purpose)
                .maybe("release", args.release)
                .maybe(
                    "verdict",
                    args.verdict
                        .map(|verdict| rows::verdict(Some(Verdict::from(verdict)))),
                );
            list::print::<Row>(context, &address, &args.paging, "no run is like that")
        }
        Run::Show { id } => {
            let address = client.at(&["runs", &id.to_string()]);
            list::show(context, &client, &address, |run: Row| {
                context.out.table(&Table::facts(vec![
                    ("run", run.id.to_string()),
                    ("kernel", format!("{}/{}", run.distro, run.version)),
                    ("purpose", run.purpose),
                    ("release", run.release),
                    ("verdict", rows::verdict(run.verdict).to_owned()),
                    ("at", time(run.at)),
                    ("reported by", run.reported_by),
                    ("key", run.key.unwrap_or_default()),
                    ("link", run.link.unwrap_or_default()),
                    ("comment", run.comment),
                    ("generation", run.generation.to_string()),
                ]))
            })
        }
    }
}
