-- Files by the SHA-256 of their bytes: evidence from villages, exports, notices. The bytes lie outside the database.
-- The file of the same name under postgres/ holds the same tables; a test compares the two column by column.

create table content (
  sha256         text   not null, -- 64 lower-case hexadecimal digits
  bytes          bigint not null,
  media_type     text   not null,
  audience       text   not null, -- hub: only the hub reads it; gateways: a gateway that was told its hash may fetch it
  origin_site_id text,            -- the site that brought it; null when it was made here
  received_ms    bigint not null, -- when it was whole and its hash had been checked
  constraint content_pk primary key (sha256),
  constraint content_audience check (audience in ('hub', 'gateways')),
  constraint content_site_fk foreign key (origin_site_id) references site (id)
);
create index content_origin on content (origin_site_id);

-- What a content is kept for, and until when. It may be said before the content arrives.
create table content_link (
  sha256     text   not null,
  subject    text   not null, -- who keeps it, e.g. evidence:<id>
  expires_ms bigint not null,
  constraint content_link_pk primary key (sha256, subject)
);
create index content_link_subject on content_link (subject);
