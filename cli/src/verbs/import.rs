//! `pointsman import`.

use std::fs::File;
use std::io;

use pointsman_api::generation::Written;
use ureq::http::Method;

use crate::args::journal::Import;
use crate::client::Patience;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::verbs::{input, tell};

pub(super) fn run(context: &Context, args: &Import) -> Result<Exit, Error> {
    let client = context.client()?;
    let address = client
        .at(&["import"])
        .maybe("comment", args.why.comment.as_deref());
    let headers = [("content-type", "application/x-ndjson")];
    let progress = Progress::new(&context.out);
    progress.step(&format!("importing {}", input::name(&args.file)));
    let written: Result<Written, Error> = if input::is_stdin(&args.file) {
        client.upload(
            &Method::POST,
            &address,
            &headers,
            io::stdin(),
            Patience::Long,
        )
    } else {
        let file = File::open(&args.file).map_err(|error| {
            Error::failed(format!("cannot read {}: {error}", args.file.display()))
        })?;
        client.upload(&Method::POST, &address, &headers, file, Patience::Long)
    };
    progress.clear();
    tell(context, &written?)
}
