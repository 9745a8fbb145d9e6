//! The artifact store on real disks, and on a bucket that nobody serves.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use std::fs::File;
use std::io::{Seek, Write};

use futures::TryStreamExt;
use pointsman_jobs::store::Retry;
use pointsman_jobs::{Store, StoreError};

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

async fn content(store: &Store, key: &str, path: &str) -> Vec<u8> {
    let object = store.get(key, path, None).await.unwrap();
    let parts: Vec<_> = object.content.try_collect().await.unwrap();
    assert_eq!(parts.concat().len() as u64, object.bytes);
    parts.concat()
}

#[tokio::test]
async fn what_is_stored_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("new/store").to_str().unwrap()).unwrap();
    let stored = store
        .put("a1", "out/report 1%.xml", file(b"hello"))
        .await
        .unwrap();
    assert_eq!(stored.bytes, 5);
    assert_eq!(
        stored.sha256,
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    let again = store
        .put("a1", "out/report 1%.xml", file(b"hello"))
        .await
        .unwrap();
    assert_eq!(again, stored);
    let error = store
        .put("a1", "out/report 1%.xml", file(b"other"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.retry()),
        ("stored-otherwise", Retry::Never)
    );
    assert_eq!(content(&store, "a1", "out/report 1%.xml").await, b"hello");
    let part = store
        .get("a1", "out/report 1%.xml", Some(1..3))
        .await
        .unwrap();
    assert_eq!(part.bytes, 5);
    let parts: Vec<_> = part.content.try_collect().await.unwrap();
    assert_eq!(parts.concat(), b"el");
    store.put("a1", "empty", file(b"")).await.unwrap();
    assert_eq!(content(&store, "a1", "empty").await, b"");
    let missing = store.get("a2", "empty", None).await.err().unwrap();
    assert_eq!(missing.code(), "not-stored");
    assert_eq!(store.remove("a1").await.unwrap(), 2);
    assert_eq!(store.remove("a1").await.unwrap(), 0);
}

#[tokio::test]
async fn a_large_file_travels_in_parts_and_is_not_overwritten_either() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let mut large: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
    let stored = store.put("a1", "core", file(&large)).await.unwrap();
    assert_eq!(stored.bytes, 20_000_000);
    assert_eq!(store.put("a1", "core", file(&large)).await.unwrap(), stored);
    assert!(content(&store, "a1", "core").await == large);
    large[19_999_999] ^= 1;
    let error = store.put("a1", "core", file(&large)).await.unwrap_err();
    assert!(matches!(error, StoreError::Differs(_)));
    // Nothing half made is left.
    let staging = std::fs::read_dir(folder.path().join("staging")).map_or(0, Iterator::count);
    assert_eq!(staging, 0);
}

#[tokio::test]
async fn many_who_store_the_same_at_once_agree() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let puts = (0..8_u8).map(|which| {
        let store = store.clone();
        tokio::spawn(async move { store.put("a1", "x", file(&[which % 2])).await })
    });
    let mut good = 0;
    for put in puts.collect::<Vec<_>>() {
        match put.await.unwrap() {
            Ok(_) => good += 1,
            Err(error) => assert_eq!(error.code(), "stored-otherwise"),
        }
    }
    assert_eq!(good, 4);
}

#[tokio::test]
async fn keys_that_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store").to_str().unwrap()).unwrap();
    for (key, path) in [
        ("a", "../x"),
        ("..", "x"),
        ("a", "/x"),
        ("", "x"),
        ("staging", "x"),
    ] {
        let error = store.put(key, path, file(b"x")).await.unwrap_err();
        assert_eq!(error.code(), "bad-key", "{key} {path}");
    }
    for address in ["ftp://x/y", "s3://", "/dev/null/x"] {
        assert_eq!(Store::open(address).unwrap_err().code(), "bad-store");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_one() {
    // /dev/full has no directory, so it takes a small tmpfs, and root to mount it.
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return;
    }
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let small = store.put("a1", "large", file(&vec![1; 3 << 20])).await;
    let large = store.put("a1", "larger", file(&vec![1; 20 << 20])).await;
    let fits = store.put("a1", "small", file(b"fits")).await;
    drop(store);
    std::process::Command::new("umount")
        .arg(folder.path())
        .status()
        .unwrap();
    for refused in [small, large] {
        let error = refused.unwrap_err();
        assert_eq!(
            (error.code(), error.retry()),
            ("store-full", Retry::Later),
            "{error}"
        );
    }
    fits.unwrap();
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_unreachable() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let endpoint = format!("http://127.0.0.1:{port}");
    let settings = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("region", "us-east-1"),
        ("access_key_id", "a"),
        ("secret_access_key", "b"),
    ];
    let store = Store::open_with("s3://bucket/some/prefix", &settings).unwrap();
    let error = store.put("a1", "x", file(b"x")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.retry()),
        ("store-unreachable", Retry::Later),
        "{error}"
    );
}
