-- What is missing of a stretch that was taken out.
alter table export add column gaps text;      -- JSON: [[from_ms, to_ms], …]; null: none
alter table export add column shortened text; -- why the film ends early, a stable word; null: it does not
