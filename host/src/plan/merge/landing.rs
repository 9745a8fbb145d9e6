//! Lanes against the rails: which are left behind, which get a slot, and the one that may land.

use super::{Approval, Candidate, Landing, Lane, LaneState, Need, On, Rails, Why};

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
    let used = lanes.iter().filter(|lane| lane.takes_slot()).count();
    let mut waiting: Vec<usize> = (0..lanes.len())
        .filter(|place| {
            let lane = &lanes[*place];
            lane.state == LaneState::Waiting && !lane.ended && lane.base.is_some()
        })
        .collect();
    waiting.sort_by_key(|place| {
        (
            std::cmp::Reverse(lanes[*place].priority),
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

/// Whether a lane whose commit is there may be asked about its jobs: it has a slot, or there is one.
pub fn may_begin(rails: &Rails<'_>, lanes: &[Lane], place: usize) -> bool {
    let used = lanes.iter().filter(|lane| lane.takes_slot()).count();
    lanes[place].takes_slot() || used < rails.slots
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
