//! A batch of changes: one transaction, one generation.

use std::net::IpAddr;

use pointsman_api::generation::Written;
use sqlx::{PgConnection, Postgres, Transaction};

use super::Db;
use crate::error::{Error, Result, invalid};

/// Bytes of a generation's comment.
const MAX_COMMENT: usize = 4_096;

/// Who changes something.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The token's name, or the host's own for what it does by itself.
    pub user: String,
    /// The client's address.
    pub address: Option<IpAddr>,
}

/// A batch in progress. Dropped without [`Batch::commit`], it leaves nothing.
pub struct Batch {
    tx: Transaction<'static, Postgres>,
    generation: i64,
}

impl Db {
    /// Begins a batch. `comment` is the caller's reason; `otherwise` describes the change if there is
    /// none.
    pub async fn begin(
        &self,
        actor: &Actor,
        comment: Option<&str>,
        otherwise: impl FnOnce() -> String,
    ) -> Result<Batch> {
        let comment = match comment.map(str::trim) {
            Some(given) if !given.is_empty() => given.to_owned(),
            _ => otherwise(),
        };
        if comment.len() > MAX_COMMENT {
            return Err(invalid(
                "comment_too_long",
                "comment",
                format!(
                    "the comment has {} bytes, at most {MAX_COMMENT} are kept",
                    comment.len()
                ),
            ));
        }
        let mut tx = self.write.begin().await?;
        let generation = sqlx::query_scalar!(
            r#"select generation_start($1, $2, $3::text::inet) as "id!""#,
            comment,
            actor.user,
            actor.address.map(|a| a.to_string()),
        )
        .fetch_one(&mut *tx)
        .await?;
        Ok(Batch { tx, generation })
    }
}

impl Batch {
    /// The connection that the batch's statements run on.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The batch's generation, should it change anything.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// Commits, and says which generation it became: none if nothing changed.
    pub async fn commit(mut self, mut written: Written) -> Result<Written> {
        let empty = sqlx::query_scalar!(r#"select generation_drop_empty() as "dropped!""#)
            .fetch_one(&mut *self.tx)
            .await?;
        self.tx.commit().await.map_err(Error::from)?;
        written.generation = (!empty).then_some(self.generation);
        Ok(written)
    }
}

/// A reply in which nothing has changed yet.
pub fn nothing() -> Written {
    Written {
        generation: None,
        created: 0,
        updated: 0,
        unchanged: 0,
        deleted: vec![],
    }
}
