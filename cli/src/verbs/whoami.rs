//! `pointsman whoami`.

use pointsman_api::token::WhoAmI;

use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::rows::role;
use crate::verbs::list;

pub(super) fn run(context: &Context) -> Result<Exit, Error> {
    let client = context.client()?;
    let address = client.at(&["whoami"]);
    list::show(context, &client, &address, |who: WhoAmI| {
        let server = client.url().as_str().trim_end_matches('/');
        context
            .out
            .line(format!("{} ({}) at {server}", who.name, role(who.role)))
    })
}
