//! `pointsman ignore`.

use pointsman_api::ignore::{Ignore as Row, NewIgnore, PatternKind, PutIgnores, PutIgnoresReply};
use ureq::http::Method;

use crate::args::record::Ignore;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::text;
use crate::verbs::{list, tell, warn_of_deleted};

pub(super) fn run(context: &Context, verb: Ignore) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Ignore::List {
            distro,
            deleted,
            paging,
        } => {
            let address = client
                .at(&["ignores"])
                .maybe("distro", distro)
                .flag("deleted", deleted);
            let nothing = "nothing is ignored by pattern: `pointsman ignore add` adds one";
            list::print::<Row>(context, &address, &paging, nothing)
        }
        Ignore::Add {
            like,
            regex,
            distro,
            reason,
            expires,
            why,
        } => {
            let kinds = [(PatternKind::Like, like), (PatternKind::Regex, regex)];
            let ignores = kinds
                .into_iter()
                .flat_map(|(kind, patterns)| {
                    patterns.into_iter().map(move |pattern| (kind, pattern))
                })
                .map(|(kind, pattern)| NewIgnore {
                    distro: distro.clone(),
                    kind,
                    pattern,
                    reason: reason.clone(),
                    expires,
                })
                .collect();
            let body = PutIgnores {
                comment: why.comment,
                ignores,
            };
            let reply: PutIgnoresReply =
                client.send(&Method::POST, &client.at(&["ignores"]), &body)?;
            if context.out.is_json() {
                context.out.document(&reply)?;
            } else if !context.out.is_quiet() {
                let ids: Vec<String> = reply.ids.iter().map(ToString::to_string).collect();
                context.out.line(format!(
                    "{} (ids: {})",
                    text::written(&reply.written),
                    ids.join(", ")
                ))?;
            }
            warn_of_deleted(context, &reply.written);
            Ok(Exit::Ok)
        }
        Ignore::Remove { ids, why } => {
            let many = ids.len() > 1;
            for id in ids {
                let address = client
                    .at(&["ignores", &id.to_string()])
                    .maybe("comment", why.comment.as_deref());
                let written = client.delete(&address)?;
                if context.out.is_json() && many {
                    context.out.record(&written)?;
                } else {
                    tell(context, &written)?;
                }
            }
            Ok(Exit::Ok)
        }
    }
}
