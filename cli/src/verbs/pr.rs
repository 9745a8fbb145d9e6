//! `pointsman pr`.

use pointsman_api::pull::{
    Comment, Condition, Explanation, NewComment, NewPull, NewReview, Person, Pull, PullAction,
    Review, Standing, UpdatePull,
};
use serde_json::Value;
use ureq::http::Method;

use crate::args::merge::{Act, EditPull, Pr, PullName};
use crate::client::Client;
use crate::client::address::Address;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::{safe, time};
use crate::verbs::{list, tell};

pub(super) fn run(context: &Context, verb: Pr) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Pr::List {
            repository,
            state,
            target,
            author,
            approval,
            passing,
            paging,
        } => {
            let address = client
                .at(&["repositories", &repository, "pulls"])
                .maybe("state", state)
                .maybe("target", target)
                .maybe("author", author)
                .maybe("approval", approval)
                .flag("passing", passing);
            list::print::<Pull>(context, &address, &paging, "no pull request is like that")
        }
        Pr::Show { pull } => list::show(context, &client, &at(&client, &pull, &[]), |pull| {
            show(context, &client, pull)
        }),
        Pr::Why { pull } => {
            let address = at(&client, &pull, &["why"]);
            list::show(context, &client, &address, |found| explain(context, &found))
        }
        Pr::Create(new) => {
            let body = NewPull {
                comment: new.why.comment,
                title: new.title,
                body: new.body,
                target: new.target,
                branch: new.branch,
                head_repository: new.from,
                draft: new.draft,
                author: new.author.map(|name| Person {
                    name,
                    permission: new.permission.unwrap_or_else(|| "write".to_owned()),
                }),
                labels: new.labels,
            };
            let address = client.at(&["repositories", &new.repository, "pulls"]);
            let pull: Pull = client.send(&Method::POST, &address, &body)?;
            if context.out.is_json() {
                context.out.document(&pull)?;
            } else {
                context
                    .out
                    .line(format!("{}#{}", pull.repository, pull.number))?;
            }
            Ok(Exit::Ok)
        }
        Pr::Edit(edit) => edit_pull(context, &client, edit),
        Pr::Close { pull, why } => {
            let body = UpdatePull {
                comment: why.comment,
                state: Some("closed".to_owned()),
                ..UpdatePull::default()
            };
            tell(
                context,
                &client.send(&Method::PATCH, &at(&client, &pull, &[]), &body)?,
            )
        }
        Pr::Review {
            pull,
            state,
            head,
            why,
        } => {
            let body = NewReview {
                comment: why.comment,
                state,
                head,
                by: None,
            };
            let address = at(&client, &pull, &["reviews"]);
            tell(context, &client.send(&Method::POST, &address, &body)?)
        }
        Pr::Reviews { pull, paging } => {
            let address = at(&client, &pull, &["reviews"]);
            list::print::<Review>(context, &address, &paging, "nobody reviewed it yet")
        }
        Pr::Comment { pull, body } => {
            let body = NewComment { body, by: None };
            let address = at(&client, &pull, &["comments"]);
            tell(context, &client.send(&Method::POST, &address, &body)?)
        }
        Pr::Comments { pull, paging } => {
            let address = at(&client, &pull, &["comments"]);
            list::print::<Comment>(context, &address, &paging, "nobody commented on it yet")
        }
        Pr::Label {
            pull,
            label,
            off,
            why,
        } => {
            let address =
                at(&client, &pull, &["labels", &label]).maybe("comment", why.comment.as_deref());
            let written = match off {
                true => client.delete(&address)?,
                false => client.send(&Method::PUT, &address, &serde_json::json!({}))?,
            };
            tell(context, &written)
        }
        Pr::Authorise(act) => say(context, &client, act, "authorise"),
        Pr::Retest(act) => say(context, &client, act, "retest"),
        Pr::TryMerge { pull, head } => try_merge(context, &client, &pull, head),
    }
}

fn at(client: &Client, pull: &PullName, rest: &[&str]) -> Address {
    let number = pull.number.to_string();
    let mut segments = vec!["repositories", &*pull.repository, "pulls", &*number];
    segments.extend(rest);
    client.at(&segments)
}

fn say(context: &Context, client: &Client, act: Act, what: &str) -> Result<Exit, Error> {
    let body = PullAction {
        comment: act.why.comment,
        head: act.head,
    };
    let address = at(client, &act.pull, &[what]);
    tell(context, &client.send(&Method::POST, &address, &body)?)
}

/// Asks the pipeline that lands a pull request to look at it again.
fn try_merge(
    context: &Context,
    client: &Client,
    pull: &PullName,
    head: Option<String>,
) -> Result<Exit, Error> {
    let found: Explanation = client.get(&at(client, pull, &["why"]))?;
    let Some(pipeline) = found.pipeline else {
        let place = format!("{}/{}", found.pull.repository, found.pull.target);
        return Err(Error::hinted(
            format!("no pipeline lands on {place}"),
            "an admin makes one: `pointsman pipeline create`",
        ));
    };
    let number = pull.number.to_string();
    let address = client.at(&["pipelines", &pipeline, "try-merge", &number]);
    let body = PullAction {
        comment: None,
        head,
    };
    let found: Value = client.send(&Method::POST, &address, &body)?;
    if context.out.is_json() {
        context.out.document(&found)?;
    } else {
        context.out.note(format!(
            "it is looked at again; `pointsman pr why {}#{number}` says what is in the way",
            pull.repository
        ));
    }
    Ok(Exit::Ok)
}

fn edit_pull(context: &Context, client: &Client, edit: EditPull) -> Result<Exit, Error> {
    let body = UpdatePull {
        comment: edit.why.comment,
        title: edit.title,
        body: edit.body,
        draft: match (edit.draft, edit.ready) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        state: edit.open.then(|| "open".to_owned()),
    };
    let nothing = UpdatePull {
        comment: body.comment.clone(),
        ..UpdatePull::default()
    };
    if body == nothing {
        return Err(Error::usage(
            "nothing is to be changed",
            "give --title, --body, --draft, --ready or --open",
        ));
    }
    let address = at(client, &edit.pull, &[]);
    tell(context, &client.send(&Method::PATCH, &address, &body)?)
}

fn show(context: &Context, client: &Client, pull: Pull) -> Result<(), Error> {
    let head = match pull.head_gone {
        true => format!("{} (its branch is gone)", pull.head),
        false => pull.head.clone(),
    };
    let from = match &pull.head_repository {
        Some(fork) => format!("{fork}: {}", pull.branch),
        None => pull.branch.clone(),
    };
    let mut facts = vec![
        (
            "pull request",
            format!("{}#{}", pull.repository, pull.number),
        ),
        ("title", pull.title),
        (
            "state",
            if pull.draft {
                format!("{}, draft", pull.state)
            } else {
                pull.state
            },
        ),
        ("author", pull.author),
        ("from", from),
        ("target", pull.target),
        ("head", head),
        ("labels", pull.labels.join(", ")),
        ("authorised by", pull.authorised_by.unwrap_or_default()),
        ("opened", time(pull.opened_at)),
    ];
    if let Some(standing) = pull.standing {
        facts.extend(stands(standing));
    }
    for status in pull.statuses.unwrap_or_default() {
        let mut line = format!("{}: {}: {}", status.context, status.state, status.text);
        if let Some(link) = &status.link {
            line.push_str(&format!(" {}", client.absolute(link)));
        }
        facts.push(("status", line));
    }
    facts.push(("generation", pull.generation.to_string()));
    context.out.table(&Table::facts(facts))
}

fn stands(standing: Standing) -> Vec<(&'static str, String)> {
    let because = |said: pointsman_api::pull::Said, what: &str| match said.decision {
        Some(decision) => format!("{what}: {} (decision {decision})", said.text),
        None => format!("{what}: {}", said.text),
    };
    let need = standing.need.unwrap_or_else(|| "nobody can say".to_owned());
    vec![
        ("approval", because(standing.review, &standing.approval)),
        ("review by", standing.wanted.join(", ")),
        ("gate", because(standing.gate, &need)),
        (
            "held",
            standing.held.map(|held| held.text).unwrap_or_default(),
        ),
        (
            "verdict",
            match (standing.verdict, standing.verdict_base) {
                (Some(verdict), Some(base)) => format!("{verdict} on {base:.12}"),
                _ => String::new(),
            },
        ),
    ]
}

fn explain(context: &Context, found: &Explanation) -> Result<(), Error> {
    conditions(context, &found.conditions)
}

/// Conditions in their order, and what is next.
pub(super) fn conditions(context: &Context, all: &[Condition]) -> Result<(), Error> {
    for condition in all {
        let mark = if condition.met { "ok " } else { "no " };
        let mut line = format!("{mark} {:<10} {}", condition.name, safe(&condition.text));
        if !condition.decisions.is_empty() {
            let ids: Vec<String> = condition.decisions.iter().map(i64::to_string).collect();
            line.push_str(&format!(" (decision {})", ids.join(", ")));
        }
        context.out.line(&line)?;
    }
    let unmet = all.iter().find(|condition| !condition.met);
    match unmet.and_then(|condition| condition.remedy.as_deref()) {
        Some(remedy) => context.out.line(format!("\nnext: {}", safe(remedy))),
        None => Ok(()),
    }
}
