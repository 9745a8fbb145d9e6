//! A host that is killed while bindings are swapped under load: named moments around the one in which a binding
//! counts, and plain ones.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use futures::future::{join, join_all};
use liblzma::read::XzDecoder;
use pointsman_tests::served::Served;
use pointsman_tests::{PATIENCE, TestDatabase, TestHost, guest, text};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const BINDING: &str = "/v1/pipelines/kernels/bindings/ignore/0";
/// A turn asks about each, so that it could see two versions.
const DISTROS: [&str; 3] = ["debian-11", "debian-12", "ubuntu-22.04"];

/// When the host dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// At a failpoint, the nth time.
    At(&'static str, u32),
    /// When so many requests of the load were answered.
    After(u32),
}

const MOMENTS: [Moment; 12] = [
    Moment::At("bind-checked", 3),
    Moment::After(40),
    Moment::At("bind-written", 4),
    Moment::At("turn-asked", 9),
    Moment::After(77),
    Moment::At("bind-committed", 2),
    Moment::At("turn-written", 14),
    Moment::After(23),
    Moment::At("bind-written", 1),
    Moment::At("bind-committed", 5),
    Moment::At("turn-asked", 2),
    Moment::After(113),
];

/// The nth binding: two versions by turns, each time with settings of their own, so that a decision tells which
/// binding it was made by.
struct Swaps {
    versions: [String; 2],
    /// The newest that was asked for.
    asked: Cell<usize>,
    /// The newest that was answered with success.
    answered: Cell<usize>,
    /// Those that are known to have been in force.
    counted: RefCell<BTreeSet<usize>>,
}

impl Swaps {
    fn body(&self, n: usize) -> Value {
        json!({"digest": self.versions[n % 2], "settings": {"say": n.to_string()}})
    }

    /// Which one this is: digest and settings must be of the same.
    fn number(&self, digest: &Value, settings: &Value) -> usize {
        let n: usize = text(&settings["say"]).parse().unwrap();
        assert_eq!(
            text(digest),
            self.versions[n % 2],
            "half a binding: {settings}"
        );
        n
    }

    /// What is in force; none: the host does not answer.
    async fn in_force(&self, host: &TestHost) -> Option<usize> {
        let pipeline = get(host, "/v1/pipelines/kernels").await?;
        let bindings = pipeline["bindings"].as_array().unwrap();
        assert_eq!(bindings.len(), 1, "{pipeline}");
        Some(self.number(&bindings[0]["digest"], &bindings[0]["settings"]))
    }

    /// Asks for the next; false: the host died before it answered.
    async fn next(&self, host: &TestHost) -> bool {
        let n = self.asked.get() + 1;
        self.asked.set(n);
        let request = host.request(Method::PUT, BINDING).json(&self.body(n));
        let Some(_) = sent(request).await else {
            return false;
        };
        self.answered.set(n);
        self.counted.borrow_mut().insert(n);
        true
    }
}

/// The reply to a request, which must be a success; none: the host is gone.
async fn sent(request: reqwest::RequestBuilder) -> Option<Value> {
    let response = request.send().await.ok()?;
    let status = response.status();
    let body = response.text().await.ok()?;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).ok()
}

async fn get(host: &TestHost, path: &str) -> Option<Value> {
    sent(host.request(Method::GET, path)).await
}

/// Everything that the rounds have in common.
struct Story {
    swaps: Swaps,
    /// Versions whose creation was answered with success.
    written: RefCell<Vec<String>>,
    named: Cell<usize>,
}

impl Story {
    /// Swaps, writes and reads until the host is dead.
    async fn round(&self, served: Served, moment: Moment) {
        let host = TestHost::of(&served.host.url, &served.host.token);
        let served = RefCell::new(served);
        let requests = Cell::new(0_u32);
        let one_more = || {
            requests.set(requests.get() + 1);
            if matches!(moment, Moment::After(count) if count == requests.get()) {
                served.borrow_mut().begin_kill();
            }
        };
        let swap = async {
            while self.swaps.next(&host).await {
                one_more();
            }
        };
        let write = async || {
            loop {
                let n = self.named.get();
                self.named.set(n + 1);
                let version = format!("6.1.0-{n}");
                let kernels = DISTROS.map(|distro| json!({"distro": distro, "version": version}));
                let body = json!({"comment": "load", "kernels": kernels});
                let request = host.request(Method::POST, "/v1/kernels").json(&body);
                if sent(request).await.is_none() {
                    break;
                }
                let names = DISTROS.map(|distro| format!("{distro}/{version}"));
                self.written.borrow_mut().extend(names);
                one_more();
            }
        };
        let read = async {
            // Whoever looks sees a whole binding, and never an older one than was answered for.
            loop {
                let at_least = self.swaps.answered.get();
                let Some(n) = self.swaps.in_force(&host).await else {
                    break;
                };
                assert!(
                    n >= at_least,
                    "{n} is in force, and {at_least} was answered for"
                );
                one_more();
            }
        };
        let load = join(join(swap, read), join_all([write(), write()]));
        let died = tokio::time::timeout(PATIENCE, load).await;
        assert!(died.is_ok(), "it never came to {moment:?}");
        served.into_inner().killed().await;
    }

    /// What is in force after a kill: the newest that was answered for, or the one that was on its way.
    async fn after(&self, host: &TestHost, moment: Moment) {
        let n = self.swaps.in_force(host).await.unwrap();
        let (answered, asked) = (self.swaps.answered.get(), self.swaps.asked.get());
        match moment {
            Moment::At("bind-checked" | "bind-written", _) => assert_eq!(n, answered, "{moment:?}"),
            Moment::At("bind-committed", _) => assert_eq!(n, asked, "{moment:?}"),
            _ => assert!(
                n == answered || n == asked,
                "{moment:?}: {n} of {answered}, {asked}"
            ),
        }
        self.swaps.counted.borrow_mut().insert(n);
        // Numbers are not used again: what was asked for and lost must never be seen.
        self.swaps.answered.set(n);
    }
}

#[tokio::test]
async fn a_host_that_is_killed_in_mid_swap_has_one_version_whole_and_loses_nothing() {
    let db = TestDatabase::new().await;
    let data = tempfile::tempdir().unwrap();
    let mut served = Served::start(&db, data.path()).await;
    let stock = everything();
    let versions = [
        served.host.upload_bytes("everything", stock.clone()).await,
        served
            .host
            .upload_bytes("everything", guest::another_build(stock, "2"))
            .await,
    ];
    for distro in DISTROS {
        served.host.distro(distro).await;
    }
    let story = Story {
        swaps: Swaps {
            versions,
            asked: Cell::new(0),
            answered: Cell::new(0),
            counted: RefCell::default(),
        },
        written: RefCell::default(),
        named: Cell::new(0),
    };
    assert!(story.swaps.next(&served.host).await);
    served.kill().await;
    for moment in MOMENTS {
        let failpoint = match moment {
            Moment::At(name, count) => Some(format!("{name}:{count}")),
            Moment::After(_) => None,
        };
        served = Served::until(&db, data.path(), failpoint.as_deref()).await;
        story.round(served, moment).await;
        served = Served::start(&db, data.path()).await;
        story.after(&served.host, moment).await;
        served.kill().await;
    }

    // Who comes last decides about all that was written, and nothing of that is lost.
    let served = Served::start(&db, data.path()).await;
    let host = &served.host;
    assert!(story.swaps.next(host).await);
    let newest = story.swaps.asked.get();
    host.idle().await;
    let there: BTreeSet<String> = host.kernel_names("limit=1000").await.into_iter().collect();
    let written = story.written.take();
    let lost: Vec<&String> = written
        .iter()
        .filter(|name| !there.contains(*name))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let decisions = decisions(host).await;
    let last = story.swaps.number(
        &decisions.last().unwrap()["digest"],
        &decisions.last().unwrap()["settings"],
    );
    assert_eq!(last, newest);
    one_version_at_a_time(
        &story.swaps,
        &decisions,
        &bound_since(host, &story.swaps).await,
    );
    served.kill().await;
}

/// Each decision was made by a binding that counted, by then; each turn by one; and none by an older one than was
/// seen before.
fn one_version_at_a_time(
    swaps: &Swaps,
    decisions: &[Value],
    since: &BTreeMap<usize, DateTime<Utc>>,
) {
    let counted = swaps.counted.borrow();
    let bound: BTreeSet<usize> = since.keys().copied().collect();
    assert_eq!(
        bound, *counted,
        "the journal has each binding that counted, and no other"
    );
    let mut turns: BTreeMap<DateTime<Utc>, usize> = BTreeMap::new();
    let mut newest = 0;
    for decision in decisions {
        let n = swaps.number(&decision["digest"], &decision["settings"]);
        let at: DateTime<Utc> = text(&decision["at"]).parse().unwrap();
        assert_eq!(decision["outcome"], "answered", "{}", decision["id"]);
        assert!(counted.contains(&n), "{n} never counted");
        assert!(
            since[&n] <= at,
            "{n} was bound at {}, and asked at {at}",
            since[&n]
        );
        assert!(n >= newest, "{n} was asked after {newest}");
        newest = n;
        assert_eq!(
            *turns.entry(at).or_insert(n),
            n,
            "two versions in the turn of {at}"
        );
    }
    let asked: BTreeSet<usize> = turns.values().copied().collect();
    assert!(asked.len() > MOMENTS.len(), "{asked:?}");
}

/// Every decision of `ignore`, the oldest first.
async fn decisions(host: &TestHost) -> Vec<Value> {
    let records = host.request(Method::GET, "/v1/decision-records?hook=ignore");
    let records = records.send().await.unwrap().text().await.unwrap();
    let mut records: Vec<Value> = records
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.pop(), Some(json!({"end": true})));
    records
}

/// When each binding was begun, by its number, as the journal has it.
async fn bound_since(host: &TestHost, swaps: &Swaps) -> BTreeMap<usize, DateTime<Utc>> {
    let wanted = swaps.counted.borrow().len();
    let events = host.events("kind=binding&limit=1000", wanted).await;
    let since = events.iter().map(|event| {
        // A create has the value, an update the old one and the new one.
        let settings = &event["changes"]["settings"];
        let settings = settings.get(1).unwrap_or(settings);
        let n: usize = text(&settings["say"]).parse().unwrap();
        (n, text(&event["at"]).parse().unwrap())
    });
    since.collect()
}

/// The kept plugin with all hooks and settings.
fn everything() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("released/0.1/rust/everything.wasm.xz");
    let mut component = vec![];
    let packed = std::fs::File::open(path).unwrap();
    XzDecoder::new(packed).read_to_end(&mut component).unwrap();
    component
}
