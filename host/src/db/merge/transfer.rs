//! What an export and an import hold of pull requests: repositories, what a merge pipeline lands where, pull
//! requests with all that people and policies said or noted, and the commits that branches pointed at.
//!
//! Lanes, jobs and attempts stay behind: they name commits and logs of a forge and a store that are not part of a
//! record. So does what is derived: where pull requests stand is asked anew, and git is asked about their heads.

/// What is exported, in the order in which an import needs it.
pub(in crate::db) const SECTIONS: &[&str] = &[
    "select jsonb_build_object('type', 'repository', 'name', name, 'forge', forge, 'next_number', next_number,
       'created_at', created_at, 'deleted_at', deleted_at)::text from repository order by id",
    "select jsonb_build_object('type', 'merge_pipeline', 'pipeline', p.name, 'repository', g.name, 'target', m.target,
       'slots', m.slots, 'frozen', m.frozen, 'frozen_by', m.frozen_by, 'prefix', m.prefix)::text
     from merge_pipeline m join pipeline p on p.id = m.id join repository g on g.id = m.repository_id order by m.id",
    "select jsonb_build_object('type', 'pull', 'repository', g.name, 'number', q.number, 'title', q.title,
       'body', q.body, 'author', q.author, 'author_permission', q.author_permission, 'target', q.target,
       'head_repository', q.head_repository, 'head_branch', q.head_branch, 'head', q.head, 'head_gone', q.head_gone,
       'draft', q.draft, 'state', q.state, 'authorised_head', q.authorised_head, 'authorised_by', q.authorised_by,
       'retests', q.retests, 'opened_at', q.opened_at, 'ended_at', q.ended_at)::text
     from pull_request q join repository g on g.id = q.repository_id order by q.id",
    "select jsonb_build_object('type', 'review', 'repository', g.name, 'number', q.number, 'opened_at', q.opened_at,
       'by', r.by, 'state', r.state, 'head', r.head, 'permission', r.permission, 'at', r.at)::text
     from review r join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id
     order by r.id",
    "select jsonb_build_object('type', 'comment', 'repository', g.name, 'number', q.number, 'opened_at', q.opened_at,
       'by', r.by, 'body', r.body, 'head', r.head, 'permission', r.permission, 'key', r.key, 'at', r.at)::text
     from comment r join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id
     order by r.id",
    "select jsonb_build_object('type', 'label', 'repository', g.name, 'number', q.number, 'opened_at', q.opened_at,
       'name', r.name, 'by', r.by, 'head', r.head, 'at', r.at, 'deleted_at', r.deleted_at)::text
     from label r join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id
     order by r.id",
    "select jsonb_build_object('type', 'status', 'repository', g.name, 'number', q.number, 'opened_at', q.opened_at,
       'head', r.head, 'context', r.context, 'state', r.state, 'text', r.text, 'link', r.link, 'at', r.at)::text
     from status r join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id
     order by r.id",
    "select jsonb_build_object('type', 'pull_note', 'pipeline', p.name, 'hook', n.hook, 'position', n.position,
       'repository', g.name, 'number', q.number, 'opened_at', q.opened_at, 'key', n.key, 'value', n.value,
       'deleted_at', n.deleted_at)::text
     from note n join pipeline p on p.id = n.pipeline_id join pull_request q on q.id = n.pull_request_id
     join repository g on g.id = q.repository_id order by n.id",
    "select jsonb_build_object('type', 'tip', 'pipeline', p.name, 'commit', t.commit, 'tree', t.tree, 'how', t.how,
       'at', t.at)::text from tip t join pipeline p on p.id = t.pipeline_id order by t.id",
];

/// How each type of line is taken in. A pull request is known by its number and by when it was opened: what was said
/// of another one that has the same number here is left out with it.
pub(in crate::db) const TYPES: &[(&str, &str)] = &[
    ("repository", "insert into repository (name, forge, next_number, created_at, deleted_at)
       select name, forge, next_number, created_at, deleted_at
       from jsonb_to_recordset($1) x (name text, forge text, next_number int, created_at timestamptz,
         deleted_at timestamptz)
       on conflict (name) do nothing"),
    ("merge_pipeline", "insert into merge_pipeline (id, repository_id, target, slots, frozen, frozen_by, prefix)
       select p.id, g.id, x.target, x.slots, x.frozen, x.frozen_by, x.prefix
       from jsonb_to_recordset($1) x (pipeline text, repository text, target text, slots int, frozen text,
         frozen_by text, prefix text)
       left join pipeline p on p.name = x.pipeline left join repository g on g.name = x.repository
       -- A branch has one owner, and a pipeline one branch.
       on conflict do nothing"),
    ("pull", "with added as (
         insert into pull_request (repository_id, number, title, body, author, author_permission, target,
           head_repository, head_branch, head, head_gone, draft, state, authorised_head, authorised_by, retests,
           opened_at, ended_at)
         select g.id, x.number, x.title, x.body, x.author, x.author_permission, x.target, x.head_repository,
           x.head_branch, x.head, x.head_gone, x.draft, x.state, x.authorised_head, x.authorised_by, x.retests,
           x.opened_at, x.ended_at
         from jsonb_to_recordset($1) x (repository text, number int, title text, body text, author text,
           author_permission text, target text, head_repository text, head_branch text, head text, head_gone bool,
           draft bool, state text, authorised_head text, authorised_by text, retests int, opened_at timestamptz,
           ended_at timestamptz)
         left join repository g on g.name = x.repository
         on conflict (repository_id, number) do nothing
         returning repository_id, number),
       -- The next one gets a number that none has.
       numbered as (
         update repository g set next_number = greatest(g.next_number, a.next)
         from (select repository_id, max(number) + 1 as next from added group by 1) a where a.repository_id = g.id)
       select from added"),
    ("review", "insert into review (pull_request_id, by, state, head, permission, at)
       select q.id, x.by, x.state, x.head, x.permission, x.at
       from jsonb_to_recordset($1) x (repository text, number int, opened_at timestamptz, by text, state text,
         head text, permission text, at timestamptz)
       left join repository g on g.name = x.repository
       left join pull_request q on q.repository_id = g.id and q.number = x.number
       where (q.id is null or q.opened_at = x.opened_at) and not exists (
         select from review r where r.pull_request_id = q.id and (r.by, r.state, r.head, r.at) = (x.by, x.state, x.head, x.at))"),
    ("comment", "insert into comment (pull_request_id, by, body, head, permission, key, at)
       select q.id, x.by, x.body, x.head, x.permission, x.key, x.at
       from jsonb_to_recordset($1) x (repository text, number int, opened_at timestamptz, by text, body text,
         head text, permission text, key text, at timestamptz)
       left join repository g on g.name = x.repository
       left join pull_request q on q.repository_id = g.id and q.number = x.number
       where (q.id is null or q.opened_at = x.opened_at) and not exists (
         select from comment r where r.pull_request_id = q.id and (r.by, r.body, r.at) = (x.by, x.body, x.at))
       on conflict do nothing"),
    ("label", "insert into label (pull_request_id, name, by, head, at, deleted_at)
       select q.id, x.name, x.by, x.head, x.at, x.deleted_at
       from jsonb_to_recordset($1) x (repository text, number int, opened_at timestamptz, name text, by text,
         head text, at timestamptz, deleted_at timestamptz)
       left join repository g on g.name = x.repository
       left join pull_request q on q.repository_id = g.id and q.number = x.number
       where q.id is null or q.opened_at = x.opened_at
       on conflict (pull_request_id, name) do nothing"),
    ("status", "insert into status (pull_request_id, head, context, state, text, link, at)
       select q.id, x.head, x.context, x.state, x.text, x.link, x.at
       from jsonb_to_recordset($1) x (repository text, number int, opened_at timestamptz, head text, context text,
         state text, text text, link text, at timestamptz)
       left join repository g on g.name = x.repository
       left join pull_request q on q.repository_id = g.id and q.number = x.number
       where q.id is null or q.opened_at = x.opened_at
       on conflict (pull_request_id, head, context) do nothing"),
    // As with notes of kernel versions the decision stays behind, and what is unknown here is not of the pipeline.
    ("pull_note", "insert into note (pipeline_id, hook, position, pull_request_id, key, value, deleted_at)
       select p.id, x.hook, x.position, coalesce(q.id, 0), x.key, x.value, x.deleted_at
       from jsonb_to_recordset($1) x (pipeline text, hook text, position int, repository text, number int,
         opened_at timestamptz, key text, value text, deleted_at timestamptz)
       left join pipeline p on p.name = x.pipeline left join repository g on g.name = x.repository
       left join pull_request q on q.repository_id = g.id and q.number = x.number
       where q.id is null or q.opened_at = x.opened_at
       on conflict do nothing"),
    ("tip", "insert into tip (pipeline_id, commit, tree, how, at)
       select p.id, x.commit, x.tree, x.how, x.at
       from rows from (jsonb_to_recordset($1) as (pipeline text, commit text, tree text, how text, at timestamptz))
         with ordinality x (pipeline, commit, tree, how, at, place)
       left join pipeline p on p.name = x.pipeline
       -- The last one says where the branch is, so none comes behind one that is newer.
       where not exists (select from tip t where t.pipeline_id = p.id
         and (t.at > x.at or (t.at = x.at and t.commit = x.commit)))
       order by x.place"),
];
