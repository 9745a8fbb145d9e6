//! The settings of a repository of the forge, which hold for whoever pushes and fetches.

use std::path::Path;
use std::sync::Arc;

use tokio::fs;

use crate::error::Error;
use crate::file;
use crate::git::Git;
use crate::limits::REF_LOCK_MS;

/// Included by the repository's own `config`, so that it can be replaced as a whole.
const FILE: &str = "pointsman.config";

/// What the file says.
///
/// Nothing prunes on its own: between a commit that was built and the ref that keeps it, nothing
/// must go, so automatic collection is off, and one that is asked for spares what is younger than
/// two weeks. `refs/pull` and `refs/pointsman` are ours: pushes do not see them, fetches do. Logs of
/// refs are kept, and with them what a force push took off a branch.
fn text() -> String {
    format!(
        "# Written by pointsman; it is replaced when the repository is created again.
[core]
	logAllRefUpdates = true
	useReplaceRefs = false
	fsync = committed
	fsyncMethod = batch
	filesRefLockTimeout = {REF_LOCK_MS}
	packedRefsTimeout = {REF_LOCK_MS}
[gc]
	auto = 0
	pruneExpire = 2.weeks.ago
[maintenance]
	auto = false
[receive]
	autogc = false
	denyDeletes = false
	denyNonFastForwards = false
	fsckObjects = true
	hideRefs = refs/pull
	hideRefs = refs/pointsman
	hideRefs = refs/replace
[uploadpack]
	allowAnySHA1InWant = true
	allowFilter = true
"
    )
}

/// Gives a repository the settings; repeatable.
pub(crate) async fn give(git: &Arc<Git>, repository: &Path) -> Result<(), Error> {
    let file = repository.join(FILE);
    let text = text();
    match fs::read_to_string(&file).await {
        Ok(present) if present == text => {}
        _ => file::replace(&file, text.as_bytes(), 0o644).await?,
    }
    let included = git
        .call(None, "config")
        .args(["--file".as_ref(), repository.join("config").as_os_str()])
        .args(["--get-all", "include.path"])
        .output(&[0, 1])
        .await?;
    let included = String::from_utf8_lossy(&included.stdout);
    if included.lines().any(|line| line == FILE) {
        return Ok(());
    }
    git.call(None, "config")
        .args(["--file".as_ref(), repository.join("config").as_os_str()])
        .args(["--add", "include.path", FILE])
        .output(&[0])
        .await?;
    Ok(())
}
