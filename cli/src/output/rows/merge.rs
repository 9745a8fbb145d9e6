//! Rows of repositories, pull requests, lanes and tips.

use chrono::Utc;
use pointsman_api::lane::{Lane, Tip};
use pointsman_api::pull::{Comment, Pull, Repository, Review};

use crate::output::table::Row;
use crate::output::text::{ago, short, time};

impl Row for Repository {
    const HEADER: &'static [&'static str] = &["REPOSITORY", "FORGE", "PLACE"];
    fn cells(&self) -> Vec<String> {
        let place = match self.here {
            true => self.place.clone(),
            false => "not on this host".to_owned(),
        };
        vec![self.name.clone(), self.forge.clone(), place]
    }
}

impl Row for Pull {
    const HEADER: &'static [&'static str] = &[
        "NUMBER#", "STATE", "APPROVAL", "GATE", "VERDICT", "HEAD", "AUTHOR", "TITLE",
    ];
    fn cells(&self) -> Vec<String> {
        let standing = self.standing.as_ref();
        let state = match (self.state.as_str(), self.draft) {
            ("open", true) => "draft",
            (state, _) => state,
        };
        vec![
            self.number.to_string(),
            state.to_owned(),
            standing.map(|s| s.approval.clone()).unwrap_or_default(),
            standing.and_then(|s| s.need.clone()).unwrap_or_default(),
            standing.and_then(|s| s.verdict.clone()).unwrap_or_default(),
            short(&self.head).to_owned(),
            self.author.clone(),
            self.title.clone(),
        ]
    }
}

impl Row for Review {
    const HEADER: &'static [&'static str] = &["ID#", "AT", "BY", "STATE", "HEAD"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            time(self.at),
            self.by.clone(),
            self.state.clone(),
            short(&self.head).to_owned(),
        ]
    }
}

impl Row for Comment {
    const HEADER: &'static [&'static str] = &["ID#", "AT", "BY", "HEAD", "TEXT"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            time(self.at),
            self.by.clone(),
            short(&self.head).to_owned(),
            self.body.clone(),
        ]
    }
}

/// The members of a lane: `#12 #15`.
pub(crate) fn members(lane: &Lane) -> String {
    let numbers: Vec<String> = lane
        .members
        .iter()
        .map(|m| format!("#{}", m.number))
        .collect();
    numbers.join(" ")
}

impl Row for Lane {
    const HEADER: &'static [&'static str] = &[
        "LANE#", "STATE", "SINCE", "MEMBERS", "PURPOSE", "COMMIT", "WHY",
    ];
    fn cells(&self) -> Vec<String> {
        let why = self.held.as_ref().map_or(&self.reason, |held| &held.text);
        vec![
            self.id.to_string(),
            self.state.clone(),
            ago(self.since, Utc::now()),
            members(self),
            self.purpose.clone(),
            self.commit
                .as_deref()
                .map(short)
                .unwrap_or_default()
                .to_owned(),
            why.clone(),
        ]
    }
}

impl Row for Tip {
    const HEADER: &'static [&'static str] = &["COMMIT", "TREE", "HOW", "LANE#", "TESTED", "AT"];
    fn cells(&self) -> Vec<String> {
        vec![
            short(&self.commit).to_owned(),
            short(&self.tree).to_owned(),
            self.how.clone(),
            self.lane.map(|lane| lane.to_string()).unwrap_or_default(),
            super::yes(self.tested),
            time(self.at),
        ]
    }
}
