-- The merge pipeline: repositories, pull requests, lanes, jobs, and the outbox of effects.

-- ---------------------------------------------------------------------------------------------
-- What people and forges say. Journalled.

create table repository (
  id int generated always as identity primary key,
  name text collate "C" not null unique
    constraint repository_name_form check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  forge text not null default 'local' constraint repository_forge check (forge in ('local')),
  -- The number that the next pull request gets.
  next_number int not null default 1,
  created_at timestamptz not null default now(),
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
call journal_attach('repository', 'r.name', $$jsonb_build_object('forge', r.forge, 'deleted', r.deleted_at)$$,
  mark => 'deleted_at');

-- What a pipeline of kind `merge` has beside its bindings.
create table merge_pipeline (
  id int primary key references pipeline,
  repository_id int not null references repository,
  -- The target branch.
  target text collate "C" not null constraint merge_pipeline_target check (octet_length(target) between 1 and 255),
  -- Lanes that may run at once.
  slots int not null default 1 constraint merge_pipeline_slots check (slots between 1 and 64),
  -- Why the tree is closed, and who closed it; null: it is open.
  frozen text constraint merge_pipeline_frozen check (octet_length(frozen) between 1 and 1024),
  frozen_by text,
  -- What a command in a comment begins with.
  prefix text not null default '@pointsman'
    constraint merge_pipeline_prefix check (octet_length(prefix) between 1 and 64),
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  -- A branch has one owner.
  constraint merge_pipeline_branch unique (repository_id, target)
);
call journal_attach('merge_pipeline', 'p.name', $$jsonb_build_object('repository', g.name, 'target', r.target,
  'slots', r.slots, 'frozen', r.frozen, 'frozen-by', r.frozen_by, 'prefix', r.prefix)$$,
  join_sql => 'join pipeline p on p.id = r.id join repository g on g.id = r.repository_id');

create table pull_request (
  id bigint generated always as identity primary key,
  repository_id int not null references repository,
  number int not null,
  title text not null constraint pull_request_title check (octet_length(title) between 1 and 1024),
  body text not null default '' constraint pull_request_body check (octet_length(body) <= 65536),
  author text collate "C" not null,
  -- What the author may do in the repository: none, read, triage, write, maintain, admin.
  author_permission text not null default 'write',
  target text collate "C" not null,
  -- The repository that the head's branch lies in, if another one (a fork).
  head_repository text collate "C",
  head_branch text collate "C" not null,
  -- The newest commit of that branch.
  head text collate "C" not null constraint pull_request_head check (head ~ '^([0-9a-f]{40}|[0-9a-f]{64})$'),
  -- The branch is gone; it may come back.
  head_gone boolean not null default false,
  draft boolean not null default false,
  state text not null default 'open' constraint pull_request_state check (state in ('open', 'landed', 'closed')),
  -- The head that somebody allowed to run, and who did.
  authorised_head text,
  authorised_by text,
  -- How often a person asked for another run of this head.
  retests int not null default 0,
  opened_at timestamptz not null default now(),
  ended_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint pull_request_number unique (repository_id, number)
);
-- Serves the candidates of a pipeline, and lists by state.
create index pull_request_open on pull_request (repository_id, target, number) where state = 'open';
create index pull_request_list on pull_request (repository_id, state, number);
call journal_attach('pull_request', $$g.name || '#' || r.number$$, $$jsonb_build_object('title', r.title,
  'author', r.author, 'author-permission', r.author_permission, 'target', r.target, 'head-repository', r.head_repository,
  'head-branch', r.head_branch, 'head', r.head, 'head-gone', r.head_gone, 'draft', r.draft, 'state', r.state,
  'authorised-head', r.authorised_head, 'authorised-by', r.authorised_by, 'retests', r.retests)$$,
  join_sql => 'join repository g on g.id = r.repository_id');

create table review (
  id bigint generated always as identity primary key,
  pull_request_id bigint not null references pull_request,
  by text collate "C" not null,
  state text not null constraint review_state
    check (state in ('approved', 'changes-requested', 'commented', 'dismissed')),
  head text collate "C" not null,
  permission text not null,
  at timestamptz not null default now(),
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
create index review_pull_request on review (pull_request_id, id);
call journal_attach('review', $$g.name || '#' || q.number || '/' || r.by$$,
  $$jsonb_build_object('state', r.state, 'head', r.head, 'permission', r.permission)$$,
  join_sql => 'join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id');

create table comment (
  id bigint generated always as identity primary key,
  pull_request_id bigint not null references pull_request,
  by text collate "C" not null,
  body text not null constraint comment_body check (octet_length(body) between 1 and 65536),
  -- The head it was written for.
  head text collate "C" not null,
  permission text not null,
  -- A comment of ours with this key is edited, not repeated.
  key text collate "C",
  at timestamptz not null default now(),
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
create index comment_pull_request on comment (pull_request_id, id);
create unique index comment_key on comment (pull_request_id, key) where key is not null;
call journal_attach('comment', $$g.name || '#' || q.number || '/' || r.id$$,
  $$jsonb_build_object('by', r.by, 'body', left(r.body, 1024), 'key', r.key)$$,
  join_sql => 'join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id');

create table label (
  id bigint generated always as identity primary key,
  pull_request_id bigint not null references pull_request,
  name text collate "C" not null constraint label_name check (octet_length(name) between 1 and 128),
  by text collate "C" not null,
  head text collate "C" not null,
  at timestamptz not null default now(),
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint label_once unique (pull_request_id, name)
);
call journal_attach('label', $$g.name || '#' || q.number || '/' || r.name$$,
  $$jsonb_build_object('by', r.by, 'head', r.head, 'deleted', r.deleted_at)$$,
  join_sql => 'join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id',
  mark => 'deleted_at');

create table status (
  id bigint generated always as identity primary key,
  pull_request_id bigint not null references pull_request,
  head text collate "C" not null,
  context text collate "C" not null,
  state text not null constraint status_state check (state in ('pending', 'success', 'failure', 'error')),
  text text not null,
  link text,
  at timestamptz not null default now(),
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint status_once unique (pull_request_id, head, context)
);
call journal_attach('status', $$g.name || '#' || q.number || '/' || r.context$$,
  $$jsonb_build_object('head', r.head, 'state', r.state, 'text', r.text, 'link', r.link)$$,
  join_sql => 'join pull_request q on q.id = r.pull_request_id join repository g on g.id = q.repository_id');

-- Every commit that a target branch pointed at since its pipeline watches it: the proof that what was
-- tested is what landed.
create table tip (
  id bigint generated always as identity primary key,
  pipeline_id int not null references pipeline,
  commit text collate "C" not null,
  tree text collate "C" not null,
  -- watched (it was there when the pipeline began), landed (by a lane), pushed (by somebody else).
  how text not null constraint tip_how check (how in ('watched', 'landed', 'pushed')),
  lane_id bigint,
  at timestamptz not null default now(),
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
create index tip_pipeline on tip (pipeline_id, id);
call journal_attach('tip', $$p.name || '/' || left(r.commit, 12)$$,
  $$jsonb_build_object('commit', r.commit, 'tree', r.tree, 'how', r.how, 'lane', r.lane_id)$$,
  join_sql => 'join pipeline p on p.id = r.pipeline_id');

-- ---------------------------------------------------------------------------------------------
-- What the policies said, and what runs. Journalled.

-- Where a pull request stands, for its present head.
create table standing (
  id bigint primary key references pull_request,
  head text collate "C" not null,
  approval text not null constraint standing_approval check (approval in ('approved', 'pending', 'rejected')),
  approved_at timestamptz,
  review_code text not null,
  review_text text not null,
  review_decision bigint,
  -- People or teams whose review is missing.
  wanted text[] not null default '{}',
  -- run, pass, fail, hold; null: nobody could say, and `held_code` says why.
  need text constraint standing_need check (need in ('run', 'pass', 'fail', 'hold')),
  gate_code text not null,
  gate_text text not null,
  gate_decision bigint,
  held_hook text,
  held_code text,
  held_text text,
  tags jsonb not null default '{}',
  -- The last verdict of this head alone, the tip that it was on, and the last one on any other tip.
  verdict text constraint standing_verdict check (verdict in ('pass', 'fail', 'inconclusive')),
  verdict_base text,
  earlier text,
  -- Lanes with this head that ended with a verdict.
  runs int not null default 0,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
-- Serve retention: what is still referred to is kept.
create index standing_review_decision on standing (review_decision);
create index standing_gate_decision on standing (gate_decision);
call journal_attach('standing', $$g.name || '#' || q.number$$, $$jsonb_build_object('head', r.head,
  'approval', r.approval, 'review', r.review_code, 'need', r.need, 'gate', r.gate_code, 'held', r.held_code,
  'verdict', r.verdict, 'verdict-base', r.verdict_base, 'runs', r.runs)$$,
  join_sql => 'join pull_request q on q.id = r.id join repository g on g.id = q.repository_id');

create table lane (
  id bigint generated always as identity primary key,
  pipeline_id int not null references pipeline,
  -- The commit it stands on; with `on_lane`, that lane's, null until it is built.
  base text collate "C",
  on_lane bigint references lane,
  -- Pull requests in the order in which they are merged: ids, numbers and heads.
  members bigint[] not null,
  numbers int[] not null,
  heads text[] not null,
  purpose text not null,
  landing text not null constraint lane_landing check (landing in ('never', 'hold', 'when-passed')),
  priority int not null default 0,
  attrs jsonb not null default '{}',
  state text not null default 'waiting' constraint lane_state check (state in ('waiting', 'building', 'built', 'running',
    'passed', 'failed', 'inconclusive', 'conflict', 'landing', 'landed', 'cancelled')),
  since timestamptz not null default now(),
  -- The merge commit that is tested, its tree, and one commit a member.
  commit text collate "C",
  tree text collate "C",
  -- What ended it: the verdict's reason, or why it was cancelled.
  reason_code text not null,
  reason_text text not null,
  decision_id bigint,
  held_code text,
  held_text text,
  blame int[] not null default '{}',
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
create index lane_living on lane (pipeline_id, id) where ended_at is null;
create index lane_pipeline on lane (pipeline_id, id);
-- Serves "what became of this pull request".
create index lane_members on lane using gin (members);
call journal_attach('lane', $$p.name || '/' || r.id$$, $$jsonb_build_object('base', r.base, 'numbers', r.numbers,
  'heads', r.heads, 'purpose', r.purpose, 'landing', r.landing, 'state', r.state, 'commit', r.commit, 'tree', r.tree,
  'reason', r.reason_code, 'held', r.held_code, 'blame', r.blame)$$,
  join_sql => 'join pipeline p on p.id = r.pipeline_id');

create table job (
  id bigint generated always as identity primary key,
  lane_id bigint not null references lane,
  name text collate "C" not null,
  -- As the policy gave it.
  spec jsonb not null,
  -- SHA-256 of what it does, whatever it is tested on: with the tree, by what a pass is found again.
  spec_digest bytea not null,
  weight text not null constraint job_weight check (weight in ('required', 'informative')),
  after text[] not null default '{}',
  state text not null default 'waiting'
    constraint job_state check (state in ('waiting', 'running', 'ended', 'skipped', 'cancelled', 'reused')),
  skipped_code text,
  skipped_text text,
  -- The job whose pass on the same tree counts for this one, too.
  reused_from bigint references job,
  passed boolean,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint job_once unique (lane_id, name)
);
-- Serves reuse: a pass of the same job.
create index job_passed on job (spec_digest) where passed and reused_from is null;
call journal_attach('job', $$p.name || '/' || l.id || '/' || r.name$$, $$jsonb_build_object('state', r.state,
  'weight', r.weight, 'skipped', r.skipped_code, 'reused-from', r.reused_from, 'passed', r.passed)$$,
  join_sql => 'join lane l on l.id = r.lane_id join pipeline p on p.id = l.pipeline_id');

create table attempt (
  id bigint generated always as identity primary key,
  job_id bigint not null references job,
  number int not null,
  -- What the job backend and the artifact store know it by. Random, so that a restored database starts
  -- nothing under a name that has been used, and part of the address of its log, which nobody can guess.
  key uuid not null unique default gen_random_uuid(),
  state text not null default 'waiting'
    constraint attempt_state check (state in ('waiting', 'running', 'ended')),
  -- Over the job's own, as `triage` wished.
  attrs jsonb not null default '{}',
  not_before timestamptz,
  -- The host that runs it.
  host text,
  cancel_wanted text,
  -- exited, timed-out, cancelled, lost, setup-failed.
  ended text,
  exit_code int,
  detail text,
  started_at timestamptz,
  ended_at timestamptz,
  tests_total int not null default 0,
  tests_passed int not null default 0,
  -- Those that did not pass.
  tests jsonb not null default '[]',
  outputs jsonb not null default '{}',
  artifacts jsonb not null default '[]',
  log_bytes bigint not null default 0,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint attempt_once unique (job_id, number)
);
create index attempt_living on attempt (host, id) where state <> 'ended';
call journal_attach('attempt', $$p.name || '/' || l.id || '/' || j.name || '/' || r.number$$,
  $$jsonb_build_object('state', r.state, 'host', r.host, 'ended', r.ended, 'exit-code', r.exit_code,
    'detail', r.detail, 'cancel', r.cancel_wanted, 'tests', r.tests_total, 'passed', r.tests_passed)$$,
  join_sql => 'join job j on j.id = r.job_id join lane l on l.id = j.lane_id join pipeline p on p.id = l.pipeline_id');
-- An attempt that has ended stays as it ended.
create function attempt_ended() returns trigger
language plpgsql as $$
begin
  raise exception 'attempt % has ended and is history', old.id using errcode = 'PM003';
end $$;
create trigger attempt_ended before update on attempt
  for each row when (old.state = 'ended' and new.state is distinct from old.state)
  execute function attempt_ended();

-- ---------------------------------------------------------------------------------------------
-- Outside the journal: what can be derived again, and what drives the turn.

-- What git says of a head. Kept for every head there was: reviews refer to old ones.
create table head (
  pull_request_id bigint not null references pull_request,
  commit text collate "C" not null,
  merge_base text not null,
  patch_id text not null,
  -- Paths that it changes, each followed by a newline; complete if there are `changed_total`.
  changed text not null,
  changed_total int not null,
  seen_at timestamptz not null default now(),
  primary key (pull_request_id, commit)
);

-- Lanes that do not merge: this head on this base.
create table conflict (
  pull_request_id bigint not null references pull_request,
  head text collate "C" not null,
  base text collate "C" not null,
  paths text not null,
  at timestamptz not null default now(),
  primary key (pull_request_id, head, base)
);

-- Why a pipeline looks again. Whoever holds it deletes those that its turn has looked at.
create table cause (
  id bigint generated always as identity primary key,
  pipeline_id int not null,
  -- pull (a pull request), lane (one, or where all of them stand), all (a binding, the freeze).
  kind text not null constraint cause_kind check (kind in ('pull', 'lane', 'all')),
  pull_request_id bigint,
  lane_id bigint,
  at timestamptz not null default now()
);
create index cause_pipeline on cause (pipeline_id, id);

-- Until when a host vouches for an attempt that it runs.
create table lease (
  attempt_id bigint primary key references attempt,
  host text not null,
  until timestamptz not null
);
create index lease_until on lease (until);

-- When a policy wants to be asked again, though nothing changes.
create table wake (
  pipeline_id int not null references pipeline,
  -- Null: the pipeline as a whole.
  pull_request_id bigint references pull_request,
  at timestamptz not null
);
create unique index wake_once on wake (pipeline_id, coalesce(pull_request_id, 0));
create index wake_at on wake (at);

-- Things to do outside the database, each safe to repeat.
create table effect (
  id bigint generated always as identity primary key,
  pipeline_id int not null references pipeline,
  kind text not null constraint effect_kind check (kind in ('build', 'start', 'cancel', 'land')),
  -- What it is about: a lane or an attempt.
  lane_id bigint references lane,
  attempt_id bigint references attempt,
  payload jsonb not null default '{}',
  created_at timestamptz not null default now(),
  not_before timestamptz not null default now(),
  -- Who does it, and until when nobody else may.
  leased_by text,
  leased_until timestamptz,
  tries int not null default 0,
  done_at timestamptz,
  outcome text
);
-- Serves the workers.
create index effect_due on effect (not_before, id) where done_at is null;
create index effect_lane on effect (lane_id, id);
create index effect_attempt on effect (attempt_id, id);
-- Serves retention.
create index effect_done on effect (done_at) where done_at is not null;

-- The turn's own writes are no causes of another one.
create function turn_writes() returns boolean
language sql stable as $$
  select coalesce(current_setting('pointsman.turn', true) = pg_current_xact_id_if_assigned()::text, false)
$$;

create function cause_of_pulls() returns trigger
language plpgsql as $$
begin
  if turn_writes() then
    return null;
  end if;
  insert into cause (pipeline_id, kind, pull_request_id)
    select distinct m.id, 'pull', r.id from new_rows r
    join merge_pipeline m on m.repository_id = r.repository_id and m.target = r.target;
  if found then
    perform pg_notify('pointsman_generation', '');
  end if;
  return null;
end $$;
create trigger cause_insert after insert on pull_request referencing new table as new_rows
  for each statement execute function cause_of_pulls();
create trigger cause_update after update on pull_request referencing new table as new_rows
  for each statement execute function cause_of_pulls();

create function cause_of_parts() returns trigger
language plpgsql as $$
begin
  if turn_writes() then
    return null;
  end if;
  insert into cause (pipeline_id, kind, pull_request_id)
    select distinct m.id, 'pull', q.id from new_rows r join pull_request q on q.id = r.pull_request_id
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target;
  return null;
end $$;
create trigger cause_insert after insert on review referencing new table as new_rows
  for each statement execute function cause_of_parts();
create trigger cause_update after update on review referencing new table as new_rows
  for each statement execute function cause_of_parts();
create trigger cause_insert after insert on comment referencing new table as new_rows
  for each statement execute function cause_of_parts();
create trigger cause_insert after insert on label referencing new table as new_rows
  for each statement execute function cause_of_parts();
create trigger cause_update after update on label referencing new table as new_rows
  for each statement execute function cause_of_parts();

create function cause_of_pipelines() returns trigger
language plpgsql as $$
begin
  if turn_writes() then
    return null;
  end if;
  insert into cause (pipeline_id, kind) select distinct m.id, 'all' from new_rows r join merge_pipeline m on m.id = r.id;
  return null;
end $$;
create trigger cause_insert after insert on merge_pipeline referencing new table as new_rows
  for each statement execute function cause_of_pipelines();
create trigger cause_update after update on merge_pipeline referencing new table as new_rows
  for each statement execute function cause_of_pipelines();
create trigger cause_update after update on pipeline referencing new table as new_rows
  for each statement execute function cause_of_pipelines();

create function cause_of_bindings() returns trigger
language plpgsql as $$
begin
  insert into cause (pipeline_id, kind)
    select distinct m.id, 'all' from new_rows r join merge_pipeline m on m.id = r.pipeline_id;
  return null;
end $$;
create trigger cause_insert after insert on binding referencing new table as new_rows
  for each statement execute function cause_of_bindings();
create trigger cause_update after update on binding referencing new table as new_rows
  for each statement execute function cause_of_bindings();

create function cause_of_tips() returns trigger
language plpgsql as $$
begin
  insert into cause (pipeline_id, kind) select distinct r.pipeline_id, 'lane' from new_rows r;
  return null;
end $$;
create trigger cause_insert after insert on tip referencing new table as new_rows
  for each statement execute function cause_of_tips();

-- What happened and `react` has not been asked about. Rows are made only where something is bound to it.
create table reaction (
  id bigint generated always as identity primary key,
  pipeline_id int not null references pipeline,
  event text not null,
  pull_request_id bigint references pull_request,
  lane_id bigint references lane,
  by text not null,
  attrs jsonb not null default '{}',
  at timestamptz not null default now()
);
create index reaction_pipeline on reaction (pipeline_id, id);

create function reacts(pipeline int) returns boolean
language sql stable as $$
  select exists (select from binding b where b.pipeline_id = pipeline and b.hook = 'react' and b.deleted_at is null)
$$;

create function reaction_of_pulls() returns trigger
language plpgsql as $$
declare
  who text := (select g.username from generation g where g.id = generation_id());
begin
  if tg_op = 'INSERT' then
    insert into reaction (pipeline_id, event, pull_request_id, by)
      select m.id, 'opened', n.id, n.author from new_rows n
      join merge_pipeline m on m.repository_id = n.repository_id and m.target = n.target where reacts(m.id);
    return null;
  end if;
  insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
    select m.id, e.event, n.id, coalesce(who, 'pointsman'), e.attrs
    from new_rows n join old_rows o using (id)
    join merge_pipeline m on m.repository_id = n.repository_id and m.target = n.target
    cross join lateral (
      select 'head-moved' as event, jsonb_build_object('head.before', o.head) as attrs where n.head <> o.head
      union all select 'closed', '{}' where n.state = 'closed' and o.state <> 'closed') e
    where reacts(m.id);
  return null;
end $$;
create trigger reaction_insert after insert on pull_request referencing new table as new_rows
  for each statement execute function reaction_of_pulls();
create trigger reaction_update after update on pull_request referencing old table as old_rows new table as new_rows
  for each statement execute function reaction_of_pulls();

create function reaction_of_reviews() returns trigger
language plpgsql as $$
begin
  insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
    select m.id, 'reviewed', n.pull_request_id, n.by, jsonb_build_object('review', n.state)
    from new_rows n join pull_request q on q.id = n.pull_request_id
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target where reacts(m.id);
  return null;
end $$;
create trigger reaction_insert after insert on review referencing new table as new_rows
  for each statement execute function reaction_of_reviews();

create function reaction_of_comments() returns trigger
language plpgsql as $$
begin
  -- Whether it is a command is for the host to say: it knows what a line begins with.
  insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
    select m.id, 'commanded', n.pull_request_id, n.by, jsonb_build_object('comment', n.body)
    from new_rows n join pull_request q on q.id = n.pull_request_id
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
    where n.key is null and position(m.prefix in n.body) > 0 and reacts(m.id);
  return null;
end $$;
create trigger reaction_insert after insert on comment referencing new table as new_rows
  for each statement execute function reaction_of_comments();

create function reaction_of_labels() returns trigger
language plpgsql as $$
begin
  insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
    select m.id, case when n.deleted_at is null then 'labelled' else 'unlabelled' end, n.pull_request_id, n.by,
      jsonb_build_object('label', n.name)
    from new_rows n join pull_request q on q.id = n.pull_request_id
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
    where not turn_writes() and reacts(m.id);
  return null;
end $$;
create trigger reaction_insert after insert on label referencing new table as new_rows
  for each statement execute function reaction_of_labels();
create trigger reaction_update after update on label referencing new table as new_rows
  for each statement execute function reaction_of_labels();

create function reaction_of_lanes() returns trigger
language plpgsql as $$
begin
  insert into reaction (pipeline_id, event, pull_request_id, lane_id, by, attrs)
    select n.pipeline_id, e.event, u.id, n.id, 'pointsman', e.attrs
    from new_rows n join old_rows o using (id)
    cross join lateral unnest(n.members) u (id)
    cross join lateral (
      select 'verdict' as event, jsonb_build_object('reason.code', n.reason_code, 'reason.text', n.reason_text,
          'verdict', case when n.state in ('passed', 'landing') then 'pass' when n.state = 'inconclusive'
            then 'inconclusive' else 'fail' end) as attrs
        where (n.state in ('passed', 'failed', 'inconclusive', 'conflict') and n.state <> o.state)
          -- It passed and may land in the same turn.
          or (n.state = 'landing' and o.state not in ('passed', 'landing'))
      union all select 'landed', '{}' where n.state = 'landed' and o.state <> 'landed') e
    where reacts(n.pipeline_id);
  return null;
end $$;
create trigger reaction_update after update on lane referencing old table as old_rows new table as new_rows
  for each statement execute function reaction_of_lanes();
