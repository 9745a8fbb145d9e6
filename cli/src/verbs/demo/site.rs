//! The throwaway server as its users see it: the same HTTP API that every other verb speaks, asked again
//! where the server was killed meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pointsman_api::generation::Written;
use pointsman_api::lane::{Lane, Tip};
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Limits, Pipeline, PutBinding};
use pointsman_api::plugin::Uploaded;
use pointsman_api::pull::{
    Comment, Explanation, NewComment, NewPipeline, NewPull, NewRepository, NewReview, Person, Pull,
    Repository,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::Method;

use super::keeper::Keeper;
use super::story::Story;
use crate::client::Client;
use crate::client::address::Address;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::plugin::upload;

/// The repository.
pub(super) const REPOSITORY: &str = "driver";
/// The pipeline, and the branch that it lands on.
pub(super) const PIPELINE: &str = "main";
/// Lanes that run at once: as many as most machines have cores at least.
const SLOTS: i32 = 2;
/// How often something that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(60);
/// How long to wait for the next server before looking whether everything was called off.
const CLIENT_WAIT: Duration = Duration::from_millis(200);
/// How long one call may go on failing while servers come and go.
const CALL_PATIENCE: Duration = Duration::from_secs(120);
/// Rows of a list: no demonstration has more lanes or tips of interest.
const ROWS: u32 = 1000;

/// See the module.
pub(super) struct Site {
    pub(super) keeper: Arc<Keeper>,
    pub(super) story: Story,
    /// Ctrl-C was pressed.
    pub(super) called_off: Arc<AtomicBool>,
}

impl Site {
    /// Fails where there is no sense in going on: nobody listens, or Ctrl-C was pressed.
    pub(super) fn go_on(&self) -> Result<(), Error> {
        if self.called_off.load(Ordering::Relaxed) {
            return Err(Error::failed("called off before its end"));
        }
        self.story.heard()
    }

    /// A moment's rest between two looks.
    pub(super) fn rest(&self) -> Result<(), Error> {
        thread::sleep(LOOK_EVERY);
        self.go_on()
    }

    /// Calls the server. A call that a kill broke off is made again, on the next server: `act` must not
    /// do twice what the first try did already.
    fn call<T>(&self, act: impl Fn(&Client) -> Result<T, Error>) -> Result<T, Error> {
        let begun = Instant::now();
        loop {
            self.go_on()?;
            let Some(client) = self.keeper.client(CLIENT_WAIT)? else {
                continue;
            };
            match act(&client) {
                Err(error) if is_a_kill(&error) && begun.elapsed() < CALL_PATIENCE => {
                    self.rest()?;
                }
                answer => return answer,
            }
        }
    }

    fn get<T: DeserializeOwned>(&self, at: impl Fn(&Client) -> Address) -> Result<T, Error> {
        self.call(|client| client.get(&at(client)))
    }

    /// Waits until the server answers.
    pub(super) fn pipelines(&self) -> Result<(), Error> {
        let page: Page<Pipeline> = self.get(|client| client.at(&["pipelines"]))?;
        drop(page);
        Ok(())
    }

    /// Makes the repository, and gives where it is.
    pub(super) fn make(&self) -> Result<Repository, Error> {
        self.call(|client| {
            let new = NewRepository {
                comment: None,
                name: REPOSITORY.to_owned(),
                branch: PIPELINE.to_owned(),
            };
            client.send(&Method::POST, &client.at(&["repositories"]), &new)
        })
        .map(|written: Value| drop(written))?;
        let page: Page<Repository> = self.get(|client| client.at(&["repositories"]))?;
        let found = page
            .items
            .into_iter()
            .find(|found| found.name == REPOSITORY);
        found.ok_or_else(|| Error::failed("the repository that was made is not listed"))
    }

    /// Makes the pipeline that lands on its main branch.
    pub(super) fn make_pipeline(&self) -> Result<(), Error> {
        let new = NewPipeline {
            comment: None,
            name: PIPELINE.to_owned(),
            repository: REPOSITORY.to_owned(),
            target: PIPELINE.to_owned(),
            slots: SLOTS,
            prefix: "@pointsman".to_owned(),
        };
        let made: Result<Written, Error> =
            self.call(|client| client.send(&Method::POST, &client.at(&["pipelines"]), &new));
        made.map(|_| ())
    }

    /// Uploads a stock plugin; gives its digest.
    pub(super) fn upload(&self, dir: &Path, plugin: &str) -> Result<String, Error> {
        let file = dir.join(format!("{plugin}.wasm"));
        let uploaded: Uploaded =
            self.call(|client| upload(client, &file, plugin, Some("Stock plugin")))?;
        Ok(uploaded.plugin.digest)
    }

    /// Binds a plugin version to a hook.
    pub(super) fn bind(
        &self,
        hook: &str,
        digest: &str,
        settings: Value,
        why: &str,
    ) -> Result<(), Error> {
        let body = PutBinding {
            comment: Some(why.to_owned()),
            digest: digest.to_owned(),
            settings,
            limits: Limits::default(),
        };
        let bound: Result<Written, Error> = self.call(|client| {
            let address = client.at(&["pipelines", PIPELINE, "bindings", hook, "0"]);
            client.send(&Method::PUT, &address, &body)
        });
        bound.map(|_| ())
    }

    /// Opens a pull request of a branch, if that has not been done; gives its number.
    pub(super) fn open(&self, branch: &str, title: &str, draft: bool) -> Result<i32, Error> {
        let new = NewPull {
            comment: None,
            title: title.to_owned(),
            body: String::new(),
            target: PIPELINE.to_owned(),
            branch: branch.to_owned(),
            head_repository: None,
            draft,
            author: Some(person("ann")),
            labels: vec![],
        };
        self.call(|client| {
            let address = client.at(&["repositories", REPOSITORY, "pulls"]);
            let there: Page<Pull> = client.get(&address.clone().with("limit", ROWS))?;
            if let Some(pull) = there.items.iter().find(|pull| pull.branch == branch) {
                return Ok(pull.number);
            }
            let pull: Pull = client.send(&Method::POST, &address, &new)?;
            Ok(pull.number)
        })
    }

    /// Somebody else reviews this head.
    pub(super) fn review(&self, number: i32, state: &str, head: &str) -> Result<(), Error> {
        let new = NewReview {
            comment: None,
            state: state.to_owned(),
            head: Some(head.to_owned()),
            by: Some(person("bo")),
        };
        // The last word of a person counts, so that the same word twice is harmless.
        let said: Result<Value, Error> = self
            .call(|client| client.send(&Method::POST, &pull(client, number, &["reviews"]), &new));
        said.map(drop)
    }

    /// Somebody writes a comment, if that has not been done.
    pub(super) fn comment(&self, number: i32, body: &str) -> Result<(), Error> {
        let new = NewComment {
            body: body.to_owned(),
            by: Some(person("bo")),
        };
        self.call(|client| {
            let address = pull(client, number, &["comments"]);
            let there: Page<Comment> = client.get(&address)?;
            if there.items.iter().any(|comment| comment.body == body) {
                return Ok(());
            }
            let said: Result<Value, Error> = client.send(&Method::POST, &address, &new);
            said.map(drop)
        })
    }

    pub(super) fn pull(&self, number: i32) -> Result<Pull, Error> {
        self.get(|client| pull(client, number, &[]))
    }

    pub(super) fn why(&self, number: i32) -> Result<Explanation, Error> {
        self.get(|client| pull(client, number, &["why"]))
    }

    pub(super) fn pipeline(&self) -> Result<Pipeline, Error> {
        self.get(|client| client.at(&["pipelines", PIPELINE]))
    }

    /// The last lanes, the newest first.
    pub(super) fn last_lanes(&self, count: u32) -> Result<Vec<Lane>, Error> {
        let page: Page<Lane> = self.get(|client| {
            client
                .at(&["pipelines", PIPELINE, "lanes"])
                .with("limit", count)
        })?;
        Ok(page.items)
    }

    /// All lanes, the newest first.
    pub(super) fn lanes(&self) -> Result<Vec<Lane>, Error> {
        self.last_lanes(ROWS)
    }

    /// One lane, with its jobs.
    pub(super) fn lane(&self, id: i64) -> Result<Lane, Error> {
        self.get(|client| client.at(&["lanes", &id.to_string()]))
    }

    /// Every commit that the branch pointed at, oldest first.
    pub(super) fn tips(&self) -> Result<Vec<Tip>, Error> {
        let page: Page<Tip> = self.get(|client| {
            client
                .at(&["pipelines", PIPELINE, "tips"])
                .with("limit", ROWS)
        })?;
        Ok(page.items.into_iter().rev().collect())
    }
}

fn pull(client: &Client, number: i32, rest: &[&str]) -> Address {
    let number = number.to_string();
    let base = ["repositories", REPOSITORY, "pulls", &number];
    client.at(&[&base[..], rest].concat())
}

fn person(name: &str) -> Person {
    Person {
        name: name.to_owned(),
        permission: "write".to_owned(),
    }
}

/// Whether the server was gone, or went while it answered.
fn is_a_kill(error: &Error) -> bool {
    error.exit() == Exit::Unreachable || error.to_string().contains("broke off")
}
