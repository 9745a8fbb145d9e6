-- Notes, which policies keep and people edit, and the tags that `ignore` hands to `advance`.

create table note (
  id bigint generated always as identity primary key,
  pipeline_id int not null references pipeline,
  -- The place of the binding whose memory it is. It outlives a swap of the version that is bound there.
  hook text collate "C" not null
    constraint note_hook check (hook in
      ('ignore', 'advance', 'review', 'gate', 'select', 'run', 'triage', 'react')),
  position int not null default 0 constraint note_position check (position between 0 and 15),
  -- Null: of the pipeline itself.
  kernel_version_id bigint references kernel_version,
  -- No slash: the events' names are parted by it.
  key text collate "C" not null
    constraint note_key_form check (key <> '' and key !~ '[[:cntrl:]/]'),
  value text not null
    constraint note_length check (octet_length(key) + octet_length(value) <= 1024),
  -- The decision that asked for what it is now; null: a person wrote it. A turn looks at people's
  -- changes alone, so that a policy that counts does not wake itself.
  decision_id bigint,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  -- Only `advance` is given notes of a kernel version.
  constraint note_subject check (kernel_version_id is null or hook = 'advance'),
  -- Serves one note, those of a pipeline's places, and those of the versions that a turn asks about.
  constraint note_unique unique nulls not distinct (pipeline_id, hook, kernel_version_id, position, key)
);
-- Serves pages of a pipeline's notes, with or without a place.
create index note_page on note (pipeline_id, hook, position, id) where deleted_at is null;

-- As `journal_row`, and a change that names no decision of its own is a person's.
create function note_row() returns trigger
language plpgsql as $$
begin
  new.generation := old.generation;
  if new is not distinct from old then
    return null;
  end if;
  if new.decision_id is not distinct from old.decision_id then
    new.decision_id := null;
  end if;
  new.generation := current_setting('pointsman.generation')::bigint;
  return new;
end $$;
call journal_attach('note',
  $$p.name || '/' || r.hook || '/' || r.position || '/' || coalesce(d.name || '/' || k.version || '/', '') || r.key$$,
  $$jsonb_build_object('value', r.value, 'decision', r.decision_id, 'deleted', r.deleted_at)$$,
  join_sql => 'join pipeline p on p.id = r.pipeline_id left join kernel_version k on k.id = r.kernel_version_id left join distro d on d.id = k.distro_id',
  mark => 'deleted_at', row_trigger => 'note_row');

-- At most 64 notes of one subject, whoever writes them. Writers of one pipeline's notes take turns here,
-- so that two of them cannot pass the limit together.
create function note_limit() returns trigger
language plpgsql as $$
declare
  full_place text;
begin
  if not exists (select from new_rows where deleted_at is null) then
    return null;
  end if;
  perform from pipeline where id in (select pipeline_id from new_rows) order by id for no key update;
  select n.hook || '/' || n.position into full_place
    from (select distinct pipeline_id, hook, position, kernel_version_id from new_rows where deleted_at is null) s
    join note n on n.pipeline_id = s.pipeline_id and n.hook = s.hook and n.position = s.position
      and n.kernel_version_id = s.kernel_version_id and n.deleted_at is null
    group by n.pipeline_id, n.hook, n.position, n.kernel_version_id having count(*) > 64 limit 1;
  if full_place is null then
    select n.hook || '/' || n.position into full_place
      from (select distinct pipeline_id, hook, position from new_rows
            where deleted_at is null and kernel_version_id is null) s
      join note n on n.pipeline_id = s.pipeline_id and n.hook = s.hook and n.position = s.position
        and n.kernel_version_id is null and n.deleted_at is null
      group by n.pipeline_id, n.hook, n.position having count(*) > 64 limit 1;
  end if;
  if full_place is not null then
    raise exception 'a subject of % would have more than 64 notes', full_place
      using errcode = 'PM006', hint = 'Remove some that nobody needs.';
  end if;
  return null;
end $$;
create trigger note_limit_insert after insert on note referencing new table as new_rows
  for each statement execute function note_limit();
create trigger note_limit_update after update on note referencing new table as new_rows
  for each statement execute function note_limit();

-- Outside the journal: the tags of the newest `ignore` answers about a distro. `advance` is given them
-- also in a turn in which `ignore` is not asked.
create table distro_tags (
  pipeline_id int not null references pipeline,
  distro_id int not null references distro,
  -- {name: value}
  tags jsonb not null,
  primary key (pipeline_id, distro_id)
);
