-- Questions in parts, so that what many of them share is kept once; and what a plugin printed.

-- Of a question, `blob.bytes` is a manifest where the question is large: its big fields and records
-- (the rules, the names of settled versions, a pull request) are blobs of their own, and in their place
-- stands {"$part": N}, the place of the part here. `blob.digest` is that of the whole, put together.
create table blob_part (
  whole bytea not null references blob on delete cascade,
  position int not null,
  part bytea not null references blob,
  primary key (whole, position)
);
-- Serves retention: is this blob a part of something?
create index blob_part_part on blob_part (part);

-- What the plugin printed, the last 8 KiB of it. Null: nothing.
alter table decision add column log text;
