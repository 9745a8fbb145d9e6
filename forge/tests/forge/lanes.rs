use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use pointsman_forge::{Ancestry, Built, Method};

use crate::place::{Place, lane, plan, plan_by};

#[tokio::test]
async fn a_lane_has_the_tree_that_git_merge_makes() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let left = work.change(
        "left",
        "main",
        "README",
        "ONE\ntwo\nthree\nfour\nfive\nsix\nseven\n",
    );
    let right = work.change(
        "right",
        "main",
        "README",
        "one\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n",
    );
    let built = repository.build(&plan(base, &[left, right])).await.unwrap();
    let Built::Lane {
        commit,
        tree,
        commits,
    } = &built
    else {
        panic!("{built:?}")
    };
    work.git(["checkout", "--quiet", "main"]);
    work.git(["merge", "--quiet", "--no-ff", "left"]);
    work.git(["merge", "--quiet", "--no-ff", "right"]);
    assert_eq!(*tree, work.oid("HEAD^{tree}"));

    assert_eq!(commits.last(), Some(commit));
    let first = repository.commit(&commits[0]).await.unwrap().unwrap();
    assert_eq!(first.parents, [base, left]);
    let second = repository.commit(commit).await.unwrap().unwrap();
    assert_eq!(second.parents, [commits[0], right]);
    assert_eq!(second.tree, *tree);
    assert_eq!(second.author, "Pointsman");
    assert_eq!(second.committed_at, 1_700_000_000);
    assert_eq!(second.subject, format!("Merge {right}"));
    for head in [left, right, base] {
        let ancestry = repository.is_ancestor(&head, commit).await.unwrap();
        assert_eq!(ancestry, Ancestry::Ancestor);
    }
}

#[tokio::test]
async fn the_same_plan_gives_the_same_commit() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let left = work.change("left", "main", "left", "left\n");
    let right = work.change("right", "main", "right", "right\n");
    for method in [Method::Merge, Method::Squash] {
        let plan = plan_by(base, &[left, right], method);
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (repository, plan) = (repository.clone(), plan.clone());
                tokio::spawn(async move { repository.build(&plan).await.unwrap() })
            })
            .collect();
        let first = repository.build(&plan).await.unwrap();
        lane(&first);
        for task in tasks {
            assert_eq!(task.await.unwrap(), first);
        }
    }
    // And it stays the same from version to version: the id is git's own of this very text.
    let (commit, tree) = lane(&repository.build(&plan(base, &[left])).await.unwrap());
    let path = repository.path().to_str().unwrap();
    let text = work.git(["--git-dir", path, "cat-file", "commit", commit.as_str()]);
    let person = "Pointsman <pointsman@example.org> 1700000000 +0000";
    assert_eq!(
        text,
        format!(
            "tree {tree}\nparent {base}\nparent {left}\nauthor {person}\ncommitter {person}\n\nMerge {left}\n\nTested as one."
        )
    );
}

#[tokio::test]
async fn a_conflict_names_the_member_and_the_paths() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let good = work.change("good", "main", "other", "other\n");
    let left = work.change("left", "main", "README", "left\n");
    let right = work.change("right", "main", "README", "right\n");
    let built = repository
        .build(&plan(base, &[good, left, right]))
        .await
        .unwrap();
    let Built::Conflict {
        member,
        paths,
        text,
    } = built
    else {
        panic!("{built:?}")
    };
    assert_eq!(member, 2);
    assert_eq!(paths, ["README"]);
    assert_eq!(text, "CONFLICT (content): Merge conflict in README");
}

#[tokio::test]
async fn a_squash_is_one_commit_on_the_lane() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    work.change("topic", "main", "a", "a\n");
    let head = work.change("topic", "topic", "b", "b\n");
    let built = repository
        .build(&plan_by(base, &[head], Method::Squash))
        .await
        .unwrap();
    let (commit, tree) = lane(&built);
    assert_eq!(tree, work.oid("topic^{tree}"));
    let squashed = repository.commit(&commit).await.unwrap().unwrap();
    assert_eq!(squashed.parents, [base]);
    // Once it is in, it adds nothing; a merge of it still says where it came from.
    let again = repository
        .build(&plan_by(commit, &[head], Method::Squash))
        .await
        .unwrap();
    assert_eq!(again, Built::AlreadyMerged { member: 0 });
    let merged = repository.build(&plan(commit, &[head])).await.unwrap();
    assert_eq!(lane(&merged).1, tree);
}

#[tokio::test]
async fn what_is_contained_is_not_merged_again() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let low = work.change("low", "main", "a", "a\n");
    let high = work.change("high", "low", "b", "b\n");
    let built = repository.build(&plan(base, &[high, low])).await.unwrap();
    assert_eq!(built, Built::AlreadyMerged { member: 1 });
    let built = repository.build(&plan(high, &[base])).await.unwrap();
    assert_eq!(built, Built::AlreadyMerged { member: 0 });
    // A stack in its order is two merges.
    let built = repository.build(&plan(base, &[low, high])).await.unwrap();
    assert_eq!(lane(&built).1, work.oid("high^{tree}"));
    let built = repository.build(&plan(base, &[])).await.unwrap();
    assert_eq!(lane(&built), (base, work.oid("main^{tree}")));
}

#[tokio::test]
async fn a_commit_that_is_not_there_is_gone() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let nowhere = "1234567890123456789012345678901234567890".parse().unwrap();
    let built = repository.build(&plan(base, &[nowhere])).await.unwrap();
    assert_eq!(built, Built::Gone { oid: nowhere });
    let tree = work.oid("HEAD^{tree}");
    let built = repository.build(&plan(base, &[tree])).await.unwrap();
    assert_eq!(built, Built::Gone { oid: tree });
}

#[tokio::test]
async fn renames_modes_links_and_submodules_survive() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    work.write("run", "#!/bin/sh\n");
    work.commit("run");
    work.push("main");
    let base = work.oid("HEAD");
    work.git(["checkout", "--quiet", "-b", "shape"]);
    work.git(["mv", "README", "MANUAL"]);
    fs::set_permissions(work.file("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("MANUAL", work.file("link")).unwrap();
    let cache = format!("160000,{base},library");
    work.git(["update-index", "--add", "--cacheinfo", cache.as_str()]);
    work.git(["add", "MANUAL", "run", "link"]);
    work.git(["commit", "--quiet", "-m", "shape"]);
    let shape = work.oid("HEAD");
    work.push("shape");
    work.git(["checkout", "--quiet", "--force", "main"]);
    let text = work.change(
        "text",
        "main",
        "README",
        "one\ntwo\nthree\nfour\nfive\nsix\n7\n",
    );

    let built = repository.build(&plan(base, &[shape, text])).await.unwrap();
    let (commit, _) = lane(&built);
    let path = repository.path().to_str().unwrap();
    let listing = work.git(["--git-dir", path, "ls-tree", "-r", commit.as_str()]);
    let modes: Vec<(&str, &str)> = listing
        .lines()
        .map(|line| (&line[..6], line.split('\t').nth(1).unwrap()))
        .collect();
    assert_eq!(
        modes,
        [
            ("100644", "MANUAL"),
            ("160000", "library"),
            ("120000", "link"),
            ("100755", "run")
        ]
    );
    // The change to the old name is in the file of the new name.
    let spec = format!("{commit}:MANUAL");
    let manual = work.git(["--git-dir", path, "show", spec.as_str()]);
    assert!(manual.ends_with("six\n7"), "{manual}");
}

#[tokio::test]
async fn a_criss_cross_merges_as_git_does() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    work.change(
        "left",
        "main",
        "README",
        "ONE\ntwo\nthree\nfour\nfive\nsix\nseven\n",
    );
    work.change(
        "right",
        "main",
        "README",
        "one\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n",
    );
    let (old_left, old_right) = (work.oid("left"), work.oid("right"));
    work.git(["checkout", "--quiet", "left"]);
    work.git(["merge", "--quiet", old_right.as_str()]);
    work.write("left", "left\n");
    let left = work.commit("left again");
    work.push("left");
    work.git(["checkout", "--quiet", "right"]);
    work.git(["merge", "--quiet", old_left.as_str()]);
    work.write("right", "right\n");
    let right = work.commit("right again");
    work.push("right");
    assert_eq!(
        work.git(["merge-base", "--all", "left", "right"])
            .lines()
            .count(),
        2
    );

    let (_, tree) = lane(&repository.build(&plan(left, &[right])).await.unwrap());
    work.git(["checkout", "--quiet", "left"]);
    work.git(["merge", "--quiet", "right"]);
    assert_eq!(tree, work.oid("HEAD^{tree}"));
}

#[tokio::test]
async fn histories_without_a_common_commit_do_not_merge() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    work.git(["checkout", "--quiet", "--orphan", "island"]);
    let island = work.commit("island");
    work.push("island");
    let built = repository.build(&plan(base, &[island])).await.unwrap();
    assert!(
        matches!(built, Built::Conflict { member: 0, ref paths, .. } if paths.is_empty()),
        "{built:?}"
    );
    assert_eq!(repository.merge_base(&base, &island).await.unwrap(), None);
}

#[tokio::test]
async fn a_driver_that_the_tree_asks_for_does_not_count() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    work.write(".gitattributes", "README merge=union\n");
    work.commit("attributes");
    work.push("main");
    let base = work.oid("HEAD");
    let left = work.change("left", "main", "README", "left\n");
    let right = work.change("right", "main", "README", "right\n");
    let built = repository.build(&plan(base, &[left, right])).await.unwrap();
    assert!(
        matches!(built, Built::Conflict { member: 1, .. }),
        "{built:?}"
    );
}

#[tokio::test]
async fn a_replaced_object_changes_nothing() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let good = work.change("good", "main", "file", "good\n");
    let evil = work.change("evil", "main", "file", "evil\n");
    let refspec = format!("{evil}:refs/replace/{good}");
    assert!(
        !work
            .try_git(["push", "origin", refspec.as_str()])
            .status
            .success()
    );
    let path = repository.path().to_str().unwrap();
    work.git(["--git-dir", path, "replace", good.as_str(), evil.as_str()]);
    let (_, tree) = lane(&repository.build(&plan(base, &[good])).await.unwrap());
    work.git(["checkout", "--quiet", "good"]);
    assert_eq!(tree, work.oid("HEAD^{tree}"));
}

#[tokio::test]
async fn a_plan_that_git_would_rewrite_is_refused() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let head = work.change("topic", "main", "a", "a\n");
    let base = work.oid("main");
    let good = plan(base, &[head]);
    let mut plans = Vec::new();
    for message in ["", " \n", "a\0b"] {
        let mut plan = good.clone();
        plan.members[0].message = message.to_owned();
        plans.push(plan);
    }
    for name in ["", " ", "a\nb", "a <b>", ".", "x\u{1b}y"] {
        let mut plan = good.clone();
        plan.identity.name = name.to_owned();
        plans.push(plan);
    }
    for plan in plans {
        let error = repository.build(&plan).await.unwrap_err();
        assert_eq!(error.code(), "bad-plan", "{plan:?}");
    }
    lane(&repository.build(&good).await.unwrap());
}
