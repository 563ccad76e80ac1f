//! The journal, replicated to the hub; and the hub's journal, replicated to here.
//!
//! The hub is reached over MQTT 3.1.1 with mutual TLS. What to send, and when to send it again, is decided by the pure
//! [`Sender`](tongluo_protocols::link::Sender); this room owns the connection ([`task`]), fills batches from the journal, and tells
//! the hub every ten seconds how the gateway is ([`beat`]). A `PUBACK` means nothing here: only the hub's own acknowledgement
//! does. Entries that come down are committed with their watermark before they are acknowledged ([`down`]). Calls
//! for the media connection are handed on as they come.
//!
//! While the hub is away nothing waits for it: presses are committed and confirmed as ever.

mod beat;
mod down;
mod follow;
mod task;

pub(crate) use task::{Uplink, Vitals};

/// The topics of a site, as the contract names them.
#[derive(Clone, Debug)]
struct Topics {
    up: String,
    up_ack: String,
    down: String,
    down_ack: String,
    beat: String,
    call: String,
    state: String,
}

impl Topics {
    fn of(site_id: &str) -> Self {
        let topic = |name: &str| format!("tl/1/{site_id}/{name}");
        Self {
            up: topic("up"),
            up_ack: topic("up/ack"),
            down: topic("down"),
            down_ack: topic("down/ack"),
            beat: topic("beat"),
            call: topic("call"),
            state: topic("state"),
        }
    }
}
