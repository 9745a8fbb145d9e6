-- What pull requests need before them; which host has which repository; runs that were called off.

-- What the lines `Depends-On:` of a description name: `#12`, of the repository `own`, or `driver#12`, several with commas
-- or spaces between them. What is no such name is left out. A line of more than 1 KiB was not written for this, and more
-- than 20 are no help to anybody.
create function depends_on(own text, body text) returns table (place bigint, repository text, number int)
language sql immutable as $$
  select row_number() over (order by min(t.at)), coalesce(t.name[1], own), t.name[2]::int
  from (
    select array[l.at, w.at] as at,
      regexp_match(w.word, '^([a-z0-9][a-z0-9._-]{0,62})?#([1-9][0-9]{0,8})$') as name
    from regexp_split_to_table(body, '\r?\n') with ordinality l (line, at)
    cross join regexp_split_to_table(substring(l.line from '(?i)^\s*depends-on:\s*(.*)$'), '[\s,]+')
      with ordinality w (word, at)
    where octet_length(l.line) <= 1024) t
  where t.name is not null
  group by 2, 3
  order by 1 limit 20
$$;

-- Outside the journal: derived of the description.
create table dependency (
  pull_request_id bigint not null references pull_request,
  place int not null,
  -- Whether there is such a one is looked up when it is asked for.
  repository text collate "C" not null,
  number int not null,
  primary key (pull_request_id, place)
);
-- Serves "who waits for this one".
create index dependency_of on dependency (repository, number);
-- Serves a stack: the open pull requests of this branch.
create index pull_request_branch on pull_request (repository_id, head_branch) where state = 'open';

insert into dependency (pull_request_id, place, repository, number)
  select q.id, d.place, d.repository, d.number
  from pull_request q join repository g on g.id = q.repository_id cross join lateral depends_on(g.name, q.body) d
  where q.body ~* 'depends-on:' and (d.repository, d.number) <> (g.name, q.number);

create function dependencies_of_pulls() returns trigger
language plpgsql as $$
begin
  if tg_op = 'UPDATE' then
    if not exists (select from new_rows n join old_rows o using (id) where n.body <> o.body) then
      return null;
    end if;
    delete from dependency d using new_rows n join old_rows o using (id)
      where d.pull_request_id = n.id and n.body <> o.body;
  end if;
  insert into dependency (pull_request_id, place, repository, number)
    select n.id, d.place, d.repository, d.number
    from new_rows n join repository g on g.id = n.repository_id cross join lateral depends_on(g.name, n.body) d
    where n.body ~* 'depends-on:' and (d.repository, d.number) <> (g.name, n.number)
    -- Of those whose description stayed as it is.
    on conflict do nothing;
  return null;
end $$;
create trigger dependencies_insert after insert on pull_request referencing new table as new_rows
  for each statement execute function dependencies_of_pulls();
create trigger dependencies_update after update on pull_request referencing old table as old_rows new table as new_rows
  for each statement execute function dependencies_of_pulls();

-- One that is opened, lands, is closed or opened again is looked at anew by those that need it, wherever they are.
create function cause_of_dependencies() returns trigger
language plpgsql as $$
declare
  changed bigint[];
begin
  if tg_op = 'INSERT' then
    changed := array(select id from new_rows);
  else
    changed := array(select n.id from new_rows n join old_rows o using (id) where n.state <> o.state);
  end if;
  if changed = '{}' then
    return null;
  end if;
  insert into cause (pipeline_id, kind, pull_request_id)
    select m.id, 'pull', q.id
    from pull_request n join repository g on g.id = n.repository_id
    join dependency d on d.repository = g.name and d.number = n.number
    join pull_request q on q.id = d.pull_request_id and q.state = 'open'
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
    where n.id = any(changed)
    union
    select m.id, 'pull', q.id
    from pull_request n
    join pull_request q on q.repository_id = n.repository_id and q.target = n.head_branch and q.state = 'open'
    join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
    where n.id = any(changed) and n.head_repository is null and q.id <> n.id;
  return null;
end $$;
create trigger cause_dependency_insert after insert on pull_request referencing new table as new_rows
  for each statement execute function cause_of_dependencies();
create trigger cause_dependency_update after update on pull_request
  referencing old table as old_rows new table as new_rows
  for each statement execute function cause_of_dependencies();

-- ---------------------------------------------------------------------------------------------
-- Runs of kernel versions.

-- The host itself called it off, for the version was ignored, deleted, or not wished for any more: `inconclusive` says
-- nothing of the version then, and it counts as no run of it.
alter table run add column called_off boolean not null default false;

-- ---------------------------------------------------------------------------------------------
-- Which host has a repository.

-- Each folder of a repository has a mark in it, so that a host can tell whether it sees that folder, and not another one
-- of the same name, or none. Outside the journal: hosts say again and again that they do.
create table repository_folder (
  repository_id int primary key references repository,
  mark text collate "C" not null,
  -- When a host saw it last, and which one.
  seen_at timestamptz not null default now(),
  seen_by text not null
);

-- As before, and a kernel pipeline that sees to jobs asks `run` and `triage` again: of runs that go on, and of wishes that
-- could not be started.
create or replace function cause_of_notes() returns trigger
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
  insert into cause (pipeline_id, kind)
    select distinct p.id, 'all' from new_rows r join pipeline p on p.id = r.pipeline_id
    where p.kind = 'kernel' and r.hook in ('run', 'triage');
  if found then
    update kernel_wanted set held_code = null, held_text = null, held_tries = 0, not_before = null
      where not_before is not null;
  end if;
  return null;
end $$;
