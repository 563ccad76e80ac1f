//! The heartbeat: how the gateway is, right now. Never journalled, never repeated.

use tongluo_protocols::event::{Beat, Streams};
use tongluo_protocols::link::Sender;
use tongluo_protocols::order::Nonce;

use super::task::Vitals;
use crate::VERSION;
use crate::clock::Clock;
use crate::journal::Journal;

/// How often the hub hears of a gateway. A beat tells the hub which streams there are, so a hub that fell behind catches up
/// within two of them.
pub(super) const BEAT_MS: u64 = 10_000;

/// A beat's bytes.
pub(super) fn beat(
    clock: Clock,
    journal: &Journal,
    sender: &Sender,
    vitals: &Vitals,
    clock_nonce: Option<Nonce>,
) -> Vec<u8> {
    let streams: Vec<_> = sender.streams().collect();
    let beat = Beat {
        boot_id: journal.boot_id(),
        uptime_ms: clock.mono_ms(),
        wall_ms: clock.utc_ms(),
        version: VERSION,
        streams: Streams::new(&streams),
        streams_held: u32::try_from(journal.shelf().streams().len()).unwrap_or(u32::MAX),
        journal: journal.shelf().gauges(),
        lan_connected: vitals.lan_connected.get(),
        devices_count: vitals.devices_count.get(),
        clock_nonce,
    };
    let mut buffer = vec![0; Beat::BYTES_MAX];
    let length = beat.emit(&mut buffer).expect("a buffer of this length takes any beat");
    buffer.truncate(length);
    buffer
}
