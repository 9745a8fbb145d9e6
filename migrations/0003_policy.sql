-- Plugins, pipelines, bindings, decisions, and what is derived from decisions.

create table plugin (
  id int generated always as identity primary key,
  -- SHA-256 of the component, lower-case hex: what a binding names.
  digest text collate "C" not null unique
    constraint plugin_digest_form check (digest ~ '^[0-9a-f]{64}$'),
  name text collate "C" not null
    constraint plugin_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  hooks text[] not null,
  -- JSON Schema of its settings; null where it exports no `settings`.
  settings_schema jsonb,
  wasm bytea not null,
  uploaded_at timestamptz not null default now(),
  uploaded_by text not null,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
create index plugin_name on plugin (name, id desc);
call journal_attach('plugin', $$r.name || '@' || left(r.digest, 12)$$,
  $$jsonb_build_object('digest', r.digest, 'hooks', r.hooks, 'bytes', octet_length(r.wasm))$$);

create table pipeline (
  id int generated always as identity primary key,
  name text collate "C" not null unique
    constraint pipeline_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  kind text not null constraint pipeline_kind check (kind in ('kernel', 'merge')),
  -- A paused pipeline takes no turn; what it missed waits for it.
  paused text constraint pipeline_paused_length check (octet_length(paused) between 1 and 1024),
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
-- The state of a kernel version is one, so one pipeline decides about it.
create unique index pipeline_one_kernel on pipeline (kind) where kind = 'kernel' and deleted_at is null;
call journal_attach('pipeline', 'r.name', $$jsonb_build_object(
  'kind', r.kind, 'paused', r.paused, 'deleted', r.deleted_at)$$, mark => 'deleted_at');

create table binding (
  id int generated always as identity primary key,
  pipeline_id int not null references pipeline,
  hook text collate "C" not null
    constraint binding_hook check (hook in
      ('ignore', 'advance', 'review', 'gate', 'select', 'run', 'triage', 'react')),
  -- Its place in the hook's chain.
  position int not null default 0 constraint binding_position check (position between 0 and 15),
  plugin_id int not null references plugin,
  settings jsonb not null default '{}',
  -- What it was before: where `rollback` goes.
  previous_plugin_id int references plugin,
  previous_settings jsonb,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint binding_place unique (pipeline_id, hook, position)
);

-- As `journal_row`, and a change of version remembers the one before.
create function binding_row() returns trigger
language plpgsql as $$
begin
  new.generation := old.generation;
  if new is not distinct from old then
    return null;
  end if;
  if (new.plugin_id, new.settings) is distinct from (old.plugin_id, old.settings) then
    new.previous_plugin_id := old.plugin_id;
    new.previous_settings := old.settings;
  end if;
  new.generation := current_setting('pointsman.generation')::bigint;
  return new;
end $$;
call journal_attach('binding', $$p.name || '/' || r.hook || '/' || r.position$$,
  $$jsonb_build_object('plugin', g.name || '@' || left(g.digest, 12), 'digest', g.digest,
    'settings', r.settings, 'deleted', r.deleted_at)$$,
  join_sql => 'join pipeline p on p.id = r.pipeline_id join plugin g on g.id = r.plugin_id',
  mark => 'deleted_at', row_trigger => 'binding_row');

-- ---------------------------------------------------------------------------------------------
-- Outside the journal: what the turn writes about itself, and what can be derived again.

-- Content-addressed inputs and outputs of decisions, zstd-compressed.
create table blob (
  digest bytea primary key constraint blob_digest_length check (octet_length(digest) = 32),
  bytes bytea not null,
  created_at timestamptz not null default now()
);
alter table blob alter column bytes set storage external;

create table decision (
  id bigint generated always as identity primary key,
  pipeline_id int not null references pipeline,
  hook text collate "C" not null,
  position int not null,
  -- The distro a batch was about.
  subject text collate "C" not null,
  at timestamptz not null,
  plugin_id int not null references plugin,
  settings jsonb not null,
  seed bigint not null,
  engine text not null,
  -- How many versions were asked about.
  items int not null,
  input bytea not null references blob,
  output bytea references blob,
  -- answered, refused, bad-answer, out-of-fuel, out-of-memory, trapped, ...
  outcome text collate "C" not null,
  -- Why: the answer's own reason, or what went wrong.
  reason_code text not null,
  reason_text text not null,
  fuel bigint not null,
  duration_us bigint not null,
  -- The batch that carried out what it proposed; null when it changed nothing.
  generation bigint
);
-- Serves lists by pipeline, by subject, by outcome, and retention by time.
create index decision_pipeline on decision (pipeline_id, id);
create index decision_subject on decision (subject, id);
create index decision_outcome on decision (outcome, id) where outcome <> 'answered';
create index decision_at on decision (at);
-- Serves "which decision is behind this generation".
create index decision_generation on decision (generation) where generation is not null;
-- Serves retention: is this blob still referred to?
create index decision_input on decision (input);
create index decision_output on decision (output);

-- Which versions the policy ignores: derived, kept up to date by the turn.
create table kernel_ignored (
  kernel_version_id bigint primary key references kernel_version,
  -- Repeated from the version, so that pages of ignored versions walk one index.
  distro_id int not null,
  version text collate "C" not null,
  -- all (no runs, and absent from reports) or automatic (runs only by hand).
  scope text not null,
  ignore_id bigint references kernel_ignore,
  reason_code text not null,
  reason_text text not null,
  decision_id bigint not null
);
create index kernel_ignored_page on kernel_ignored (distro_id, version);
-- Serves "what did this pattern ignore" when it expires or is removed.
create index kernel_ignored_rule on kernel_ignored (ignore_id);

-- Which runs the policy wants: what a builder asks for its next work.
create table kernel_wanted (
  kernel_version_id bigint not null references kernel_version,
  release text collate "C" not null default '',
  purpose text collate "C" not null,
  priority int not null,
  reason_code text not null,
  reason_text text not null,
  since timestamptz not null default now(),
  decision_id bigint not null,
  primary key (kernel_version_id, release)
);
-- Serves "what to build next": highest priority first, oldest first.
create index kernel_wanted_next on kernel_wanted (purpose, priority desc, since, kernel_version_id);
-- Serves the same for all purposes.
create index kernel_wanted_order on kernel_wanted (priority desc, since, kernel_version_id);

-- How far a pipeline has read the events, and what holds it.
create table pipeline_progress (
  pipeline_id int primary key references pipeline,
  epoch int not null,
  tx xid8 not null,
  event_id bigint not null,
  -- The newest answer to each hook asked for another look then.
  wake_at timestamptz,
  -- The newest `ignore` answer depends on all rules, not only on those that match (`rules.scope`).
  rules_scope_all boolean not null default false,
  held_hook text,
  held_code text,
  held_text text,
  held_since timestamptz,
  held_decision_id bigint,
  turns bigint not null default 0,
  updated_at timestamptz not null default now()
);

-- Versions to look at again, in pages: after a swap all, after a new pattern those it can match.
create table sweep (
  id bigint generated always as identity primary key,
  pipeline_id int not null references pipeline,
  hook text not null,
  distro_id int references distro,
  -- Some: only versions that this pattern matches or had ignored.
  ignore_id bigint references kernel_ignore,
  -- Versions up to this id are done.
  after_id bigint not null default 0,
  created_at timestamptz not null default now()
);
create index sweep_pipeline on sweep (pipeline_id, id);
