//! `pointsman kernel`; `detect` has its own file.

mod csv;
mod report;

use pointsman_api::event::Event;
use pointsman_api::generation::{Because, Written};
use pointsman_api::kernel::{
    CreateKernels, Kernel as Row, KernelWhy, NewKernel, Package, SetKernel, SetKernels,
    UpdateKernel, Wanted,
};
use pointsman_api::page::Page;
use pointsman_api::run::Run;
use ureq::http::Method;

use crate::args::kernel::{Add, Kernel, List, Many, Set};
use crate::args::values::KernelName;
use crate::client::Client;
use crate::client::address::Address;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::{self, bytes, time};
use crate::verbs::{detect, input, list, pr, tell};

/// Runs that `show` shows.
const SHOWN_RUNS: u32 = 10;

pub(super) fn run(context: &Context, verb: Kernel) -> Result<Exit, Error> {
    match verb {
        Kernel::List(args) => print(context, &args),
        Kernel::Show { kernel } => show(context, &kernel),
        Kernel::Add(args) => add(context, args),
        Kernel::Set(args) => set(context, args),
        Kernel::Report(args) => report::run(context, args),
        Kernel::Stale(args) => {
            let address = context
                .client()?
                .at(&["stale"])
                .with("over_seconds", args.over.seconds)
                .list("state", &args.state)
                .maybe("distro", args.distro);
            list::print::<Row>(
                context,
                &address,
                &args.paging,
                "nothing sits in one state that long",
            )
        }
        Kernel::Detect(args) => detect::run(context, args),
        Kernel::History { kernel } => history(context, &kernel),
        Kernel::Why { kernel } => {
            let client = context.client()?;
            let address = client.at(&["kernels", &kernel.distro, &kernel.version, "why"]);
            list::show(context, &client, &address, |found: KernelWhy| {
                pr::conditions(context, &found.conditions)
            })
        }
        Kernel::Wanted(args) => {
            let address = context
                .client()?
                .at(&["wanted"])
                .maybe("purpose", args.purpose)
                .maybe("distro", args.distro);
            list::print::<Wanted>(context, &address, &args.paging, "the policy wants no run")
        }
        Kernel::Delete(args) => each(context, args, &|client, kernel, because| {
            let address = at(client, kernel).maybe("comment", because.comment.as_deref());
            client.delete(&address)
        }),
        Kernel::Restore(args) => each(context, args, &|client, kernel, because| {
            let address = client.at(&["kernels", &kernel.distro, &kernel.version, "restore"]);
            client.send(&Method::POST, &address, because)
        }),
    }
}

fn at(client: &Client, kernel: &KernelName) -> Address {
    client.at(&["kernels", &kernel.distro, &kernel.version])
}

fn print(context: &Context, args: &List) -> Result<Exit, Error> {
    let client = context.client()?;
    let address = client
        .at(&["kernels"])
        .maybe("distro", args.distro.as_deref())
        .list("state", &args.state)
        .list("without_state", &args.without_state)
        .maybe("ignored", either(args.ignored, args.not_ignored))
        .maybe("like", args.like.as_deref())
        .maybe("regex", args.regex.as_deref())
        .maybe("installed", either(args.installed, args.not_installed))
        .flag("missing", args.missing)
        .flag("deleted", args.deleted);
    if args.csv {
        if context.out.is_json() {
            return Err(Error::usage(
                "--csv and --json contradict each other",
                "choose one",
            ));
        }
        return csv::print(context, &client, &address, &args.paging);
    }
    list::print::<Row>(
        context,
        &address,
        &args.paging,
        "no kernel version is like that",
    )
}

/// One of two options that exclude each other, or neither.
fn either(yes: bool, no: bool) -> Option<bool> {
    (yes || no).then_some(yes)
}

fn show(context: &Context, kernel: &KernelName) -> Result<Exit, Error> {
    let client = context.client()?;
    list::show(context, &client, &at(&client, kernel), |row: Row| {
        let runs = client
            .at(&["runs"])
            .with("distro", &kernel.distro)
            .with("version", &kernel.version)
            .with("limit", SHOWN_RUNS);
        let runs: Page<Run> = client.get(&runs)?;
        let ignored = row.ignored.as_ref();
        context.out.table(&Table::facts(vec![
            ("kernel", kernel.to_string()),
            (
                "state",
                format!("{} since {}", row.state, time(row.state_since)),
            ),
            ("first seen", time(row.first_seen)),
            ("missing", row.missing.join(", ")),
            (
                "ignored",
                ignored
                    .map(|why| {
                        format!(
                            "{} (scope {}, decision {})",
                            why.reason, why.scope, why.decision
                        )
                    })
                    .unwrap_or_default(),
            ),
            ("deleted", if row.deleted { "yes" } else { "" }.to_owned()),
            ("generation", row.generation.to_string()),
        ]))?;
        let packages = row.packages.unwrap_or_default();
        if !packages.is_empty() {
            let mut table = Table::new(&[
                "PACKAGE", "VERSION", "ARCH", "ROLE", "SIZE#", "SHA-256", "FILE",
            ]);
            packages
                .into_iter()
                .for_each(|package| table.add(cells(package)));
            context.out.line("")?;
            context.out.table(&table)?;
        }
        if !runs.items.is_empty() {
            context.out.line("")?;
            context.out.table(&Table::of(&runs.items))?;
        }
        Ok(())
    })
}

fn cells(package: Package) -> Vec<String> {
    vec![
        package.name,
        package.version,
        package.arch,
        package.role,
        bytes(package.size),
        text::short(&package.sha256).to_owned(),
        package.filename,
    ]
}

fn add(context: &Context, args: Add) -> Result<Exit, Error> {
    let kernels = input::kernels(&args.kernels)?
        .into_iter()
        .map(|kernel| NewKernel {
            distro: kernel.distro,
            version: kernel.version,
            state: args.state.clone(),
            missing: Vec::new(),
            packages: Vec::new(),
        })
        .collect();
    let client = context.client()?;
    let body = CreateKernels {
        comment: args.why.comment,
        kernels,
    };
    tell(
        context,
        &client.send(&Method::POST, &client.at(&["kernels"]), &body)?,
    )
}

fn set(context: &Context, args: Set) -> Result<Exit, Error> {
    let kernels = input::kernels(&args.kernels)?;
    let client = context.client()?;
    let written: Written = match (args.if_generation, kernels.as_slice()) {
        (Some(generation), [kernel]) => {
            let body = UpdateKernel {
                comment: args.why.comment,
                state: Some(args.state),
            };
            client.send_if(
                &Method::PATCH,
                &at(&client, kernel),
                &body,
                Some(generation),
            )?
        }
        (Some(_), _) => {
            return Err(Error::usage(
                "--if-generation goes with one kernel",
                "several have several generations: set them one by one, or without it",
            ));
        }
        (None, _) => {
            let kernels = kernels
                .into_iter()
                .map(|KernelName { distro, version }| SetKernel {
                    distro,
                    version,
                    state: args.state.clone(),
                })
                .collect();
            let body = SetKernels {
                comment: args.why.comment,
                kernels,
            };
            client.send(&Method::PATCH, &client.at(&["kernels"]), &body)?
        }
    };
    tell(context, &written)
}

/// Does the same to several kernels, one call each; the first that fails ends it, and what was done
/// stays.
fn each(
    context: &Context,
    args: Many,
    act: &dyn Fn(&Client, &KernelName, &Because) -> Result<Written, Error>,
) -> Result<Exit, Error> {
    let kernels = input::kernels(&args.kernels)?;
    let client = context.client()?;
    let because = Because::from(args.why);
    let many = kernels.len() > 1;
    for kernel in &kernels {
        let written = act(&client, kernel, &because)?;
        if context.out.is_json() && many {
            context.out.record(&written)?;
        } else {
            tell(context, &written)?;
        }
    }
    Ok(Exit::Ok)
}

/// The events of a kernel version and of its runs.
fn history(context: &Context, kernel: &KernelName) -> Result<Exit, Error> {
    let client = context.client()?;
    let name = kernel.to_string();
    // Names of runs begin with that of their kernel and a space; other kernels may begin alike.
    let run_prefix = format!("{name} ");
    let address = client.at(&["events"]).with("name_prefix", &name);
    let paging = crate::args::Paging {
        limit: u64::MAX,
        all: true,
        cursor: None,
    };
    let mut table = Table::new(&["AT", "GENERATION#", "WHO", "WHAT", "CHANGES", "WHY"]);
    let mut found = false;
    list::pages(&client, &address, "after", &paging, &mut |page: Vec<
        Event,
    >| {
        for event in page {
            if event.name != name && !event.name.starts_with(&run_prefix) {
                continue;
            }
            found = true;
            if context.out.is_json() {
                context.out.record(&event)?;
                continue;
            }
            let what = text::operation(event.operation);
            let what = match event.name.strip_prefix(&run_prefix) {
                Some(run) => format!("run {run} {what}"),
                None => what.to_owned(),
            };
            table.add(vec![
                time(event.at),
                event.generation.to_string(),
                event.user.clone(),
                what,
                text::changes(&event),
                event.comment,
            ]);
        }
        context.out.table(&table)?;
        table.next_page();
        Ok(())
    })?;
    if !found {
        // Unknown is not the same as unchanged: this is an error if there is no such kernel.
        client.get::<Row>(&at(&client, kernel))?;
        context.out.note("nothing happened to it yet");
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_exclude_each_other() {
        assert_eq!(
            [
                either(true, false),
                either(false, true),
                either(false, false)
            ],
            [Some(true), Some(false), None]
        );
    }
}
