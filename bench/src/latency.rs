//! Latency of pages and patterns in a large record against a small one: the same requests, one at a time,
//! turn by turn on two hosts of one cluster.

use pointsman_host::db::cursor;
use sqlx::{Connection as _, PgConnection};

use crate::fill::{self, Filled, distro_name, version_name};
use crate::http::{Client, query};
use crate::lab::Lab;
use crate::load::Chance;
use crate::report::{Target, median, ms, note, progress, ratio};
use crate::scale::Scale;
use crate::sweep;

/// Rows in a page.
const PAGE: u64 = 100;

/// A kind of request: a path for a record, by chance.
struct Case {
    name: &'static str,
    path: fn(&Filled, &Ids, &mut Chance) -> String,
}

/// Ids of the first and the last distro.
struct Ids {
    first_distro: u64,
}

/// A place in a distro that a full page follows.
fn place(filled: &Filled, chance: &mut Chance) -> u64 {
    chance.below((filled.per_distro() - 2 * PAGE) as usize) as u64
}

fn some_distro(filled: &Filled, chance: &mut Chance) -> u64 {
    chance.below(filled.distros as usize) as u64
}

/// The cursor behind some version of a distro.
fn behind(filled: &Filled, ids: &Ids, distro: u64, chance: &mut Chance) -> String {
    // Any name will do: a cursor is a place in an order. Full pages follow each of these.
    let n = place(filled, chance);
    cursor::encode(&(ids.first_distro + distro, version_name(n)))
}

/// Pages by cursor.
const PAGES: [Case; 5] = [
    Case {
        name: "kernels-all",
        path: |f, ids, c| {
            let distro = some_distro(f, c).saturating_sub(1);
            format!("/v1/kernels?cursor={}", behind(f, ids, distro, c))
        },
    },
    Case {
        name: "kernels-by-distro",
        path: |f, ids, c| {
            let distro = some_distro(f, c);
            format!(
                "/v1/kernels?distro={}&cursor={}",
                distro_name(distro),
                behind(f, ids, distro, c)
            )
        },
    },
    Case {
        name: "kernels-by-state",
        path: |f, ids, c| {
            let distro = some_distro(f, c).saturating_sub(3);
            format!(
                "/v1/kernels?state=tested&cursor={}",
                behind(f, ids, distro, c)
            )
        },
    },
    Case {
        name: "events",
        path: |f, _, c| {
            let n = c.below((f.events - 2 * PAGE) as usize) as u64;
            format!("/v1/events?after={}", f.event_cursor(n))
        },
    },
    Case {
        name: "events-by-kind",
        path: |f, _, c| {
            let n = c.below((f.events - 2 * PAGE) as usize) as u64;
            format!("/v1/events?kind=kernel_version&after={}", f.event_cursor(n))
        },
    },
];

/// Patterns with a trigram. How many versions match is said of each; where it grows with the record, the
/// first page is what is measured.
const PATTERNS: [Case; 8] = [
    Case {
        name: "like-rare-40",
        path: |_, _, _| format!("/v1/kernels?like={}", query("%+raspi%")),
    },
    Case {
        name: "regex-rare-40",
        path: |_, _, _| format!("/v1/kernels?regex={}", query("[+]raspi")),
    },
    Case {
        name: "like-prefix-2000",
        path: |_, _, c| {
            format!(
                "/v1/kernels?like={}",
                query(&format!("5.0.{}-%", c.below(5)))
            )
        },
    },
    Case {
        name: "like-prefix-of-distro-100",
        path: |f, _, c| {
            let distro = distro_name(some_distro(f, c));
            format!(
                "/v1/kernels?distro={distro}&like={}",
                query(&format!("5.0.{}-%", c.below(5)))
            )
        },
    },
    Case {
        name: "regex-anchored-480",
        path: |_, _, c| {
            format!(
                "/v1/kernels?regex={}",
                query(&format!("^5\\.0\\.{}-5[0-9]-", c.below(5)))
            )
        },
    },
    Case {
        name: "like-infix-4%",
        path: |_, _, c| {
            format!(
                "/v1/kernels?like={}",
                query(&format!("%-{}-%", 33 + 2 * c.below(25)))
            )
        },
    },
    Case {
        name: "like-infix-of-distro-4%",
        path: |f, _, c| {
            let distro = distro_name(some_distro(f, c));
            format!(
                "/v1/kernels?distro={distro}&limit=20&like={}",
                query(&format!("%-{}-%", 33 + 2 * c.below(25)))
            )
        },
    },
    Case {
        name: "regex-suffix-1%",
        path: |_, _, c| {
            format!(
                "/v1/kernels?regex={}",
                query(&format!("-{}-lowlatency$", 33 + 2 * c.below(25)))
            )
        },
    },
];

/// Patterns without a trigram; the last two match nothing, so the whole record is looked through.
const UNBOUNDED: [(&str, &str); 4] = [
    ("like", "%57%"),
    ("regex", "[0-9]-[a-z]"),
    ("like", "%zz%"),
    ("regex", "(([0-9a-z]+[-.])+[0-9a-z]+)+!"),
];

pub(crate) async fn run(lab: &Lab, scale: &Scale) -> anyhow::Result<()> {
    let few_url = lab.database("few").await?;
    let few = fill::fill(&few_url, scale.distros, scale.few.0, scale.few.1).await?;
    let many_url = lab.database("many").await?;
    let many = fill::fill(&many_url, scale.distros, scale.many.0, scale.many.1).await?;
    let small = lab.host("few", &few_url).await?;
    let large = lab.host("many", &many_url).await?;
    let mut sides = [
        Side {
            ids: ids(&few_url).await?,
            filled: few,
            client: small.client().await?,
        },
        Side {
            ids: ids(&many_url).await?,
            filled: many,
            client: large.client().await?,
        },
    ];
    compare("latency-pages", &PAGES, &mut sides, scale).await?;
    compare("latency-patterns", &PATTERNS, &mut sides, scale).await?;
    unbounded(&mut sides[1].client).await?;
    small.stop().await?;
    sweep::run(&mut sides[1].client, &many_url).await?;
    large.stop().await
}

struct Side {
    filled: Filled,
    ids: Ids,
    client: Client,
}

async fn ids(url: &str) -> anyhow::Result<Ids> {
    let mut connection = PgConnection::connect(url).await?;
    let first: i32 = sqlx::query_scalar("select min(id) from distro")
        .fetch_one(&mut connection)
        .await?;
    Ok(Ids {
        first_distro: u64::try_from(first)?,
    })
}

/// Each kind of request on both sides, twice: the first line of a case is the first round. The median over
/// all kinds counts.
async fn compare(
    name: &str,
    cases: &[Case],
    sides: &mut [Side; 2],
    scale: &Scale,
) -> anyhow::Result<()> {
    // By round, then by side.
    let mut all = [[vec![], vec![]], [vec![], vec![]]];
    for case in cases {
        progress(format!("{name}: {}", case.name));
        let mut rows = [0, 0];
        for round in &mut all {
            // The same chances again.
            let mut chance = [Chance::new(11), Chance::new(11)];
            let mut times = [vec![], vec![]];
            for _ in 0..scale.requests {
                for (side, at) in sides.iter_mut().zip(0..) {
                    let path = (case.path)(&side.filled, &side.ids, &mut chance[at]);
                    let request = side.client.request("GET", &path, "", b"");
                    let reply = side.client.send(&request).await?;
                    let said = String::from_utf8_lossy(reply.body);
                    anyhow::ensure!(reply.status == 200, "{path}: {said}");
                    times[at].push(ms(reply.took));
                    if rows[at] == 0 {
                        let page: serde_json::Value = serde_json::from_str(&said)?;
                        rows[at] = page["items"].as_array().map_or(0, Vec::len);
                    }
                }
            }
            let (few, many) = (median(times[0].clone()), median(times[1].clone()));
            note(format!(
                "{name} {}: {few:.2} ms among {}, {many:.2} ms among {} (x{:.2}); rows {} and {}",
                case.name,
                sides[0].filled.versions,
                sides[1].filled.versions,
                many / few,
                rows[0],
                rows[1]
            ));
            for (all, times) in round.iter_mut().zip(times) {
                all.extend(times);
            }
        }
    }
    let [first, again] = all.map(|[few, many]| median(many) / median(few));
    note(format!(
        "{name}: {} requests a side, one at a time, twice; {} and {} versions, {} and {} events",
        cases.len() * scale.requests,
        sides[0].filled.versions,
        sides[1].filled.versions,
        sides[0].filled.events,
        sides[1].filled.events
    ));
    ratio(&format!("{name}-first"), first, Target::AtMost(1.3));
    ratio(name, again, Target::AtMost(1.3));
    Ok(())
}

/// What becomes of patterns without a trigram.
async fn unbounded(client: &mut Client) -> anyhow::Result<()> {
    for (kind, pattern) in UNBOUNDED {
        let request = client.request(
            "GET",
            &format!("/v1/kernels?{kind}={}", query(pattern)),
            "",
            b"",
        );
        let reply = client.send(&request).await?;
        let (status, took) = (reply.status, reply.took);
        let body: serde_json::Value = serde_json::from_slice(reply.body)?;
        let said = match status {
            200 => format!("{} rows", body["items"].as_array().map_or(0, Vec::len)),
            _ => format!("{status} {}", body["code"]),
        };
        note(format!(
            "without a trigram: {kind} `{pattern}`: {said} after {:.0} ms",
            ms(took)
        ));
    }
    Ok(())
}
