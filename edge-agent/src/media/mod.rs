//! What leaves the village beside the journal.
//!
//! Pictures and clips of a press are made, kept and brought to the hub ([`evidence`]) as files over a connection of their own
//! ([`client`]).
//!
//! For live pictures and recordings the hub calls over MQTT; the gateway opens one connection for all of it ([`link`]), sends the
//! streams that are wanted as they come ([`live`]) and recordings as far as who asked can take them ([`playback`]). Where the
//! pictures come from is behind a narrow trait ([`source`]), behind which are this village's cameras ([`village`]).
//!
//! All of it runs on threads of its own: nothing here runs where presses are heard.

mod client;
pub(crate) mod evidence;
mod link;
mod live;
mod playback;
mod source;
#[cfg(test)]
mod tests;
mod village;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::clock::Clock;
use crate::fleet::Identity;
pub(crate) use client::HubClient;
use link::{Keep, Link};
use source::Cameras;

/// Calls that wait for the media thread. The hub repeats them, so what does not fit is dropped.
const CALLS_MAX: usize = 8;

/// Where the uplink hands on what it hears on the topic `call`.
#[derive(Clone, Debug)]
pub(crate) struct Calls(mpsc::Sender<Vec<u8>>);

impl Calls {
    /// Never waits. The thread ends when the last handle is dropped.
    pub(crate) fn pass(&self, payload: &[u8]) {
        // Full: the thread has calls enough, and the hub repeats this one in three seconds.
        let _ = self.0.try_send(payload.to_vec());
    }
}

/// Starts the thread of an enrolled gateway's media connection.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start<C: Cameras + Send>(identity: Identity, cameras: C, clock: Clock) -> anyhow::Result<Calls> {
    let (sender, calls) = mpsc::channel(CALLS_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("media".to_owned())
        .spawn(move || {
            let link = Link { cameras, clock, keep: Keep::default(), calls };
            LocalSet::new().block_on(&runtime, link.run(identity));
        })
        .context("no thread for the media connection")?;
    Ok(Calls(sender))
}
