//! Which folder of a forge a repository is, and when a host saw it last.

use super::super::Db;
use crate::error::Result;

/// A repository of the record, and what marks its folder.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Its row.
    pub id: i32,
    /// Its name.
    pub repository: String,
    /// What its folder has in it; none: no host has claimed it.
    pub mark: Option<String>,
    /// The pipelines that land in it.
    pub pipelines: Vec<i32>,
    /// It is time to say again that it is seen.
    pub due: bool,
}

impl Db {
    /// All repositories, by name.
    pub async fn folders(&self) -> Result<Vec<Folder>> {
        Ok(sqlx::query_as!(
            Folder,
            r#"select g.id, g.name as repository, f.mark as "mark?",
                 array(select m.id from merge_pipeline m where m.repository_id = g.id) as "pipelines!",
                 coalesce(f.seen_at < now() - interval '15 seconds', false) as "due!"
               from repository g left join repository_folder f on f.repository_id = g.id
               where g.deleted_at is null order by g.name"#
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// This folder is the repository's, unless another one is; gives the mark of the one that is.
    pub async fn claim_folder(&self, folder: &Folder, mark: &str, host: &str) -> Result<String> {
        sqlx::query!(
            "insert into repository_folder (repository_id, mark, seen_by) values ($1, $2, $3)
             on conflict (repository_id) do nothing",
            folder.id,
            mark,
            host,
        )
        .execute(&self.write)
        .await?;
        Ok(sqlx::query_scalar!(
            "select mark from repository_folder where repository_id = $1",
            folder.id,
        )
        .fetch_one(&self.write)
        .await?)
    }

    /// This host sees these.
    pub async fn folders_seen(&self, repositories: &[i32], host: &str) -> Result<()> {
        sqlx::query!(
            "update repository_folder set seen_at = now(), seen_by = $2 where repository_id = any($1)",
            repositories,
            host,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }
}
