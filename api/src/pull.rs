//! Repositories, and pull requests with what is said about them.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// A repository of the local forge.
    pub struct Repository {
        /// Unique.
        pub name: String,
        /// Where it is kept: `local`.
        pub forge: String,
        /// What to push to and fetch from, on the host that answers.
        pub place: String,
        /// Whether that host has its folder.
        #[serde(default)]
        pub here: bool,
        /// When a host that has its folder last said so; absent until one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub seen_at: Option<DateTime<Utc>>,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// A repository to make.
    #[serde(deny_unknown_fields)]
    pub struct NewRepository {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// Lower-case letters, digits, dots, dashes and underscores; at most 63.
        pub name: String,
        /// The branch that a clone checks out. Defaults to `main`.
        #[serde(default = "main")]
        pub branch: String,
    }
}

fn main() -> String {
    "main".to_owned()
}

wire! {
    /// A merge pipeline to make: it lands pull requests on one branch.
    #[serde(deny_unknown_fields)]
    pub struct NewPipeline {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// Unique.
        pub name: String,
        /// The repository.
        pub repository: String,
        /// The target branch. Defaults to `main`.
        #[serde(default = "main")]
        pub target: String,
        /// Lanes that may run at once, 1 to 64. Defaults to 1.
        #[serde(default = "one")]
        pub slots: i32,
        /// What a command in a comment begins with. Defaults to `@pointsman`.
        #[serde(default = "prefix")]
        pub prefix: String,
    }
}

fn one() -> i32 {
    1
}

fn prefix() -> String {
    "@pointsman".to_owned()
}

wire! {
    /// What a merge pipeline has beside its bindings.
    pub struct Merging {
        /// The repository.
        pub repository: String,
        /// The target branch.
        pub target: String,
        /// The commit that it points at; absent until somebody looked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tip: Option<String>,
        /// Lanes that may run at once.
        pub slots: i32,
        /// Why the tree is closed, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub frozen: Option<String>,
        /// Who closed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub frozen_by: Option<String>,
        /// What a command in a comment begins with.
        pub prefix: String,
        /// Since when no host has the repository's folder, if none does: nothing is tested or landed then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub folder_missing_since: Option<DateTime<Utc>>,
    }
}

wire! {
    /// A pull request to open. Its head is what its branch points at.
    #[serde(deny_unknown_fields)]
    pub struct NewPull {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// One line, at most 1 KiB.
        pub title: String,
        /// At most 64 KiB.
        #[serde(default)]
        pub body: String,
        /// The target branch. Defaults to `main`.
        #[serde(default = "main")]
        pub target: String,
        /// The branch that has the change.
        pub branch: String,
        /// The repository that the branch lies in, if another one (a fork).
        #[serde(default)]
        pub head_repository: Option<String>,
        /// Not to land yet.
        #[serde(default)]
        pub draft: bool,
        /// Who proposes it; only an admin may name somebody else.
        #[serde(default)]
        pub author: Option<Person>,
        /// Labels.
        #[serde(default)]
        pub labels: Vec<String>,
    }
}

wire! {
    /// Somebody in whose name an admin speaks: a bridge from another forge, or a test.
    #[serde(deny_unknown_fields)]
    pub struct Person {
        /// The name.
        pub name: String,
        /// `none`, `read`, `triage`, `write`, `maintain` or `admin`.
        #[serde(default = "write")]
        pub permission: String,
    }
}

fn write() -> String {
    "write".to_owned()
}

wire! {
    /// The fields of a pull request to change; absent ones stay.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct UpdatePull {
        /// Why; the generation's comment.
        pub comment: Option<String>,
        /// One line.
        pub title: Option<String>,
        /// The description.
        pub body: Option<String>,
        /// Whether it is a draft.
        pub draft: Option<bool>,
        /// `open` or `closed`.
        pub state: Option<String>,
    }
}

wire! {
    /// A review.
    #[serde(deny_unknown_fields)]
    pub struct NewReview {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// `approved`, `changes-requested`, `commented` or `dismissed`.
        pub state: String,
        /// The head that was looked at. Defaults to the present one; any other is kept as what it is.
        #[serde(default)]
        pub head: Option<String>,
        /// Whose; only an admin may name somebody else.
        #[serde(default)]
        pub by: Option<Person>,
    }
}

wire! {
    /// A comment. Lines that begin with the pipeline's prefix are commands.
    #[serde(deny_unknown_fields)]
    pub struct NewComment {
        /// The text, at most 64 KiB.
        pub body: String,
        /// Whose; only an admin may name somebody else.
        #[serde(default)]
        pub by: Option<Person>,
    }
}

wire! {
    /// A person's word about a pull request: authorise its head, ask for another run.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct PullAction {
        /// Why; the generation's comment.
        pub comment: Option<String>,
        /// The head that is meant; if it is another one by now, nothing is done.
        pub head: Option<String>,
    }
}

wire! {
    /// What a policy said, and which decision that is.
    pub struct Said {
        /// Stable, for programs.
        pub code: String,
        /// For people.
        pub text: String,
        /// The decision behind it; absent: the host's own rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub decision: Option<i64>,
    }
}

wire! {
    /// Where a pull request stands, for its present head.
    pub struct Standing {
        /// `approved`, `pending` or `rejected`.
        pub approval: String,
        /// Why.
        pub review: Said,
        /// People or teams whose review is missing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub wanted: Vec<String>,
        /// `run`, `pass`, `fail` or `hold`; absent: nobody could say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub need: Option<String>,
        /// Why.
        pub gate: Said,
        /// Why a policy could not say, if one could not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub held: Option<Said>,
        /// The last verdict of this head alone: `pass`, `fail` or `inconclusive`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub verdict: Option<String>,
        /// The commit of the target that the verdict is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub verdict_base: Option<String>,
    }
}

wire! {
    /// What a program says of a head.
    pub struct Status {
        /// Which one: `pointsman/main`.
        pub context: String,
        /// `pending`, `success`, `failure` or `error`.
        pub state: String,
        /// One sentence.
        pub text: String,
        /// Where there is more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub link: Option<String>,
        /// When.
        pub at: DateTime<Utc>,
    }
}

wire! {
    /// A review as it was given.
    pub struct Review {
        /// Unique.
        pub id: i64,
        /// Whose.
        pub by: String,
        /// `approved`, `changes-requested`, `commented` or `dismissed`.
        pub state: String,
        /// The head that was looked at.
        pub head: String,
        /// When.
        pub at: DateTime<Utc>,
    }
}

wire! {
    /// A comment.
    pub struct Comment {
        /// Unique.
        pub id: i64,
        /// Whose.
        pub by: String,
        /// The text.
        pub body: String,
        /// The head that it was written for.
        pub head: String,
        /// When.
        pub at: DateTime<Utc>,
    }
}

wire! {
    /// A pull request.
    pub struct Pull {
        /// The repository.
        pub repository: String,
        /// Unique in it.
        pub number: i32,
        /// One line.
        pub title: String,
        /// The description; only where one pull request is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub body: Option<String>,
        /// Who proposes it.
        pub author: String,
        /// The target branch.
        pub target: String,
        /// The repository that its branch lies in, if another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub head_repository: Option<String>,
        /// Its branch.
        pub branch: String,
        /// What that points at.
        pub head: String,
        /// The branch is gone.
        #[serde(default)]
        pub head_gone: bool,
        /// Not to land yet.
        pub draft: bool,
        /// `open`, `landed` or `closed`.
        pub state: String,
        /// Its labels.
        pub labels: Vec<String>,
        /// Who allowed this head to run, if anybody had to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub authorised_by: Option<String>,
        /// Where it stands; absent until the policies have looked at this head.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub standing: Option<Standing>,
        /// Statuses of its present head; only where one pull request is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub statuses: Option<Vec<Status>>,
        /// When it was opened.
        pub opened_at: DateTime<Utc>,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// One condition of landing.
    pub struct Condition {
        /// Stable, for programs: `open`, `pipeline`, `policy`, `approved`, `gate`, `lane`, `passed`, `tree-open`,
        /// `landing`.
        pub name: String,
        /// It holds.
        pub met: bool,
        /// What is so, or what is missing.
        pub text: String,
        /// Who or what can meet it, where it is not met.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub remedy: Option<String>,
        /// The decisions behind it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub decisions: Vec<i64>,
    }
}

wire! {
    /// Why a pull request is not merging: its conditions in their order. The first that is not met is the
    /// answer.
    pub struct Explanation {
        /// The pull request.
        pub pull: Pull,
        /// The pipeline that would land it; absent: none does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub pipeline: Option<String>,
        /// In the order in which they have to be met.
        pub conditions: Vec<Condition>,
    }
}
