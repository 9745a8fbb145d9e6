//! `cargo xtask bench merge`: what landing pull requests costs: a turn over many that are open, the time from
//! the end of a job to the branch, and jobs a second against `xargs`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::Size;
use crate::fill;
use crate::http::Client;
use crate::lab::{Host, Lab};
use crate::report::{self, Target, note, progress, ratio};
use crate::scale::Scale;

/// How long something may be waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked for: what is measured is in the record, and a look is work too.
const LOOK_EVERY: Duration = Duration::from_millis(25);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How much of everything; `small` is a smoke run of seconds
    #[arg(long, value_enum, default_value_t = Size::Full)]
    scale: Size,
    /// Only these parts [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where the throwaway databases go [default: the system's folder for such]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A turn over 1,000 open pull requests of which 20 changed, and over 100
    Turn,
    /// From the end of a passing job to the branch moved
    Land,
    /// Jobs of 10 ms in two slots against `xargs -P 2`
    Jobs,
}

/// How much of everything.
struct Amount {
    open: usize,
    few: usize,
    changed: usize,
    turns: usize,
    landings: usize,
    jobs: usize,
}

/// One thread for everything here: the machine's cores are for what is measured.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let (scale, amount) = match args.scale {
        Size::Full => (
            Scale::full(),
            Amount {
                open: 1_000,
                few: 100,
                changed: 20,
                turns: 31,
                landings: 31,
                jobs: 200,
            },
        ),
        Size::Small => (
            Scale::small(),
            Amount {
                open: 100,
                few: 20,
                changed: 5,
                turns: 5,
                landings: 5,
                jobs: 20,
            },
        ),
    };
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    report::machine(&scale)?;
    let lab = Lab::start(args.dir.as_deref()).await?;
    let measured = async {
        if wants(Part::Turn) {
            turns(&lab, &amount).await?;
        }
        if wants(Part::Land) {
            landings(&lab, &amount).await?;
        }
        if wants(Part::Jobs) {
            jobs(&lab, &amount).await?;
        }
        anyhow::Ok(())
    }
    .await;
    // Stopped in any case, so that nothing is left running.
    lab.stop().await?;
    measured
}

async fn turns(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    let many = turn(lab, "turn_many", amount.open, amount).await?;
    let few = turn(lab, "turn_few", amount.few, amount).await?;
    ratio("turn-ms", many, Target::AtMost(10.0));
    ratio("turn-many-over-few", many / few, Target::AtMost(3.0));
    Ok(())
}

/// Milliseconds of a turn over `open` pull requests less those of the plugins: the median.
async fn turn(lab: &Lab, name: &str, open: usize, amount: &Amount) -> anyhow::Result<f64> {
    progress(format!("turn: {open} open pull requests"));
    let mut site = Site::new(lab, name).await?;
    site.stock(&json!({"test-unapproved": false}), "true")
        .await?;
    site.open(open).await?;
    site.until_idle().await?;
    let mut times = vec![];
    for _ in 0..amount.turns {
        let before = site.spent().await?;
        site.say(amount.changed).await?;
        site.until_idle().await?;
        let after = site.spent().await?;
        let turns = after.turns - before.turns;
        times
            .push((after.wall - before.wall - (after.guest - before.guest)) * 1e3 / turns.max(1.0));
    }
    let median = median(&mut times);
    note(format!(
        "turn: {open} open, {} changed: {median:.2} ms without the plugins' own time; {:.2} to {:.2}",
        amount.changed,
        times[0],
        times[times.len() - 1]
    ));
    site.host.stop().await?;
    Ok(median)
}

async fn landings(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    progress("land: from the end of a job to the branch");
    let mut site = Site::new(lab, "land").await?;
    site.stock(&json!({"test-unapproved": false}), "true")
        .await?;
    site.open(amount.landings).await?;
    site.until_idle().await?;
    for number in 1..=amount.landings {
        let path = format!("/v1/repositories/lib/pulls/{number}/reviews");
        let body = json!({"state": "approved", "by": {"name": "bo"}});
        site.client.post("POST", &path, &body).await?;
        let path = format!("/v1/repositories/lib/pulls/{number}");
        let began = Instant::now();
        while site.client.get(&path).await?["state"] != "landed" {
            ensure!(began.elapsed() < PATIENCE, "#{number} does not land");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let mut times: Vec<f64> = sqlx::query_scalar(
        "select (extract(epoch from t.at - max(a.ended_at)) * 1000)::float8
         from tip t join job j on j.lane_id = t.lane_id join attempt a on a.job_id = j.id
         where t.how = 'landed' group by t.id",
    )
    .fetch_all(&mut site.database)
    .await?;
    let median = median(&mut times);
    note(format!(
        "land: {} landings, {median:.1} ms from a job's end to the branch; {:.1} to {:.1}",
        times.len(),
        times[0],
        times[times.len() - 1]
    ));
    ratio("land-ms", median, Target::AtMost(50.0));
    site.host.stop().await
}

async fn jobs(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    progress("jobs: `xargs -P 2`");
    let floor = {
        let mut words = String::new();
        for n in 0..amount.jobs {
            writeln!(words, "{n}")?;
        }
        let began = Instant::now();
        let mut xargs = Command::new("xargs")
            .args(["-P", "2", "-n", "1", "sh", "-c", "sleep 0.01"])
            .stdin(Stdio::piped())
            .spawn()
            .context("xargs")?;
        std::io::Write::write_all(
            &mut xargs.stdin.take().context("its input")?,
            words.as_bytes(),
        )?;
        ensure!(xargs.wait()?.success(), "xargs failed");
        began.elapsed().as_secs_f64()
    };
    progress("jobs: two slots");
    let mut site = Site::new(lab, "jobs").await?;
    site.client
        .post(
            "PATCH",
            "/v1/pipelines/main",
            &json!({"slots": 2, "paused": "until all are open"}),
        )
        .await?;
    site.stock(&json!({"test-unapproved": true}), "sleep 0.01")
        .await?;
    // The command itself, as `xargs` has it: no checkout.
    site.bind(
        "run",
        "job-template",
        &json!({"jobs": [{"name": "test", "checkout": false, "argv": ["sh", "-c", "sleep 0.01"]}]}),
    )
    .await?;
    site.open(amount.jobs).await?;
    let began = Instant::now();
    site.client
        .post("PATCH", "/v1/pipelines/main", &json!({"paused": ""}))
        .await?;
    loop {
        let done: i64 = sqlx::query_scalar("select count(*) from lane where state = 'passed'")
            .fetch_one(&mut site.database)
            .await?;
        if done >= amount.jobs as i64 {
            break;
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "{done} of {} jobs are done",
            amount.jobs
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = began.elapsed().as_secs_f64();
    note(format!(
        "jobs: {} jobs of 10 ms, two at a time: {took:.2} s; xargs -P 2: {floor:.2} s",
        amount.jobs
    ));
    ratio("jobs", floor / took, Target::AtLeast(0.5));
    site.host.stop().await
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A host with a repository `lib` and a pipeline `main`.
struct Site {
    host: Host,
    client: Client,
    database: PgConnection,
    repository: PathBuf,
}

/// What the host says that it has spent, in seconds.
struct Spent {
    turns: f64,
    wall: f64,
    guest: f64,
}

impl Site {
    async fn new(lab: &Lab, name: &str) -> anyhow::Result<Self> {
        let url = lab.database(name).await?;
        let host = lab.host(name, &url).await?;
        let mut client = host.client().await?;
        client
            .post("POST", "/v1/repositories", &json!({"name": "lib"}))
            .await?;
        let place = client.get("/v1/repositories").await?["items"][0]["place"].clone();
        let repository = PathBuf::from(place.as_str().context("a place")?);
        let body = json!({"name": "main", "repository": "lib"});
        client.post("POST", "/v1/pipelines", &body).await?;
        Ok(Self {
            host,
            client,
            database: PgConnection::connect(&url).await?,
            repository,
        })
    }

    async fn bind(&mut self, hook: &str, plugin: &str, settings: &Value) -> anyhow::Result<()> {
        let dir = std::env::var_os("POINTSMAN_PLUGIN_DIR")
            .map_or_else(|| PathBuf::from("target/plugins"), PathBuf::from);
        let file = dir.join(format!("{plugin}.wasm"));
        let wasm =
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = format!("/v1/plugins?name={plugin}");
        let request = self
            .client
            .request("POST", &path, "application/wasm", &wasm);
        let uploaded = self.client.json(&request, &path).await?;
        let path = format!("/v1/pipelines/main/bindings/{hook}/0");
        let body = json!({"digest": uploaded["plugin"]["digest"], "settings": settings});
        self.client.post("PUT", &path, &body).await?;
        Ok(())
    }

    async fn stock(&mut self, select: &Value, test: &str) -> anyhow::Result<()> {
        self.bind("review", "reviews", &json!({})).await?;
        self.bind("gate", "gate-basics", &json!({})).await?;
        self.bind("select", "select-oldest", select).await?;
        self.bind("run", "job-template", &json!({"test": test}))
            .await?;
        self.bind("triage", "exit-code", &json!({})).await
    }

    /// A branch and a pull request each, with one file of its own.
    async fn open(&mut self, count: usize) -> anyhow::Result<()> {
        let mut stream = String::from(
            "commit refs/heads/main\nmark :1\ncommitter A <a@example.org> 1700000000 +0000\ndata 5\nFirst\nM 644 inline README\ndata 1\nx\n",
        );
        for n in 1..=count {
            write!(
                stream,
                "commit refs/heads/part-{n}\ncommitter A <a@example.org> 1700000000 +0000\ndata 4\nPart\nfrom :1\n\
                 M 644 inline parts/{n}\ndata 1\ny\n"
            )?;
        }
        let mut git = Command::new("git")
            .arg("-C")
            .arg(&self.repository)
            .args(["-c", "safe.directory=*", "fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .spawn()?;
        std::io::Write::write_all(
            &mut git.stdin.take().context("its input")?,
            stream.as_bytes(),
        )?;
        ensure!(git.wait()?.success(), "git fast-import failed");
        // In one batch, as it would have come about over months.
        let heads = Command::new("git")
            .arg("-C")
            .arg(&self.repository)
            .args([
                "-c",
                "safe.directory=*",
                "for-each-ref",
                "--format=%(refname:lstrip=2) %(objectname)",
                "refs/heads/part-*",
            ])
            .output()?;
        let heads = String::from_utf8(heads.stdout)?;
        let (branches, commits): (Vec<String>, Vec<String>) = heads
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(branch, commit)| (branch.to_owned(), commit.to_owned()))
            .unzip();
        let mut tx = self.database.begin().await?;
        fill::run(&mut tx, "select generation_start('Pull requests', 'bench')").await?;
        sqlx::query(
            "insert into pull_request (repository_id, number, title, author, target, head_branch, head)
             select r.id, substr(u.b, 6)::int, 'Part ' || substr(u.b, 6), 'ann', 'main', u.b, u.c
             from repository r, unnest($1::text[], $2::text[]) u (b, c) order by 2",
        )
        .bind(&branches)
        .bind(&commits)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let began = Instant::now();
        loop {
            let unseen: i64 = sqlx::query_scalar(
                "select count(*) from pull_request q left join standing s on s.id = q.id where s.id is null",
            )
            .fetch_one(&mut self.database)
            .await?;
            let paused: bool =
                sqlx::query_scalar("select paused is not null from pipeline where name = 'main'")
                    .fetch_one(&mut self.database)
                    .await?;
            let described: i64 = sqlx::query_scalar("select count(*) from head")
                .fetch_one(&mut self.database)
                .await?;
            if (unseen == 0 || paused) && described >= count as i64 {
                // The host has closed a connection that was quiet for so long.
                self.client = self.host.client().await?;
                return Ok(());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "{unseen} pull requests are not seen"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Somebody comments on the first `count` pull requests, at once.
    async fn say(&mut self, count: usize) -> anyhow::Result<()> {
        let mut tx = self.database.begin().await?;
        fill::run(&mut tx, "select generation_start('Reviews', 'bench')").await?;
        sqlx::query(
            "insert into review (pull_request_id, by, state, head, permission)
             select id, 'bo', 'commented', head, 'write' from pull_request order by number limit $1",
        )
        .bind(count as i64)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn until_idle(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let left: i64 = sqlx::query_scalar("select count(*) from cause")
                .fetch_one(&mut self.database)
                .await?;
            if left == 0 {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{left} causes are left");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn spent(&mut self) -> anyhow::Result<Spent> {
        // What a turn writes is seen a moment before it has told what it took.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let request = self.client.request("GET", "/metrics", "", b"");
        let reply = self.client.send(&request).await?;
        let text = std::str::from_utf8(reply.body)?.to_owned();
        let sum = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum()
        };
        Ok(Spent {
            turns: sum("pointsman_turn_seconds_count{kind=\"merge\"}"),
            wall: sum("pointsman_turn_seconds_sum{kind=\"merge\"}"),
            guest: sum("pointsman_decision_seconds_sum"),
        })
    }
}
