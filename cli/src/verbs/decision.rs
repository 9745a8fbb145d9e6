//! `pointsman decision`.

mod replay;

use std::time::Duration;

use pointsman_api::pipeline::Decision as Row;

use crate::args::policy::Decision;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::{safe, time};
use crate::verbs::list;

pub(super) fn run(context: &Context, verb: Decision) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Decision::List(args) => {
            let address = client
                .at(&["decisions"])
                .maybe("pipeline", args.pipeline)
                .maybe("hook", args.hook)
                .maybe("subject", args.subject)
                .maybe("outcome", args.outcome)
                .maybe("generation", args.generation);
            list::print::<Row>(context, &address, &args.paging, "no decision is like that")
        }
        Decision::Export {
            id,
            output,
            no_wasm,
        } => replay::export(context, &client, id, output.as_deref(), no_wasm),
        Decision::Replay(args) => replay::run(context, &client, &args),
        Decision::Show { id } => {
            let address = client.at(&["decisions", &id.to_string()]);
            list::show(context, &client, &address, |decision: Row| {
                let took = Duration::from_micros(u64::try_from(decision.duration_us).unwrap_or(0));
                context.out.table(&Table::facts(vec![
                    ("decision", decision.id.to_string()),
                    ("at", time(decision.at)),
                    ("pipeline", decision.pipeline),
                    (
                        "hook",
                        format!("{} (position {})", decision.hook, decision.position),
                    ),
                    ("subject", decision.subject),
                    ("plugin", decision.plugin),
                    ("digest", decision.digest),
                    ("seed", decision.seed.to_string()),
                    ("engine", decision.engine),
                    ("items", decision.items.to_string()),
                    ("outcome", decision.outcome),
                    (
                        "why",
                        format!("{} ({})", decision.reason, decision.reason_code),
                    ),
                    ("fuel", decision.fuel.to_string()),
                    ("took", format!("{took:?}")),
                    (
                        "generation",
                        decision
                            .generation
                            .map(|id| id.to_string())
                            .unwrap_or_default(),
                    ),
                ]))?;
                for (name, value) in [
                    ("settings", decision.settings),
                    ("context", decision.context),
                    ("input", decision.input),
                    ("output", decision.output),
                ] {
                    if let Some(value) = value {
                        context.out.line(format!("\n{name}:"))?;
                        context.out.document(&value)?;
                    }
                }
                if let Some(log) = decision.log {
                    context.out.line("\nlog:")?;
                    for line in log.lines() {
                        context.out.line(format!("  {}", safe(line)))?;
                    }
                }
                Ok(())
            })
        }
    }
}
