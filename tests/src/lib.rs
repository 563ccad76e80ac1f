//! What the proofs share: the real programs, started on free loopback ports with data of their own, and ended with the test.
//!
//! | Module | Gives |
//! | --- | --- |
//! | [`scene`] | a folder and a runtime for one test, logs on failure |
//! | [`hub`], [`village`] | a real hub; a site with its broker and a really enrolled gateway |
//! | [`mosquitto`], [`postgres`] | real servers from Debian's packages |
//! | [`button`], [`lan`] | what devices' networks publish, and what the gateway confirms |
//! | [`devices`] | an RTSP camera with faults and a clock in its picture (`tests/devices`) |
//! | [`gst`] | the demo's cameras, on GStreamer's RTSP server |
//! | [`api`], [`stream`], [`viewing`] | the hub's interface as a browser uses it |
//! | [`rogue`] | a gateway's certificate in the wrong hands |
//! | [`line`](mod@line) | a connection that can be cut |
//! | [`wait`], [`clock`], [`child`], [`ports`] | waiting with a deadline, time, processes, ports |
//!
//! Nothing here knows the system's own types: messages are looked at as a stranger would, so that a mistake that both ends of
//! the system share is still seen.

pub mod api;
pub mod button;
pub mod child;
pub mod clock;
#[path = "../devices/mod.rs"]
pub mod devices;
pub mod gst;
pub mod horn;
pub mod hub;
pub mod lan;
pub mod line;
pub mod mosquitto;
pub mod ports;
pub mod postgres;
pub mod rogue;
pub mod scene;
pub mod stream;
pub mod viewing;
pub mod village;
pub mod wait;

/// A password that nobody can guess: 80 random bits, in letters and digits that nobody confuses.
///
/// # Panics
/// When the system gives no random numbers.
pub fn secret() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}
