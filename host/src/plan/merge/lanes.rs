//! What `select` wants against what there is.

use chrono::{DateTime, Utc};

use super::{Approval, Attrs, Candidate, Landing, Lane, LaneState, Need, On, Rails, Verdict, Why};
use crate::plan::Refused;
use crate::policy::wit::select;

/// Lanes in one answer, as the contract says: more would be a policy that lost count.
pub const MAX_LANES: usize = 200;
/// Bytes of a lane's purpose.
const MAX_PURPOSE: usize = 64;
/// Pull requests in one lane.
const MAX_MEMBERS: usize = 100;

/// What a plan of lanes comes to.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Why pull requests are in no lane, by number.
    pub waiting: Vec<(i32, Why)>,
}

/// Brings `lanes` (those that live) to what `answer` wants: keeps, starts, cancels. `ended` are those that
/// ended last. Refuses the whole answer where it names what is not there.
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
        let tested = ended.iter().find(|lane| {
            on.is_none()
                && lane.base.as_deref() == Some(rails.tip)
                && lane.same_work(&plan)
                && matches!(
                    lane.state,
                    LaneState::Failed | LaneState::Inconclusive | LaneState::Conflict
                )
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
        plan.base = match on {
            None => Some(rails.tip.to_owned()),
            Some(below) => lanes[below].commit.clone(),
        };
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
                ..Why::host("lane.unwanted", text)
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
        attrs.insert(key.clone(), value.clone());
    }
    let retests: i32 = members.iter().map(|m| m.retests).sum();
    if retests > 0 {
        attrs.insert(super::run::RETESTS.to_owned(), retests.to_string());
    }
    if members.is_empty() && lane.landing != select::Landing::Never {
        return Err((
            "bad-landing",
            "the bare target has nothing to land".to_owned(),
        ));
    }
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
                c.id == l.members[0] && l.heads[0] == c.head && c.approval == Approval::Approved
            })
    });
    let next = || {
        candidates
            .iter()
            .filter(|c| {
                !c.draft
                    && !c.head_gone
                    && !c.conflict
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

/// Ends every living lane of which a member is not what it was: another head, closed, or gone.
pub fn outdated(rails: &Rails<'_>, candidates: &[Candidate], lanes: &mut [Lane]) {
    for lane in lanes.iter_mut() {
        if lane.ended || lane.state == LaneState::Landing {
            continue;
        }
        let members = lane.members.iter().zip(&lane.numbers).zip(&lane.heads);
        let why = members.into_iter().find_map(|((id, number), head)| {
            match candidates.iter().find(|c| c.id == *id) {
                None => Some(Why::host(
                    "lane.closed",
                    format!("#{number} is not open any more"),
                )),
                Some(c) if c.head != *head => Some(Why::host(
                    "lane.head-moved",
                    format!("#{number} has another head"),
                )),
                Some(c) if c.head_gone => Some(Why::host(
                    "lane.head-gone",
                    format!("the branch of #{number} is gone"),
                )),
                Some(_) => None,
            }
        });
        if let Some(why) = why {
            lane.end(LaneState::Cancelled, why, rails.at);
        }
    }
}

/// Ends every living lane that stands on something that the target has left behind, with the lanes on it.
/// A lane that stands on one that landed stands on the tip, if that is where the tip is.
pub fn stale(rails: &Rails<'_>, lanes: &mut [Lane]) {
    loop {
        let mut gone = None;
        for (place, lane) in lanes.iter().enumerate() {
            if lane.ended || lane.state == LaneState::Landing {
                continue;
            }
            let below = match lane.on {
                Some(On::Lane(id)) => lanes.iter().find(|l| l.id == Some(id) && !l.ended),
                Some(On::Place(place)) => lanes.get(place).filter(|l| !l.ended),
                None => None,
            };
            let stands = match (below, &lane.base) {
                (Some(_), None) => true,
                (Some(below), Some(base)) => below.commit.as_ref() == Some(base),
                (None, Some(base)) => base == rails.tip,
                (None, None) => false,
            };
            if !stands {
                gone = Some(place);
                break;
            }
        }
        let Some(place) = gone else { return };
        let text = format!("{} moved while this stood on an older commit", rails.target);
        lanes[place].end(
            LaneState::Cancelled,
            Why::host("lane.stale", text),
            rails.at,
        );
    }
}

/// Gives free slots to lanes that wait: the highest priority first, then the oldest. A lane on another
/// one waits until that one has a commit. Returns their places.
pub fn promote(rails: &Rails<'_>, lanes: &mut [Lane]) -> Vec<usize> {
    let used = lanes.iter().filter(|l| !l.ended && l.state.works()).count();
    let mut waiting: Vec<usize> = (0..lanes.len())
        .filter(|place| {
            let lane = &lanes[*place];
            lane.state == LaneState::Waiting && !lane.ended && lane.base.is_some()
        })
        .collect();
    waiting.sort_by_key(|place| {
        (
            -lanes[*place].priority,
            lanes[*place].id.unwrap_or(i64::MAX),
            *place,
        )
    });
    waiting.truncate(rails.slots.saturating_sub(used));
    for place in &waiting {
        lanes[*place].go(LaneState::Building, rails.at);
    }
    waiting
}

/// The one lane that may land now: it passed, it is wanted, every member is open, approved and at the head that
/// was tested, and the tree is open. What is in the way of the others is noted on them. Whether something
/// changed since the turn looked is asked again in the transaction that marks it.
pub fn landable(rails: &Rails<'_>, candidates: &[Candidate], lanes: &mut [Lane]) -> Option<usize> {
    if lanes.iter().any(|l| l.state == LaneState::Landing) {
        return None;
    }
    let mut found = None;
    for (place, lane) in lanes.iter_mut().enumerate() {
        if lane.state != LaneState::Passed || lane.ended || lane.landing == Landing::Never {
            continue;
        }
        match in_the_way(rails, candidates, lane) {
            None if found.is_none() => found = Some(place),
            None => {}
            Some((code, text)) => lane.hold(code, &text),
        }
    }
    if let Some(place) = found {
        lanes[place].go(LaneState::Landing, rails.at);
    }
    found
}

fn in_the_way(
    rails: &Rails<'_>,
    candidates: &[Candidate],
    lane: &Lane,
) -> Option<(&'static str, String)> {
    if lane.landing == Landing::Hold {
        return Some((
            "land.held",
            "`select` keeps it from landing for now".to_owned(),
        ));
    }
    if let Some(frozen) = rails.frozen {
        return Some(("land.frozen", format!("the tree is closed: {frozen}")));
    }
    if lane.base.as_deref() != Some(rails.tip) {
        return Some((
            "land.below",
            "the lane that it stands on has not landed yet".to_owned(),
        ));
    }
    for ((id, number), head) in lane.members.iter().zip(&lane.numbers).zip(&lane.heads) {
        let Some(candidate) = candidates.iter().find(|c| c.id == *id) else {
            return Some(("land.closed", format!("#{number} is not open any more")));
        };
        if candidate.head != *head {
            return Some(("land.head-moved", format!("#{number} has another head now")));
        }
        if candidate.draft {
            return Some(("land.draft", format!("#{number} is a draft")));
        }
        if candidate.approval != Approval::Approved {
            let text = format!("#{number} is not approved ({})", candidate.approval.name());
            return Some(("land.unapproved", text));
        }
        if !matches!(candidate.need, Some(Need::Run | Need::Pass)) {
            return Some((
                "land.gate",
                format!("`gate` does not let #{number} through"),
            ));
        }
    }
    None
}
