-- Jobs of kernel versions: a run that the pipeline makes itself has jobs, as a lane has.

-- ---------------------------------------------------------------------------------------------
-- Slots, and what people ask for. Journalled.

-- What a pipeline of kind `kernel` has beside its bindings. No row: two slots.
create table kernel_pipeline (
  id int primary key references pipeline,
  -- Runs that it makes at once.
  slots int not null default 2 constraint kernel_pipeline_slots check (slots between 1 and 64),
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
call journal_attach('kernel_pipeline', 'p.name', $$jsonb_build_object('slots', r.slots)$$,
  join_sql => 'join pipeline p on p.id = r.id');

-- A run that a person asked for: what `advance` sees as `requested`, until one of that purpose has ended.
create table kernel_request (
  id bigint generated always as identity primary key,
  kernel_version_id bigint not null references kernel_version,
  release text collate "C" not null default ''
    constraint kernel_request_release check (octet_length(release) <= 64),
  purpose text collate "C" not null
    constraint kernel_request_purpose check (purpose ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  requested_by text not null,
  at timestamptz not null default now(),
  ended_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
-- One at a time; serves what `advance` is told of a version, too.
create unique index kernel_request_open on kernel_request (kernel_version_id, release) where ended_at is null;
call journal_attach('kernel_request',
  $$d.name || '/' || k.version || case when r.release <> '' then ' ' || r.release else '' end || ' #' || r.id$$,
  $$jsonb_build_object('purpose', r.purpose, 'requested-by', r.requested_by, 'ended', r.ended_at)$$,
  join_sql => 'join kernel_version k on k.id = r.kernel_version_id join distro d on d.id = k.distro_id',
  mark => 'ended_at');

-- ---------------------------------------------------------------------------------------------
-- Runs of our own.

alter table run
  -- The pipeline that makes it; null: somebody outside did.
  add column pipeline_id int references pipeline,
  -- What `run` said of it, then what `triage` did.
  add column decision_id bigint,
  -- Why nobody can say what becomes of it, though it has not ended.
  add column held_code text,
  add column held_text text;
-- Serves the slots, and what each turn looks at.
create index run_living on run (pipeline_id, id)
  where pipeline_id is not null and verdict is null and deleted_at is null;
-- Serves retention: the decision behind a run that goes on is kept.
create index run_decision on run (decision_id) where decision_id is not null and verdict is null;

drop trigger journal_1_begin on run;
drop trigger journal_2_row on run;
drop trigger truncate_refused on run;
drop function journal_run_insert(), journal_run_update(), journal_run_delete() cascade;
call journal_attach('run',
  $$d.name || '/' || k.version || ' ' || r.purpose || case when r.release <> '' then ' ' || r.release else '' end || ' #' || r.id$$,
  $$jsonb_build_object('verdict', r.verdict, 'comment', nullif(r.comment, ''), 'link', r.link,
    'key', r.key, 'reported-by', r.reported_by, 'held', r.held_code, 'deleted', r.deleted_at)$$,
  join_sql => 'join kernel_version k on k.id = r.kernel_version_id join distro d on d.id = k.distro_id',
  mark => 'deleted_at', row_trigger => 'run_row');

-- A job is a lane's or a run's. A pipeline has either, so names of jobs stay `pipeline/number/job`.
alter table job
  alter column lane_id drop not null,
  add column run_id bigint references run,
  add constraint job_subject check (num_nonnulls(lane_id, run_id) = 1);
-- Serves the jobs of a run.
create unique index job_of_run on job (run_id, name) where run_id is not null;
drop trigger journal_1_begin on job;
drop trigger journal_2_row on job;
drop trigger truncate_refused on job;
drop function journal_job_insert(), journal_job_update(), journal_job_delete() cascade;
call journal_attach('job', $$p.name || '/' || coalesce(l.id, u.id) || '/' || r.name$$,
  $$jsonb_build_object('state', r.state, 'weight', r.weight, 'skipped', r.skipped_code,
    'reused-from', r.reused_from, 'passed', r.passed)$$,
  join_sql => 'left join lane l on l.id = r.lane_id left join run u on u.id = r.run_id
    join pipeline p on p.id = coalesce(l.pipeline_id, u.pipeline_id)');

drop trigger journal_1_begin on attempt;
drop trigger journal_2_row on attempt;
drop trigger truncate_refused on attempt;
drop function journal_attempt_insert(), journal_attempt_update(), journal_attempt_delete() cascade;
call journal_attach('attempt', $$p.name || '/' || coalesce(l.id, u.id) || '/' || j.name || '/' || r.number$$,
  $$jsonb_build_object('state', r.state, 'host', r.host, 'ended', r.ended, 'exit-code', r.exit_code,
    'detail', r.detail, 'cancel', r.cancel_wanted, 'tests', r.tests_total, 'passed', r.tests_passed)$$,
  join_sql => 'join job j on j.id = r.job_id left join lane l on l.id = j.lane_id left join run u on u.id = j.run_id
    join pipeline p on p.id = coalesce(l.pipeline_id, u.pipeline_id)');

-- ---------------------------------------------------------------------------------------------
-- Outside the journal: which wishes may start, and why to look again.

alter table kernel_wanted
  -- Why our own jobs do not make it: nobody says which they are, or whoever should cannot.
  add column held_code text,
  add column held_text text,
  -- How often in a row, and when it is asked again; null: it may start now.
  add column held_tries int not null default 0,
  add column not_before timestamptz;
-- Serves "what starts next".
create index kernel_wanted_ready on kernel_wanted (priority desc, since, kernel_version_id)
  where not_before is null;
-- Serves asking again.
create index kernel_wanted_later on kernel_wanted (not_before) where not_before is not null;

-- Whether the kernel pipeline has decided about what this generation changed.
create function kernel_turn_has_seen(generation bigint) returns boolean
language sql stable as $$
  select not exists (
    select from generation g
    left join (select r.epoch, r.tx, r.event_id from pipeline_progress r join pipeline p on p.id = r.pipeline_id
               where p.kind = 'kernel' and p.deleted_at is null) r on true
    where g.id = $1 and ((g.epoch, g.tx) > (coalesce(r.epoch, 0), coalesce(r.tx, '0'))
      -- A turn may end in the midst of a large batch.
      or (g.epoch, g.tx) = (r.epoch, r.tx)
        and exists (select from event e where e.epoch = g.epoch and e.tx = g.tx and e.id > r.event_id)))
$$;

-- Whether our own jobs may begin with a wish. A function that is not inlined, so that however the planner
-- guesses, wishes are looked at in their order until one is found, and each costs some lookups.
create function kernel_may_start(wish kernel_wanted) returns boolean
language plpgsql stable as $$
begin
  -- Nobody is at it, here or outside. A wish without a release is served by a run of any.
  if exists (select from run r where r.kernel_version_id = wish.kernel_version_id and r.purpose = wish.purpose
             and (wish.release = '' or r.release = wish.release) and r.verdict is null and r.deleted_at is null) then
    return false;
  end if;
  -- What is ignored runs only when a person asks.
  if exists (select from kernel_ignored i where i.kernel_version_id = wish.kernel_version_id)
    and not exists (select from kernel_request q where q.kernel_version_id = wish.kernel_version_id
                    and q.purpose = wish.purpose and q.ended_at is null) then
    return false;
  end if;
  -- A job of an earlier run may still be on its way to its end.
  if exists (select from run r join job j on j.run_id = r.id join attempt a on a.job_id = j.id
             where r.kernel_version_id = wish.kernel_version_id and a.state <> 'ended') then
    return false;
  end if;
  -- A run that ended meanwhile may be just what was wished for: `advance` says so first.
  if exists (select from run r where r.kernel_version_id = wish.kernel_version_id
             and not kernel_turn_has_seen(r.generation)) then
    return false;
  end if;
  return exists (select from kernel_version k where k.id = wish.kernel_version_id and k.deleted_at is null);
end $$;

-- Wishes that our own jobs may begin with.
create view kernel_startable as
  select w.* from kernel_wanted w where w.not_before is null and kernel_may_start(w);

-- Our own runs that go on, and why they should not: none where they may.
create view kernel_living as
  select r.id, r.pipeline_id, r.kernel_version_id, r.purpose, r.release, r.held_code, r.held_text,
    i.scope as ignored, i.reason_text as ignored_text,
    case
      when k.deleted_at is not null then 'version.deleted'
      when i.scope is not null and not exists (
        select from kernel_request q where q.kernel_version_id = r.kernel_version_id and q.purpose = r.purpose
          and q.ended_at is null) then 'version.ignored'
      when not exists (select from kernel_wanted w where w.kernel_version_id = r.kernel_version_id
                       and w.release = r.release and w.purpose = r.purpose) then 'run.unwanted'
    end as unwanted
  from run r join kernel_version k on k.id = r.kernel_version_id
  left join kernel_ignored i on i.kernel_version_id = r.kernel_version_id
  where r.pipeline_id is not null and r.verdict is null and r.deleted_at is null;

alter table cause
  drop constraint cause_kind,
  -- And run: one of our own.
  add constraint cause_kind check (kind in ('pull', 'lane', 'run', 'all')),
  add column run_id bigint;

-- As before, and a kernel pipeline looks at its runs again. What could not be started may be now.
create or replace function cause_of_bindings() returns trigger
language plpgsql as $$
begin
  insert into cause (pipeline_id, kind)
    select distinct p.id, 'all' from new_rows r join pipeline p on p.id = r.pipeline_id
    where p.kind = 'merge' or r.hook in ('run', 'triage');
  if exists (select from new_rows r join pipeline p on p.id = r.pipeline_id
             where p.kind = 'kernel' and r.hook = 'run') then
    update kernel_wanted set held_code = null, held_text = null, held_tries = 0, not_before = null
      where not_before is not null;
  end if;
  return null;
end $$;

-- Somebody else says how a run of ours ended, or that it never was: its jobs need not go on.
create function cause_of_runs() returns trigger
language plpgsql as $$
begin
  if turn_writes() then
    return null;
  end if;
  insert into cause (pipeline_id, kind, run_id)
    select n.pipeline_id, 'run', n.id from new_rows n join old_rows o using (id)
    where n.pipeline_id is not null and o.verdict is null and o.deleted_at is null
      and (n.verdict is not null or n.deleted_at is not null);
  return null;
end $$;
create trigger cause_update after update on run referencing old table as old_rows new table as new_rows
  for each statement execute function cause_of_runs();

-- What a person asked for is there.
create function requests_of_new_runs() returns trigger
language plpgsql as $$
begin
  if exists (select from new_rows r join kernel_request q on q.kernel_version_id = r.kernel_version_id
             where r.verdict is not null and q.ended_at is null) then
    update kernel_request q set ended_at = now() from new_rows r
      where q.kernel_version_id = r.kernel_version_id and q.purpose = r.purpose and q.ended_at is null
        and (q.release = '' or q.release = r.release) and r.verdict is not null;
  end if;
  return null;
end $$;
create trigger requests_insert after insert on run referencing new table as new_rows
  for each statement execute function requests_of_new_runs();
create function requests_of_runs() returns trigger
language plpgsql as $$
begin
  if exists (select from new_rows r join kernel_request q on q.kernel_version_id = r.kernel_version_id
             where r.verdict is not null and q.ended_at is null) then
    update kernel_request q set ended_at = now() from new_rows r join old_rows o using (id)
      where q.kernel_version_id = r.kernel_version_id and q.purpose = r.purpose and q.ended_at is null
        and (q.release = '' or q.release = r.release) and r.verdict is not null and o.verdict is null;
  end if;
  return null;
end $$;
create trigger requests_update after update on run referencing old table as old_rows new table as new_rows
  for each statement execute function requests_of_runs();

-- A new wish, or the end of one, is news to whoever starts and cancels runs.
create function wanted_changed() returns trigger
language plpgsql as $$
begin
  perform pg_notify('pointsman_generation', '');
  return null;
end $$;
create trigger wanted_changed after insert or update or delete on kernel_wanted
  for each statement execute function wanted_changed();
