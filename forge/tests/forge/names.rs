use std::process::Command;

use pointsman_forge::{Branch, Oid, RepoName};
use proptest::prelude::*;

/// Whether git takes it as the name of a branch.
fn git_takes(name: &str) -> bool {
    Command::new("git")
        .args(["check-ref-format", "--branch", name])
        .current_dir("/")
        .env("GIT_DIR", "/nonexistent")
        .output()
        .unwrap()
        .status
        .success()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pieces that the rules are about, put together at random.
    #[test]
    fn a_branch_is_what_git_takes_for_one(
        pieces in prop::collection::vec(
            prop_oneof![
                3 => "[a-zA-Z0-9_é]{1,3}",
                1 => prop::sample::select(vec![
                    "/", ".", "..", "-", "@", "@{", "{", "}", ".lock", "lock", "HEAD", " ", "~", "^",
                    ":", "?", "*", "[", "]", "\\", "\t", "\u{7f}", "\u{a0}", "'", "\"", "$", ";",
                ]).prop_map(str::to_owned),
            ],
            0..6,
        )
    ) {
        let name = pieces.concat();
        let ours = name.parse::<Branch>();
        // `@` alone is the one name of this size that only git takes.
        prop_assert_eq!(ours.is_ok(), git_takes(&name) && name != "@", "{:?}: {:?}", name, ours);
        if let Ok(branch) = ours {
            prop_assert_eq!(branch.as_str(), name);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(name in "\\PC*") {
        if !name.is_empty() {
            prop_assert_eq!(name.parse::<Branch>().is_ok(), git_takes(&name) && name != "@");
        }
        let _ = name.parse::<Oid>();
        let _ = name.parse::<RepoName>();
    }
}

#[test]
fn a_name_can_be_neither_an_option_nor_a_way_out() {
    for name in [
        "",
        "-",
        "--upload-pack=x",
        "-d",
        "..",
        "../x",
        "a/../b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "HEAD",
        "@",
        "a@{1}",
        "a.lock",
        "a.lock/b",
        "a.",
        "a b",
        "a\nb",
        "a\0b",
        "a:b",
    ] {
        let error = name.parse::<Branch>().unwrap_err();
        assert_eq!(error.kind, "branch");
    }
    for name in [
        "", ".", "..", "../x", "a/b", "-a", ".a", "a.git", "a.GIT", "a.lock", "a.", "a b", "é",
        "a\n", "_",
    ] {
        assert!(name.parse::<RepoName>().is_err(), "{name:?}");
    }
    for name in ["a", "a.b", "A-1_2", "0"] {
        assert_eq!(name.parse::<RepoName>().unwrap().as_str(), name);
    }
    assert!("x".repeat(101).parse::<RepoName>().is_err());
    assert!("x".repeat(250).parse::<Branch>().is_ok());
    assert!("x".repeat(251).parse::<Branch>().is_err());
    assert!(
        ["x/"; 127]
            .concat()
            .trim_end_matches('/')
            .parse::<Branch>()
            .is_ok()
    );
    assert!(
        ["x/"; 129]
            .concat()
            .trim_end_matches('/')
            .parse::<Branch>()
            .is_err()
    );
}

#[test]
fn an_id_is_40_or_64_lower_case_digits() {
    for good in ["0".repeat(40), "af".repeat(32)] {
        let oid: Oid = good.parse().unwrap();
        assert_eq!(oid.to_string(), good);
        let json = serde_json::to_string(&oid).unwrap();
        assert_eq!(json, format!("\"{good}\""));
        assert_eq!(serde_json::from_str::<Oid>(&json).unwrap(), oid);
    }
    for bad in [
        "",
        "0",
        &"0".repeat(39),
        &"0".repeat(41),
        &"A".repeat(40),
        &"é".repeat(20),
    ] {
        assert!(bad.parse::<Oid>().is_err(), "{bad}");
    }
    assert!(serde_json::from_str::<Branch>("\"-x\"").is_err());
}
