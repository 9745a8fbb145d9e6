//! `pointsman generation`.

use pointsman_api::event::Event;
use pointsman_api::generation::Generation as Row;

use crate::args::Paging;
use crate::args::journal::Generation;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::{self, time};
use crate::verbs::list;

/// Events that `show` shows; a detection has thousands.
const SHOWN_EVENTS: u64 = 100;

pub(super) fn run(context: &Context, verb: Generation) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Generation::List {
            user,
            since,
            paging,
        } => {
            let since = since.map(|since| since.to_rfc3339());
            let address = client
                .at(&["generations"])
                .maybe("user", user)
                .maybe("since", since);
            list::print::<Row>(context, &address, &paging, "no generation is like that")
        }
        Generation::Show { id } => {
            let address = client.at(&["generations", &id.to_string()]);
            list::show(context, &client, &address, |generation: Row| {
                context.out.table(&Table::facts(vec![
                    ("generation", generation.id.to_string()),
                    ("at", time(generation.at)),
                    ("user", generation.user),
                    ("address", generation.address.unwrap_or_default()),
                    ("events", generation.events.to_string()),
                    ("comment", generation.comment),
                ]))?;
                let address = client.at(&["events"]).with("generation", id);
                let paging = Paging {
                    limit: SHOWN_EVENTS,
                    all: false,
                    cursor: None,
                };
                let mut table = Table::new(&["KIND", "NAME", "WHAT", "CHANGES"]);
                let more = list::pages(
                    &client,
                    &address,
                    "after",
                    &paging,
                    &mut |page: Vec<Event>| {
                        for event in page {
                            let what = text::operation(event.operation).to_owned();
                            let changes = text::changes(&event);
                            table.add(vec![event.kind, event.name, what, changes]);
                        }
                        Ok(())
                    },
                )?;
                context.out.line("")?;
                context.out.table(&table)?;
                if more.is_some()
                    && generation.events > i64::try_from(SHOWN_EVENTS).unwrap_or(i64::MAX)
                {
                    context.out.note(format!(
                        "more: pointsman event list --generation {id} --all"
                    ));
                }
                Ok(())
            })
        }
    }
}
