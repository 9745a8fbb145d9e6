//! `pointsman kernel report`: what a job says about a build or a test.

use pointsman_api::run::{ReportRun, ReportRuns};
use ureq::http::Method;

use crate::args::kernel::Report;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::tell;

pub(super) fn run(context: &Context, args: Report) -> Result<Exit, Error> {
    let client = context.client()?;
    let run = ReportRun {
        distro: args.kernel.distro,
        version: args.kernel.version,
        purpose: args.purpose,
        release: args.release,
        verdict: args.verdict.map(Into::into),
        comment: args.why.comment.clone().unwrap_or_default(),
        link: args.link,
        key: args.key,
    };
    let body = ReportRuns {
        comment: args.why.comment,
        runs: vec![run],
    };
    tell(
        context,
        &client.send(&Method::POST, &client.at(&["runs"]), &body)?,
    )
}
