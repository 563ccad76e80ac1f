//! Live pictures and recordings, from a village to the people who may see them.
//!
//! ```text
//! viewer ─ WebSocket ─► viewing ─► relay ─► upload ◄─ frames ─ gateway_socket ◄─ WebSocket ─ gateway
//!                                          └── call over MQTT, while there is no connection ───────────►
//! ```
//!
//! Nothing is uploaded that nobody watches. [`Relay::watch`] counts viewers per camera and quality and asks the gateway for
//! the stream once (`relay.rs`); what comes is muxed once and shared (`upload.rs`), on a time line that browsers can bear
//! (`timeline.rs`). [`Relay::ask`] and [`Relay::fetch`] put questions and take stretches of recordings over the same
//! connection (`request.rs`), as far as who asked can take them. Nothing of it is stored here. Who may look is decided by
//! [`access`](super::access), when a socket is opened and again while it is open (`http.rs`, `viewing.rs`, `playback.rs`).

mod catch_up;
mod gateway_socket;
mod http;
#[cfg(test)]
mod look_tests;
mod playback;
mod relay;
mod request;
#[cfg(test)]
mod socket_tests;
mod sound;
#[cfg(test)]
mod tests;
mod timeline;
mod upload;
mod viewing;

pub use gateway_socket::gateway_routes;
pub use http::{LivePictures, routes};
pub use relay::{Relay, RelayError, RelayStats};
pub use request::{CREDIT_BYTES_MAX, FetchItem, Fetching};
pub use upload::{Picture, Signal, StreamState, Subscription, TrackHead};
