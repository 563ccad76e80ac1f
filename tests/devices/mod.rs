//! Virtual devices: an RTSP camera with faults, as real as a gateway can tell.
//!
//! A [`Camera`] serves encoded video from files, in real time, and can be told to misbehave while it runs ([`Fault`]). Its
//! files are made once by ffmpeg after a [`Recipe`] and kept in `target/media`. Every picture carries a number in blocks of
//! black and white ([`face`]) that survives encoding, scaling and a browser's canvas, and pictures are sent by the wall clock:
//! whoever sees one on this machine knows how old it is, without asking the camera.
//!
//! | Module | Gives |
//! | --- | --- |
//! | [`recipe`], [`face`], [`view`], [`ambience`] | files made by ffmpeg; the clock painted into them; places for people to look at, and what is heard there |
//! | [`clip`], [`packet`] | a file as access units, cut into RTP packets once |
//! | [`camera`], [`fault`] | the camera, and what can be wrong with it |
//! | `connection`, `request`, `guard`, `player`, `microphone` | its half of RTSP: one client, its requests, passwords and sessions, what is sent when |
//! | `shared` | what its connections have in common |
//!
//! `tongluo-camera` runs cameras by hand and for the browser tests; the demo's cameras are GStreamer's (`gst_camera.py`), so that
//! what works is not merely what we made ourselves.

pub mod ambience;
pub mod camera;
pub mod clip;
mod connection;
pub mod face;
pub mod fault;
mod guard;
mod microphone;
pub mod packet;
mod player;
pub mod recipe;
mod request;
mod shared;
pub mod speaker;
#[cfg(test)]
mod tests;
pub mod view;

pub use ambience::Ambience;
pub use camera::{Camera, Plan};
pub use clip::Clip;
pub use fault::{Fault, Mishap};
pub use microphone::{Microphone, TONE_HZ, TONE_RMS};
pub use recipe::{Codec, Picture, Recipe};
pub use shared::{Channel, Counts};
pub use view::View;
