//! `pointsman lane`.

use pointsman_api::lane::{Attempt, Job, Lane as Row};

use crate::args::merge::Lane;
use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::time;
use crate::verbs::list;

pub(super) fn run(context: &Context, verb: Lane) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Lane::List {
            pipeline,
            living,
            state,
            number,
            paging,
        } => {
            let address = client
                .at(&["pipelines", &pipeline, "lanes"])
                .flag("living", living)
                .maybe("state", state)
                .maybe("number", number.map(|n| n.to_string()));
            list::print::<Row>(context, &address, &paging, "no lane is like that")
        }
        Lane::Show { lane } => {
            let address = client.at(&["lanes", &lane.to_string()]);
            list::show(context, &client, &address, |lane| {
                show(context, &client, lane)
            })
        }
        Lane::Log { lane, job, attempt } => log(context, &client, lane, job.as_deref(), attempt),
    }
}

fn show(context: &Context, client: &Client, lane: Row) -> Result<(), Error> {
    let members: Vec<String> = lane
        .members
        .iter()
        .map(|m| format!("#{} at {:.12}", m.number, m.head))
        .collect();
    let blame: Vec<String> = lane.blame.iter().map(|n| format!("#{n}")).collect();
    let decision = lane
        .decision
        .map(|id| format!(" (decision {id})"))
        .unwrap_or_default();
    context.out.table(&Table::facts(vec![
        ("lane", format!("{} of {}", lane.id, lane.pipeline)),
        (
            "state",
            format!("{} since {}", lane.state, time(lane.since)),
        ),
        ("why", format!("{}{decision}", lane.reason)),
        ("held", lane.held.map(|held| held.text).unwrap_or_default()),
        ("members", members.join(", ")),
        ("purpose", lane.purpose),
        ("landing", lane.landing),
        ("base", lane.base.unwrap_or_default()),
        ("commit", lane.commit.unwrap_or_default()),
        ("tree", lane.tree.unwrap_or_default()),
        ("blame", blame.join(", ")),
        ("generation", lane.generation.to_string()),
        (
            "link",
            lane.link
                .map(|link| client.absolute(&link))
                .unwrap_or_default(),
        ),
    ]))?;
    jobs(context, client, &lane.jobs.unwrap_or_default())
}

/// The jobs of a lane or of a run, one line an attempt.
pub(super) fn jobs(context: &Context, client: &Client, jobs: &[Job]) -> Result<(), Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    context.out.line("")?;
    let mut table = Table::new(&[
        "JOB", "STATE", "WEIGHT", "ATTEMPT#", "ENDED", "TESTS", "DETAIL",
    ]);
    for job in jobs {
        if job.attempts.is_empty() {
            let detail = match (&job.skipped, job.reused_from) {
                (Some(skipped), _) => skipped.text.clone(),
                (None, Some(of)) => format!("passed on the same tree in lane {of}"),
                (None, None) => String::new(),
            };
            table.add(row(job, None, detail));
        }
        for attempt in &job.attempts {
            table.add(row(
                job,
                Some(attempt),
                attempt.detail.clone().unwrap_or_default(),
            ));
        }
    }
    context.out.table(&table)?;
    // Long, so each has a line of its own.
    for job in jobs {
        for attempt in &job.attempts {
            if let Some(link) = &attempt.link {
                let link = client.absolute(link);
                context
                    .out
                    .line(format!("{} {}: {link}", job.name, attempt.number))?;
            }
        }
    }
    Ok(())
}

fn row(job: &Job, attempt: Option<&Attempt>, detail: String) -> Vec<String> {
    let ended = attempt.map(|a| match (&a.ended, a.exit_code) {
        (Some(ended), Some(code)) => format!("{ended} {code}"),
        (Some(ended), None) => ended.clone(),
        (None, _) => a.state.clone(),
    });
    let tests = attempt.filter(|a| a.tests_total > 0);
    vec![
        job.name.clone(),
        job.state.clone(),
        job.weight.clone(),
        attempt.map(|a| a.number.to_string()).unwrap_or_default(),
        ended.unwrap_or_default(),
        tests
            .map(|a| format!("{}/{}", a.tests_passed, a.tests_total))
            .unwrap_or_default(),
        detail,
    ]
}

fn log(
    context: &Context,
    client: &Client,
    lane: i64,
    job: Option<&str>,
    number: Option<i32>,
) -> Result<Exit, Error> {
    let found: Row = client.get(&client.at(&["lanes", &lane.to_string()]))?;
    let jobs = found.jobs.unwrap_or_default();
    print_log(context, client, &jobs, job, number, "lane show")
}

/// Prints the log of one attempt; `shown` lists what there is.
pub(super) fn print_log(
    context: &Context,
    client: &Client,
    jobs: &[Job],
    job: Option<&str>,
    number: Option<i32>,
    shown: &str,
) -> Result<Exit, Error> {
    let passed = |job: &&Job| job.attempts.last().is_some_and(|a| a.exit_code == Some(0));
    let chosen = match job {
        Some(name) => jobs.iter().find(|j| j.name == name),
        None => jobs
            .iter()
            .filter(|j| !j.attempts.is_empty())
            .find(|j| !passed(j))
            .or(jobs.first()),
    };
    let attempt = chosen.and_then(|job| match number {
        Some(number) => job.attempts.iter().find(|a| a.number == number),
        None => job.attempts.last(),
    });
    let Some(attempt) = attempt else {
        return Err(Error::usage(
            "there is no such attempt",
            format!("`pointsman {shown}` lists the jobs there are and their attempts"),
        ));
    };
    let mut from = 0_u64;
    // The beginning of a character that the next part ends.
    let mut rest: Vec<u8> = vec![];
    loop {
        let address = client
            .at(&["attempts", &attempt.key, "log"])
            .maybe("from", Some(from.to_string()));
        let (part, next) = client.bytes(&address)?;
        let is_end = part.is_empty();
        // Of a long log the middle is cut: the reply says where it goes on.
        from = next.unwrap_or(from + part.len() as u64);
        rest.extend(part);
        let whole = match std::str::from_utf8(&rest) {
            Err(error) if error.error_len().is_none() && !is_end => error.valid_up_to(),
            _ => rest.len(),
        };
        let after = rest.split_off(whole);
        context.out.raw(&String::from_utf8_lossy(&rest))?;
        rest = after;
        if is_end {
            return Ok(Exit::Ok);
        }
    }
}
