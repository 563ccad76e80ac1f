//! A look at a camera, live or at its recordings, in the audit trail: a line when it begins and one when it ends, with how
//! long it lasted. (Looks at files are in `file_look.rs`.)
//!
//! The first line is written before the first picture leaves the hub, so that no look goes unseen. The second is written
//! when the look is dropped, however it came to end; if the hub itself is killed, it is missing, and the first one stands.

use crate::audit::{self, Record};
use crate::clock;
use crate::ids::RegionCode;
use crate::store::Store;
use crate::viewer::Viewer;

use super::access::CameraAccess;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookKind {
    /// Live pictures.
    Live,
    /// Recordings, played back.
    Recording,
}

impl LookKind {
    const fn actions(self) -> (&'static str, &'static str) {
        match self {
            Self::Live => ("camera.watch", "camera.watched"),
            Self::Recording => ("recording.watch", "recording.watched"),
        }
    }
}

/// A look that has begun. Dropping it ends it.
#[derive(Debug)]
pub struct Look {
    store: Store,
    username: String,
    subject: String,
    region: RegionCode,
    kind: LookKind,
    detail: String,
    began_ms: i64,
}

impl Look {
    /// Begins a look at a camera. `detail`: what makes the line understandable later, e.g. `quality=main`; never anything
    /// about a person.
    ///
    /// # Errors
    /// The database's: then nothing may be shown.
    pub async fn begin(
        store: &Store,
        viewer: &Viewer,
        camera: &CameraAccess,
        kind: LookKind,
        detail: &str,
    ) -> Result<Self, sqlx::Error> {
        let now_ms = clock::utc_ms();
        let line = Record::done(viewer, kind.actions().0, camera.camera_id.as_str(), &camera.region).detail(detail);
        let mut transaction = store.begin().await?;
        audit::record(&mut transaction, now_ms, line).await?;
        transaction.commit().await?;
        Ok(Self {
            store: store.clone(),
            username: viewer.username.clone(),
            subject: camera.camera_id.to_string(),
            region: camera.region.clone(),
            kind,
            detail: detail.to_owned(),
            began_ms: now_ms,
        })
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let now_ms = clock::utc_ms();
        let duration_ms = (now_ms - self.began_ms).max(0);
        let space = if self.detail.is_empty() { "" } else { " " };
        let detail = format!("duration_ms={duration_ms}{space}{}", self.detail);
        let line =
            Record::done_by(&self.username, self.kind.actions().1, self.subject.as_str(), &self.region).detail(detail);
        let store = self.store.clone();
        let write = async move {
            let mut transaction = store.begin().await?;
            audit::record(&mut transaction, now_ms, line).await?;
            transaction.commit().await
        };
        // Without a runtime the process is ending; the line of the beginning stands.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = write.await {
                    let error: sqlx::Error = error;
                    tracing::error!(%error, "The end of a look could not be written to the audit trail");
                }
            });
        }
    }
}
