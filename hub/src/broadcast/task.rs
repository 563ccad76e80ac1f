//! What happens to loudspeakers and notices by itself.

use std::time::Duration;

use super::{BroadcastRoom, notice, speaker, tones};
use crate::clock;
use crate::voice;

/// How often silence and the end of notices are looked for. Lists show silence at once; this is for pages that are open.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How often what was kept long enough is looked for, and sounds that could not be made are tried again: every so many looks.
const HOUSEKEEPING_LOOKS: u32 = 240;
/// Pause between two transactions of one look, so that presses go in between.
const BREATH: Duration = Duration::from_millis(20);

impl BroadcastRoom {
    /// Runs for ever.
    pub async fn run(self) {
        let mut looks: u32 = 0;
        loop {
            let now_ms = clock::utc_ms();
            if let Err(error) = self.look(now_ms, looks.is_multiple_of(HOUSEKEEPING_LOOKS)).await {
                let error = format!("{error:#}");
                tracing::error!(error, "Loudspeakers and notices could not be looked after; the next try follows");
            }
            looks = looks.wrapping_add(1);
            clock::pause(LOOK_EVERY).await;
        }
    }

    async fn look(&self, now_ms: i64, is_thorough: bool) -> anyhow::Result<()> {
        while speaker::notice_silence(&self.store, now_ms).await? == speaker::ROWS_MAX {
            clock::pause(BREATH).await;
        }
        while notice::settle(&self.store, now_ms).await? == notice::NOTICES_MAX {
            clock::pause(BREATH).await;
        }
        self.live.notify();
        if is_thorough {
            tones::prepare(self, now_ms).await?;
            voice::expire(&self.store, now_ms).await?;
            while notice::expire(&self.store, now_ms).await? == notice::NOTICES_MAX {
                clock::pause(BREATH).await;
            }
        }
        Ok(())
    }
}
