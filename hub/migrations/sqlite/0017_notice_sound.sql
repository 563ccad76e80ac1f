-- A gateway fetches a sound only if a notice with it was sent there: asked at each fetch, of thousands of gateways at once.
create index notice_sound on notice (sound_sha256);
