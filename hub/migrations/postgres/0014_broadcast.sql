-- Loudspeakers, what they are to play, who ordered it, and what became of it speaker by speaker.

-- Loudspeakers: what people say of each, then what its gateway reports.
create table speaker (
  id             text   not null, -- opaque
  site_id        text   not null,
  name           text   not null,
  kind           text   not null, -- mqtt (our own protocol on the village's network) or line_out (the gateway's own)
  device         text   not null, -- mqtt: its serial; line_out: the sound card as ALSA calls it, empty: the default one
  key            bytea,           -- of its protocol, sealed under the label speaker/{id}; null: line_out needs none
  place          text,
  latitude       double precision, -- WGS 84 degrees; null: where its site is
  longitude      double precision,
  volume_percent bigint not null, -- never louder than this
  warm_up_ms     bigint not null, -- how long its amplifier takes until it is heard
  created_ms     bigint not null,
  revision       bigint not null, -- grows with each change by a person
  state          text   not null, -- as last reported; new before the first report
  state_since_ms bigint not null, -- the gateway's clock
  state_detail   text   not null,
  playing        text,            -- the notice that it plays now
  last_heard_ms  bigint,          -- when it last spoke to its gateway, the gateway's clock
  reported_ms    bigint,          -- when the hub last heard of it, the hub's clock
  stale          bigint not null, -- 1 while pages were told that nobody knows how it is
  constraint speaker_pk primary key (id),
  constraint speaker_device unique (site_id, kind, device),
  constraint speaker_site_fk foreign key (site_id) references site (id),
  constraint speaker_kind check (kind in ('mqtt', 'line_out'))
);

-- Sounds that people recorded or had spoken. The bytes are a content of the same hash.
create table sound (
  sha256        text   not null,  -- lower-case hexadecimal
  region_code   text collate "C" not null,  -- of whoever made it: who may hear it
  bytes         bigint not null,
  duration_ms   bigint not null,
  loudness_lufs double precision not null,
  spoken_text   text,             -- with its figures written out; null: a recording
  account_id    text   not null,
  made_ms       bigint not null,
  constraint sound_pk primary key (sha256, region_code)
);
create index sound_account on sound (account_id, made_ms);

-- The sounds that every gateway keeps at hand: tones, and the three truths in words.
create table named_sound (
  name        text   not null,
  recipe      text   not null, -- what it was made of: made anew when that changes
  sha256      text   not null,
  bytes       bigint not null,
  duration_ms bigint not null,
  constraint named_sound_pk primary key (name)
);

-- Notices, emergencies and technicians' tests.
create table notice (
  id                text   not null, -- sorts by time
  account_id        text   not null, -- of its author
  author_username   text   not null,
  author            text   not null, -- display name
  request_key       text,            -- the author's own word for this request: the same is never sent twice
  request_sha256    text   not null, -- of what was asked for
  title             text   not null,
  spoken_text       text,            -- null: a recording
  region_code       text collate "C" not null, -- for which region it is
  reach_code        text   not null, -- the smallest region that holds all of its loudspeakers: its village, or as above
  level             text   not null, -- notice, emergency or test
  sound_sha256      text   not null,
  sound_bytes       bigint not null,
  duration_ms       bigint not null, -- of the sound once
  times             bigint not null,
  gap_ms            bigint not null,
  valid_for_ms      bigint not null, -- how long after being sent it may still begin
  night_confirmed   bigint not null, -- 1: its author said that it may sound at night
  state             text   not null, -- waiting_for_second, sent, refused or stopped
  villages          bigint not null, -- its reach when it was made
  sites             bigint not null,
  speakers          bigint not null,
  online            bigint not null,
  created_ms        bigint not null,
  sent_ms           bigint,
  valid_until_ms    bigint,          -- no loudspeaker begins it after this
  second_needed     bigint not null, -- 1: it goes beyond one village
  second_account_id text,
  second_by         text,            -- display name of who confirmed or refused it
  second_ms         bigint,
  refused_reason    text,            -- in their words, or unanswered
  stopped_by        text,
  stopped_ms        bigint,
  settled           bigint not null, -- 1: nothing more will happen to it
  revision          bigint not null, -- grows with every change
  constraint notice_pk primary key (id),
  constraint notice_request unique (account_id, request_key),
  constraint notice_level check (level in ('notice', 'emergency', 'test')),
  constraint notice_state check (state in ('waiting_for_second', 'sent', 'refused', 'stopped'))
);
create index notice_region on notice (region_code, id);
create index notice_unsettled on notice (id) where settled = 0;

-- What each loudspeaker made of a notice, as its gateway told. Names are as they were then.
create table notice_speaker (
  notice_id    text   not null,
  speaker_id   text   not null,
  site_id      text   not null,
  speaker_name text   not null,
  site_name    text   not null,
  state        text   not null, -- waiting, fetching, playing, played, interrupted, failed, refused, expired or stopped
  times        bigint not null, -- whole plays
  played_ms    bigint not null,
  detail       text   not null, -- why, for the technician
  at_ms        bigint,          -- of the newest word about it, the gateway's clock
  constraint notice_speaker_pk primary key (notice_id, speaker_id),
  constraint notice_speaker_notice_fk foreign key (notice_id) references notice (id)
);
create index notice_speaker_site on notice_speaker (notice_id, site_id);

-- Notices to be sent again: one's own voice, or a text.
create table notice_template (
  id           text   not null, -- sorts by time
  region_code  text collate "C" not null, -- of whoever made it
  title        text   not null,
  spoken_text  text,            -- null: a recording
  sound_sha256 text,            -- null: to be spoken when it is used
  duration_ms  bigint,          -- of the sound
  author       text   not null, -- display name
  created_ms   bigint not null,
  constraint notice_template_pk primary key (id)
);
create index notice_template_region on notice_template (region_code, id);

-- Keys that may order beside the root's, each for one region.
create table order_key (
  issuer        text   not null, -- the name under which it orders
  region_code   text collate "C" not null,
  key           bytea  not null, -- the secret half, sealed under the label order-key/{issuer}
  not_before_ms bigint not null,
  not_after_ms  bigint not null,
  constraint order_key_pk primary key (issuer)
);

-- Which gateways were told of which keys, in the order that delegates.
create table delegation (
  site_id      text   not null,
  issuer       text   not null,
  not_after_ms bigint not null,
  told_ms      bigint not null,
  constraint delegation_pk primary key (site_id, issuer),
  constraint delegation_site_fk foreign key (site_id) references site (id)
);

-- What a press of a device sets off in its village; a device without a row is silent, with its light only.
create table device_response (
  device_id text   not null,
  response  text   not null, -- silent, neighbours or siren
  speaks    bigint not null, -- 1: the three truths are spoken, too
  siren_s   bigint not null, -- how long a siren lasts, 1-60
  constraint device_response_pk primary key (device_id),
  constraint device_response_device_fk foreign key (device_id) references device (id),
  constraint device_response_kind check (response in ('silent', 'neighbours', 'siren'))
);
