//! One county's hub: it takes the journals of the county's gateways into one ledger, turns presses into alarms, and
//! shows them to the people who can help.
//!
//! The flow reads downwards: [`broker`] → [`link`] → [`alarm`] → [`live`] → page. `ARCHITECTURE.md` walks one press
//! through it.

pub mod alarm;
pub mod audit;
pub mod backup;
pub mod broadcast;
pub mod broker;
pub mod clock;
pub mod config;
pub mod configuration;
pub mod content;
pub mod fault;
pub mod fleet;
pub mod gateways;
pub mod identity;
pub mod ids;
pub mod init;
mod key_file;
pub mod link;
pub mod live;
pub mod lock;
pub mod map;
pub mod metrics;
pub mod open_files;
pub mod order;
pub mod region;
pub mod seal;
pub mod serve;
pub mod store;
pub mod video;
pub mod viewer;
pub mod voice;
pub mod web;
