-- What a replay needs beside the question, and candidates that follow the decisions in shadow.

alter table decision
  -- {notes, facts, attrs}: what else the plugin was given. Null where there was nothing else.
  add column context jsonb,
  -- Until then the answer may be used again for the same question. Null: as long as nothing changes.
  add column wake_at timestamptz;

-- Serves "the decisions of this place behind that one", which a candidate asks for again and again.
create index decision_place on decision (pipeline_id, hook, position, id);
-- Serves replays by time, in pages, and retention as before.
drop index decision_at;
create index decision_at on decision (at, id);

-- A candidate beside the active binding: asked what that was asked, after the fact, and never heard.
create table shadow (
  id int generated always as identity primary key,
  pipeline_id int not null references pipeline,
  hook text collate "C" not null,
  position int not null default 0 constraint shadow_position check (position between 0 and 15),
  plugin_id int not null references plugin,
  settings jsonb not null default '{}',
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint shadow_place unique (pipeline_id, hook, position)
);
call journal_attach('shadow', $$p.name || '/' || r.hook || '/' || r.position$$,
  $$jsonb_build_object('plugin', g.name || '@' || left(g.digest, 12), 'digest', g.digest,
    'settings', r.settings, 'deleted', r.deleted_at)$$,
  join_sql => 'join pipeline p on p.id = r.pipeline_id join plugin g on g.id = r.plugin_id',
  mark => 'deleted_at');

-- Outside the journal: what came of it, for the candidate that is named here; another one starts anew.
create table shadow_progress (
  shadow_id int primary key references shadow,
  plugin_id int not null references plugin,
  settings jsonb not null,
  -- Decisions up to this one are done.
  after_id bigint not null,
  since timestamptz not null default now(),
  agreed bigint not null default 0,
  differed bigint not null default 0,
  -- Decisions that cannot be asked again: those that failed through the infrastructure.
  skipped bigint not null default 0
);

-- Decisions that the candidate would have made otherwise.
create table shadow_difference (
  shadow_id int not null references shadow,
  decision_id bigint not null references decision on delete cascade,
  outcome text collate "C" not null,
  reason_code text not null,
  reason_text text not null,
  -- The first place where the two answers differ, and what they have there.
  place text not null,
  before text not null,
  after text not null,
  fuel bigint not null,
  primary key (shadow_id, decision_id)
);
-- Serves "delete on cascade".
create index shadow_difference_decision on shadow_difference (decision_id);
