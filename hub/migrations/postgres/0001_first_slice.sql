-- The ledger of one county. Portable on purpose: bigint, text and bytea only; times are UTC milliseconds; flags are 0 or 1.
-- The file of the same name under sqlite/ holds the same tables; a test compares the two column by column.

-- Places of the county, by their national statistical codes.
create table region (
  code        text collate "C"   not null, -- digits; its parent's code is a prefix
  name        text   not null, -- as people write it
  level       text   not null, -- county, township, village, group or grid
  parent      text collate "C",            -- code of the place above; null for the county
  constraint region_pk primary key (code),
  constraint region_level check (level in ('county', 'township', 'village', 'group', 'grid'))
);

-- Places where a gateway is installed.
create table site (
  id           text   not null, -- opaque; CN of its certificates and MQTT client id
  name         text   not null,
  region_code  text collate "C"   not null,
  latitude     double precision, -- WGS 84 degrees; null until someone stood there
  longitude    double precision,
  created_ms   bigint not null,
  constraint site_pk primary key (id),
  constraint site_region_fk foreign key (region_code) references region (code)
);
create index site_region on site (region_code);

-- Invitations for a gateway to fill a site: short-lived, served once, stored hashed.
create table claim (
  id               text   not null,
  site_id          text   not null,
  code_sha256      bytea  not null, -- SHA-256 of the code; the code itself is shown once
  created_ms       bigint not null,
  expires_ms       bigint not null,
  withdrawn_ms     bigint,          -- set when a newer claim or a person took it back
  used_ms          bigint,
  key_sha256       bytea,            -- SHA-256 of the public key that used it: the same key may ask again
  certificate_serial text,          -- what that key was given
  constraint claim_pk primary key (id),
  constraint claim_code unique (code_sha256),
  constraint claim_site_fk foreign key (site_id) references site (id)
);
create index claim_site on claim (site_id);

-- Certificates issued to gateways. At most one per site is live.
create table certificate (
  serial        text   not null, -- lower-case hexadecimal
  site_id       text   not null,
  gateway_id    text   not null, -- O of the subject
  pem           text   not null,
  issued_ms     bigint not null,
  expires_ms    bigint not null,
  revoked_ms    bigint,
  revoke_reason text,
  constraint certificate_pk primary key (serial),
  constraint certificate_site_fk foreign key (site_id) references site (id)
);
create unique index certificate_live on certificate (site_id) where revoked_ms is null;

-- What a gateway last said of itself. One row a site, written at most every few seconds.
create table presence (
  site_id           text   not null,
  online            bigint not null, -- 1 while the broker holds its connection
  online_changed_ms bigint not null,
  last_heard_ms     bigint,          -- last word of any kind
  boot_id           bigint,
  boot_ms           bigint,          -- hub time at which this boot was first heard
  version           text,
  journal_pending   bigint,          -- entries not yet acknowledged
  lan_connected     bigint,          -- 1 while the gateway reaches its village broker
  constraint presence_pk primary key (site_id),
  constraint presence_site_fk foreign key (site_id) references site (id)
);

-- Things that were heard in a village. The key cannot be renamed (IEEE address, devEui).
create table device (
  id              text   not null,
  site_id         text   not null,
  key             text   not null, -- zigbee:0x…, lorawan:…
  family          text   not null,
  kind            text   not null, -- button or unknown
  name            text,            -- given by a person
  reported_name   text,            -- what its own network calls it
  place           text,
  latitude        double precision,
  longitude       double precision,
  first_heard_ms  bigint not null,
  last_heard_ms   bigint not null,
  battery_percent bigint,
  link_quality    bigint,
  available       bigint,          -- 1, 0 or null: its network has not said
  tamper          bigint,
  constraint device_pk primary key (id),
  constraint device_key unique (site_id, key),
  constraint device_site_fk foreign key (site_id) references site (id)
);

-- Every entry of every gateway's journal, as it came. The key is what makes a press count once.
create table entry (
  site_id     text   not null,
  lane        bigint not null, -- 0 urgent, 1 routine
  epoch       bigint not null,
  sequence    bigint not null,
  boot_id     bigint not null,
  wall_ms     bigint not null, -- the gateway's clock
  mono_ms     bigint not null, -- since its boot
  kind        bigint not null,
  body        bytea  not null,
  received_ms bigint not null, -- the hub's clock
  flag        text,            -- null, or why it was kept without being applied
  constraint entry_pk primary key (site_id, lane, epoch, sequence)
);

-- How far each journal has been taken. Moves in the transaction that takes the entries.
create table watermark (
  site_id    text   not null,
  lane       bigint not null,
  epoch      bigint not null,
  committed  bigint not null,
  head_seen  bigint not null, -- highest sequence the gateway ever named: more than committed after a disk died
  changed_ms bigint not null,
  constraint watermark_pk primary key (site_id, lane, epoch)
);

-- Entries that no longer exist anywhere.
create table lost (
  site_id       text   not null,
  lane          bigint not null,
  epoch         bigint not null,
  from_sequence bigint not null,
  to_sequence   bigint not null,
  noticed_ms    bigint not null,
  constraint lost_pk primary key (site_id, lane, epoch, from_sequence)
);

-- What people handle: many presses, one alarm.
create table alarm (
  id              text   not null,
  site_id         text   not null,
  region_code     text collate "C"   not null,
  source          text   not null, -- device key, or what sent something that nobody could read
  device_id       text,
  kind            text   not null, -- sos or unknown
  state           text   not null, -- unacknowledged, acknowledged or closed
  sounding        bigint not null, -- 1 until someone acknowledges the latest press
  late            bigint not null, -- 1 when its first press reached the county late
  presses         bigint not null,
  occurred_ms     bigint not null, -- first press, the gateway's clock
  raised_ms       bigint not null, -- first press, the hub's clock
  last_press_ms   bigint not null,
  acknowledged_ms bigint,
  acknowledged_by text,
  closed_ms       bigint,
  closed_by       text,
  close_reason    text,
  close_note      text,
  revision        bigint not null, -- grows with each change
  constraint alarm_pk primary key (id),
  constraint alarm_site_fk foreign key (site_id) references site (id),
  constraint alarm_state check (state in ('unacknowledged', 'acknowledged', 'closed'))
);
create unique index alarm_one_open on alarm (site_id, source) where state <> 'closed';
create index alarm_region on alarm (region_code, state);
create index alarm_closed on alarm (closed_ms) where state = 'closed';

-- The story of an alarm, in order.
create table alarm_line (
  alarm_id  text   not null,
  position  bigint not null, -- from 1
  at_ms     bigint not null,
  what      text   not null, -- raised, pressed, pressed_again, late, acknowledged, closed, noted
  actor     text,            -- display name of the person; null for a device
  detail    text,
  constraint alarm_line_pk primary key (alarm_id, position),
  constraint alarm_line_alarm_fk foreign key (alarm_id) references alarm (id)
);

-- Presses in the ledger. The press id names one journal entry, so it cannot stand here twice.
create table press (
  site_id     text   not null,
  press_id    text   not null, -- epoch in hexadecimal, a dash, the sequence
  alarm_id    text   not null,
  source_key  text,            -- the device's own number for it
  trigger     text   not null,
  occurred_ms bigint not null,
  received_ms bigint not null,
  late        bigint not null,
  constraint press_pk primary key (site_id, press_id),
  constraint press_alarm_fk foreign key (alarm_id) references alarm (id)
);
create index press_alarm on press (alarm_id);

-- What is broken and who it concerns.
create table fault (
  id          text   not null,
  site_id     text   not null,
  region_code text collate "C"   not null,
  device_id   text,
  source      text   not null, -- device key, or the part of the gateway
  code        text collate "C"   not null,
  detail      text   not null,
  state       text   not null, -- open or cleared
  count       bigint not null,
  first_ms    bigint not null,
  last_ms     bigint not null,
  cleared_ms  bigint,
  cleared_by  text,            -- null when it cleared itself
  cleared_note text,
  constraint fault_pk primary key (id),
  constraint fault_site_fk foreign key (site_id) references site (id)
);
create unique index fault_one_open on fault (site_id, source, code) where state = 'open';
create index fault_region on fault (region_code, state);

-- The hub-wide change log that pages follow.
create table event (
  sequence    bigint not null,
  at_ms       bigint not null,
  kind        text   not null, -- alarm, site, device or fault
  region_code text collate "C"   not null, -- who may see it
  subject     text   not null, -- id of what changed
  body        text   not null, -- JSON, as the page gets it
  constraint event_pk primary key (sequence)
);

-- Numbers that must be handed out in commit order: the row is held until commit.
create table counter (
  name  text   not null,
  value bigint not null,
  constraint counter_pk primary key (name)
);
insert into counter (name, value) values ('event', 0);

-- People who use the pages. ("user" is a reserved word in PostgreSQL.)
create table account (
  id            text   not null,
  username      text   not null, -- lower case
  display_name  text   not null,
  password_hash text   not null, -- Argon2id, PHC string
  role          text   not null,
  region_code   text collate "C"   not null,
  language      text   not null, -- zh-CN or en
  disabled      bigint not null,
  created_ms    bigint not null,
  constraint account_pk primary key (id),
  constraint account_username unique (username),
  constraint account_role check (role in ('administrator', 'operator', 'village_head', 'technician')),
  constraint account_region_fk foreign key (region_code) references region (code)
);

-- Log-ins. The token is in the browser; only its hash is here.
create table session (
  token_sha256 bytea  not null,
  account_id   text   not null,
  created_ms   bigint not null,
  expires_ms   bigint not null,
  constraint session_pk primary key (token_sha256),
  constraint session_account_fk foreign key (account_id) references account (id)
);
create index session_account on session (account_id);

-- Failed log-ins and claims, counted by what was tried and from where.
create table attempt (
  subject    text   not null, -- what is guarded: "login:name", "login-from:address", "claim-from:address"
  failures   bigint not null,
  window_ms  bigint not null, -- when the count began
  blocked_until_ms bigint,
  constraint attempt_pk primary key (subject)
);

-- Who did what, and whether it was allowed.
create table audit (
  id          text   not null, -- sorts by time
  at_ms       bigint not null,
  actor       text   not null, -- user name, or "system"
  action      text   not null, -- e.g. alarm.close
  subject     text   not null,
  region_code text collate "C"   not null,
  outcome     text   not null, -- done, refused or failed
  detail      text   not null,
  constraint audit_pk primary key (id)
);
create index audit_region on audit (region_code, id);
