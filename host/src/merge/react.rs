//! Asking `react` about what happened, once each.

use super::ask::{About, Asked, machine_failed, refused};
use super::question;
use super::turn::Turn;
use crate::db::merge::{MergeEnd, Reaction};
use crate::error::Result;
use crate::plan::merge as plan;
use crate::policy::Hook;
use crate::policy::wit::react;
use crate::turn::question::instant;

/// Things that one turn reacts to: bounds the time until its commit.
const REACTIONS_PER_TURN: i64 = 50;

impl Turn<'_> {
    /// Asks about what happened since the last turn. What was done about it is written with the turn.
    pub(super) async fn react(&self, end: &mut MergeEnd) -> Result<()> {
        let start = self.start();
        let reactions = self
            .engine
            .db
            .reactions(start.pipeline, REACTIONS_PER_TURN)
            .await?;
        for reaction in reactions {
            let mut acts = vec![];
            for question in self.questions(&reaction).await? {
                if !self.ask(&reaction, &question, &mut acts, end).await? {
                    // What comes after it waits, too: the last word on a status must be the last.
                    end.postponed = Some(reaction.id);
                    return Ok(());
                }
            }
            end.reacted.push(reaction.id);
            end.acts.extend(acts);
        }
        Ok(())
    }

    /// Says whether it could be asked: false where the machine failed, and not the policy.
    async fn ask(
        &self,
        reaction: &Reaction,
        question: &react::Question,
        done: &mut Vec<(i64, Option<String>, plan::Act)>,
        end: &mut MergeEnd,
    ) -> Result<bool> {
        let subject = match &question.pull_request {
            Some(pull) => format!("#{}", pull.number),
            None => self.start().target.clone(),
        };
        let about = About {
            subject: &subject,
            items: 1,
            pull: reaction.pull,
        };
        for bound in self.asking.bindings("react") {
            let (place, answer) = match self.asking.one(bound, about, question, end).await? {
                Asked::Answered(place, answer) => (place, answer),
                Asked::Held(_, _, place) if machine_failed(place, end) => return Ok(false),
                // What could not be said is on record, and holds nothing up.
                Asked::Abstained | Asked::Held(..) => continue,
            };
            match plan::acts(&answer, place) {
                Ok(acts) => {
                    self.asking
                        .remember(Hook::React, bound, about, place, &answer.basis);
                    let (pull, head) = (reaction.pull, reaction.attrs.0.get("head"));
                    done.extend(
                        acts.into_iter()
                            .filter_map(|act| Some((pull?, head.cloned(), act))),
                    );
                }
                Err(refusal) => {
                    let _: Asked<()> = refused(&refusal, end);
                }
            }
        }
        Ok(true)
    }

    /// What is asked about one thing that happened: once, or once for each command of a comment.
    async fn questions(&self, reaction: &Reaction) -> Result<Vec<react::Question>> {
        let start = self.start();
        let mut pull_request = None;
        if let Some(id) = reaction.pull {
            let found = self.facts(&[id]).await?;
            pull_request = found
                .first()
                .map(|pull| question::pull_request(start, pull));
        }
        let mut work = None;
        if let Some(id) = reaction.lane
            && let Some(lane) = self.engine.db.one_lane(id).await?
        {
            let members = self.facts(&lane.members).await?;
            let changed = self.changed(&lane).await?;
            work = Some(question::lane(
                start,
                &lane,
                &members,
                changed.as_ref(),
                &self.place,
            ));
        }
        let mut attrs = reaction.attrs.0.clone();
        let comment = attrs.remove("comment");
        // A status stays where it was posted, so its link opens the lane, whose page leads to every attempt,
        // later ones too, and opens it for as long as there is something behind it. It is made of the time of
        // what happened: asked again, the question is the same. An address that people cannot open is none.
        if let Some(lane) = reaction.lane
            && let Some(planned) = self.engine.db.lane_planned(lane).await?
            && let Some(link) = self.engine.links.written(lane, planned, reaction.at)
        {
            attrs.insert("link".to_owned(), link);
        }
        let asked = |attrs: plan::Attrs| react::Question {
            event: reaction.event.clone(),
            at: instant(reaction.at),
            by: reaction.by.clone(),
            pull_request: pull_request.clone(),
            work: work.clone(),
            attrs: attrs.into_iter().collect(),
        };
        let Some(comment) = comment else {
            return Ok(vec![asked(attrs)]);
        };
        Ok(question::commands(&comment, &start.prefix)
            .map(|command| {
                let mut attrs = attrs.clone();
                attrs.insert("command".to_owned(), command.to_owned());
                asked(attrs)
            })
            .collect())
    }
}
