-- The merge pipeline: what lanes hand on, what happened that people are told of, and what a moved branch
-- makes worth another look.

-- What `gate` handed on about the lane, for `run` and `triage`.
alter table lane add column tags jsonb not null default '{}';
-- Serves "runs of the bare target".
create index lane_branch on lane (pipeline_id, id) where members = '{}';

create or replace function cause_of_tips() returns trigger
language plpgsql as $$
begin
  insert into cause (pipeline_id, kind) select distinct r.pipeline_id, 'lane' from new_rows r;
  -- What did not merge may merge now, and its policies were told that it does not.
  insert into cause (pipeline_id, kind, pull_request_id)
    select distinct m.id, 'pull', q.id from new_rows r
    join merge_pipeline m on m.id = r.pipeline_id
    join pull_request q on q.repository_id = m.repository_id and q.target = m.target and q.state = 'open'
    join conflict c on c.pull_request_id = q.id and c.head = q.head and c.base <> r.commit;
  return null;
end $$;

-- A verdict that people see is of an older target from here on. Told once: the next time the status is pending.
create function reaction_of_tips() returns trigger
language plpgsql as $$
begin
  insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
    select m.id, 'target-moved', q.id, case n.how when 'pushed' then 'git' else 'pointsman' end,
      jsonb_build_object('tip', n.commit)
    from new_rows n
    join merge_pipeline m on m.id = n.pipeline_id
    join pull_request q on q.repository_id = m.repository_id and q.target = m.target and q.state = 'open'
    where n.how <> 'watched' and reacts(m.id)
      and exists (select from status s where s.pull_request_id = q.id and s.head = q.head and s.state <> 'pending');
  return null;
end $$;
create trigger reaction_insert after insert on tip referencing new table as new_rows
  for each statement execute function reaction_of_tips();

-- A policy could not answer about a pull request, which nothing else says.
create function reaction_of_standings() returns trigger
language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
      select m.id, 'held', n.id, 'pointsman',
        jsonb_build_object('reason.code', n.held_code, 'reason.text', coalesce(n.held_text, ''))
      from new_rows n join pull_request q on q.id = n.id
      join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
      where n.held_code is not null and reacts(m.id);
    return null;
  end if;
  insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
    select m.id, 'held', n.id, 'pointsman',
      jsonb_build_object('reason.code', n.held_code, 'reason.text', coalesce(n.held_text, ''))
    from new_rows n join old_rows o using (id) join pull_request q on q.id = n.id
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
    where n.held_code is not null and (n.head, n.held_code, n.held_text) is distinct from (o.head, o.held_code, o.held_text)
      and reacts(m.id);
  return null;
end $$;
create trigger reaction_insert after insert on standing referencing new table as new_rows
  for each statement execute function reaction_of_standings();
create trigger reaction_update after update on standing referencing old table as old_rows new table as new_rows
  for each statement execute function reaction_of_standings();

create or replace function reaction_of_labels() returns trigger
language plpgsql as $$
declare
  who text := (select g.username from generation g where g.id = generation_id());
begin
  insert into reaction (pipeline_id, event, pull_request_id, by, attrs)
    select m.id, case when n.deleted_at is null then 'labelled' else 'unlabelled' end, n.pull_request_id,
      -- Who put it on is on the row; who took it off is whoever writes.
      case when n.deleted_at is null then n.by else coalesce(who, n.by) end, jsonb_build_object('label', n.name)
    from new_rows n join pull_request q on q.id = n.pull_request_id
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
    where not turn_writes() and reacts(m.id);
  return null;
end $$;

-- As before, and of which head: the pull request may have another one by the time somebody is told.
create or replace function reaction_of_lanes() returns trigger
language plpgsql as $$
begin
  insert into reaction (pipeline_id, event, pull_request_id, lane_id, by, attrs)
    select n.pipeline_id, e.event, u.id, n.id, 'pointsman', e.attrs || jsonb_build_object('head', u.head)
    from new_rows n join old_rows o using (id)
    cross join lateral unnest(n.members, n.heads) u (id, head)
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

-- Serves "was this tree tested before": a job's passes alone grow with everything that was ever tested.
create index lane_tree on lane (tree) where tree is not null;
-- Serves "what was tried on this tip".
create index lane_base on lane (pipeline_id, base) where ended_at is not null;
-- What the lane's commit changes on its base, one path a line; null: it is not built, or is tested unmerged.
alter table lane add column changed text;
alter table lane add column changed_total int;
-- Secrets that the job names were not given: a pass then says nothing of a run that has them.
alter table attempt add column secrets_withheld boolean not null default false;
-- Serves retention: why a living lane is there is kept.
create index lane_decision on lane (decision_id) where ended_at is null;

-- A pull request that goes to another branch is a change for the pipeline that it leaves, too.
create function cause_of_retargets() returns trigger
language plpgsql as $$
begin
  insert into cause (pipeline_id, kind, pull_request_id)
    select distinct m.id, 'pull', o.id from old_rows o join new_rows n using (id)
    join merge_pipeline m on m.repository_id = o.repository_id and m.target = o.target
    where o.target <> n.target;
  return null;
end $$;
create trigger cause_retarget after update on pull_request referencing old table as old_rows new table as new_rows
  for each statement execute function cause_of_retargets();
-- What was said and is taken back, by whatever way.
create trigger cause_delete after delete on review referencing old table as new_rows
  for each statement execute function cause_of_parts();
create trigger cause_delete after delete on comment referencing old table as new_rows
  for each statement execute function cause_of_parts();
create trigger cause_delete after delete on label referencing old table as new_rows
  for each statement execute function cause_of_parts();
create trigger cause_update after update on comment referencing new table as new_rows
  for each statement execute function cause_of_parts();

-- Until when `react` is not asked about this, as the machine failed it.
alter table reaction add column not_before timestamptz;
