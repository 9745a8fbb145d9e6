//! `pointsman run`.

use pointsman_api::run::{RequestRun, Run as Row, Verdict};
use ureq::http::Method;

use crate::args::record::Run;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::rows;
use crate::output::table::Table;
use crate::output::text::time;
use crate::verbs::{lane, list, tell};

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
                let decision = run
                    .decision
                    .map(|id| format!(" (decision {id})"))
                    .unwrap_or_default();
                context.out.table(&Table::facts(vec![
                    ("run", run.id.to_string()),
                    ("kernel", format!("{}/{}", run.distro, run.version)),
                    ("purpose", run.purpose),
                    ("release", run.release),
                    ("verdict", rows::verdict(run.verdict).to_owned()),
                    ("held", run.held.map(|held| held.text).unwrap_or_default()),
                    ("at", time(run.at)),
                    ("ended", run.ended_at.map(time).unwrap_or_default()),
                    (
                        "pipeline",
                        run.pipeline
                            .map(|name| format!("{name}{decision}"))
                            .unwrap_or_default(),
                    ),
                    ("reported by", run.reported_by),
                    ("key", run.key.unwrap_or_default()),
                    ("link", run.link.unwrap_or_default()),
                    ("comment", run.comment),
                    ("generation", run.generation.to_string()),
                ]))?;
                lane::jobs(context, &client, &run.jobs.unwrap_or_default())
            })
        }
        Run::Log { id, job, attempt } => {
            let run: Row = client.get(&client.at(&["runs", &id.to_string()]))?;
            let Some(jobs) = run.jobs else {
                let hint = match run.link {
                    Some(link) => format!("its log is where its reporter keeps it: {link}"),
                    None => "whoever reported it has its log".to_owned(),
                };
                return Err(Error::usage(
                    format!("run {id} was made outside, by {}", run.reported_by),
                    hint,
                ));
            };
            lane::print_log(context, &client, &jobs, job.as_deref(), attempt, "run show")
        }
        Run::Request {
            kernel,
            purpose,
            why,
        } => {
            let address = client.at(&["kernels", &kernel.distro, &kernel.version, "request"]);
            let body = RequestRun {
                comment: why.comment,
                purpose,
            };
            tell(context, &client.send(&Method::POST, &address, &body)?)
        }
    }
}
