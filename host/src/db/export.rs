//! The whole record as lines of JSON: so that nobody is locked in.
//!
//! One snapshot, read row by row, so that memory does not grow with the record. Tokens stay behind:
//! they are secrets of this host.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::TryStreamExt as _;
use tokio::sync::mpsc;

use super::Db;
use super::merge::transfer;
use crate::error::Result;

/// Bytes of one piece of the stream.
const CHUNK: usize = 64 << 10;

/// What is exported, in the order in which an import needs it. Each line has a `type`.
const SECTIONS: &[&str] = &[
    "select jsonb_build_object('type', 'record', 'format', 1, 'exported_at', now())::text",
    "select jsonb_build_object('type', 'state', 'name', name, 'rank', rank, 'moved_by', moved_by)::text
     from kernel_state order by rank",
    "select jsonb_build_object('type', 'distro', 'name', name, 'variant', variant, 'supported', supported,
       'deleted_at', deleted_at)::text from distro order by id",
    "select jsonb_build_object('type', 'kernel', 'distro', d.name, 'version', k.version, 'state', s.name,
       'state_since', k.state_since, 'state_by_person', k.state_by_person, 'first_seen', k.first_seen,
       'judged_at', k.judged_at, 'missing', k.missing, 'packages', k.packages, 'deleted_at', k.deleted_at)::text
     from kernel_version k join distro d on d.id = k.distro_id join kernel_state s on s.id = k.state_id
     order by k.id",
    "select jsonb_build_object('type', 'ignore', 'distro', d.name, 'kind', i.kind, 'pattern', i.pattern,
       'reason', i.reason, 'expires', i.expires, 'deleted_at', i.deleted_at)::text
     from kernel_ignore i left join distro d on d.id = i.distro_id order by i.id",
    // One of our own that goes on has no jobs in another record, and would never end there.
    "select jsonb_build_object('type', 'run', 'distro', d.name, 'version', k.version, 'purpose', r.purpose,
       'release', r.release,
       'verdict', case when r.pipeline_id is not null then coalesce(r.verdict, 'inconclusive') else r.verdict end,
       'comment', case when r.pipeline_id is not null and r.verdict is null
         then 'it was still going on when the record was exported' else r.comment end, 'link', r.link, 'key', r.key,
       'called_off', case when r.called_off or r.pipeline_id is not null and r.verdict is null then true end,
       'reported_by', r.reported_by, 'at', r.at, 'ended_at', r.ended_at, 'deleted_at', r.deleted_at)::text
     from run r join kernel_version k on k.id = r.kernel_version_id join distro d on d.id = k.distro_id
     order by r.id",
    "select jsonb_build_object('type', 'run_request', 'distro', d.name, 'version', k.version, 'release', r.release,
       'purpose', r.purpose, 'requested_by', r.requested_by, 'at', r.at, 'ended_at', r.ended_at)::text
     from kernel_request r join kernel_version k on k.id = r.kernel_version_id join distro d on d.id = k.distro_id
     order by r.id",
    "select jsonb_build_object('type', 'cluster_type', 'name', name)::text from cluster_type order by id",
    "select jsonb_build_object('type', 'cluster', 'name', c.name, 'cluster_type', t.name,
       'deleted_at', c.deleted_at)::text
     from cluster c join cluster_type t on t.id = c.type_id order by c.id",
    "select jsonb_build_object('type', 'host_kernel', 'cluster', c.name, 'host', h.host, 'distro', d.name,
       'version', k.version, 'current', h.current, 'deleted_at', h.deleted_at)::text
     from host_kernel h join cluster c on c.id = h.cluster_id
     join kernel_version k on k.id = h.kernel_version_id join distro d on d.id = k.distro_id order by h.id",
    "select jsonb_build_object('type', 'plugin', 'digest', digest, 'name', name, 'hooks', hooks,
       'settings_schema', settings_schema, 'uploaded_at', uploaded_at, 'uploaded_by', uploaded_by,
       'wasm', translate(encode(wasm, 'base64'), E'\\n', ''))::text from plugin order by id",
    "select jsonb_build_object('type', 'pipeline', 'name', name, 'kind', kind, 'paused', paused,
       'deleted_at', deleted_at)::text from pipeline order by id",
    "select jsonb_build_object('type', 'kernel_pipeline', 'pipeline', p.name, 'slots', k.slots)::text
     from kernel_pipeline k join pipeline p on p.id = k.id order by k.id",
    "select jsonb_build_object('type', 'binding', 'pipeline', p.name, 'hook', b.hook, 'position', b.position,
       'digest', g.digest, 'settings', b.settings, 'limits', b.limits, 'deleted_at', b.deleted_at)::text
     from binding b join pipeline p on p.id = b.pipeline_id join plugin g on g.id = b.plugin_id order by b.id",
    "select jsonb_build_object('type', 'note', 'pipeline', p.name, 'hook', n.hook, 'position', n.position,
       'distro', d.name, 'version', k.version, 'key', n.key, 'value', n.value, 'deleted_at', n.deleted_at)::text
     from note n join pipeline p on p.id = n.pipeline_id
     left join kernel_version k on k.id = n.kernel_version_id left join distro d on d.id = k.distro_id
     where n.pull_request_id is null order by n.id",
    "select jsonb_build_object('type', 'shadow', 'pipeline', p.name, 'hook', s.hook, 'position', s.position,
       'digest', g.digest, 'settings', s.settings, 'deleted_at', s.deleted_at)::text
     from shadow s join pipeline p on p.id = s.pipeline_id join plugin g on g.id = s.plugin_id order by s.id",
];

/// The history of all of it, which comes last.
const HISTORY: &[&str] = &[
    // The tag tells an import which history it has already.
    "select jsonb_build_object('type', 'epoch', 'epoch', id, 'tag', tag)::text from epoch order by id",
    "select jsonb_build_object('type', 'generation', 'id', id, 'comment', comment, 'username', username,
       'address', host(address), 'at', at, 'epoch', epoch, 'tx', tx::text)::text
     from generation order by epoch, tx",
    "select jsonb_build_object('type', 'event', 'epoch', epoch, 'tx', tx::text, 'id', id,
       'generation', generation, 'at', at, 'kind', kind, 'operation', operation, 'name', name,
       'changes', changes)::text
     from event order by epoch, tx, id",
];

impl Db {
    /// Sends the whole record, as it is now, in pieces of whole lines. Ends early if nobody takes them.
    pub async fn export(&self, pieces: mpsc::Sender<Result<Bytes>>) -> Result<()> {
        let mut tx = self
            .write
            .begin_with("begin isolation level repeatable read read only")
            .await?;
        // Its length is the record's, and it holds nobody up.
        sqlx::query("set local statement_timeout = 0")
            .execute(&mut *tx)
            .await?;
        let mut piece = BytesMut::with_capacity(CHUNK * 2);
        let sections = SECTIONS.iter().chain(transfer::SECTIONS).chain(HISTORY);
        for section in sections {
            let mut lines = sqlx::query_scalar::<_, String>(*section).fetch(&mut *tx);
            while let Some(line) = lines.try_next().await? {
                piece.put_slice(line.as_bytes());
                piece.put_u8(b'\n');
                if piece.len() >= CHUNK && pieces.send(Ok(piece.split().freeze())).await.is_err() {
                    return Ok(());
                }
            }
        }
        // An end that is missing shows that the export was cut.
        piece.put_slice(b"{\"type\":\"end\"}\n");
        let _ = pieces.send(Ok(piece.freeze())).await;
        tx.commit().await?;
        Ok(())
    }
}
