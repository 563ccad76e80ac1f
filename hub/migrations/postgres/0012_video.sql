-- Cameras, what they saw of a press, and what people take out of their recordings.

-- What answers at an address in a village's network: a network recorder, or a camera that is its own. Credentials, the
-- number of sessions it bears and its clock are its own, not its channels'.
create table recorder (
  id              text   not null, -- opaque
  site_id         text   not null,
  host            text   not null, -- lower case; as the gateway reaches it
  port            bigint not null,
  credentials     bytea,           -- user name and password, sealed under the label recorder/{id}; null: it asks for none
  sessions_max    bigint not null, -- how many streams it gives at once
  created_ms      bigint not null,
  constraint recorder_pk primary key (id),
  constraint recorder_address unique (site_id, host, port),
  constraint recorder_site_fk foreign key (site_id) references site (id)
);

-- Cameras: each a channel of a recorder. What people say of it, then what its gateway reports.
create table camera (
  id                text   not null, -- opaque
  site_id           text   not null,
  recorder_id       text   not null,
  name              text   not null,
  kind              text   not null, -- public, facility or home
  main_path         text   not null, -- path and query of its RTSP address, credentials replaced by {username}, {password}
  sub_path          text,            -- of its second, smaller stream; null: it has none
  place             text,
  latitude          double precision, -- WGS 84 degrees; null: where its site is
  longitude         double precision,
  direction_degrees bigint,          -- where it looks, clockwise from north; null: all around, or nobody said
  record            text   not null, -- off, main or sub
  days_max          bigint not null, -- how long the village keeps its recordings
  bytes_max         bigint not null, -- how much of the village's disk they may take
  audio             bigint not null, -- 1: its sound is recorded, too
  consent_ms        bigint,          -- of a home camera: since when its household consents; null: it does not
  created_ms        bigint not null,
  revision          bigint not null, -- grows with each change by a person
  state             text   not null, -- as last reported; new before the first report
  state_since_ms    bigint not null, -- the gateway's clock
  state_detail      text   not null,
  main_codec        text,
  main_width        bigint,
  main_height       bigint,
  sub_codec         text,
  sub_width         bigint,
  sub_height        bigint,
  recorded_from_ms  bigint,
  recorded_bytes    bigint,
  last_frame_ms     bigint,
  heard_ms          bigint,          -- of the newest report, the gateway's clock: an older one changes nothing
  reported_ms       bigint,          -- when the hub last heard of it, the hub's clock
  stale             bigint not null, -- 1 while pages were told that nobody knows how it is
  constraint camera_pk primary key (id),
  constraint camera_site_fk foreign key (site_id) references site (id),
  constraint camera_recorder_fk foreign key (recorder_id) references recorder (id),
  constraint camera_kind check (kind in ('public', 'facility', 'home')),
  constraint camera_record check (record in ('off', 'main', 'sub'))
);
create index camera_site on camera (site_id);
create index camera_recorder on camera (recorder_id);

-- Whose home a home camera is at: the devices during whose alarm it opens.
create table camera_household (
  camera_id text not null,
  device_id text not null,
  constraint camera_household_pk primary key (camera_id, device_id),
  constraint camera_household_camera_fk foreign key (camera_id) references camera (id),
  constraint camera_household_device_fk foreign key (device_id) references device (id)
);
create index camera_household_device on camera_household (device_id);

-- What a camera saw of a press. The name and kind of the camera are as they were then: evidence outlives it.
create table evidence (
  id          text   not null, -- sorts by time
  site_id     text   not null,
  region_code text collate "C" not null,
  press_id    text   not null,
  camera_id   text   not null,
  camera_name text   not null,
  home        bigint not null, -- 1: of a home camera
  kind        text   not null, -- snapshot or clip
  state       text   not null, -- saved (in the village), ready (at the hub), missing or expired
  reason      text,            -- why it is missing or short
  sha256      text,            -- of the content, lower-case hexadecimal
  bytes       bigint,
  media_type  text,
  from_ms     bigint not null, -- what it shows, the gateway's clock
  to_ms       bigint not null,
  told_ms     bigint not null, -- when the hub heard of it
  received_ms bigint,          -- when its content was at the hub
  expires_ms  bigint not null,
  constraint evidence_pk primary key (id),
  constraint evidence_of_press unique (site_id, press_id, camera_id, kind),
  constraint evidence_site_fk foreign key (site_id) references site (id)
);
create index evidence_content on evidence (sha256);
create index evidence_expiry on evidence (expires_ms);

-- Stretches of recordings that somebody took out of a village, with who and why.
create table export (
  id               text   not null, -- sorts by time
  site_id          text   not null,
  region_code      text collate "C" not null,
  camera_id        text   not null,
  camera_name      text   not null,
  home             bigint not null, -- 1: of a home camera
  quality          text   not null, -- main or sub
  from_ms          bigint not null,
  to_ms            bigint not null,
  reason           text   not null,
  requested_by     text   not null, -- display name
  account_id       text   not null,
  state            text   not null, -- running, ready, failed, cancelled or expired
  progress_percent bigint not null,
  bytes            bigint,
  sha256           text,            -- of the file, lower-case hexadecimal
  failure          text,            -- a stable word; null while nothing failed
  created_ms       bigint not null,
  expires_ms       bigint not null,
  constraint export_pk primary key (id),
  constraint export_site_fk foreign key (site_id) references site (id)
);
create index export_expiry on export (expires_ms);
