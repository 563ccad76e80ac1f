//! What the media connection wants of the cameras, and nothing more of them.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc;
use tongluo_protocols::media::Quality;

pub(super) use crate::camera::{Frame, Piece};

/// The cameras of this village. What fails says why: a camera state, and words for a technician after a colon.
pub(crate) trait Cameras: Clone + 'static {
    /// The pictures of one stream.
    type Watching: Watching;

    /// Begins to watch. The first picture is a key, as young as there is one.
    fn watch(&self, camera: &str, quality: Quality) -> impl Future<Output = Result<Self::Watching, String>>;

    /// The smaller stream, if it flows at this moment: shown until the large one does.
    fn stopgap(&self, camera: &str) -> impl Future<Output = Option<Self::Watching>>;

    /// Begins to read a recording, from the keyframe at or before `from_ms`. It is over when the pieces end, and given up when
    /// they are dropped.
    fn read(
        &self,
        camera: &str,
        quality: Quality,
        from_ms: i64,
        to_ms: i64,
    ) -> impl Future<Output = Result<mpsc::Receiver<Piece>, String>>;

    /// Answers one of the hub's questions.
    fn ask(&self, question: &[u8]) -> impl Future<Output = Vec<u8>>;
}

/// See [`Cameras::watch`].
pub(crate) trait Watching: 'static {
    /// The next picture; after a jump a key. `None`: the camera is configured no more.
    fn next(&mut self) -> impl Future<Output = Option<Arc<Frame>>>;
}
