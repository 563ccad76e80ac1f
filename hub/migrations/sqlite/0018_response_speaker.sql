-- Where a press is heard: from every loudspeaker of its site, or from those that were chosen for it. What had been chosen before anybody
-- could say where went to all of them, and goes on doing so.
alter table device_response add column everywhere bigint not null default 0; -- 1: every loudspeaker of its site, those of tomorrow too
update device_response set everywhere = 1 where response <> 'silent' or speaks = 1;

-- The loudspeakers that were chosen for a device. Without any, and not everywhere, nothing is heard of its press.
create table device_response_speaker (
  device_id  text not null,
  speaker_id text not null, -- of the device's own site
  constraint device_response_speaker_pk primary key (device_id, speaker_id),
  constraint device_response_speaker_device_fk foreign key (device_id) references device (id),
  constraint device_response_speaker_speaker_fk foreign key (speaker_id) references speaker (id)
);
create index device_response_speaker_speaker on device_response_speaker (speaker_id);
