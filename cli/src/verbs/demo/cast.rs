//! Who appears: the pull requests, what each of them changes, and what has to become of it.

use std::path::Path;

/// What has to become of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It lands, once.
    Lands,
    /// Its tests fail, and it stays open.
    Fails,
    /// It does not merge, and stays open.
    Conflicts,
    /// It stays open, since this condition of landing is not met.
    Waits(&'static str),
}

impl Fate {
    pub(super) fn text(self) -> &'static str {
        match self {
            Fate::Lands => "lands",
            Fate::Fails => "fails",
            Fate::Conflicts => "conflicts",
            Fate::Waits(_) => "waits",
        }
    }
}

/// What reviewers say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Review {
    Approved,
    ChangesRequested,
    None,
}

/// A pull request.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) branch: String,
    pub(super) title: String,
    /// What it is there for.
    pub(super) what: &'static str,
    pub(super) files: Vec<(String, String)>,
    pub(super) draft: bool,
    pub(super) review: Review,
    pub(super) fate: Fate,
}

impl Role {
    fn new(branch: &str, title: &str, what: &'static str, fate: Fate) -> Role {
        Role {
            branch: branch.to_owned(),
            title: title.to_owned(),
            what,
            files: vec![],
            draft: false,
            review: Review::Approved,
            fate,
        }
    }

    fn file(mut self, path: &str, content: &str) -> Role {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// A function and the test of it.
    fn function(self, name: &str, body: &str, expected: &str) -> Role {
        self.file(
            &format!("lib/{name}.sh"),
            &format!("{name}() {{ {body}; }}\n"),
        )
        .file(
            &format!("tests/{name}.sh"),
            &format!(". ./lib/{name}.sh\ntest \"$({name} 2 3)\" = '{expected}'\n"),
        )
    }
}

/// The first commit: a library of shell functions, its tests, and what runs them.
pub(super) fn first_commit() -> Vec<(String, String)> {
    let files = [
        (
            "check",
            "#!/bin/sh\n# Runs every test; the first that fails decides.\nset -u\nfor test in tests/*.sh; do\n    sh \"$test\" || { echo \"FAILED: $test\"; exit 1; }\n    echo \"ok: $test\"\ndone\n",
        ),
        ("VERSION", "1.0\n"),
        ("lib/greet.sh", "greet() { echo \"Hello, $1\"; }\n"),
        (
            "tests/greet.sh",
            ". ./lib/greet.sh\ntest \"$(greet you)\" = 'Hello, you'\n",
        ),
    ];
    let owned = |(path, content): (&str, &str)| (path.to_owned(), content.to_owned());
    files.into_iter().map(owned).collect()
}

/// Before the swap. `runs` is a folder that is there as long as the demonstration is.
pub(super) fn first_act(runs: &Path) -> Vec<Role> {
    let unreviewed = |mut role: Role, review| {
        role.review = review;
        role
    };
    let mut draft = Role::new("draft", "Add a draft", "a draft", Fate::Waits("open")).function(
        "draft",
        "echo draft",
        "draft",
    );
    draft.draft = true;
    vec![
        Role::new("sum", "Add two numbers", "good", Fate::Lands).function(
            "sum",
            "echo $(($1 + $2))",
            "5",
        ),
        Role::new("larger", "Find the larger one", "good", Fate::Lands).function(
            "larger",
            "if [ \"$1\" -gt \"$2\" ]; then echo \"$1\"; else echo \"$2\"; fi",
            "3",
        ),
        Role::new(
            "product",
            "Multiply two numbers",
            "its test fails",
            Fate::Fails,
        )
        .function("product", "echo $(($1 + $2))", "6"),
        Role::new(
            "version-2",
            "Release 2.0",
            "first of a conflict",
            Fate::Lands,
        )
        .file("VERSION", "2.0\n"),
        Role::new(
            "version-1-1",
            "Release 1.1",
            "second of a conflict",
            Fate::Conflicts,
        )
        .file("VERSION", "1.1\n"),
        Role::new("network", "Test over the network", FLAKY, Fate::Lands)
            .file("lib/network.sh", "network() { test -e \"$1\"; }\n")
            .file(
                "tests/network.sh",
                &format!(
                    ". ./lib/network.sh\nnetwork {} || {{ echo 'no network'; exit 1; }}\n",
                    quoted(&runs.join(NETWORK))
                ),
            ),
        unreviewed(
            Role::new(
                "unseen",
                "Subtract two numbers",
                "nobody approves it",
                Fate::Waits("approved"),
            )
            .function("unseen", "echo $(($1 - $2))", "-1"),
            Review::None,
        ),
        unreviewed(
            Role::new(
                "unwanted",
                "Print numbers twice",
                "changes are requested",
                Fate::Waits("approved"),
            )
            .function("unwanted", "echo $1$1$2$2", "2233"),
            Review::ChangesRequested,
        ),
        draft,
    ]
}

/// What the flaky one is there for.
pub(super) const FLAKY: &str = "fails, passes on `retry`";
/// The file that its test needs, and that is not there at first.
pub(super) const NETWORK: &str = "network";

/// Pushed again while its job runs: its first version hangs. Not approved before both are there.
pub(super) fn hanging(branch: &str, runs: &Path) -> (Role, Vec<(String, String)>) {
    let title = format!("Wait for the end ({branch})");
    let role = Role::new(branch, &title, "hangs, is pushed again", Fate::Lands);
    let path = format!("tests/{branch}.sh");
    // It hangs as long as the demonstration's folder is there: nothing is left behind.
    let hangs = format!("while [ -d {} ]; do sleep 0.1; done\n", quoted(runs));
    let mends = vec![(path.clone(), "test $((1 + 1)) = 2\n".to_owned())];
    (role.file(&path, &hangs), mends)
}

/// After the swap: a batch, of which one breaks the others' code and one its own.
pub(super) fn second_act() -> Vec<Role> {
    vec![
        Role::new("double", "Double a number", "good", Fate::Lands).function(
            "double",
            "echo $(($1 * 2))",
            "4",
        ),
        Role::new("power", "Raise to a power", "good", Fate::Lands).function(
            "power",
            "echo $(($1 * $1 * $1))",
            "8",
        ),
        Role::new(
            "rename",
            "Rename greet to welcome",
            "breaks the next, if both land",
            Fate::Lands,
        )
        .file("lib/greet.sh", "welcome() { echo \"Hello, $1\"; }\n")
        .file(
            "tests/greet.sh",
            ". ./lib/greet.sh\ntest \"$(welcome you)\" = 'Hello, you'\n",
        ),
        Role::new(
            "party",
            "Greet everybody",
            "passes alone, fails with the one before",
            Fate::Fails,
        )
        .file(
            "lib/party.sh",
            ". ./lib/greet.sh\nparty() { for one; do greet \"$one\"; done; }\n",
        )
        .file(
            "tests/party.sh",
            ". ./lib/party.sh\ntest \"$(party you me | wc -l)\" -eq 2\n",
        ),
        Role::new(
            "quotient",
            "Divide two numbers",
            "its test fails",
            Fate::Fails,
        )
        .function("quotient", "echo $(($1 / $2))", "1"),
    ]
}

/// A word that a shell takes as it is.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
