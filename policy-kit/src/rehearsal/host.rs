//! What a host does by itself: it compares a plan with what there is, makes commits, and ends what stands on
//! nothing any more.

use pointsman_sdk::select::{Answer, Lane, LaneState};
use pointsman_sdk::{PastRun, attr, packed};

use super::{ENDED_TOLD, Rehearsal, Side, Work, verdict};

impl Rehearsal {
    /// Keeps what is in the plan, starts what is new, cancels what is gone.
    ///
    /// # Panics
    /// If a host would refuse the answer (a member that is no candidate or is there twice, two lanes that
    /// are the same, one on a lane that does not come before it), or would never do what it asks for.
    pub fn follow(&mut self, answer: &Answer) {
        assert!(answer.lanes.len() <= 200, "too many lanes");
        for number in answer.waiting.iter().flat_map(|waiting| &waiting.numbers) {
            assert!(
                self.question.candidate(*number).is_some(),
                "#{number} waits and is no candidate"
            );
            let mut lanes = answer.lanes.iter();
            assert!(
                !lanes.any(|lane| lane.members.contains(number)),
                "#{number} waits and has a lane"
            );
        }
        let mut places: Vec<u64> = Vec::new();
        for lane in &answer.lanes {
            let on = lane.on.map(|on| {
                let below = places.get(on as usize);
                *below.unwrap_or_else(|| panic!("{lane:?} stands on what does not come before it"))
            });
            let work = self.work(lane, on);
            let stands = |side: &Side| match on {
                None => side.on.is_none() || side.work.base == self.question.tip,
                Some(on) => side.on == Some(on),
            };
            let is_it = |side: &Side| {
                let base = side.work.base.clone();
                !side.is_ended
                    && stands(side)
                    && side.work
                        == Work {
                            base,
                            ..work.clone()
                        }
            };
            let held = self.sides.iter().find(|(_, side)| is_it(side));
            let id = match held.map(|(id, _)| *id) {
                Some(id) => {
                    assert!(!places.contains(&id), "twice: {lane:?}");
                    self.lane(id).lane = lane.clone();
                    id
                }
                None => {
                    assert!(
                        work.base.is_empty() || !self.tried.contains(&work),
                        "it came to an end here before: {work:?}"
                    );
                    self.begin(lane, work, on)
                }
            };
            places.push(id);
        }
        let gone: Vec<u64> = self
            .sides
            .iter()
            .filter(|(id, side)| !side.is_ended && !places.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.cancel(id, "lane.unwanted");
        }
        if !self.builds_late {
            self.build();
        }
        self.settle();
        let running =
            self.question.lanes.iter().filter(|state| {
                state.state == "running" && attr(&state.attrs, "host.held").is_none()
            });
        assert!(
            answer.lanes.is_empty() || running.count() <= self.question.slots as usize,
            "more lanes run than there are slots"
        );
    }

    fn work(&self, lane: &Lane, on: Option<u64>) -> Work {
        let mut seen = Vec::new();
        let mut retests = 0;
        let heads = lane.members.iter().map(|number| {
            assert!(!seen.contains(number), "#{number} is there twice");
            seen.push(*number);
            let found = self.question.candidate(*number);
            let found = found.unwrap_or_else(|| panic!("#{number} is no candidate"));
            let asked = attr(&found.tags, "retest.count").and_then(|count| count.parse().ok());
            retests += asked.unwrap_or(0);
            found.head.as_str()
        });
        let heads = packed::pack(heads);
        let mut lanes = self.question.lanes.iter();
        let below = on.and_then(|on| lanes.find(|state| state.id == on));
        Work {
            base: match (on, below) {
                (None, _) => self.question.tip.clone(),
                (Some(_), below) => below.map(|below| below.commit.clone()).unwrap_or_default(),
            },
            members: lane.members.clone(),
            heads,
            purpose: lane.purpose.clone(),
            attrs: lane.attrs.clone(),
            retests,
        }
    }

    fn begin(&mut self, lane: &Lane, work: Work, on: Option<u64>) -> u64 {
        let id = self.sides.len() as u64 + 1;
        self.now += 1;
        let state = LaneState {
            id,
            lane: Lane {
                on: None,
                ..lane.clone()
            },
            state: "waiting".to_owned(),
            since: self.now,
            base: work.base.clone(),
            commit: String::new(),
            heads: work.heads.clone(),
            blame: Vec::new(),
            attrs: Vec::new(),
        };
        self.question.lanes.push(state);
        let side = Side {
            on,
            is_ended: false,
            work,
        };
        self.sides.insert(id, side);
        id
    }

    /// Makes the commits of lanes that wait for theirs, those below first.
    pub fn build(&mut self) {
        let ids: Vec<u64> = self.sides.keys().copied().collect();
        for id in ids {
            if !self.is_living(id) || !self.lane(id).commit.is_empty() {
                continue;
            }
            let on = self.sides.get(&id).and_then(|side| side.on);
            let mut base = self.lane(id).base.clone();
            if let Some(on) = on.filter(|_| base.is_empty()) {
                base.clone_from(&self.lane(on).commit);
            }
            let state = self.lane(id);
            state.base.clone_from(&base);
            state.commit = match state.lane.members.as_slice() {
                [] => base.clone(),
                _ => format!("commit{id}"),
            };
            if let Some(side) = self.sides.get_mut(&id) {
                side.work.base = base;
            }
        }
        self.settle();
    }

    pub(super) fn cancel(&mut self, id: u64, code: &str) {
        self.now += 1;
        let now = self.now;
        let state = self.lane(id);
        state.since = now;
        // A verdict stays what it is.
        if state.state != "passed" || code != "lane.unwanted" {
            "cancelled".clone_into(&mut state.state);
            code.clone_into(&mut state.lane.reason.code);
        }
        if let Some(side) = self.sides.get_mut(&id) {
            side.is_ended = true;
        }
    }

    /// What a host does before it asks: lanes of other heads, or on what the branch has left behind, end;
    /// and of those that ended it tells the last.
    pub(super) fn settle(&mut self) {
        while let Some((id, code)) = self.sides.iter().find_map(|(id, side)| {
            let mut members = side
                .work
                .members
                .iter()
                .zip(packed::unpack(&side.work.heads));
            let is_head = |number: &u64, head| {
                let found = self.question.candidate(*number);
                found.is_some_and(|one| one.head == head)
            };
            let stands = match side.on.filter(|on| self.is_living(*on)) {
                Some(on) => {
                    let commit = self.question.lanes.iter().find(|state| state.id == on);
                    side.work.base.is_empty()
                        || commit.is_some_and(|below| below.commit == side.work.base)
                }
                None => side.work.base == self.question.tip,
            };
            let code = match members.all(|(number, head)| is_head(number, head)) {
                false => "lane.head-moved",
                true if !stands => "lane.stale",
                true => return None,
            };
            (!side.is_ended).then_some((*id, code))
        }) {
            self.cancel(id, code);
        }
        let sides = &self.sides;
        let is_ended = |state: &LaneState| sides.get(&state.id).is_none_or(|side| side.is_ended);
        for state in &mut self.question.lanes {
            if !is_ended(state) && !state.base.is_empty() && state.state == "waiting" {
                "running".clone_into(&mut state.state);
            }
        }
        self.question
            .lanes
            .sort_by_key(|state| match is_ended(state) {
                true => (true, u64::MAX - state.id),
                false => (false, state.id),
            });
        let living = self
            .question
            .lanes
            .iter()
            .take_while(|state| !is_ended(state))
            .count();
        self.question.lanes.truncate(living + ENDED_TOLD);
        for one in &mut self.question.candidates {
            one.tags.retain(|(name, _)| name != "host.conflict");
            let known = (one.head.clone(), self.question.tip.clone());
            if self.conflicts.contains(&known) {
                one.tags
                    .push(("host.conflict".to_owned(), "true".to_owned()));
            }
        }
        self.question.runs = self
            .question
            .lanes
            .iter()
            .filter(|state| state.lane.members.is_empty() && state.base == self.question.tip)
            .map(|state| PastRun {
                purpose: state.lane.purpose.clone(),
                commit: state.commit.clone(),
                base: state.base.clone(),
                at: state.since,
                verdict: verdict(&state.state),
                tags: Vec::new(),
            })
            .collect();
    }
}
