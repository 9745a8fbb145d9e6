//! What `select` wants against what there is.

use chrono::{DateTime, Utc};

use super::{
    Approval, Attrs, Candidate, Depend, Landing, Lane, LaneState, Need, On, Rails, Verdict, Why,
};
use crate::plan::{self, Refused};
use crate::policy::wit::select;

/// Lanes in one answer, as the contract says: more would be a policy that lost count.
pub const MAX_LANES: usize = 200;
/// Bytes of a lane's purpose.
const MAX_PURPOSE: usize = 64;
/// Bytes of the message of a merge commit.
const MAX_MESSAGE: usize = 16 << 10;
/// Pull requests in one lane.
const MAX_MEMBERS: usize = 100;

/// What a plan of lanes comes to.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Why pull requests are in no lane, by number.
    pub waiting: Vec<(i32, Why)>,
}

/// Brings `lanes` (those that live) to what `answer` wants: keeps, starts, cancels. `ended` are those that
/// ended where these would stand. Refuses the whole answer where it names what is not there.
pub fn lanes(
    rails: &Rails<'_>,
    candidates: &[Candidate],
    lanes: &mut Vec<Lane>,
    ended: &[Lane],
    decision: usize,
    answer: &select::Answer,
) -> Result<Wanted, Refused> {
    let refuse = |code: &'static str, text: String| Refused {
        code,
        text,
        decision: Some(decision),
    };
    if answer.lanes.len() > MAX_LANES {
        let text = format!(
            "{} lanes are in the answer, and {MAX_LANES} may be",
            answer.lanes.len()
        );
        return Err(refuse("too-many-lanes", text));
    }
    let mut wanted = Wanted::default();
    let mut planned: Vec<Lane> = vec![];
    for (place, lane) in answer.lanes.iter().enumerate() {
        planned.push(
            read(rails, candidates, &planned, place, lane, decision)
                .map_err(|(code, text)| refuse(code, format!("lanes[{place}]: {text}")))?,
        );
    }
    for waiting in &answer.waiting {
        plan::reason(&waiting.reason)
            .map_err(|bad| refuse(bad.code, format!("waiting: {}", bad.text)))?;
        for number in &waiting.numbers {
            let Some(candidate) = find(candidates, *number) else {
                let text = format!("waiting: there is no open pull request #{number}");
                return Err(refuse("unknown-pull-request", text));
            };
            wanted.waiting.push((
                candidate.number,
                why(&waiting.reason.code, &waiting.reason.text, decision),
            ));
        }
    }
    // Where each planned lane went: to a living one, or to a new one.
    let mut places: Vec<Option<usize>> = vec![];
    let mut kept = vec![false; lanes.len()];
    let before = lanes.len();
    for mut plan in planned {
        if let Some(gone) = without_head(candidates, &plan) {
            wanted.waiting.push(gone);
            places.push(None);
            continue;
        }
        let on = match plan.on {
            Some(On::Place(place)) => match places.get(place).copied().flatten() {
                Some(below) => Some(below),
                // What it would stand on is not to be tested again, so neither is this.
                None => {
                    places.push(None);
                    continue;
                }
            },
            _ => None,
        };
        let stands = |lane: &Lane| match on {
            None => lane.on.is_none() || lane.base.as_deref() == Some(rails.tip),
            Some(below) => match lane.on {
                Some(On::Lane(id)) => lanes[below].id == Some(id),
                Some(On::Place(place)) => place == below,
                None => false,
            },
        };
        let same = (0..before).find(|place| {
            let lane = &lanes[*place];
            !kept[*place] && !lane.ended && stands(lane) && lane.same_work(&plan)
        });
        if let Some(place) = same {
            kept[place] = true;
            let lane = &mut lanes[place];
            if lane.state != LaneState::Landing {
                lane.landing = plan.landing;
            }
            lane.priority = plan.priority;
            places.push(Some(place));
            continue;
        }
        let base = match on {
            None => Some(rails.tip.to_owned()),
            Some(below) => lanes[below].commit.clone(),
        };
        let tested = ended.iter().find(|lane| {
            base.is_some()
                && lane.base == base
                && lane.same_work(&plan)
                && was_tried(lane, plan.landing)
        });
        if let Some(tested) = tested {
            let id = tested.id.unwrap_or_default();
            for number in &plan.numbers {
                let text = format!(
                    "lane {id} tried this on the same tip already ({}); `pointsman pr retest` asks for another run",
                    tested.state.name()
                );
                wanted
                    .waiting
                    .push((*number, Why::host("lane.tried", text)));
            }
            places.push(None);
            continue;
        }
        plan.on = on.map(|below| match lanes[below].id {
            Some(id) => On::Lane(id),
            None => On::Place(below),
        });
        plan.base = base;
        lanes.push(plan);
        places.push(Some(lanes.len() - 1));
    }
    for place in 0..before {
        if !kept[place] {
            unwanted(&mut lanes[place], decision, rails.at);
        }
    }
    Ok(wanted)
}

/// The member whose branch is gone: its commit may be, too, and a lane with it would be begun and ended for ever.
fn without_head(candidates: &[Candidate], plan: &Lane) -> Option<(i32, Why)> {
    let gone = candidates
        .iter()
        .find(|c| c.head_gone && plan.members.contains(&c.id))?;
    let text = "its branch is gone; it is looked at again when there is one of that name";
    Some((gone.number, Why::host("lane.head-gone", text)))
}

/// The code of a lane that `select` does not want any more.
pub const UNWANTED: &str = "lane.unwanted";

/// Why effects give lanes up for good.
pub const GIVEN_UP: [&str; 6] = [
    "lane.merged",
    "lane.contained",
    "lane.gone",
    "lane.unbuildable",
    "lane.unlandable",
    "lane.target-gone",
];

/// Whether the same work on the same tip would come to the same end: it has a verdict, or it cannot be built
/// or landed there, and would be begun and given up for ever.
fn was_tried(lane: &Lane, landing: Landing) -> bool {
    match lane.state {
        // What was to land and did not may do so yet.
        LaneState::Passed => landing == Landing::Never,
        LaneState::Failed | LaneState::Inconclusive | LaneState::Conflict => true,
        LaneState::Cancelled => GIVEN_UP.contains(&lane.why.code.as_str()),
        _ => false,
    }
}

/// A lane that the plan has no more.
fn unwanted(lane: &mut Lane, decision: usize, at: DateTime<Utc>) {
    match lane.state {
        // The branch may have been moved already.
        LaneState::Landing => {}
        // Its verdict stays what it is.
        LaneState::Passed => {
            lane.ended = true;
            lane.held = None;
        }
        _ if lane.ended => {}
        _ => {
            let text = "`select` does not want it any more";
            let why = Why {
                decision: Some(decision),
                ..Why::host(UNWANTED, text)
            };
            lane.end(LaneState::Cancelled, why, at);
        }
    }
}

fn read(
    rails: &Rails<'_>,
    candidates: &[Candidate],
    planned: &[Lane],
    place: usize,
    lane: &select::Lane,
    decision: usize,
) -> Result<Lane, (&'static str, String)> {
    if lane.members.len() > MAX_MEMBERS {
        let text = format!("{} members, and {MAX_MEMBERS} may be", lane.members.len());
        return Err(("too-many-members", text));
    }
    if lane.purpose.is_empty() || lane.purpose.len() > MAX_PURPOSE {
        let text = format!("a purpose has 1 to {MAX_PURPOSE} bytes");
        return Err(("bad-purpose", text));
    }
    let on = match lane.on {
        None => None,
        Some(on) if (on as usize) < place => Some(On::Place(on as usize)),
        Some(on) => {
            let text = format!("it stands on lane {on}, which does not come before it");
            return Err(("bad-base", text));
        }
    };
    let mut members: Vec<&Candidate> = vec![];
    for number in &lane.members {
        let Some(candidate) = find(candidates, *number) else {
            let text = format!("there is no open pull request #{number} that is no draft");
            return Err(("unknown-pull-request", text));
        };
        if members.iter().any(|m| m.id == candidate.id) {
            return Err(("named-twice", format!("#{number} is in the lane twice")));
        }
        members.push(candidate);
    }
    let mut attrs = Attrs::new();
    for (key, value) in &lane.attrs {
        let known = matches!(key.as_str(), "merge.method" | "merge.message" | "base")
            || key.starts_with("x-");
        if !known {
            let text = format!("the attr `{}` is not known", shown(key));
            return Err(("unknown-attr", text));
        }
        let good = match key.as_str() {
            "merge.method" => matches!(value.as_str(), "merge" | "squash"),
            "base" => value == "head",
            _ => true,
        };
        if !good {
            let text = format!("the attr `{key}` is not `{}`", shown(value));
            return Err(("bad-attr", text));
        }
        attrs.insert(key.clone(), value.clone());
    }
    if attrs
        .get("merge.message")
        .is_some_and(|m| m.trim().is_empty() || m.len() > MAX_MESSAGE || m.contains('\0'))
    {
        let text = format!("`merge.message` has 1 to {MAX_MESSAGE} bytes, and no NUL");
        return Err(("bad-message", text));
    }
    if attrs.get("base").is_some_and(|base| base == "head")
        && lane.landing != select::Landing::Never
    {
        let text = "a head that is tested unmerged (`base` = `head`) never lands";
        return Err(("bad-landing", text.to_owned()));
    }
    let retests: i32 = members.iter().map(|m| m.retests).sum();
    if retests > 0 {
        attrs.insert(super::RETESTS.to_owned(), retests.to_string());
    }
    if members.is_empty() && lane.landing != select::Landing::Never {
        return Err((
            "bad-landing",
            "the bare target has nothing to land".to_owned(),
        ));
    }
    plan::reason(&lane.reason).map_err(|bad| (bad.code, bad.text))?;
    let lane = Lane {
        id: None,
        base: None,
        on,
        members: members.iter().map(|m| m.id).collect(),
        numbers: members.iter().map(|m| m.number).collect(),
        heads: members.iter().map(|m| m.head.clone()).collect(),
        purpose: lane.purpose.clone(),
        landing: match lane.landing {
            select::Landing::Never => Landing::Never,
            select::Landing::Hold => Landing::Hold,
            select::Landing::WhenPassed => Landing::WhenPassed,
        },
        priority: lane.priority,
        attrs,
        state: LaneState::Waiting,
        since: rails.at,
        commit: None,
        tree: None,
        why: why(&lane.reason.code, &lane.reason.text, decision),
        held: None,
        blame: vec![],
        tags: Attrs::new(),
        busy: false,
        ended: false,
    };
    let twice = planned
        .iter()
        .any(|other| other.on == lane.on && other.same_work(&lane));
    match twice {
        true => Err((
            "named-twice",
            "the same lane is in the answer before".to_owned(),
        )),
        false => Ok(lane),
    }
}

fn find(candidates: &[Candidate], number: u64) -> Option<&Candidate> {
    let number = i32::try_from(number).ok()?;
    // They come in ascending order.
    let place = candidates
        .binary_search_by_key(&number, |c| c.number)
        .ok()?;
    Some(&candidates[place]).filter(|c| !c.draft)
}

fn why(code: &str, text: &str, decision: usize) -> Why {
    Why {
        code: crate::plan::cut(code, crate::plan::MAX_REASON_CODE),
        text: crate::plan::cut(text, crate::plan::MAX_REASON_TEXT),
        decision: Some(decision),
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// With nothing bound to `select`: the oldest approved pull request has the one lane.
pub fn oldest_approved(candidates: &[Candidate], lanes: &[Lane]) -> select::Answer {
    let member = |lane: &Lane| {
        lane.numbers
            .iter()
            .map(|n| u64::from(n.unsigned_abs()))
            .collect()
    };
    let lane = |members, code: &str, text: String| select::Lane {
        members,
        on: None,
        purpose: "merge".to_owned(),
        landing: select::Landing::WhenPassed,
        priority: 0,
        reason: reason(code, text),
        attrs: vec![],
    };
    let living = lanes.iter().find(|l| {
        !l.ended
            && l.purpose == "merge"
            && l.members.len() == 1
            && candidates.iter().any(|c| {
                c.id == l.members[0]
                    && l.heads[0] == c.head
                    && c.approval == Approval::Approved
                    && c.depends.iter().all(Depend::lets_land)
            })
    });
    let next = || {
        candidates
            .iter()
            .filter(|c| {
                !c.draft
                    && !c.head_gone
                    && !c.conflict
                    && c.depends.iter().all(Depend::lets_land)
                    && c.approval == Approval::Approved
                    && matches!(c.need, Some(Need::Run | Need::Pass))
                    && !matches!(c.on_tip, Some(Verdict::Fail | Verdict::Inconclusive))
            })
            .min_by_key(|c| (c.approved_at, c.number))
    };
    let lanes = match living {
        Some(living) => vec![lane(
            member(living),
            "select.goes-on",
            "it is under way".to_owned(),
        )],
        None => next()
            .map(|c| {
                let text = format!("#{} is the oldest that is approved", c.number);
                lane(
                    vec![u64::from(c.number.unsigned_abs())],
                    "select.oldest",
                    text,
                )
            })
            .into_iter()
            .collect(),
    };
    select::Answer {
        lanes,
        waiting: vec![],
        basis: crate::policy::wit::types::Basis {
            reason: reason("select.default", "nothing is bound to `select`".to_owned()),
            wake_at: None,
            notes: vec![],
            tags: vec![],
            attrs: vec![],
        },
    }
}

fn reason(code: &str, text: String) -> crate::policy::wit::types::Reason {
    crate::policy::wit::types::Reason {
        code: code.to_owned(),
        text,
        details: vec![],
    }
}
