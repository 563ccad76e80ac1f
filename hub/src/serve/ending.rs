//! What ends a serving hub: its supervisor, Ctrl-C, or a restore that wants the place.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::backup;
use crate::config::Config;

/// Why the hub has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to.
    Stop,
    /// A restore is decided: the process is to begin anew, and carries it out first.
    Restart,
}

/// The requests to end, heard from [`Requests::listen`] on.
#[derive(Debug)]
pub(super) struct Requests {
    terminate: Signal,
    interrupt: Signal,
    restore: Signal,
}

impl Requests {
    /// Listens.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            restore: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for one.
    pub(super) async fn next(&mut self, config: &Config) -> Ending {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ending::Stop,
                _ = self.interrupt.recv() => return Ending::Stop,
                _ = self.restore.recv() => {
                    if backup::is_decided(config) {
                        return Ending::Restart;
                    }
                    tracing::warn!("The hub was asked to make room for a backup, and none lies ready; it goes on");
                }
            }
        }
    }
}
