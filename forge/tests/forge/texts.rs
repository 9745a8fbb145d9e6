use std::fs;
use std::os::unix::fs::symlink;

use pointsman_forge::limits::TEXT_BYTES;
use pointsman_forge::{Error, Oid, TextFile, check_path};
use proptest::prelude::*;

use crate::place::{Place, Work};

fn text(text: &str) -> TextFile {
    TextFile::Text(text.to_owned())
}

fn committed(work: &Work) -> Oid {
    work.commit("files");
    work.push("main");
    work.oid("HEAD")
}

#[tokio::test]
async fn a_file_is_read_as_the_commit_has_it() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    work.write("KERNEL_REV", "0123\n");
    work.write("KERNEL_REV_OLD", "old\n");
    work.write("folder/deep/é \"quoted\"\tname\nin two", "deep");
    work.write("empty", "");
    let first = committed(&work);
    work.write("KERNEL_REV", "4567\n");
    let second = committed(&work);
    let read = async |commit: &Oid, path: &str| repository.text(commit, path).await.unwrap();
    assert_eq!(read(&first, "KERNEL_REV").await, text("0123\n"));
    assert_eq!(read(&second, "KERNEL_REV").await, text("4567\n"));
    assert_eq!(read(&first, "empty").await, text(""));
    let deep = "folder/deep/é \"quoted\"\tname\nin two";
    assert_eq!(read(&first, deep).await, text("deep"));
    for absent in ["KERNEL", "KERNEL_REV/below", "folder/none", "kernel_rev"] {
        assert_eq!(read(&first, absent).await, TextFile::Absent, "{absent}");
    }
    assert_eq!(read(&first, "folder").await, TextFile::NotAFile);
    assert_eq!(read(&first, "folder/deep").await, TextFile::NotAFile);
}

#[tokio::test]
async fn what_looks_like_an_option_or_a_pattern_is_a_path() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    work.write("star", "not this");
    let commit = committed(&work);
    for path in [
        "--name-only",
        "-r",
        "st*",
        ":(glob)st*",
        ":/star",
        "[s]tar",
        "*",
    ] {
        let found = repository.text(&commit, path).await.unwrap();
        assert_eq!(found, TextFile::Absent, "{path}");
    }
    for path in ["-r", "st*", ":(glob)st*"] {
        work.write(path, path);
    }
    let commit = committed(&work);
    for path in ["-r", "st*", ":(glob)st*"] {
        assert_eq!(repository.text(&commit, path).await.unwrap(), text(path));
    }
}

#[tokio::test]
async fn what_is_too_large_or_no_text_is_told_apart() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let most = usize::try_from(TEXT_BYTES).unwrap();
    work.write("most", &"x".repeat(most));
    work.write("more", &"x".repeat(most + 1));
    work.write("nul", "a\0b");
    fs::write(work.path.join("latin"), b"caf\xe9").unwrap();
    symlink("/etc/passwd", work.path.join("link")).unwrap();
    symlink("..", work.path.join("up")).unwrap();
    let commit = committed(&work);
    let read = async |path: &str| repository.text(&commit, path).await.unwrap();
    assert_eq!(read("most").await, text(&"x".repeat(most)));
    let bytes = TEXT_BYTES + 1;
    assert_eq!(read("more").await, TextFile::TooLarge { bytes });
    assert_eq!(read("nul").await, TextFile::Binary);
    assert_eq!(read("latin").await, TextFile::Binary);
    assert_eq!(read("link").await, TextFile::NotAFile);
    assert_eq!(read("up/README").await, TextFile::Absent);
}

#[tokio::test]
async fn a_path_that_no_file_can_have_and_a_commit_that_is_not_there_are_refused() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let commit = work.oid("HEAD");
    let long = "x".repeat(4_097);
    for path in [
        "",
        "/etc/passwd",
        "../README",
        "a/../README",
        "./README",
        "a//b",
        "a/",
        "a\0b",
        &long,
    ] {
        let refused = repository.text(&commit, path).await.unwrap_err();
        assert_eq!(refused.code(), "bad-name", "{path}: {refused}");
    }
    let nowhere: Oid = "1".repeat(40).parse().unwrap();
    assert!(matches!(
        repository.text(&nowhere, "README").await,
        Err(Error::NoCommit { oid }) if oid == nowhere
    ));
}

proptest! {
    /// A path that is taken stays below the root, and means itself.
    #[test]
    fn a_path_that_is_taken_is_plain(
        parts in prop::collection::vec(
            prop::sample::select(vec!["a", ".", "..", "/", "...", "-", "\0", " ", "é"]), 0..8,
        )
    ) {
        use std::path::{Component, Path};
        let path = parts.concat();
        let plain = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
        let same = Path::new(&path).components().collect::<std::path::PathBuf>();
        let taken = check_path(&path).is_ok();
        prop_assert_eq!(
            taken,
            plain && same.as_os_str() == &*path && !path.is_empty() && !path.contains('\0'),
            "{:?}", path
        );
    }
}
