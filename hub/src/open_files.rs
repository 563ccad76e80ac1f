//! How many files the hub may hold open: each gateway's connection and each open page is one.
//!
//! Most systems let a program raise its own limit as far as the hard limit, which is usually far above the soft one that it starts with (1,024).

/// Files beside gateways' connections: streams of open pages, the database, listeners.
const OTHERS_MAX: u64 = 4_608;

/// Raises the limit as far as the system lets, and says so in the log if that is not enough for as many gateways as the broker may take.
pub fn raise_limit(gateways_max: u32) {
    let needed = u64::from(gateways_max) + OTHERS_MAX;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(
            files.limit = limit,
            files.needed = needed,
            "The system's limit on open files is too low for as many gateways as the broker may take; raise it \
             (LimitNOFILE in a systemd unit), or lower broker.connections_max"
        ),
        Ok(limit) => tracing::debug!(files.limit = limit, "The limit on open files is high enough"),
        Err(error) => tracing::warn!(%error, "The limit on open files cannot be raised"),
    }
}
