//! `pointsman pipeline shadow`, `unshadow` and `promote`.

use pointsman_api::generation::{Because, Written};
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Pipeline, PutShadow, Shadow as Row, ShadowDifference};
use serde_json::json;
use ureq::http::Method;

use super::settings;
use crate::args::policy::{Place, Shadow};
use crate::client::Client;
use crate::client::address::Address;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::verbs::plugin::find;
use crate::verbs::{list, tell};

pub(super) fn run(context: &Context, client: &Client, args: Shadow) -> Result<Exit, Error> {
    let address = client.at(&["pipelines", &args.pipeline, "shadows"]);
    let Some(hook) = args.hook else {
        let nothing =
            "no candidate: `pointsman pipeline shadow PIPELINE HOOK PLUGIN` lets one follow";
        return list::print_whole::<Row>(context, &address, nothing);
    };
    let position = args.position.to_string();
    let place = |rest: &[&str]| {
        let path = [
            &["pipelines", &args.pipeline, "shadows", &hook, &position],
            rest,
        ]
        .concat();
        client.at(&path)
    };
    let Some(plugin) = args.plugin else {
        return differences(context, client, &place(&["differences"]), args.limit);
    };
    let plugin = find(client, &plugin)?;
    let settings = match &args.settings {
        Some(text) => settings(text)?,
        None => {
            let pipeline: Pipeline = client.get(&client.at(&["pipelines", &args.pipeline]))?;
            let active = pipeline.bindings.iter().find(|bound| {
                bound.hook == hook
                    && bound.position == i32::from(args.position)
                    && bound.plugin == plugin.name
            });
            active.map_or_else(|| json!({}), |bound| bound.settings.clone())
        }
    };
    let body = PutShadow {
        comment: args.why.comment,
        digest: plugin.digest,
        settings,
        since: args.since,
    };
    let written: Written = client.send(&Method::PUT, &place(&[]), &body)?;
    tell(context, &written)
}

fn differences(
    context: &Context,
    client: &Client,
    address: &Address,
    limit: u32,
) -> Result<Exit, Error> {
    let page: Page<ShadowDifference> = client.get(&address.clone().with("limit", limit))?;
    if context.out.is_json() {
        for difference in &page.items {
            context.out.record(difference)?;
        }
        return Ok(Exit::Ok);
    }
    context.out.table(&Table::of(&page.items))?;
    if page.items.is_empty() {
        context.out.note("it has made no decision otherwise");
    } else if page.next.is_some() {
        context.out.note("there are more: --limit shows them");
    }
    Ok(Exit::Ok)
}

pub(super) fn unshadow(context: &Context, client: &Client, place: Place) -> Result<Exit, Error> {
    let address = of(client, &place, &[]).maybe("comment", place.why.comment);
    tell(context, &client.delete(&address)?)
}

pub(super) fn promote(context: &Context, client: &Client, place: Place) -> Result<Exit, Error> {
    let address = of(client, &place, &["promote"]);
    let body = Because::from(place.why);
    tell(context, &client.send(&Method::POST, &address, &body)?)
}

fn of(client: &Client, place: &Place, rest: &[&str]) -> Address {
    let position = place.position.to_string();
    let path = [
        &[
            "pipelines",
            &place.pipeline,
            "shadows",
            &place.hook,
            &position,
        ],
        rest,
    ]
    .concat();
    client.at(&path)
}
