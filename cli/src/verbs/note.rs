//! `pointsman note`.

use pointsman_api::note::{NewNote, Note as Row, NoteName, PutNotes};
use ureq::http::Method;

use crate::args::note::{About, Note, NotePlace};
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::{list, tell};

pub(super) fn run(context: &Context, verb: Note) -> Result<Exit, Error> {
    let client = context.client()?;
    let (pipeline, body) = match verb {
        Note::List {
            pipeline,
            hook,
            position,
            kernel,
            pull,
            pipeline_only,
            paging,
        } => {
            let address = client
                .at(&["pipelines", &pipeline, "notes"])
                .maybe("hook", hook)
                .maybe("position", position.map(|position| position.to_string()))
                .maybe("distro", kernel.as_ref().map(|kernel| &kernel.distro))
                .maybe("version", kernel.as_ref().map(|kernel| &kernel.version))
                .maybe("repository", pull.as_ref().map(|pull| &pull.repository))
                .maybe("number", pull.as_ref().map(|pull| pull.number.to_string()))
                .flag("pipeline_only", pipeline_only);
            let nothing = "no notes: policies that remember nothing keep none";
            return list::print::<Row>(context, &address, &paging, nothing);
        }
        Note::Set {
            place,
            key,
            value,
            about,
        } => {
            let NoteName {
                hook,
                position,
                distro,
                version,
                repository,
                number,
                key,
            } = name(&place, &about, key);
            let note = NewNote {
                hook,
                position,
                distro,
                version,
                repository,
                number,
                key,
                value,
            };
            let body = PutNotes {
                comment: about.why.comment,
                notes: vec![note],
                remove: vec![],
            };
            (place.pipeline, body)
        }
        Note::Remove { place, keys, about } => {
            let remove = keys
                .into_iter()
                .map(|key| name(&place, &about, key))
                .collect();
            let body = PutNotes {
                comment: about.why.comment,
                notes: vec![],
                remove,
            };
            (place.pipeline, body)
        }
    };
    let address = client.at(&["pipelines", &pipeline, "notes"]);
    tell(context, &client.send(&Method::POST, &address, &body)?)
}

fn name(place: &NotePlace, about: &About, key: String) -> NoteName {
    let kernel = about.kernel.as_ref();
    NoteName {
        hook: place.hook.clone(),
        position: i32::from(about.position),
        distro: kernel.map(|kernel| kernel.distro.clone()),
        version: kernel.map(|kernel| kernel.version.clone()),
        repository: about.pull.as_ref().map(|pull| pull.repository.clone()),
        number: about.pull.as_ref().map(|pull| pull.number),
        key,
    }
}
