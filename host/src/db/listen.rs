//! Wakes whoever waits for a commit: by NOTIFY, and by a timer for what a notification missed.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;

use super::Db;

/// How long a waiter waits at most: a lost notification, or a connection that is down, costs this
/// and nothing else.
pub const POLL: Duration = Duration::from_secs(1);
/// How long to wait before connecting anew.
const RECONNECT: Duration = Duration::from_millis(500);

impl Db {
    /// A counter that rises whenever a generation may have committed. All share one connection; the task behind it
    /// ends with the record.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.get_or_init(|| self.listen()).clone()
    }

    fn listen(&self) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(0);
        let pool = self.read.clone();
        tokio::spawn(async move {
            while !sender.is_closed() && !pool.is_closed() {
                match PgListener::connect_with(&pool).await {
                    Ok(mut listener) => {
                        if let Err(error) = listener.listen("pointsman_generation").await {
                            tracing::warn!(%error, "cannot listen for commits; polling meanwhile");
                        }
                        while !sender.is_closed() {
                            match tokio::time::timeout(POLL, listener.recv()).await {
                                // Somebody committed, or it is time to look.
                                Ok(Ok(_)) | Err(_) => sender.send_modify(|n| *n += 1),
                                Ok(Err(_)) if pool.is_closed() => return,
                                Ok(Err(error)) => {
                                    tracing::warn!(%error, "lost the connection that listens for commits");
                                    break;
                                }
                            }
                        }
                    }
                    Err(_) if pool.is_closed() => return,
                    Err(error) => tracing::debug!(%error, "cannot listen for commits yet"),
                }
                sender.send_modify(|n| *n += 1);
                tokio::time::sleep(RECONNECT).await;
            }
        });
        receiver
    }
}
