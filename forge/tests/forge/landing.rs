use std::thread;

use pointsman_forge::{Ancestry, Landed, Oid, Repository};

use crate::place::{Place, Work, branch, lane, plan};

/// Threads that push, and what each pushes.
const PUSHERS: usize = 5;
const PUSHES: usize = 10;

/// Tasks that land, and what each lands.
const LANDERS: usize = 2;
const LANDINGS: usize = 6;

#[tokio::test]
async fn a_landing_moves_the_branch_once() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let main = branch("main");
    let base = work.oid("HEAD");
    let head = work.change("topic", "main", "a", "a\n");
    let (commit, _) = lane(&repository.build(&plan(base, &[head])).await.unwrap());
    let land = || repository.land(&main, &base, &commit);
    assert_eq!(land().await.unwrap(), Landed::Moved);
    assert_eq!(repository.branch(&main).await.unwrap(), Some(commit));
    assert_eq!(land().await.unwrap(), Landed::AlreadyThere);

    // Somebody goes on from there: this landing is still done.
    work.git(["fetch", "--quiet", "origin", "main"]);
    work.git(["checkout", "--quiet", "-B", "main", "FETCH_HEAD"]);
    let next = work.commit("next");
    work.push("main");
    assert_eq!(land().await.unwrap(), Landed::AlreadyThere);
    assert_eq!(repository.branch(&main).await.unwrap(), Some(next));

    // Somebody takes it away: it is not.
    let refspec = format!("+{base}:main");
    work.git(["push", "--quiet", "origin", refspec.as_str()]);
    assert_eq!(land().await.unwrap(), Landed::Moved);
}

#[tokio::test]
async fn a_push_that_was_faster_wins() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let main = branch("main");
    let base = work.oid("HEAD");
    let head = work.change("topic", "main", "a", "a\n");
    let (commit, _) = lane(&repository.build(&plan(base, &[head])).await.unwrap());
    let pushed = work.change("main", "main", "b", "b\n");
    let landed = repository.land(&main, &base, &commit).await.unwrap();
    assert_eq!(landed, Landed::Stale { tip: Some(pushed) });
    assert_eq!(repository.branch(&main).await.unwrap(), Some(pushed));

    let nowhere = branch("nowhere");
    let landed = repository.land(&nowhere, &base, &commit).await.unwrap();
    assert_eq!(landed, Landed::Stale { tip: None });
    assert_eq!(repository.branch(&nowhere).await.unwrap(), None);
}

#[tokio::test]
async fn a_landing_never_takes_commits_off() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let main = branch("main");
    let base = work.oid("HEAD");
    let side = work.change("side", "main", "a", "a\n");
    let tip = work.change("main", "main", "b", "b\n");
    for to in [side, base] {
        let error = repository.land(&main, &tip, &to).await.unwrap_err();
        assert_eq!(error.code(), "not-a-descendant");
    }
    let nowhere: Oid = "1234567890123456789012345678901234567890".parse().unwrap();
    let error = repository.land(&main, &tip, &nowhere).await.unwrap_err();
    assert_eq!(error.code(), "no-commit");
    assert_eq!(repository.branch(&main).await.unwrap(), Some(tip));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_between_pushes_and_landings() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let heads: Vec<Oid> = (0..LANDERS * LANDINGS)
        .map(|i| work.change(&format!("topic-{i}"), "main", &format!("topic/{i}"), "x\n"))
        .collect();
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|i| {
            let work = place.clone_of(&repository, &format!("pusher-{i}"));
            thread::spawn(move || {
                (0..PUSHES)
                    .map(|j| push_until_it_is_in(&work, i, j))
                    .collect()
            })
        })
        .collect();
    let landers: Vec<_> = heads
        .chunks(LANDINGS)
        .map(|heads| {
            let (repository, heads) = (repository.clone(), heads.to_vec());
            tokio::spawn(async move {
                let mut landed = Vec::new();
                for head in heads {
                    landed.push(land_until_it_is_in(&repository, head).await);
                }
                landed
            })
        })
        .collect();
    let mut all: Vec<Oid> = Vec::new();
    for lander in landers {
        all.extend(lander.await.unwrap());
    }
    for pusher in pushers {
        let pushed: Vec<Oid> = pusher.join().unwrap();
        all.extend(pushed);
    }
    assert_eq!(all.len(), PUSHERS * PUSHES + LANDERS * LANDINGS);
    let tip = repository.branch(&branch("main")).await.unwrap().unwrap();
    for commit in all.into_iter().chain(heads) {
        let ancestry = repository.is_ancestor(&commit, &tip).await.unwrap();
        assert_eq!(ancestry, Ancestry::Ancestor, "{commit} is lost");
    }
}

fn push_until_it_is_in(work: &Work, pusher: usize, number: usize) -> Oid {
    loop {
        work.git(["fetch", "--quiet", "origin", "main"]);
        work.git(["checkout", "--quiet", "--force", "-B", "main", "FETCH_HEAD"]);
        work.write(&format!("pushed/{pusher}-{number}"), "x\n");
        let oid = work.commit("push");
        if work
            .try_git(["push", "--quiet", "origin", "main"])
            .status
            .success()
        {
            return oid;
        }
    }
}

async fn land_until_it_is_in(repository: &Repository, head: Oid) -> Oid {
    let main = branch("main");
    loop {
        let tip = repository.branch(&main).await.unwrap().unwrap();
        let (commit, _) = lane(&repository.build(&plan(tip, &[head])).await.unwrap());
        match repository.land(&main, &tip, &commit).await.unwrap() {
            Landed::Moved => return commit,
            Landed::Stale { .. } => {}
            Landed::AlreadyThere => panic!("{head} landed twice"),
        }
    }
}
