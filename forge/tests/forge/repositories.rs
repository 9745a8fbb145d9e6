use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use pointsman_forge::{Created, Forge};

use crate::place::{Place, branch, lane, plan};

#[tokio::test]
async fn a_repository_is_created_once() {
    let place = Place::new();
    let name = "core".parse().unwrap();
    let main = branch("trunk");
    assert_eq!(place.forge.list().await.unwrap(), []);
    assert_eq!(
        place.forge.open(&name).await.unwrap_err().code(),
        "no-repository"
    );

    let created = place.forge.create(&name, &main).await.unwrap();
    assert_eq!(created, Created::Created);
    let repository = place.forge.open(&name).await.unwrap();
    let config = repository.path().join("config");
    let before = fs::read_to_string(&config).unwrap();
    let head = fs::read_to_string(repository.path().join("HEAD")).unwrap();
    assert_eq!(head, "ref: refs/heads/trunk\n");
    assert!(repository.branches().await.unwrap().is_empty());

    let work = place.clone_of(&repository, "work");
    let first = work.commit("begin");
    work.push("trunk");
    fs::write(repository.path().join("pointsman.config"), "").unwrap();
    let again = place.forge.create(&name, &branch("main")).await.unwrap();
    assert_eq!(again, Created::AlreadyThere);
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
    assert_eq!(repository.branch(&main).await.unwrap(), Some(first));
    assert_ne!(
        fs::read(repository.path().join("pointsman.config")).unwrap(),
        b""
    );
    assert_eq!(place.forge.list().await.unwrap(), [name]);
}

#[tokio::test]
async fn of_many_who_create_the_same_repository_one_does() {
    let place = Place::new();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let forge = place.forge.clone();
            tokio::spawn(async move {
                let name = "core".parse().unwrap();
                forge.create(&name, &branch("main")).await.unwrap()
            })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        created += usize::from(task.await.unwrap() == Created::Created);
    }
    assert_eq!(created, 1);
    // Nothing is left of what was made aside.
    assert_eq!(fs::read_dir(place.forge.root()).unwrap().count(), 1);
}

#[tokio::test]
async fn the_list_has_repositories_only() {
    let place = Place::new();
    for name in ["b", "a.b", "C"] {
        place.repository(name).await;
    }
    fs::create_dir(place.forge.root().join(".new-x.git")).unwrap();
    fs::create_dir(place.forge.root().join("notes")).unwrap();
    fs::write(place.forge.root().join("file.git"), "").unwrap();
    let names: Vec<String> = place
        .forge
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(String::from)
        .collect();
    assert_eq!(names, ["C", "a.b", "b"]);
}

#[tokio::test]
async fn a_git_that_is_missing_or_too_old_is_told_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Forge::with_git(folder.path(), folder.path().join("no-git"));
    let error = missing.check().await.unwrap_err();
    assert_eq!(error.code(), "git-missing");
    assert!(error.to_string().contains("apt-get install git"), "{error}");

    let old = folder.path().join("old-git");
    fs::write(&old, "#!/bin/sh\necho git version 2.30.2\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Forge::with_git(folder.path(), old)
        .check()
        .await
        .unwrap_err();
    assert_eq!(error.code(), "git-too-old");
    assert!(error.to_string().contains("2.38 or newer"), "{error}");
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_process_behind() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let git = folder.path().join("git");
    // What it starts holds the pipe open too.
    let text = format!(
        "#!/bin/sh\nexec 3>'{}'\necho up >&3\ntail -f /dev/null &\nwait\n",
        pipe.display()
    );
    fs::write(&git, text).unwrap();
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
    let forge = Forge::with_git(folder.path(), git);
    let call = tokio::spawn(async move { forge.check().await });
    let reader = tokio::task::spawn_blocking(move || {
        let mut pipe = fs::File::open(pipe).unwrap();
        let mut up = [0; 3];
        pipe.read_exact(&mut up).unwrap();
        pipe
    });
    let mut pipe = reader.await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // It ends when nobody has the other end any more.
    let rest = tokio::task::spawn_blocking(move || pipe.read_to_end(&mut Vec::new()).unwrap());
    assert_eq!(rest.await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_kept_outlives_a_collection_and_what_is_let_go_does_not() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let head = work.change("topic", "main", "new", "new\n");
    repository
        .fetch_head(&repository, &branch("topic"), 7)
        .await
        .unwrap();
    let (commit, _) = lane(&repository.build(&plan(base, &[head])).await.unwrap());
    repository.keep(3, &commit).await.unwrap();
    repository.keep(3, &commit).await.unwrap();
    assert_eq!(repository.kept().await.unwrap(), [(3, commit)].into());
    work.git(["push", "--quiet", "origin", ":topic"]);

    let collect = || {
        let path = repository.path().to_str().unwrap();
        work.git([
            "--git-dir",
            path,
            "reflog",
            "expire",
            "--expire=now",
            "--all",
        ]);
        work.git(["--git-dir", path, "gc", "--quiet", "--prune=now"]);
    };
    collect();
    assert!(repository.commit(&commit).await.unwrap().is_some());
    assert!(repository.commit(&head).await.unwrap().is_some());

    repository.let_go(3).await.unwrap();
    repository.let_go(3).await.unwrap();
    repository.let_go(4).await.unwrap();
    assert!(repository.kept().await.unwrap().is_empty());
    collect();
    assert!(repository.commit(&commit).await.unwrap().is_none());
    assert!(repository.commit(&head).await.unwrap().is_some());
    repository.compact().await.unwrap();
    let error = repository.keep(3, &commit).await.unwrap_err();
    assert_eq!(error.code(), "no-commit");
}
