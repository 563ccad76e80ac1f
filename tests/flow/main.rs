//! Whole stories with the real programs: hub, gateway, mosquitto, PostgreSQL, on loopback.

mod answer;
mod bad_input;
mod cameras;
mod codecs;
mod configuration;
mod enrolment;
mod evidence;
mod exports;
mod heard;
mod house;
mod outage;
mod press;
mod recordings;
mod restore;
mod stream;
mod voice;
