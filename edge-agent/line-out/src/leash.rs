//! Standard input as a leash: while whoever started us holds it, we play.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether we may go on.
#[derive(Clone)]
pub(crate) struct Leash(Arc<AtomicBool>);

impl Leash {
    /// Watches standard input until it is closed.
    pub(crate) fn hold() -> Self {
        let gone = Arc::new(AtomicBool::new(false));
        let seen = gone.clone();
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
            seen.store(true, Ordering::Relaxed);
        });
        Self(gone)
    }

    /// Whether it was let go.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
