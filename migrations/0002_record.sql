-- The record: distros, kernel versions, runs, ignore patterns, clusters and their hosts.
-- Every table here is journalled. `generation` has no foreign key: the journal's triggers write and
-- check it for each row, and a second check per row would cost more than the row.

create table distro (
  id int generated always as identity primary key,
  -- The builder name: `ubuntu-22.04`.
  name text collate "C" not null unique
    constraint distro_name_form check (name ~ '^[a-z0-9][a-z0-9._+-]{0,62}$' and name <> 'all'),
  -- The build variant's name: `UBUNTU2204`.
  variant text not null
    constraint distro_variant_form check (variant ~ '^[A-Za-z0-9_.+-]{1,64}$'),
  -- A new kernel version of an unsupported distro starts no runs by itself.
  supported boolean not null default true,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
call journal_attach('distro', 'r.name', $$jsonb_build_object(
  'variant', r.variant, 'supported', r.supported, 'deleted', r.deleted_at)$$, mark => 'deleted_at');

create table kernel_state (
  id int generated always as identity primary key,
  name text collate "C" not null unique
    constraint kernel_state_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  -- Higher is further along.
  -- Deferred, so that two states can change places.
  rank int not null
    constraint kernel_state_rank unique deferrable initially deferred,
  -- Who may move a version into it: a policy (and people), or people alone.
  moved_by text not null default 'policy'
    constraint kernel_state_moved_by check (moved_by in ('policy', 'person')),
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
call journal_attach('kernel_state', 'r.name', $$jsonb_build_object(
  'rank', r.rank, 'moved-by', r.moved_by)$$);

create table kernel_version (
  id bigint generated always as identity primary key,
  distro_id int not null references distro,
  -- Collation "C": the order of pages is the order of the index, on every machine.
  version text collate "C" not null
    constraint kernel_version_form check (
      octet_length(version) between 1 and 128 and version ~ '^[A-Za-z0-9][!-~]*$'
      and position('/' in version) = 0),
  state_id int not null references kernel_state,
  -- Since when it has been in that state: what `stale` asks.
  state_since timestamptz not null default now(),
  -- Whether a person put it there: a policy then leaves older runs aside.
  state_by_person boolean not null default false,
  -- When a person last moved it: runs that ended before are what that person has judged, and lift it
  -- no more, wherever a policy moves it afterwards.
  judged_at timestamptz,
  first_seen timestamptz not null default now(),
  -- What is missing to fetch it (`headers`, `image`), empty when it is complete.
  missing text[] not null default '{}',
  -- [{name, version, arch, filename, sha256, size, role}]: what to fetch and how to check it.
  packages jsonb not null default '[]',
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  -- Serves one version by name, and pages in the order (distro, version). The included columns let a
  -- pattern pass over versions without reading their rows.
  constraint kernel_version_name unique (distro_id, version) include (id, deleted_at)
);
-- How many versions a pattern matches decides between walking the order of the page and looking up
-- trigrams; the usual hundred samples cannot tell one in a hundred from one in ten thousand.
alter table kernel_version alter column version set statistics 500;
-- Serves pages filtered by state, with or without a distro.
create index kernel_version_state on kernel_version (state_id, distro_id, version) include (id)
  where deleted_at is null;
-- Serves `stale`: the oldest of a state first.
create index kernel_version_since on kernel_version (state_id, state_since, distro_id, version)
  where deleted_at is null;
-- Serves pages of what is marked as deleted: few among many.
create index kernel_version_deleted on kernel_version (distro_id, version)
  where deleted_at is not null;
-- Serves LIKE and regex filters that have a trigram.
create index kernel_version_trigram on kernel_version using gin (version gin_trgm_ops);

-- As `journal_row`, and a change of state restarts its clock.
create function kernel_version_row() returns trigger
language plpgsql as $$
begin
  new.generation := old.generation;
  if new is not distinct from old then
    return null;
  end if;
  if new.state_id <> old.state_id then
    new.state_since := now();
    new.state_by_person := not exists (
      select from generation g
      where g.id = current_setting('pointsman.generation')::bigint and g.username like 'policy:%');
    if new.state_by_person then
      new.judged_at := now();
    end if;
  end if;
  new.generation := current_setting('pointsman.generation')::bigint;
  return new;
end $$;
call journal_attach('kernel_version', $$d.name || '/' || r.version$$, $$jsonb_build_object(
  'state', s.name,
  'missing', case when r.missing <> '{}' then to_jsonb(r.missing) end,
  'packages', nullif(r.packages, '[]'), 'deleted', r.deleted_at)$$,
  join_sql => 'join distro d on d.id = r.distro_id join kernel_state s on s.id = r.state_id',
  mark => 'deleted_at', row_trigger => 'kernel_version_row');

create table kernel_ignore (
  id bigint generated always as identity primary key,
  -- Null: every distro.
  distro_id int references distro,
  kind text not null constraint kernel_ignore_kind check (kind in ('like', 'regex')),
  pattern text collate "C" not null
    constraint kernel_ignore_pattern_length check (octet_length(pattern) between 1 and 256),
  reason text not null constraint kernel_ignore_reason_length check (octet_length(reason) <= 1024),
  expires timestamptz,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint kernel_ignore_unique unique nulls not distinct (distro_id, kind, pattern)
);
call journal_attach('kernel_ignore', $$coalesce(d.name, 'all') || ' ' || r.kind || ' ' || r.pattern$$,
  $$jsonb_build_object('reason', r.reason, 'expires', r.expires, 'deleted', r.deleted_at)$$,
  join_sql => 'left join distro d on d.id = r.distro_id', mark => 'deleted_at');

create table run (
  id bigint generated always as identity primary key,
  kernel_version_id bigint not null references kernel_version,
  -- fetch, build or test.
  purpose text collate "C" not null
    constraint run_purpose_form check (purpose ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  -- The product release it was for; empty where there is only one.
  release text collate "C" not null default ''
    constraint run_release_form check (octet_length(release) <= 64),
  -- Null while it runs.
  verdict text constraint run_verdict check (verdict in ('pass', 'fail', 'inconclusive')),
  comment text not null default '' constraint run_comment_length check (octet_length(comment) <= 4096),
  link text constraint run_link_length check (octet_length(link) <= 2048),
  -- The reporter's own name for the run (`jenkins-13343`): reporting it again updates it.
  key text collate "C" constraint run_key_length check (octet_length(key) between 1 and 256),
  reported_by text not null,
  at timestamptz not null default now(),
  -- When a run that was first reported as running got its verdict; null where it came with one.
  ended_at timestamptz,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint run_key unique (kernel_version_id, purpose, release, key)
);
-- Serves the runs of a version and "the newest run of each purpose".
create index run_newest on run (kernel_version_id, purpose, id desc);

-- As `journal_row`, and a new verdict says when: a run that ends after a person moved its version is
-- news to that person, whenever it began.
create function run_row() returns trigger
language plpgsql as $$
begin
  new.generation := old.generation;
  if new is not distinct from old then
    return null;
  end if;
  if new.verdict is distinct from old.verdict then
    new.ended_at := now();
  end if;
  new.generation := current_setting('pointsman.generation')::bigint;
  return new;
end $$;
call journal_attach('run',
  $$d.name || '/' || k.version || ' ' || r.purpose || case when r.release <> '' then ' ' || r.release else '' end || ' #' || r.id$$,
  $$jsonb_build_object('verdict', r.verdict, 'comment', nullif(r.comment, ''), 'link', r.link,
    'key', r.key, 'reported-by', r.reported_by, 'deleted', r.deleted_at)$$,
  join_sql => 'join kernel_version k on k.id = r.kernel_version_id join distro d on d.id = k.distro_id',
  mark => 'deleted_at', row_trigger => 'run_row');

create table cluster_type (
  id int generated always as identity primary key,
  name text collate "C" not null unique
    constraint cluster_type_name_form check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
call journal_attach('cluster_type', 'r.name', $$'{}'::jsonb$$);

create table cluster (
  id int generated always as identity primary key,
  name text collate "C" not null unique
    constraint cluster_name_form check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  type_id int not null references cluster_type,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
call journal_attach('cluster', 'r.name', $$jsonb_build_object('type', t.name, 'deleted', r.deleted_at)$$,
  join_sql => 'join cluster_type t on t.id = r.type_id', mark => 'deleted_at');

-- One kernel that a host runs (`current`) or has installed.
create table host_kernel (
  id bigint generated always as identity primary key,
  cluster_id int not null references cluster,
  host text collate "C" not null
    constraint host_name_form check (host ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$'),
  kernel_version_id bigint not null references kernel_version,
  current boolean not null default false,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint,
  constraint host_kernel_unique unique (cluster_id, host, kernel_version_id)
);
-- Serves "installed on hosts" and "which hosts run this".
create index host_kernel_version on host_kernel (kernel_version_id) where deleted_at is null;
-- A host runs one kernel at a time.
create unique index host_kernel_current on host_kernel (cluster_id, host)
  where current and deleted_at is null;
call journal_attach('host_kernel', $$c.name || '/' || r.host || ' ' || d.name || '/' || k.version$$,
  $$jsonb_build_object('current', r.current, 'deleted', r.deleted_at)$$,
  join_sql => 'join cluster c on c.id = r.cluster_id join kernel_version k on k.id = r.kernel_version_id join distro d on d.id = k.distro_id',
  mark => 'deleted_at');

create table token (
  id int generated always as identity primary key,
  name text collate "C" not null unique
    constraint token_name_form check (name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$'),
  role text not null constraint token_role check (role in ('reader', 'writer', 'admin')),
  -- SHA-256 of the token. The token has 256 random bits, so no slow hash is needed.
  hash bytea not null unique constraint token_hash_length check (octet_length(hash) = 32),
  created_at timestamptz not null default now(),
  expires timestamptz,
  deleted_at timestamptz,
  generation bigint not null default current_setting('pointsman.generation')::bigint
);
call journal_attach('token', 'r.name', $$jsonb_build_object(
  'role', r.role, 'expires', r.expires, 'deleted', r.deleted_at,
  'hash', left(encode(r.hash, 'hex'), 8))$$, mark => 'deleted_at');
