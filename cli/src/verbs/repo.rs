//! `pointsman repo`.

use pointsman_api::pull::{NewRepository, Repository};
use ureq::http::Method;

use crate::args::merge::Repo;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::{list, tell};

pub(super) fn run(context: &Context, verb: Repo) -> Result<Exit, Error> {
    let client = context.client()?;
    let address = client.at(&["repositories"]);
    match verb {
        Repo::List => list::print_whole::<Repository>(context, &address, "no repositories"),
        Repo::Create { name, branch, why } => {
            let body = NewRepository {
                comment: why.comment,
                name,
                branch,
            };
            tell(context, &client.send(&Method::POST, &address, &body)?)
        }
    }
}
