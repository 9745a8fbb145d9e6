//! Bearer tokens: stored hashed, looked up in memory.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::token::{CreatedToken, NewToken, Role, Token};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Batch, Db, cursor, distro::cut};
use crate::error::{Error, Kind, Refusal, Result, invalid, not_found};

/// Random bytes of a token: beyond guessing, so that a fast hash is enough.
const SECRET_BYTES: usize = 32;
/// What a token begins with, so that a scanner finds one that leaked.
const PREFIX: &str = "pmt_";
/// Bytes of a token that are looked at at all.
const MAX_TOKEN: usize = 128;

/// Who a token stands for.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The token's name.
    pub name: Arc<str>,
    /// What it allows.
    pub role: Role,
    expires: Option<DateTime<Utc>>,
}

type ByHash = HashMap<[u8; 32], Holder>;

/// The tokens in force, by hash. Refreshed when a generation commits, and by a timer.
#[derive(Clone, Default)]
pub struct Tokens {
    by_hash: Arc<RwLock<Arc<ByHash>>>,
}

impl Tokens {
    /// Who presents `token`, if it is in force.
    pub fn holder(&self, token: &str) -> Option<Holder> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let tokens = Arc::clone(
            &self
                .by_hash
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        // The map is keyed by a hash of 256 random bits, so its timing tells nothing of a token; the
        // comparison that decides is constant-time all the same.
        let (stored, holder) = tokens.get_key_value(&hash)?;
        let same: bool = stored.ct_eq(&hash).into();
        (same && holder.expires.is_none_or(|at| at > Utc::now())).then(|| holder.clone())
    }

    /// Reads the tokens in force.
    pub async fn refresh(&self, db: &Db) -> Result<()> {
        let rows = sqlx::query!(
            "select name, role, hash, expires from token
             where deleted_at is null and (expires is null or expires > now())"
        )
        .fetch_all(&db.read)
        .await?;
        let mut tokens = HashMap::with_capacity(rows.len());
        for row in rows {
            let hash: [u8; 32] = row.hash.as_slice().try_into().map_err(|_| {
                Error::Internal(anyhow::anyhow!("a token hash of {} bytes", row.hash.len()))
            })?;
            let holder = Holder {
                name: row.name.into(),
                role: role_of(&row.role)?,
                expires: row.expires,
            };
            tokens.insert(hash, holder);
        }
        *self
            .by_hash
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(tokens);
        Ok(())
    }
}

impl Db {
    /// One page of tokens, by name, without their secrets.
    pub async fn tokens(&self, after: Option<&str>, limit: u32) -> Result<Page<Token>> {
        let after: Option<String> = after.map(cursor::decode).transpose()?;
        let mut rows = sqlx::query!(
            r#"select name, role, created_at, expires, deleted_at is not null as "revoked!" from token
               where $1::text is null or name > $1 order by name limit $2"#,
            after,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut rows, limit, |t| cursor::encode(&t.name));
        let items = rows
            .into_iter()
            .map(|t| {
                Ok(Token {
                    name: t.name,
                    role: role_of(&t.role)?,
                    created_at: t.created_at,
                    expires: t.expires,
                    revoked: t.revoked,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    /// Makes a token. Its secret is in the reply and nowhere else.
    pub async fn create_token(&self, batch: &mut Batch, new: &NewToken) -> Result<CreatedToken> {
        if new.expires.is_some_and(|at| at <= Utc::now()) {
            return Err(invalid(
                "expires_past",
                "expires",
                "the token would have expired already",
            ));
        }
        let mut random = [0u8; SECRET_BYTES];
        getrandom::fill(&mut random)
            .map_err(|e| Error::Internal(anyhow::anyhow!("no randomness: {e}")))?;
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let hash: [u8; 32] = Sha256::digest(&secret).into();
        let row = sqlx::query!(
            "insert into token (name, role, hash, expires) values ($1, $2, $3, $4)
             on conflict (name) do nothing returning created_at",
            new.name,
            role_name(new.role),
            &hash[..],
            new.expires,
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| {
            Refusal::new(
                Kind::Conflict,
                "token_exists",
                format!("there is a token `{}` already", new.name),
            )
            .field("name")
            .hint("A token's name is unique for ever, since generations name it: choose another.")
        })?;
        Ok(CreatedToken {
            token: Token {
                name: new.name.clone(),
                role: new.role,
                created_at: row.created_at,
                expires: new.expires,
                revoked: false,
            },
            secret,
        })
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, batch: &mut Batch, name: &str) -> Result<Written> {
        let row = sqlx::query!(
            "select id, deleted_at from token where name = $1 for update",
            name
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| {
            not_found(
                "token_unknown",
                format!("there is no token `{}`", super::names::shown(name)),
            )
        })?;
        let revoked = row.deleted_at.is_some();
        if !revoked {
            sqlx::query!("update token set deleted_at = now() where id = $1", row.id)
                .execute(batch.conn())
                .await?;
        }
        let updated = u64::from(!revoked);
        Ok(Written {
            generation: None,
            created: 0,
            updated,
            unchanged: 1 - updated,
            deleted: vec![],
        })
    }

    /// Whether nobody has used this database yet: it has no tables, or those of a record without a token.
    pub async fn is_unused(&self) -> Result<bool> {
        // Of a database that may have none of our tables, or somebody else's.
        let tables: i64 =
            sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
                .fetch_one(&self.read)
                .await?;
        let ours: bool = sqlx::query_scalar("select to_regclass('public.token') is not null")
            .fetch_one(&self.read)
            .await?;
        Ok(match ours {
            true => {
                let tokens: i64 = sqlx::query_scalar("select count(*) from token")
                    .fetch_one(&self.read)
                    .await?;
                tokens == 0
            }
            false => tables == 0,
        })
    }

    /// Whether there is any token in force: if not, the host makes the first.
    pub async fn has_admin(&self) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"select exists (select from token where role = 'admin' and deleted_at is null
                 and (expires is null or expires > now())) as "any!""#
        )
        .fetch_one(&self.read)
        .await?)
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Admin => "admin",
    }
}

fn role_of(name: &str) -> Result<Role> {
    match name {
        "reader" => Ok(Role::Reader),
        "writer" => Ok(Role::Writer),
        "admin" => Ok(Role::Admin),
        other => Err(Error::Internal(anyhow::anyhow!(
            "role `{other}` in the database"
        ))),
    }
}
