-- What one call of a plugin may use, set at its binding.

alter table binding
  -- {fuel, memory_mib, answer_mib, deadline_ms}, each where it differs from the hook's own.
  add column limits jsonb not null default '{}',
  add column previous_limits jsonb;

-- As before, and limits are part of what a roll back brings back, and of the journal.
create or replace function binding_row() returns trigger
language plpgsql as $$
begin
  new.generation := old.generation;
  if new is not distinct from old then
    return null;
  end if;
  if (new.plugin_id, new.settings, new.limits) is distinct from (old.plugin_id, old.settings, old.limits) then
    new.previous_plugin_id := old.plugin_id;
    new.previous_settings := old.settings;
    new.previous_limits := old.limits;
  end if;
  new.generation := current_setting('pointsman.generation')::bigint;
  return new;
end $$;

drop trigger journal_1_begin on binding;
drop trigger journal_2_row on binding;
drop trigger truncate_refused on binding;
drop function journal_binding_insert(), journal_binding_update(), journal_binding_delete() cascade;
call journal_attach('binding', $$p.name || '/' || r.hook || '/' || r.position$$,
  $$jsonb_build_object('plugin', g.name || '@' || left(g.digest, 12), 'digest', g.digest,
    'settings', r.settings, 'limits', nullif(r.limits, '{}'), 'deleted', r.deleted_at)$$,
  join_sql => 'join pipeline p on p.id = r.pipeline_id join plugin g on g.id = r.plugin_id',
  mark => 'deleted_at', row_trigger => 'binding_row');

-- The limits that the call had, where they were not the hook's own: a replay needs the same.
alter table decision add column limits jsonb;
