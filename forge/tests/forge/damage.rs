use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use pointsman_forge::{Oid, Repository};

use crate::place::{Place, branch, plan};

fn loose(repository: &Repository, oid: Oid) -> PathBuf {
    let (folder, file) = oid.as_str().split_at(2);
    repository.path().join("objects").join(folder).join(file)
}

fn spoil(path: &PathBuf) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, "junk").unwrap();
}

#[tokio::test]
async fn a_spoiled_commit_is_not_taken_for_a_missing_one() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("main");
    let head = work.change("topic", "main", "a", "a\n");
    spoil(&loose(&repository, head));
    let code = repository.commit(&head).await.unwrap_err().code();
    assert_eq!(code, "repository-corrupt");
    let error = repository.build(&plan(base, &[head])).await.unwrap_err();
    assert_eq!(error.code(), "repository-corrupt");
    assert!(error.to_string().contains("git fsck"), "{error}");
    let error = repository.describe_head(&base, &head).await.unwrap_err();
    assert_eq!(error.code(), "repository-corrupt");
    let error = repository
        .land(&branch("main"), &base, &head)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "repository-corrupt");
}

#[tokio::test]
async fn a_spoiled_or_missing_tree_is_damage() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let head = work.change("topic", "main", "a", "a\n");
    let tip = work.change("main", "main", "b", "b\n");
    let tree = loose(&repository, work.oid("topic^{tree}"));
    spoil(&tree);
    let again = async || {
        let built = repository.build(&plan(tip, &[head])).await.unwrap_err();
        let described = repository.describe_head(&tip, &head).await.unwrap_err();
        let mergeable = repository.mergeable(&tip, &head).await.unwrap_err();
        [built.code(), described.code(), mergeable.code()]
    };
    assert_eq!(again().await, ["repository-corrupt"; 3]);
    fs::remove_file(&tree).unwrap();
    assert_eq!(again().await, ["repository-corrupt"; 3]);
}

#[tokio::test]
async fn a_broken_ref_is_not_taken_for_a_deleted_branch() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    work.change("topic", "main", "a", "a\n");
    fs::write(repository.path().join("refs/heads/topic"), "").unwrap();
    let error = repository.branches().await.unwrap_err();
    assert_eq!(error.code(), "repository-corrupt");
    let error = repository.branch(&branch("topic")).await.unwrap_err();
    assert_eq!(error.code(), "repository-corrupt");
    repository.branch(&branch("main")).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_fork_that_is_damaged_is_named() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let fork = place.repository("fork").await;
    let clone = place.clone_of(&fork, "fork");
    clone.write("a", "a\n");
    let head = clone.commit("topic");
    clone.push("topic");
    spoil(&loose(&fork, head));
    let error = repository
        .fetch_head(&fork, &branch("topic"), 1)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "repository-corrupt");
    assert!(error.to_string().contains("fork.git"), "{error}");
    // Ours has neither the ref nor a part of the objects.
    let path = repository.path().to_str().unwrap();
    assert_eq!(work.git(["ls-remote", path, "refs/pull/*"]), "");
    work.git(["--git-dir", path, "fsck", "--strict"]);
}

#[tokio::test]
async fn a_folder_that_is_no_repository_is_told() {
    let place = Place::new();
    let repository = place.repository("core").await;
    let name = "core".parse().unwrap();
    fs::remove_file(repository.path().join("HEAD")).unwrap();
    assert_eq!(
        place.forge.open(&name).await.unwrap_err().code(),
        "repository-corrupt"
    );
    assert_eq!(
        repository.branches().await.unwrap_err().code(),
        "repository-corrupt"
    );
    let error = place
        .forge
        .create(&name, &branch("main"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "repository-corrupt");
}

#[tokio::test]
async fn a_lock_that_a_crash_left_is_named() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("main");
    let head = work.change("topic", "main", "a", "a\n");
    let lock = repository.path().join("refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    let error = repository
        .land(&branch("main"), &base, &head)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "ref-locked");
    assert!(error.to_string().contains("main.lock"), "{error}");
    fs::remove_file(&lock).unwrap();
    repository
        .land(&branch("main"), &base, &head)
        .await
        .unwrap();
    assert_eq!(
        repository.branch(&branch("main")).await.unwrap(),
        Some(head)
    );
}
