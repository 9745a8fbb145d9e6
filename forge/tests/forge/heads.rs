use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use pointsman_forge::{Changed, Fetched, Mergeable};

use crate::place::{Place, branch};

#[tokio::test]
async fn the_facts_of_a_head_count_from_the_merge_base() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let head = work.change("topic", "main", "src/new", "new\n");
    let tip = work.change("main", "main", "other", "other\n");
    let facts = repository.describe_head(&tip, &head).await.unwrap();
    assert_eq!(facts.merge_base, Some(base));
    assert_eq!(facts.changed.paths, ["src/new"]);
    assert_eq!(facts.changed.total, 1);
    assert_eq!(facts.mergeable, Mergeable::Clean);
    assert_eq!(
        facts.patch_id,
        repository.patch_id(&base, &head).await.unwrap()
    );

    // To ask leaves nothing behind.
    let objects = repository.path().join("objects");
    let aside = fs::read_dir(objects).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("tmp")
    });
    assert_eq!(aside.count(), 0);
    let path = repository.path().to_str().unwrap();
    let count = || work.git(["--git-dir", path, "count-objects"]);
    let before = count();
    repository.describe_head(&tip, &head).await.unwrap();
    assert_eq!(count(), before);

    let facts = repository.describe_head(&base, &head).await.unwrap();
    assert_eq!(facts.mergeable, Mergeable::Clean);
    let facts = repository.describe_head(&tip, &base).await.unwrap();
    assert_eq!(facts.mergeable, Mergeable::AlreadyMerged);
    assert_eq!(facts.changed, Changed::default());
    assert_eq!(facts.patch_id, None);
}

#[tokio::test]
async fn a_head_that_conflicts_says_where() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let head = work.change("topic", "main", "README", "topic\n");
    let tip = work.change("main", "main", "README", "main\n");
    let mergeable = repository.mergeable(&tip, &head).await.unwrap();
    let paths = vec!["README".to_owned()];
    assert_eq!(mergeable, Mergeable::Conflict { paths });

    work.git(["checkout", "--quiet", "--orphan", "island"]);
    let island = work.commit("island");
    work.push("island");
    let facts = repository.describe_head(&tip, &island).await.unwrap();
    assert_eq!(
        (facts.merge_base, facts.mergeable),
        (None, Mergeable::Unrelated)
    );
    assert_eq!(facts.changed.paths, ["README"]);

    let nowhere = "1234567890123456789012345678901234567890".parse().unwrap();
    for (tip, head) in [(tip, nowhere), (nowhere, head)] {
        let error = repository.describe_head(&tip, &head).await.unwrap_err();
        assert_eq!(error.code(), "no-commit");
    }
}

#[tokio::test]
async fn changed_has_both_names_of_a_rename_and_counts_the_rest() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    work.git(["checkout", "--quiet", "-b", "topic"]);
    work.git(["mv", "README", "z"]);
    work.write("dir/a", "a\n");
    work.write("dir.b", "b\n");
    let head = work.commit("topic");
    work.push("topic");
    let all = ["README", "dir.b", "dir/a", "z"];
    let changed = repository.changed(&base, &head, 4).await.unwrap();
    assert_eq!(
        (changed.paths, changed.total),
        (all.map(str::to_owned).to_vec(), 4)
    );
    let changed = repository.changed(&base, &head, 2).await.unwrap();
    assert_eq!(
        (changed.paths, changed.total),
        (all[..2].iter().map(ToString::to_string).collect(), 4)
    );
}

#[tokio::test]
async fn names_that_are_not_text_are_told_apart() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    work.git(["checkout", "--quiet", "-b", "topic"]);
    for name in [
        &b"caf\xe9"[..],
        b"caf\\xe9",
        b"line\nbreak",
        "caf\u{e9}".as_bytes(),
        b"tab\t",
    ] {
        fs::write(work.file(OsStr::from_bytes(name)), "x\n").unwrap();
    }
    let head = work.commit("names");
    work.push("topic");
    let changed = repository.changed(&base, &head, 100).await.unwrap();
    assert_eq!(
        changed.paths,
        [
            "caf\\\\xe9",
            "caf\\xe9",
            "caf\u{e9}",
            "line\\x0abreak",
            "tab\\x09"
        ]
    );
    assert!(repository.patch_id(&base, &head).await.unwrap().is_some());

    // A branch whose name is not UTF-8 is nobody's pull request, and hides no other.
    let mut refspec = b"HEAD:refs/heads/caf".to_vec();
    refspec.push(0xe9);
    work.git([
        OsStr::new("push"),
        "--quiet".as_ref(),
        "origin".as_ref(),
        OsStr::from_bytes(&refspec),
    ]);
    let branches = repository.branches().await.unwrap();
    assert_eq!(
        branches
            .keys()
            .map(|name| name.as_str())
            .collect::<Vec<_>>(),
        ["main", "topic"]
    );
}

#[tokio::test]
async fn a_patch_keeps_its_id_through_a_clean_rebase_and_through_nothing_else() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let lines = |first: &str, last: &str| format!("{first}\ntwo\nthree\nfour\nfive\nsix\n{last}\n");
    let text: String = (0..40).map(|i| format!("line {i}\n")).collect();
    let start = work.change("main", "main", "long", &text);
    let edited = text.replace("line 30\n", "line 30\n  indented\n");
    let head = work.change("topic", "main", "long", &edited);
    let id = repository.patch_id(&start, &head).await.unwrap().unwrap();
    assert_eq!(id.len(), 64);

    // The target grows above the change, in the same file and elsewhere.
    let moved = work.change("main", "main", "long", &format!("a\nb\n{text}"));
    work.git(["checkout", "--quiet", "topic"]);
    work.git(["rebase", "--quiet", "main"]);
    let rebased = work.oid("HEAD");
    work.git(["push", "--quiet", "--force", "origin", "topic"]);
    assert_ne!(head, rebased);
    assert_eq!(
        repository.patch_id(&moved, &rebased).await.unwrap(),
        Some(id.clone())
    );

    // What git's own patch id takes for the same: white space, and in old versions binary content.
    let other = work.change(
        "other",
        start.as_str(),
        "long",
        &edited.replace("  indented", "indented"),
    );
    assert_ne!(repository.patch_id(&start, &other).await.unwrap(), Some(id));
    let one = work.change("binary-1", base.as_str(), "blob", "\0one");
    let two = work.change("binary-2", base.as_str(), "blob", "\0two");
    let id = repository.patch_id(&base, &one).await.unwrap();
    assert_ne!(repository.patch_id(&base, &two).await.unwrap(), id);

    // The mode counts, and so does which of two new files is the empty one.
    work.git(["checkout", "--quiet", "-b", "mode", base.as_str()]);
    fs::set_permissions(work.file("README"), fs::Permissions::from_mode(0o755)).unwrap();
    let mode = work.commit("mode");
    work.push("mode");
    assert!(repository.patch_id(&base, &mode).await.unwrap().is_some());
    let mut ids = Vec::new();
    for (a, b) in [("", "x\n"), ("x\n", "")] {
        work.git(["checkout", "--quiet", "-B", "pair", base.as_str()]);
        work.write("a", a);
        work.write("b", b);
        let pair = work.commit("pair");
        work.git(["push", "--quiet", "--force", "origin", "pair"]);
        ids.push(repository.patch_id(&base, &pair).await.unwrap());
    }
    assert_ne!(ids[0], ids[1]);

    // Lines that look like a patch's own are content.
    let mut ids = Vec::new();
    for line in ["-- a/x\nindex 1..2", "-- a/x\nindex 1..3"] {
        let head = work.change("fake", base.as_str(), "README", &lines(line, "@@ -1 +1 @@"));
        ids.push(repository.patch_id(&base, &head).await.unwrap());
        work.git(["push", "--quiet", "origin", ":fake"]);
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn the_head_of_a_fork_is_brought_here() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let fork = place.repository("ada-core").await;
    let clone = place.clone_of(&fork, "fork");
    let url = repository.path().as_os_str();
    clone.git([OsStr::new("pull"), "--quiet".as_ref(), url, "main".as_ref()]);
    clone.push("main");
    let head = clone.change("topic", "main", "fork", "fork\n");
    assert!(repository.commit(&head).await.unwrap().is_none());

    let topic = branch("topic");
    let fetch = || repository.fetch_head(&fork, &topic, 12);
    assert_eq!(fetch().await.unwrap(), Fetched::Head(head));
    assert_eq!(fetch().await.unwrap(), Fetched::Head(head));
    let path = repository.path().to_str().unwrap();
    assert_eq!(
        work.git(["ls-remote", path, "refs/pull/12/head"]),
        format!("{head}\trefs/pull/12/head")
    );
    // Only the branches are branches.
    assert_eq!(repository.branches().await.unwrap().len(), 1);

    // It needs nothing of the fork any more.
    let facts = repository
        .describe_head(&work.oid("main"), &head)
        .await
        .unwrap();
    assert_eq!(facts.changed.paths, ["fork"]);
    work.git(["--git-dir", path, "fsck", "--strict", "--no-dangling"]);

    // A force-push, of enough objects for a pack.
    clone.git(["checkout", "--quiet", "-B", "topic", "main"]);
    for i in 0..150 {
        clone.write(&format!("many/{i}"), &format!("{i}\n"));
    }
    let forced = clone.commit("many");
    clone.git(["push", "--quiet", "--force", "origin", "topic"]);
    assert_eq!(fetch().await.unwrap(), Fetched::Head(forced));
    assert_eq!(
        repository
            .changed(&work.oid("main"), &forced, 0)
            .await
            .unwrap()
            .total,
        150
    );
    let packs = fs::read_dir(repository.path().join("objects/pack")).unwrap();
    assert!(packs.count() >= 2);

    // The branch goes, and the head stays.
    clone.git(["push", "--quiet", "origin", ":topic"]);
    assert_eq!(fetch().await.unwrap(), Fetched::Gone);
    assert!(repository.commit(&forced).await.unwrap().is_some());
    work.git(["--git-dir", path, "fsck", "--strict", "--no-dangling"]);
}

#[tokio::test]
async fn many_heads_come_at_once() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let fork = place.repository("ada-core").await;
    let clone = place.clone_of(&fork, "fork");
    let url = repository.path().as_os_str();
    clone.git([OsStr::new("pull"), "--quiet".as_ref(), url, "main".as_ref()]);
    let heads: Vec<_> = (0..12)
        .map(|i| clone.change(&format!("topic-{i}"), "main", &format!("{i}"), "x\n"))
        .collect();
    let tasks: Vec<_> = (0..24)
        .map(|i| {
            let (repository, fork) = (repository.clone(), fork.clone());
            let number = i % 12;
            tokio::spawn(async move {
                let topic = branch(&format!("topic-{number}"));
                repository.fetch_head(&fork, &topic, number).await
            })
        })
        .collect();
    for (i, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap(), Fetched::Head(heads[i % 12]));
    }
    let path = repository.path().to_str().unwrap();
    let refs = work.git(["ls-remote", path, "refs/pull/*"]);
    assert_eq!(refs.lines().count(), 12);
    let kept = repository.heads().await.unwrap();
    assert_eq!(kept, (0..).zip(heads).collect());
}

#[tokio::test]
async fn the_head_of_our_own_branch_is_a_ref_only() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let topic = branch("topic");
    let gone = repository.fetch_head(&repository, &topic, 1).await.unwrap();
    assert_eq!(gone, Fetched::Gone);
    let head = work.change("topic", "main", "a", "a\n");
    let fetched = repository.fetch_head(&repository, &topic, 1).await.unwrap();
    assert_eq!(fetched, Fetched::Head(head));
    // A branch below the name is another branch.
    work.git([
        "push",
        "--quiet",
        "origin",
        ":topic",
        "HEAD:refs/heads/topic/two",
    ]);
    assert_eq!(repository.branch(&topic).await.unwrap(), None);
}

#[tokio::test]
async fn commits_are_read_by_the_batch() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let base = work.oid("HEAD");
    let nowhere = "1234567890123456789012345678901234567890".parse().unwrap();
    let tree = work.oid("HEAD^{tree}");
    let long = "word ".repeat(30_000);
    work.write("a", &long);
    work.write("../message", &format!("\n\n  {long}\n\nbody\n"));
    work.git(["add", "a"]);
    work.git(["commit", "--quiet", "--file=../message"]);
    let blob = work.oid("HEAD");
    let two = work.commit("first line\nsecond line\n\nbody");
    work.push("main");
    let found = repository
        .commits(&[two, nowhere, base, tree, blob, base])
        .await
        .unwrap();
    let subjects: Vec<_> = found
        .iter()
        .map(|commit| commit.as_ref().map(|commit| commit.subject.len()))
        .collect();
    assert_eq!(
        subjects,
        [Some(22), None, Some(5), None, Some(1000), Some(5)]
    );
    let first = found[0].as_ref().unwrap();
    assert_eq!(first.subject, "first line second line");
    assert_eq!((first.oid, first.author.as_str()), (two, "Ada"));
    assert_eq!(first.parents, [blob]);
    assert_eq!(repository.commits(&[]).await.unwrap(), []);
}
