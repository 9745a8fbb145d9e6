-- Generations and events: the journal that every other table of the record hangs on.
--
-- A batch of changes is one transaction and one generation. Triggers write an event for each change,
-- so a change typed into psql is journalled exactly like one that came through the API.

create extension if not exists pg_trgm;

-- ---------------------------------------------------------------------------------------------
-- Epochs: which incarnation of the database a cursor belongs to.
--
-- Transaction ids order events (see `event`), and they start anew in a restored or promoted
-- database. Each incarnation therefore gets its own epoch, and a cursor that another one issued
-- is refused instead of being misread.
create table epoch (
  id int generated always as identity primary key,
  -- What a cursor names. Random, so that two restores of one dump differ.
  tag text not null unique default substr(replace(gen_random_uuid()::text, '-', ''), 1, 12),
  identity text not null,
  started_at timestamptz not null default now()
);

-- What makes this incarnation this one: the cluster, the database in it, and the timeline, which a
-- point-in-time recovery and a promotion both change.
create function database_identity() returns text
language sql stable as $$
  select (select system_identifier from pg_control_system())::text
    || '/' || (select oid from pg_database where datname = current_database())::text
    || '/' || case when pg_is_in_recovery() then 'recovery'
                   else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end
$$;

-- The id of the current epoch; begins a new one where the database is not the one it was.
create function epoch_ensure() returns int
language plpgsql as $$
declare
  current_epoch epoch;
  here text := database_identity();
begin
  select * into current_epoch from epoch order by id desc limit 1;
  if current_epoch.identity is distinct from here then
    lock table epoch in share row exclusive mode;
    select * into current_epoch from epoch order by id desc limit 1;
    if current_epoch.identity is distinct from here then
      insert into epoch (identity) values (here) returning * into current_epoch;
    end if;
  end if;
  return current_epoch.id;
end $$;

select epoch_ensure();

-- ---------------------------------------------------------------------------------------------
-- Generations.

create table generation (
  id bigint generated always as identity primary key,
  comment text not null
    constraint generation_comment_length check (comment <> '' and octet_length(comment) <= 4096),
  -- The token's name for a change through the API, the database role for one in psql.
  username text not null,
  address inet,
  at timestamptz not null default now(),
  epoch int not null references epoch,
  -- The transaction it belongs to: what ties a generation down, and what no SET can forge.
  tx xid8 not null,
  -- Serves `generation_id()` and the events of one generation.
  constraint generation_tx unique (epoch, tx)
);
-- Serves the generations of one user, newest first.
create index generation_username on generation (username, id);
-- Serves `--since` of generations and events.
create index generation_at on generation (at);

-- Begins a batch: one per transaction. Returns the new generation's id.
create function generation_start(
  comment text, username text default session_user, address inet default inet_client_addr()
) returns bigint
language plpgsql as $$
declare
  started bigint;
begin
  if generation_id() is not null then
    raise exception 'this transaction already has generation %', generation_id()
      using errcode = 'PM002', hint = 'A generation is one transaction: commit, then begin the next.';
  end if;
  insert into generation (comment, username, address, epoch, tx)
    values (comment, username, address, epoch_ensure(), pg_current_xact_id())
    returning id into started;
  perform set_config('pointsman.generation', started::text, true);
  return started;
end $$;

-- The id of this transaction's generation, or null. Looked up by transaction id, never by a setting.
create function generation_id() returns bigint
language sql stable as $$
  select g.id from generation g
  where g.tx = pg_current_xact_id_if_assigned() and g.epoch = (select max(e.id) from epoch e)
$$;

-- The id of this transaction's generation, or the error that says how to begin one.
create function generation_require() returns bigint
language plpgsql stable as $$
declare
  id bigint := generation_id();
begin
  if id is null then
    raise exception 'a change to the record needs a generation'
      using errcode = 'PM001',
            hint = 'BEGIN; SELECT generation_start(''why you change this''); ... COMMIT;';
  end if;
  return id;
end $$;

-- Drops this transaction's generation if nothing changed under it; says whether it did.
create function generation_drop_empty() returns boolean
language plpgsql as $$
declare
  gone bigint;
begin
  delete from generation g
    where g.id = generation_id()
      and not exists (select from event e where e.epoch = g.epoch and e.tx = g.tx)
    returning g.id into gone;
  return gone is not null;
end $$;

-- ---------------------------------------------------------------------------------------------
-- Events.

create table event (
  epoch int not null,
  -- The writing transaction. Readers take events in the order (epoch, tx, id) and only those whose
  -- transaction is older than every running one (`pg_snapshot_xmin`), so a transaction that began
  -- early and commits late is waited for, never skipped. An id alone cannot give that.
  tx xid8 not null,
  id bigint generated always as identity,
  generation bigint not null,
  at timestamptz not null default now(),
  -- The table that changed.
  kind text collate "C" not null,
  -- create, update or delete.
  operation text collate "C" not null,
  -- The human-readable name: `ubuntu-22.04/5.15.0-57-generic`.
  name text collate "C" not null,
  -- create: the fields set. delete: the fields as they were. update: field -> [old, new].
  changes jsonb not null,
  -- Serves the cursor, and the events of one generation.
  primary key (epoch, tx, id)
);
-- Serves the history of one object (and, by prefix, of a kernel version's runs).
create index event_name on event (name, epoch, tx, id);
-- Serves "all changes of plugins", however many kernel versions there are.
create index event_kind on event (kind, epoch, tx, id);

-- Wakes followers and turns when the batch commits; whoever misses it polls.
create function generation_notify() returns trigger
language plpgsql as $$
begin
  perform pg_notify('pointsman_generation', '');
  return null;
end $$;
create trigger generation_notify after insert on generation
  for each statement execute function generation_notify();

-- An empty generation does not survive its commit.
create function generation_settle() returns trigger
language plpgsql as $$
begin
  delete from generation g
    where g.id = new.id and not exists (select from event e where e.epoch = g.epoch and e.tx = g.tx);
  return null;
end $$;
create constraint trigger generation_settle after insert on generation
  deferrable initially deferred for each row execute function generation_settle();

-- Whether this transaction imports another record's history, which keeps its own times and order.
-- Imported history lies in epochs below zero: before everything that happened here.
create function history_importing() returns boolean
language sql stable as $$
  -- Null where nobody imports, and null would pass a guard.
  select coalesce(current_setting('pointsman.importing', true) = pg_current_xact_id_if_assigned()::text, false)
$$;

-- Generations and events are written by the functions and triggers of this file alone.
create function generation_guard() returns trigger
language plpgsql as $$
begin
  if tg_op = 'INSERT' and history_importing() and new.epoch < 0 then
    return new;
  elsif tg_op = 'INSERT' then
    new.tx := pg_current_xact_id();
    new.epoch := epoch_ensure();
    new.at := now();
    return new;
  elsif tg_op = 'DELETE'
    and not exists (select from event e where e.epoch = old.epoch and e.tx = old.tx) then
    return old;
  end if;
  raise exception 'generation % is history and cannot be changed', old.id using errcode = 'PM003';
end $$;
create trigger generation_guard before insert or update or delete on generation
  for each row execute function generation_guard();

create function event_guard() returns trigger
language plpgsql as $$
begin
  -- Depth 1 is this trigger itself: somebody's own statement, not a journal trigger's.
  if tg_op <> 'INSERT' or (pg_trigger_depth() < 2 and not history_importing()) then
    raise exception 'events are written by triggers and never changed' using errcode = 'PM003';
  end if;
  return null;
end $$;
create trigger event_guard before insert or update or delete on event
  for each statement execute function event_guard();

-- An import writes no events but those of epochs below zero. (The condition keeps the journal's own
-- rows, which come from a trigger, from paying for a call each.)
create function event_history_guard() returns trigger
language plpgsql as $$
begin
  if new.epoch >= 0 then
    raise exception 'imported events lie before everything that happened here' using errcode = 'PM003';
  end if;
  return new;
end $$;
create trigger event_history_guard before insert on event
  for each row when (pg_trigger_depth() = 0) execute function event_history_guard();

create function truncate_refused() returns trigger
language plpgsql as $$
begin
  raise exception 'TRUNCATE of % is refused: it would leave no events', tg_table_name
    using errcode = 'PM004', hint = 'Mark rows as deleted under a generation instead.';
end $$;
create trigger truncate_refused before truncate on generation
  for each statement execute function truncate_refused();
create trigger truncate_refused before truncate on event
  for each statement execute function truncate_refused();

-- ---------------------------------------------------------------------------------------------
-- Journalling of a table.

-- Refuses a statement without a generation, and caches the id where the row trigger reads it.
create function journal_begin() returns trigger
language plpgsql as $$
begin
  perform set_config('pointsman.generation', generation_require()::text, true);
  return null;
end $$;

-- Stamps a changed row with the generation, and drops an update that changes nothing. (A new row
-- is stamped by its column's default, which costs less than a call per row.)
create function journal_row() returns trigger
language plpgsql as $$
begin
  new.generation := old.generation;
  if new is not distinct from old then
    return null;
  end if;
  -- Only a cache: the statement trigger compares it with the truth.
  new.generation := current_setting('pointsman.generation')::bigint;
  return new;
end $$;

-- The fields of an update that differ: field -> [old, new].
create function journal_diff(old_fields jsonb, new_fields jsonb) returns jsonb
language sql immutable as $$
  select coalesce(jsonb_object_agg(f, jsonb_build_array(old_fields -> f, new_fields -> f)), '{}')
  from (select jsonb_object_keys(old_fields || new_fields) as f) fields
  where (old_fields -> f) is distinct from (new_fields -> f)
$$;

-- Journals a table that has the columns `id` and
-- `generation bigint not null default current_setting('pointsman.generation')::bigint`.
-- `name_sql` and `fields_sql` are expressions over the row alias `r`; tables they
-- look names up in are joined by `join_sql`. `mark` is the column that marks a row as deleted.
-- Statement triggers with transition tables: one insert of events per statement, however many rows.
create procedure journal_attach(
  target regclass, name_sql text, fields_sql text, join_sql text default '', mark text default null,
  row_trigger text default 'journal_row'
) language plpgsql as $$
declare
  deletes text := case when mark is null then 'false'
    else format('(o.%1$I is null and n.%1$I is not null)', mark) end;
begin
  execute format($f$
    create function journal_%1$s_insert() returns trigger language plpgsql as $b$
    declare batch generation;
    begin
      select * into batch from generation where id = generation_require();
      if exists (select from new_rows r where r.generation is distinct from batch.id) then
        raise exception 'the generation of a row cannot be forged' using errcode = 'PM005';
      end if;
      insert into event (epoch, tx, generation, kind, operation, name, changes)
        select batch.epoch, batch.tx, batch.id, %2$L, 'create', %3$s, jsonb_strip_nulls(%4$s)
        from new_rows r %5$s;
      return null;
    end $b$;
    create function journal_%1$s_delete() returns trigger language plpgsql as $b$
    declare batch generation;
    begin
      select * into batch from generation where id = generation_require();
      insert into event (epoch, tx, generation, kind, operation, name, changes)
        select batch.epoch, batch.tx, batch.id, %2$L, 'delete', %3$s, jsonb_strip_nulls(%4$s)
        from old_rows r %5$s;
      return null;
    end $b$;
    create function journal_%1$s_update() returns trigger language plpgsql as $b$
    declare batch generation;
    begin
      if not exists (select from new_rows) then
        return null;
      end if;
      select * into batch from generation where id = generation_require();
      if exists (select from new_rows r where r.generation is distinct from batch.id) then
        raise exception 'the generation of a row cannot be forged' using errcode = 'PM005';
      end if;
      insert into event (epoch, tx, generation, kind, operation, name, changes)
        select batch.epoch, batch.tx, batch.id, %2$L,
          case when %6$s then 'delete' else 'update' end,
          nv.name, journal_diff(ov.fields, nv.fields)
        from new_rows n
        join old_rows o using (id)
        join (select r.id, %3$s as name, %4$s as fields from new_rows r %5$s) nv using (id)
        join (select r.id, %4$s as fields from old_rows r %5$s) ov using (id)
        where ov.fields is distinct from nv.fields;
      return null;
    end $b$;
    create trigger journal_1_begin before insert or update or delete on %1$s
      for each statement execute function journal_begin();
    create trigger journal_2_row before update on %1$s
      for each row execute function %7$I();
    create trigger journal_3_insert after insert on %1$s referencing new table as new_rows
      for each statement execute function journal_%1$s_insert();
    create trigger journal_3_update after update on %1$s
      referencing old table as old_rows new table as new_rows
      for each statement execute function journal_%1$s_update();
    create trigger journal_3_delete after delete on %1$s referencing old table as old_rows
      for each statement execute function journal_%1$s_delete();
    create trigger truncate_refused before truncate on %1$s
      for each statement execute function truncate_refused();
  $f$, target, target::text, name_sql, fields_sql, join_sql, deletes, row_trigger);
end $$;
