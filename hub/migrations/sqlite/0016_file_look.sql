-- Looks at files of what cameras saw that are going on: a player fetches a film in many ranges, and all of them are one look.
create table file_look (
  actor       text   not null, -- user name
  kind        text   not null, -- evidence, export
  subject     text   not null, -- the evidence's or the export's id
  region_code text   not null,
  detail      text   not null, -- as in the audit trail
  began_ms    bigint not null,
  seen_ms     bigint not null, -- when something of the file was last read; the look is over a minute later
  constraint file_look_pk primary key (actor, kind, subject)
);
create index file_look_seen on file_look (seen_ms);
