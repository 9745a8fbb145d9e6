//! `pointsman decision export` and `replay`: decisions made again, on this machine.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Mutex;

use base64::Engine as _;
use pointsman_api::pipeline::DecisionRecord;
use pointsman_api::plugin::Plugin as Row;
use pointsman_host::policy::{Hook, Plugin};
use pointsman_host::replay::{self, Asked, Difference};
use serde_json::{Value, json};

use crate::args::policy::DecisionReplay;
use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::{CALLS_AT_ONCE, Local};
use crate::output::table::Table;
use crate::output::text::{count, short};
use crate::progress::Progress;
use crate::verbs::plugin::tools::{BUNDLE_FORMAT, Bundle};

/// Bytes of one line: a question has some megabytes.
const MAX_LINE: u64 = 256 << 20;
/// Records between two signs of life.
const REPORT_EVERY: u64 = 100;

pub(super) fn export(
    context: &Context,
    client: &Client,
    id: i64,
    output: Option<&Path>,
    no_wasm: bool,
) -> Result<Exit, Error> {
    let address = client.at(&["decision-records"]).with("id", id);
    let mut decision = None;
    lines(client, &address, |record| {
        decision = Some(record);
        Ok(())
    })?;
    let Some(decision) = decision else {
        // Says that it is not there, in the server's words and with its exit code.
        let _: Value = client.get(&client.at(&["decisions", &id.to_string()]))?;
        return Err(Error::failed(format!("decision {id} went away meanwhile")));
    };
    let plugin: Row = client.get(&client.at(&["plugins", &decision.digest]))?;
    let wasm = match no_wasm {
        true => None,
        false => {
            Some(base64::engine::general_purpose::STANDARD.encode(wasm(client, &decision.digest)?))
        }
    };
    let bundle = Bundle {
        format: BUNDLE_FORMAT,
        decision,
        plugin: plugin.name,
        wasm,
    };
    let Some(file) = output else {
        context.out.record(&bundle)?;
        return Ok(Exit::Ok);
    };
    let text = serde_json::to_vec(&bundle)
        .map_err(|error| Error::failed(format!("cannot write JSON: {error}")))?;
    std::fs::write(file, text)
        .map_err(|error| Error::failed(format!("cannot write {}: {error}", file.display())))?;
    context.out.note(format!(
        "{}: decision {id}; `pointsman plugin replay` repeats it",
        file.display()
    ));
    Ok(Exit::Ok)
}

fn wasm(client: &Client, digest: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![];
    client
        .read(&client.at(&["plugins", digest, "wasm"]), &[])?
        .into_body()
        .into_reader()
        .take(pointsman_host::policy::MAX_COMPONENT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::failed(format!("the component broke off: {error}")))?;
    Ok(bytes)
}

/// Reads the records of an address one by one, and makes sure that none is missing.
fn lines(
    client: &Client,
    address: &crate::client::address::Address,
    mut take: impl FnMut(DecisionRecord) -> Result<(), Error>,
) -> Result<(), Error> {
    let cut = |why: &dyn std::fmt::Display| {
        Error::hinted(
            format!("the decisions broke off: {why}"),
            "try again, or ask for fewer with --since and --until",
        )
    };
    let mut reader = BufReader::new(client.read(address, &[])?.into_body().into_reader());
    let mut line = vec![];
    loop {
        line.clear();
        let read = (&mut reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| cut(&error))?;
        if read == 0 {
            return Err(cut(&"the end is missing"));
        }
        if line == b"{\"end\":true}\n" {
            return Ok(());
        }
        take(serde_json::from_slice(&line).map_err(|error| cut(&error))?)?;
    }
}

/// What came of all of them.
#[derive(Default)]
struct Tally {
    same: u64,
    differ: u64,
    skipped: BTreeMap<String, u64>,
    groups: BTreeMap<Group, Members>,
}

/// Differences of one kind.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    hook: String,
    at: String,
    before: String,
    after: String,
}

struct Members {
    decisions: u64,
    first: i64,
    subject: String,
}

pub(super) fn run(
    context: &Context,
    client: &Client,
    args: &DecisionReplay,
) -> Result<Exit, Error> {
    let local = Local::new()?;
    let candidate = args
        .plugin
        .as_deref()
        .map(|file| local.load_file(file))
        .transpose()?;
    let settings = args
        .settings
        .as_deref()
        .map(crate::verbs::pipeline::settings)
        .transpose()?;
    let address = client
        .at(&["decision-records"])
        .maybe("pipeline", args.pipeline.as_deref())
        .maybe("hook", args.hook.as_deref())
        .maybe("subject", args.subject.as_deref())
        .maybe("since", args.since.map(|time| time.to_rfc3339()))
        .maybe("until", args.until.map(|time| time.to_rfc3339()));
    let progress = Progress::new(&context.out);
    let asked = match &candidate {
        Some(_) => Asked::Candidate,
        None => Asked::Same,
    };
    let tally = Mutex::new(Tally::default());
    let read = replay::many(
        local.engine(),
        CALLS_AT_ONCE,
        asked,
        |make| {
            let mut plugins: HashMap<String, Plugin> = HashMap::new();
            let mut read = 0;
            lines(client, &address, |mut record| {
                read += 1;
                if read % REPORT_EVERY == 0 {
                    progress.detail(|| format!("replaying: {}", count(read, "decision")));
                }
                let plugin = match &candidate {
                    Some(candidate) => {
                        let hook: Option<Hook> = record.hook.parse().ok();
                        if !hook.is_some_and(|hook| candidate.hooks().contains(&hook)) {
                            return Ok(());
                        }
                        if let Some(settings) = &settings {
                            record.settings.clone_from(settings);
                        }
                        candidate.clone()
                    }
                    None => match plugins.get(&record.digest) {
                        Some(plugin) => plugin.clone(),
                        None => {
                            let loaded =
                                local
                                    .load(wasm(client, &record.digest)?)
                                    .map_err(|rejection| {
                                        Error::hinted(
                                            format!(
                                                "plugin {}: {rejection}",
                                                short(&record.digest)
                                            ),
                                            rejection.hint(),
                                        )
                                    })?;
                            plugins.insert(record.digest.clone(), loaded.clone());
                            loaded
                        }
                    },
                };
                make(plugin, record).map_err(|gone| Error::failed(gone.to_string()))
            })
        },
        |record, again| {
            if let Ok(mut tally) = tally.lock() {
                tally.add(record, &again);
            }
        },
    );
    progress.clear();
    read?;
    let tally = tally
        .into_inner()
        .map_err(|_| Error::failed("a thread of the replay broke"))?;
    tally.print(context)
}

impl Tally {
    fn add(
        &mut self,
        record: &DecisionRecord,
        again: &Result<replay::Again, replay::NotReplayable>,
    ) {
        let again = match again {
            Ok(again) => again,
            Err(error) => {
                *self.skipped.entry(error.to_string()).or_default() += 1;
                return;
            }
        };
        let Some(Difference { at, before, after }) = replay::compare(record, again) else {
            self.same += 1;
            return;
        };
        self.differ += 1;
        let group = Group {
            hook: record.hook.clone(),
            at,
            before,
            after,
        };
        let members = self.groups.entry(group).or_insert_with(|| Members {
            decisions: 0,
            first: record.id,
            subject: record.subject.clone(),
        });
        members.decisions += 1;
        if record.id < members.first {
            members.first = record.id;
            members.subject.clone_from(&record.subject);
        }
    }

    fn print(self, context: &Context) -> Result<Exit, Error> {
        let mut groups: Vec<(Group, Members)> = self.groups.into_iter().collect();
        groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.decisions));
        if context.out.is_json() {
            let differences: Vec<Value> = groups
                .iter()
                .map(|(group, members)| {
                    json!({
                        "hook": group.hook, "at": group.at, "before": group.before, "after": group.after,
                        "decisions": members.decisions, "first": members.first, "subject": members.subject,
                    })
                })
                .collect();
            context.out.document(&json!({
                "same": self.same, "differ": self.differ, "skipped": self.skipped, "differences": differences,
            }))?;
        } else {
            let mut table = Table::new(&[
                "DECISIONS#",
                "HOOK",
                "WHERE",
                "THEN",
                "NOW",
                "FIRST#",
                "ABOUT",
            ]);
            for (group, members) in &groups {
                table.add(vec![
                    members.decisions.to_string(),
                    group.hook.clone(),
                    if group.at.is_empty() {
                        "outcome".to_owned()
                    } else {
                        group.at.clone()
                    },
                    group.before.clone(),
                    group.after.clone(),
                    members.first.to_string(),
                    members.subject.clone(),
                ]);
            }
            context.out.table(&table)?;
            context.out.line(format!(
                "{} the same, {} differ, {} not replayable",
                self.same,
                self.differ,
                self.skipped.values().sum::<u64>()
            ))?;
            for (why, number) in &self.skipped {
                context
                    .out
                    .note(format!("{}: {why}", count(*number, "decision")));
            }
        }
        if self.differ > 0 {
            return Ok(Exit::Differs);
        }
        if self.same == 0 && !self.skipped.is_empty() {
            // To whoever asks whether a candidate may be bound, silence is no yes.
            return Err(Error::hinted(
                "no decision could be compared",
                "bind the candidate in shadow: it is then asked what comes",
            ));
        }
        Ok(Exit::Ok)
    }
}
