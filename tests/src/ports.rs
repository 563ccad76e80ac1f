//! Loopback ports for servers that must come back on the port they had.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock;

/// Below the range from which Linux takes ports for outgoing connections (32,768 and above): otherwise some client's
/// connection may sit on a server's port in the moment between its death and its return.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on now and that this process does not give out again soon.
///
/// # Errors
/// No port of the range is free.
pub fn free() -> Result<u16> {
    // Processes that run side by side begin at different places.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT)).expect("less than COUNT");
    (0..COUNT)
        .map(|_| FIRST + (start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))) % COUNT)
        .find(|port| is_free(*port))
        .context("no free loopback port between 20000 and 31999")
}

/// Whether a server could listen on this loopback port.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// How often [`listen`] tries, and how long it waits in between: five seconds in all.
const TRIES_MAX: u32 = 100;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Listens on a port that was free, or that this process listened on before.
///
/// Between its fork and its program, a child that another thread starts holds whatever this process had open, so that a
/// listener closed here (a trial of [`free`] among them) may keep its port a moment longer: a port in use is tried again.
///
/// # Errors
/// The port stays in use, or cannot be had.
pub async fn listen(port: u16) -> Result<tokio::net::TcpListener> {
    let mut tries = 0;
    loop {
        tries += 1;
        match tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries < TRIES_MAX => {
                clock::pause(TRY_AGAIN_AFTER).await
            }
            tried => return tried.with_context(|| format!("cannot listen on port {port}")),
        }
    }
}
