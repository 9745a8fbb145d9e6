-- Upkeep: what is kept for some days, and who clears it away.

-- What an attempt left in the artifact store: its log and its files. Outside the journal, since nothing is
-- decided by it.
create table attempt_store (
  attempt_id bigint primary key references attempt,
  ended_at timestamptz not null,
  -- When its log and its files were removed; null: they are there.
  removed_at timestamptz
);
-- Serves retention: the oldest that are still there.
create index attempt_store_due on attempt_store (ended_at) where removed_at is null;
insert into attempt_store (attempt_id, ended_at)
  select id, coalesce(ended_at, now()) from attempt where state = 'ended';

create function attempt_stored() returns trigger
language plpgsql as $$
begin
  insert into attempt_store (attempt_id, ended_at)
    select n.id, coalesce(n.ended_at, now()) from new_rows n where n.state = 'ended'
    on conflict do nothing;
  return null;
end $$;
create trigger attempt_stored after update on attempt referencing new table as new_rows
  for each statement execute function attempt_stored();

-- Serves retention: a pass that counts for a lane of these days is kept as long as that lane's own would be.
create index job_reused on job (reused_from) where reused_from is not null;

-- What has to be done now and then, by one host at a time: `store`, `rows`, `git/REPOSITORY`, ...
create table upkeep (
  name text collate "C" primary key,
  -- Who is at it, and until when nobody else may be.
  leased_by text not null,
  leased_until timestamptz not null,
  -- When it was last done, whatever came of it.
  done_at timestamptz
);

-- Serve retention: what git said of heads, conflicts that others came after, what `react` was never asked about,
-- and the lanes that ended lately.
create index head_seen on head (seen_at);
create index conflict_at on conflict (at);
create index reaction_at on reaction (at);
create index lane_ended on lane (pipeline_id, ended_at) where ended_at is not null;
