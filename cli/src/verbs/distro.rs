//! `pointsman distro`.

use pointsman_api::distro::{CreateDistros, Distro as Row, NewDistro, UpdateDistro};
use pointsman_api::generation::{Because, Written};
use ureq::http::Method;

use crate::args::Why;
use crate::args::record::Distro;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::{input, list, tell};

pub(super) fn run(context: &Context, verb: Distro) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Distro::List { deleted, paging } => {
            let address = client.at(&["distros"]).flag("deleted", deleted);
            list::print::<Row>(
                context,
                &address,
                &paging,
                "no distros: `pointsman distro add` adds one",
            )
        }
        Distro::Add {
            name,
            variant,
            unsupported,
            why,
        } => create(
            context,
            vec![NewDistro {
                name,
                variant,
                supported: !unsupported,
            }],
            why,
        ),
        Distro::Set {
            name,
            variant,
            supported,
            why,
        } => {
            let body = UpdateDistro {
                comment: why.comment,
                variant,
                supported,
            };
            tell(
                context,
                &client.send(&Method::PATCH, &client.at(&["distros", &name]), &body)?,
            )
        }
        Distro::Delete { name, why } => {
            let address = client.at(&["distros", &name]).maybe("comment", why.comment);
            tell(context, &client.delete(&address)?)
        }
        Distro::Restore { name, why } => {
            let address = client.at(&["distros", &name, "restore"]);
            tell(
                context,
                &client.send(&Method::POST, &address, &Because::from(why))?,
            )
        }
        Distro::Load { file, why } => {
            let distros = serde_json::from_str(&input::text(&file)?).map_err(|error| {
                Error::hinted(
                    format!("{} is no list of distros: {error}", input::name(&file)),
                    r#"write it like [{"name": "debian-12", "variant": "DEBIAN12", "supported": true}]"#,
                )
            })?;
            create(context, distros, why)
        }
    }
}

fn create(context: &Context, distros: Vec<NewDistro>, why: Why) -> Result<Exit, Error> {
    let client = context.client()?;
    let body = CreateDistros {
        comment: why.comment,
        distros,
    };
    let written: Written = client.send(&Method::POST, &client.at(&["distros"]), &body)?;
    tell(context, &written)
}
