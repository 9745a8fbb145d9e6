//! Plugin versions: stored once, never changed.

use bytes::Bytes;
use pointsman_api::page::Page;
use pointsman_api::plugin::{Plugin, Uploaded};

use super::{Actor, Batch, Db, cursor, distro::cut};
use crate::error::{Kind, Refusal, Result};

/// The shortest part of a digest that may stand for it.
const MIN_PREFIX: usize = 8;

/// A plugin version to store.
pub struct NewPlugin {
    /// SHA-256, lower-case hex.
    pub digest: String,
    /// What its author calls it.
    pub name: String,
    /// The hooks it answers.
    pub hooks: Vec<String>,
    /// JSON Schema of its settings.
    pub settings_schema: Option<serde_json::Value>,
    /// The component.
    pub wasm: Bytes,
}

impl Db {
    /// One page of plugin versions, newest first.
    pub async fn plugins(&self, after: Option<&str>, limit: u32) -> Result<Page<Plugin>> {
        let after: Option<i32> = after.map(cursor::decode).transpose()?;
        let mut rows = sqlx::query!(
            r#"select id, name, digest, hooks, octet_length(wasm)::bigint as "size!", settings_schema,
                 uploaded_at, uploaded_by, generation
               from plugin where $1::int is null or id < $1 order by id desc limit $2"#,
            after,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut rows, limit, |r| cursor::encode(&r.id));
        let items = rows
            .into_iter()
            .map(|r| Plugin {
                name: r.name,
                digest: r.digest,
                hooks: r.hooks,
                size: r.size,
                settings_schema: r.settings_schema,
                uploaded_at: r.uploaded_at,
                uploaded_by: r.uploaded_by,
                generation: r.generation,
            })
            .collect();
        Ok(Page { items, next })
    }

    /// One plugin version: by digest, by a part of it that no other begins with, or the newest of a
    /// name.
    pub async fn plugin(&self, which: &str) -> Result<Plugin> {
        let hex = which.len() >= MIN_PREFIX
            && which.len() <= 64
            && which
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut rows = sqlx::query!(
            r#"select name, digest, hooks, octet_length(wasm)::bigint as "size!", settings_schema,
                 uploaded_at, uploaded_by, generation
               from plugin
               where case when $2 then digest >= $1 and digest < $1 || 'g' else false end
                  or id = (select max(id) from plugin where name = $1)
               order by id desc limit 2"#,
            which,
            hex,
        )
        .fetch_all(&self.read)
        .await?;
        if rows.len() > 1 {
            return Err(Refusal::new(
                Kind::Conflict,
                "plugin_ambiguous",
                format!(
                    "several plugin versions begin with `{}`",
                    super::names::shown(which)
                ),
            )
            .hint("Give more of the digest.")
            .into());
        }
        let row = rows.pop().ok_or_else(|| unknown(which))?;
        Ok(Plugin {
            name: row.name,
            digest: row.digest,
            hooks: row.hooks,
            size: row.size,
            settings_schema: row.settings_schema,
            uploaded_at: row.uploaded_at,
            uploaded_by: row.uploaded_by,
            generation: row.generation,
        })
    }

    /// The component of a plugin version.
    pub async fn plugin_wasm(&self, digest: &str) -> Result<Bytes> {
        let wasm = sqlx::query_scalar!("select wasm from plugin where digest = $1", digest)
            .fetch_optional(&self.read)
            .await?
            .ok_or_else(|| unknown(digest))?;
        Ok(wasm.into())
    }

    /// Stores a plugin version; the very same component is stored once.
    pub async fn put_plugin(
        &self,
        mut batch: Batch,
        actor: &Actor,
        new: NewPlugin,
    ) -> Result<Uploaded> {
        sqlx::query!(
            "insert into plugin (digest, name, hooks, settings_schema, wasm, uploaded_by)
             values ($1, $2, $3, $4, $5, $6) on conflict (digest) do nothing",
            new.digest,
            new.name,
            &new.hooks,
            new.settings_schema,
            &new.wasm[..],
            actor.user,
        )
        .execute(batch.conn())
        .await?;
        let written = batch.commit(super::batch::nothing()).await?;
        Ok(Uploaded {
            plugin: self.plugin(&new.digest).await?,
            generation: written.generation,
        })
    }
}

fn unknown(which: &str) -> crate::error::Error {
    Refusal::new(
        Kind::NotFound,
        "plugin_unknown",
        format!("there is no plugin `{}`", super::names::shown(which)),
    )
    .hint("`pointsman plugin list` shows those there are; `pointsman plugin upload` adds one.")
    .into()
}
