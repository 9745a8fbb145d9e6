//! `pointsman event`.

use pointsman_api::event::Event as Row;
use serde_json::Value;

use crate::args::journal::{Event, EventList};
use crate::client::Client;
use crate::client::address::Address;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::text::{self, safe, time};
use crate::verbs::list;

pub(super) fn run(context: &Context, verb: Event) -> Result<Exit, Error> {
    let Event::List(args) = verb;
    let client = context.client()?;
    if args.follow {
        return follow(context, &client, &args);
    }
    let address = filters(client.at(&["events"]), &args).flag("newest", args.newest);
    let mut paging = args.paging;
    // Newest first goes on by `cursor`; oldest first goes on after an event.
    let key = if args.newest { "cursor" } else { "after" };
    if !args.newest {
        paging.cursor = args.after.or(paging.cursor);
    }
    list::print_by::<Row>(context, &address, key, &paging, "no event is like that")
}

fn filters(address: Address, args: &EventList) -> Address {
    address
        .maybe("kind", args.kind.as_deref())
        .maybe("name", args.name.as_deref())
        .maybe("name_prefix", args.name_prefix.as_deref())
        .maybe(
            "operation",
            args.operation.map(|operation| operation.as_str()),
        )
        .maybe("generation", args.generation)
        .maybe("since", args.since.map(|since| since.to_rfc3339()))
}

fn follow(context: &Context, client: &Client, args: &EventList) -> Result<Exit, Error> {
    let address =
        filters(client.at(&["events", "stream"]), args).maybe("after", args.after.as_deref());
    client.follow(
        &address,
        &mut |value: Value| {
            if context.out.is_json() {
                return context.out.record(&value);
            }
            let event: Row = serde_json::from_value(value)?;
            context.out.line(sentence(&event))
        },
        &mut |error| {
            context
                .out
                .note(format!("{}; connecting again", safe(&error.to_string())));
        },
    )?;
    Ok(Exit::Ok)
}

/// An event on one line; columns cannot be aligned with what is yet to come.
fn sentence(event: &Row) -> String {
    let mut line = format!(
        "{} {} {} {} {} {}",
        time(event.at),
        event.generation,
        event.user,
        text::operation(event.operation),
        event.kind,
        event.name
    );
    let changes = text::changes(event);
    if !changes.is_empty() {
        line += &format!(" ({changes})");
    }
    if !event.comment.is_empty() {
        line += &format!(": {}", event.comment);
    }
    safe(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeZone as _, Utc};
    use pointsman_api::event::Operation;

    #[test]
    fn an_event_is_a_sentence() {
        let event = Row {
            cursor: "1".to_owned(),
            generation: 17,
            at: Utc.with_ymd_and_hms(2026, 7, 31, 12, 0, 5).unwrap(),
            kind: "kernel_version".to_owned(),
            operation: Operation::Update,
            name: "debian-12/6.1.0-49-amd64".to_owned(),
            changes: serde_json::json!({"state": ["seen", "built"]}),
            comment: "Jenkins build\n13343".to_owned(),
            user: "jenkins".to_owned(),
        };
        insta::assert_snapshot!(sentence(&event), @"2026-07-31 12:00Z 17 jenkins changed kernel_version debian-12/6.1.0-49-amd64 (state: seen -> built): Jenkins build 13343");
    }
}
