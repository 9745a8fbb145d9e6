-- Notes of pull requests: what the policies of merge pipelines keep.

-- Null: of the pipeline itself, or of a kernel version.
alter table note add column pull_request_id bigint references pull_request;
alter table note drop constraint note_subject, add constraint note_subject check (case
  -- Of the hooks of a kernel pipeline only `advance` is given notes of a kernel version; of those of a merge
  -- pipeline all are given notes of pull requests but `select`, whose candidates are too many to have any.
  when kernel_version_id is not null then hook = 'advance' and pull_request_id is null
  when pull_request_id is not null then hook in ('review', 'gate', 'run', 'triage', 'react')
  else true end);
-- Serves, as before, one note, those of a pipeline's places, and those of what a turn asks about.
alter table note drop constraint note_unique, add constraint note_unique
  unique nulls not distinct (pipeline_id, hook, kernel_version_id, pull_request_id, position, key);
-- Serves the notes of the pull requests that a turn asks about, in whatever hook.
create index note_pull_request on note (pull_request_id, pipeline_id) where pull_request_id is not null;

-- The events name the pull request, as they do the kernel version: `main/gate/0/lib#12/tries`.
drop trigger journal_1_begin on note;
drop trigger journal_2_row on note;
drop trigger journal_3_insert on note;
drop trigger journal_3_update on note;
drop trigger journal_3_delete on note;
drop trigger truncate_refused on note;
drop function journal_note_insert(), journal_note_update(), journal_note_delete();
call journal_attach('note',
  $$p.name || '/' || r.hook || '/' || r.position || '/' || coalesce(d.name || '/' || k.version || '/', '')
    || coalesce(g.name || '#' || q.number || '/', '') || r.key$$,
  $$jsonb_build_object('value', r.value, 'decision', r.decision_id, 'deleted', r.deleted_at)$$,
  join_sql => 'join pipeline p on p.id = r.pipeline_id
    left join kernel_version k on k.id = r.kernel_version_id left join distro d on d.id = k.distro_id
    left join pull_request q on q.id = r.pull_request_id left join repository g on g.id = q.repository_id',
  mark => 'deleted_at', row_trigger => 'note_row');

-- As before, and a pull request is a subject of its own.
create or replace function note_limit() returns trigger
language plpgsql as $$
declare
  full_place text;
begin
  if not exists (select from new_rows where deleted_at is null) then
    return null;
  end if;
  perform from pipeline where id in (select pipeline_id from new_rows) order by id for no key update;
  select n.hook || '/' || n.position into full_place
    from (select distinct pipeline_id, hook, position, kernel_version_id from new_rows
          where deleted_at is null and pull_request_id is null) s
    join note n on n.pipeline_id = s.pipeline_id and n.hook = s.hook and n.position = s.position
      and n.kernel_version_id = s.kernel_version_id and n.deleted_at is null
    group by n.pipeline_id, n.hook, n.position, n.kernel_version_id having count(*) > 64 limit 1;
  if full_place is null then
    select n.hook || '/' || n.position into full_place
      from (select distinct pipeline_id, hook, position, pull_request_id from new_rows
            where deleted_at is null and pull_request_id is not null) s
      join note n on n.pipeline_id = s.pipeline_id and n.hook = s.hook and n.position = s.position
        and n.kernel_version_id is null and n.pull_request_id = s.pull_request_id and n.deleted_at is null
      group by n.pipeline_id, n.hook, n.position, n.pull_request_id having count(*) > 64 limit 1;
  end if;
  if full_place is null then
    select n.hook || '/' || n.position into full_place
      from (select distinct pipeline_id, hook, position from new_rows
            where deleted_at is null and kernel_version_id is null and pull_request_id is null) s
      join note n on n.pipeline_id = s.pipeline_id and n.hook = s.hook and n.position = s.position
        and n.kernel_version_id is null and n.pull_request_id is null and n.deleted_at is null
      group by n.pipeline_id, n.hook, n.position having count(*) > 64 limit 1;
  end if;
  if full_place is not null then
    raise exception 'a subject of % would have more than 64 notes', full_place
      using errcode = 'PM006', hint = 'Remove some that nobody needs.';
  end if;
  return null;
end $$;

-- A person's change makes a merge pipeline ask again; a turn's own does not, or a policy that counts would never
-- come to rest. `react` is asked about what happens, once, and has its notes the next time.
create function cause_of_notes() returns trigger
language plpgsql as $$
begin
  if turn_writes() then
    return null;
  end if;
  insert into cause (pipeline_id, kind, pull_request_id)
    select distinct m.id,
      case
        when r.hook in ('review', 'gate') and r.pull_request_id is not null then 'pull'
        when r.hook in ('review', 'gate') then 'all'
        -- Whatever lane it is in: these are asked about lanes, and `select` in every turn.
        else 'lane' end,
      case when r.hook in ('review', 'gate') then r.pull_request_id end
    from new_rows r join merge_pipeline m on m.id = r.pipeline_id where r.hook <> 'react';
  return null;
end $$;
create trigger cause_insert after insert on note referencing new table as new_rows
  for each statement execute function cause_of_notes();
create trigger cause_update after update on note referencing new table as new_rows
  for each statement execute function cause_of_notes();
