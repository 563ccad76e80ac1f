-- What the hub tells gateways: its own journals, and the orders and configurations that stand in them.
-- The file of the same name under sqlite/ holds the same tables; a test compares the two column by column.

-- One journal of the hub's for one site: a lane in one run of the hub.
create table outbox_stream (
  site_id    text   not null,
  lane       bigint not null, -- 0 urgent, 1 routine
  epoch      bigint not null, -- random, drawn at each start of the hub
  opened_ms  bigint not null,
  head       bigint not null, -- highest sequence ever written
  oldest     bigint not null, -- lowest sequence still held; head + 1 if none is
  committed  bigint not null, -- up to here the gateway has committed
  constraint outbox_stream_pk primary key (site_id, lane, epoch),
  constraint outbox_stream_site_fk foreign key (site_id) references site (id)
);

-- Its entries. Those that were committed are kept for a while: a gateway's disk may be set back.
create table outbox (
  site_id    text   not null,
  lane       bigint not null,
  epoch      bigint not null,
  sequence   bigint not null,
  wall_ms    bigint not null, -- when it was written
  mono_ms    bigint not null, -- the same, since the start of the hub
  kind       bigint not null, -- of an order
  body       bytea not null, -- the signed order
  constraint outbox_pk primary key (site_id, lane, epoch, sequence)
);
create index outbox_wall on outbox (wall_ms);

-- The last counter that an issuer of orders has given out in a lane.
create table order_counter (
  issuer     text   not null,
  lane       bigint not null,
  last       bigint not null,
  constraint order_counter_pk primary key (issuer, lane)
);

-- Sites whose configuration is to be built anew: something that it says has changed.
create table configuration_due (
  site_id    text   not null,
  marked_ms  bigint not null,
  constraint configuration_due_pk primary key (site_id),
  constraint configuration_due_site_fk foreign key (site_id) references site (id)
);

-- The configuration that each site was last ordered to follow.
create table configuration (
  site_id    text   not null,
  revision   bigint not null, -- counted from 1
  sha256     text   not null, -- of the document, lower-case hexadecimal
  bytes      bigint not null, -- of the document
  sealed     bytea not null, -- the document, sealed: it carries passwords
  made_ms    bigint not null,
  constraint configuration_pk primary key (site_id),
  constraint configuration_site_fk foreign key (site_id) references site (id)
);
