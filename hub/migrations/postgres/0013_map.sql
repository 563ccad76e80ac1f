-- The lines that the map draws of regions.
create table outline (
  region_code text not null,
  geometry    text not null, -- GeoJSON Polygon or MultiPolygon, WGS 84 degrees
  constraint outline_pk primary key (region_code),
  constraint outline_region_fk foreign key (region_code) references region (code)
);
