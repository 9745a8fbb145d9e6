//! What a turn writes in: a batch where something of the record changes, else a transaction that leaves no
//! generation behind.

use sqlx::{PgConnection, Postgres, Transaction};

use super::batch::nothing;
use super::{Actor, Batch, Db};
use crate::error::{Error, Result};

/// A turn's transaction. Dropped without [`Writing::commit`], it leaves nothing.
pub(in crate::db) enum Writing {
    Batch(Batch),
    Plain(Transaction<'static, Postgres>),
}

impl Db {
    /// Begins what a turn writes, in the name of `user`.
    pub(in crate::db) async fn writing(
        &self,
        journalled: bool,
        user: String,
        comment: impl FnOnce() -> String,
    ) -> Result<Writing> {
        if !journalled {
            return Ok(Writing::Plain(self.write.begin().await?));
        }
        let actor = Actor {
            user,
            address: None,
        };
        Ok(Writing::Batch(self.begin(&actor, None, comment).await?))
    }
}

impl Writing {
    /// The connection that its statements run on.
    pub(in crate::db) fn conn(&mut self) -> &mut PgConnection {
        match self {
            Self::Batch(batch) => batch.conn(),
            Self::Plain(plain) => plain,
        }
    }

    /// The generation, where there is one.
    pub(in crate::db) fn generation(&self) -> Option<i64> {
        match self {
            Self::Batch(batch) => Some(batch.generation()),
            Self::Plain(_) => None,
        }
    }

    /// Takes the causes that the turn looked at, and marks what follows as a turn's. False: another host has taken
    /// this turn, and nothing may be written.
    pub(in crate::db) async fn take(&mut self, causes: &[i64]) -> Result<bool> {
        let conn = self.conn();
        sqlx::query!("select set_config('pointsman.turn', pg_current_xact_id()::text, true)")
            .fetch_one(&mut *conn)
            .await?;
        let taken = sqlx::query!("delete from cause where id = any($1)", causes)
            .execute(conn)
            .await?
            .rows_affected();
        Ok(taken == causes.len() as u64)
    }

    /// Says which generation these decisions were carried out in, where there is one.
    pub(in crate::db) async fn carried_out(&mut self, decisions: &[i64]) -> Result<()> {
        let Some(generation) = self.generation() else {
            return Ok(());
        };
        sqlx::query!(
            "update decision set generation = $2 where id = any($1) and generation is null",
            decisions,
            generation,
        )
        .execute(self.conn())
        .await?;
        Ok(())
    }

    pub(in crate::db) async fn commit(self) -> Result<()> {
        match self {
            Self::Batch(batch) => batch.commit(nothing()).await.map(drop),
            Self::Plain(plain) => plain.commit().await.map_err(Error::from),
        }
    }
}
