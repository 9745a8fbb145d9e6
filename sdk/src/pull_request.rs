//! Pull requests and work: what several hooks are asked about.

use crate::packed::unpack;
use crate::{Label, PullRequest, Work, attr};

impl PullRequest {
    /// A pull request with a number and a head, and nothing else known: for tests.
    #[must_use]
    pub fn of(number: u64, head: &str) -> Self {
        PullRequest {
            number,
            author: String::new(),
            title: String::new(),
            target: "main".to_owned(),
            opened_at: 0,
            head: head.to_owned(),
            merge_base: String::new(),
            patch_id: String::new(),
            state: "open".to_owned(),
            labels: Vec::new(),
            changed: String::new(),
            changed_total: 0,
            commands: Vec::new(),
            depends: Vec::new(),
            runs: Vec::new(),
            notes: Vec::new(),
            attrs: Vec::new(),
        }
    }

    /// The label of that name, if it has it.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name == name)
    }

    /// The paths that it changes; none if there are too many to know them all.
    #[must_use]
    pub fn changed_paths(&self) -> Option<Vec<&str>> {
        complete(&self.changed, self.changed_total)
    }

    /// Whether its head lies in another repository.
    #[must_use]
    pub fn is_from_fork(&self) -> bool {
        attr(&self.attrs, "head.fork") == Some("true")
    }
}

impl Work {
    /// Work of a kind (`head`, `lane`, `branch`, `kernel`) with nothing else known: for tests.
    #[must_use]
    pub fn of(kind: &str, purpose: &str) -> Self {
        Work {
            kind: kind.to_owned(),
            purpose: purpose.to_owned(),
            name: String::new(),
            base: String::new(),
            commit: String::new(),
            tree: String::new(),
            members: Vec::new(),
            changed: String::new(),
            changed_total: 0,
            runs: Vec::new(),
            tags: Vec::new(),
            attrs: Vec::new(),
        }
    }

    /// The paths that differ from its base; none if there are too many to know them all.
    #[must_use]
    pub fn changed_paths(&self) -> Option<Vec<&str>> {
        complete(&self.changed, self.changed_total)
    }
}

fn complete(packed: &str, total: u32) -> Option<Vec<&str>> {
    let paths: Vec<&str> = unpack(packed).collect();
    (paths.len() as u64 == u64::from(total)).then_some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::pack;

    #[test]
    fn paths_that_are_cut_short_are_not_taken_for_all() {
        let mut work = Work::of("lane", "merge");
        assert_eq!(work.changed_paths(), Some(vec![]));
        work.changed = pack(["KERNEL_REV", "src/a.c"]);
        assert_eq!(work.changed_paths(), None);
        work.changed_total = 2;
        assert_eq!(work.changed_paths(), Some(vec!["KERNEL_REV", "src/a.c"]));
    }
}
