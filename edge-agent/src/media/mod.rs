//! What leaves the village beside the journal.
//!
//! Pictures and clips of a press are made, kept and brought to the hub ([`evidence`]) as files over a connection of their own
//! ([`client`]), on threads of their own: nothing here runs where presses are heard.

mod client;
pub(crate) mod evidence;
