//! The cache of compiled plugins: it saves compiling, and it is never believed blindly.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::guest::{ANSWER, ignores};
use super::*;
use crate::policy::COMPILE_DEADLINE;

/// A runtime on this cache, as after a start of the host.
fn compiling(dir: &Path) -> Runtime {
    runtime(RuntimeConfig {
        cache_dir: Some(dir.to_owned()),
        ..in_process()
    })
}

/// The same, whose compiler always fails: what loads came from the cache.
fn not_compiling(dir: &Path) -> Runtime {
    let compiler = Compiler::Child {
        command: vec!["/bin/false".into()],
        deadline: COMPILE_DEADLINE,
    };
    runtime(RuntimeConfig {
        compiler,
        cache_dir: Some(dir.to_owned()),
        calls_at_once: 8,
    })
}

fn is_cached(dir: &Path, wasm: Vec<u8>) -> bool {
    match load_on(&not_compiling(dir), wasm) {
        Ok(plugin) => {
            assert_eq!(ask(&plugin).outcome.code(), "answered");
            true
        }
        Err(rejection) => {
            assert_eq!(rejection.code(), "plugin.host-failed", "{rejection}");
            false
        }
    }
}

fn artifacts(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|kind| kind == "cwasm"))
        .collect()
}

#[test]
fn the_second_load_comes_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_cached(dir.path(), ignores(ANSWER)));
    load_on(&compiling(dir.path()), ignores(ANSWER)).unwrap();
    assert!(is_cached(dir.path(), ignores(ANSWER)));
    assert_eq!(artifacts(dir.path()).len(), 1);
}

#[test]
fn every_bit_counts() {
    let dir = tempfile::tempdir().unwrap();
    load_on(&compiling(dir.path()), ignores(ANSWER)).unwrap();
    let [path] = &artifacts(dir.path())[..] else {
        panic!("not one artifact")
    };
    let good = std::fs::read(path).unwrap();
    // In the mark, in the seal, and in the artifact: its start, its middle, its end.
    for at in [0, 10, 40, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(path, &bad).unwrap();
        assert!(
            !is_cached(dir.path(), ignores(ANSWER)),
            "a bit was flipped at {at}"
        );
        assert!(!path.exists(), "the file is removed");
        // It is compiled anew, the same to the last bit, and cached again.
        load_on(&compiling(dir.path()), ignores(ANSWER)).unwrap();
        assert!(is_cached(dir.path(), ignores(ANSWER)));
    }
}

#[test]
fn a_file_cut_short_or_empty_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for keep in [0, 20, 40, 1000] {
        load_on(&compiling(dir.path()), ignores(ANSWER)).unwrap();
        let [path] = &artifacts(dir.path())[..] else {
            panic!("not one artifact")
        };
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(keep)
            .unwrap();
        assert!(!is_cached(dir.path(), ignores(ANSWER)), "cut to {keep}");
    }
}

#[test]
fn an_artifact_under_anothers_name_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let other = || ignores("(nop) (i32.const 1024)");
    let runtime = compiling(dir.path());
    load_on(&runtime, ignores(ANSWER)).unwrap();
    let first = artifacts(dir.path()).pop().unwrap();
    load_on(&runtime, other()).unwrap();
    let second = artifacts(dir.path())
        .into_iter()
        .find(|path| *path != first)
        .unwrap();
    std::fs::copy(&first, &second).unwrap();
    assert!(is_cached(dir.path(), ignores(ANSWER)));
    assert!(!is_cached(dir.path(), other()));
}

#[test]
fn artifacts_of_another_node_are_noticed() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    load_on(&compiling(there.path()), ignores(ANSWER)).unwrap();
    drop(compiling(here.path()));
    for path in artifacts(there.path()) {
        std::fs::copy(&path, here.path().join(path.file_name().unwrap())).unwrap();
    }
    assert!(!is_cached(here.path(), ignores(ANSWER)));
}

#[test]
fn a_damaged_secret_costs_time_only() {
    let dir = tempfile::tempdir().unwrap();
    load_on(&compiling(dir.path()), ignores(ANSWER)).unwrap();
    std::fs::write(dir.path().join("secret"), "short").unwrap();
    assert!(!is_cached(dir.path(), ignores(ANSWER)));
    load_on(&compiling(dir.path()), ignores(ANSWER)).unwrap();
    assert!(is_cached(dir.path(), ignores(ANSWER)));
}

#[test]
fn only_this_user_can_read_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("deep/plugins");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o755)).unwrap();
    load_on(&compiling(&cache), ignores(ANSWER)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache), 0o700);
    assert_eq!(mode(&cache.join("secret")), 0o600);
    assert_eq!(mode(&artifacts(&cache)[0]), 0o600);
}

#[test]
fn the_engine_is_part_of_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = compiling(dir.path());
    load_on(&runtime, ignores(ANSWER)).unwrap();
    let name = artifacts(dir.path()).pop().unwrap();
    assert!(
        name.to_string_lossy()
            .contains(runtime.engine_fingerprint())
    );
    assert_eq!(runtime.engine_fingerprint(), RUNTIME.engine_fingerprint());
}
