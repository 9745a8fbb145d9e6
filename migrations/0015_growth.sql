-- What grows with the square of a batch, or with all that was ever decided.

-- A statement in a trigger is planned for as many old and new rows as there were when its connection ran it first: after an
-- update of one row, one of thousands compared each old row with each new one. A full join compares by hash or by
-- order, whatever is expected; the rows are the same, since an update has each row on both sides.
create or replace procedure journal_attach(
  target regclass, name_sql text, fields_sql text, join_sql text default '', mark text default null,
  row_trigger text default 'journal_row'
) language plpgsql as $$
declare
  gone text := case when mark is null then 'false' else format('(r.%I is not null)', mark) end;
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
          case when nv.gone and not ov.gone then 'delete' else 'update' end,
          nv.name, journal_diff(ov.fields, nv.fields)
        from (select r.id, %6$s as gone, %3$s as name, %4$s as fields from new_rows r %5$s) nv
        full join (select r.id, %6$s as gone, %4$s as fields from old_rows r %5$s) ov using (id)
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
  $f$, target, target::text, name_sql, fields_sql, join_sql, gone, row_trigger);
end $$;

-- The tables that are journalled already.
do $$
declare
  journal record;
  mark text;
  body text;
begin
  for journal in
    select p.oid, p.proname, pg_get_functiondef(p.oid) as definition from pg_proc p
    where p.pronamespace = current_schema()::regnamespace and p.proname ~ '^journal_.*_update$'
  loop
    mark := substring(journal.definition from 'case when \(o\.(\w+) is null and n\.\w+ is not null\)');
    body := replace(journal.definition, E'from new_rows n\n        join old_rows o using (id)\n        join (', 'from (');
    body := replace(body, E'nv using (id)\n        join (', E'nv\n        full join (');
    if mark is not null then
      body := replace(body, format('case when (o.%1$s is null and n.%1$s is not null)', mark),
        'case when nv.gone and not ov.gone');
      body := replace(body, '(select r.id, ', format('(select r.id, (r.%s is not null) as gone, ', mark));
    end if;
    if body ~ 'join old_rows' or body !~ 'full join' or body ~ '\mn\.' then
      raise exception 'the journal of % is not as it was made', journal.proname;
    end if;
    execute body;
  end loop;
end $$;

-- The same for what else follows from updates. The fence keeps what is asked of both rows from making it a plain join again.
do $$
declare
  pairs text := '(select n, o from new_rows n full join old_rows o using (id) offset 0) pair '
    || 'cross join lateral (select (pair.n).*) %s cross join lateral (select (pair.o).*) o';
  follows record;
  body text;
begin
  for follows in
    select p.oid, p.proname, pg_get_functiondef(p.oid) as definition from pg_proc p
    where p.pronamespace = current_schema()::regnamespace and p.proname in (
      'cause_of_dependencies', 'cause_of_retargets', 'cause_of_runs', 'dependencies_of_pulls', 'reaction_of_lanes',
      'reaction_of_pulls', 'reaction_of_standings', 'requests_of_runs')
  loop
    body := replace(follows.definition, 'new_rows n join old_rows o using (id)', format(pairs, 'n'));
    body := replace(body, 'old_rows o join new_rows n using (id)', format(pairs, 'n'));
    body := replace(body, 'new_rows r join old_rows o using (id)', format(pairs, 'r'));
    if body = follows.definition then
      raise exception '% is not as it was made', follows.proname;
    end if;
    execute body;
  end loop;
end $$;

-- What follows locks tables, in the order in which a host that is running takes them: one that has not been updated yet may be.
-- A candidate in shadow that cannot be asked says so where people look, and not in the log of a host alone.

alter table shadow_progress add failing text
  constraint shadow_failing check (octet_length(failing) <= 1024);
comment on column shadow_progress.failing is 'why the candidate cannot be asked at present; null: it can';

-- What retention looks at.
create index blob_created on blob (created_at);
-- The newest decisions about a question, without reading the others about it. The one before serves until this one is there.
create index decision_question on decision (input, id);
drop index decision_input;
