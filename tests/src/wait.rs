//! Waiting for a condition with a deadline: the only synchronisation that tests may use.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::clock;

/// How long anything that happens between programs on one machine may take before a test calls it broken. Generous: the
/// machine may be building something else. Speed is measured by the benchmarks, not here.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

/// Looks until `probe` finds something, and gives it.
///
/// # Errors
/// Nothing was found within [`PATIENCE`]; the text says what was awaited and how the last look failed.
pub async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, probe).await
}

/// As [`until`], with a limit of its own.
///
/// # Errors
/// As [`until`].
pub async fn until_within<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = clock::now() + limit;
    loop {
        let last = match probe().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if clock::now() >= deadline {
            match last {
                Some(error) => bail!("waited {} s for {what}; the last look failed: {error:#}", limit.as_secs()),
                None => bail!("waited {} s for {what}", limit.as_secs()),
            }
        }
        clock::pause(STEP).await;
    }
}
