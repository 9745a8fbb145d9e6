//! `pointsman state`.

use pointsman_api::distro::{KernelState, PutState, PutStates};
use ureq::http::Method;

use crate::args::record::{MovedBy, State};
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::{list, tell};

pub(super) fn run(context: &Context, verb: State) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        State::List => {
            let address = client.at(&["states"]).with("counts", true);
            list::print_whole::<KernelState>(context, &address, "no states")
        }
        State::Set {
            name,
            rank,
            moved_by,
            why,
        } => {
            let moved_by = match moved_by {
                MovedBy::Policy => "policy",
                MovedBy::Person => "person",
            };
            let state = PutState {
                name,
                rank,
                moved_by: moved_by.to_owned(),
            };
            let body = PutStates {
                comment: why.comment,
                states: vec![state],
            };
            tell(
                context,
                &client.send(&Method::PUT, &client.at(&["states"]), &body)?,
            )
        }
    }
}
