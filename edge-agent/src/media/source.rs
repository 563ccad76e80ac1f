//! What the media connection wants of the cameras, and nothing more of them.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tongluo_protocols::media::Quality;
use tongluo_protocols::media::mp4::Track;

/// One picture of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// What a decoder must know for it.
    pub(crate) track: Arc<Track>,
    /// Whether a decoder can begin with it.
    pub(crate) key: bool,
    /// When it is decoded; grows, except where the stream began anew.
    pub(crate) decode_90k: u64,
    /// How much later it is shown.
    pub(crate) composition_90k: i32,
    /// When it was taken, UTC milliseconds.
    pub(crate) captured_ms: i64,
    /// NAL units, each after its length in four bytes.
    pub(crate) data: Bytes,
}

/// One piece of a recording.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// It begins, or changes its form.
    Init {
        /// As RFC 6381 names it.
        codec: String,
        /// `ftyp` and `moov`.
        data: Vec<u8>,
    },
    /// Some pictures; their decode times are of no importance.
    Fragment {
        /// When they begin, UTC milliseconds.
        wall_ms: i64,
        /// How long they last.
        duration_ms: u32,
        /// `moof` and `mdat`.
        data: Vec<u8>,
    },
    /// Nothing was recorded in this time.
    Gap {
        /// From, UTC milliseconds.
        from_ms: i64,
        /// To, UTC milliseconds.
        to_ms: i64,
    },
}

/// The cameras of this village. What fails says why: a camera state, and words for a technician after a colon.
pub(crate) trait Cameras: Clone + 'static {
    /// The pictures of one stream.
    type Watching: Watching;
    /// A span of a recording.
    type Reading: Reading;

    /// Begins to watch. The first picture is a key, as young as there is one.
    fn watch(&self, camera: &str, quality: Quality) -> impl Future<Output = Result<Self::Watching, String>>;

    /// Begins to read a recording, from the keyframe at or before `from_ms`.
    fn read(
        &self,
        camera: &str,
        quality: Quality,
        from_ms: i64,
        to_ms: i64,
    ) -> impl Future<Output = Result<Self::Reading, String>>;

    /// Answers one of the hub's questions.
    fn ask(&self, question: &[u8]) -> impl Future<Output = Vec<u8>>;
}

/// See [`Cameras::watch`].
pub(crate) trait Watching: 'static {
    /// The next picture; after a jump a key. `None`: the camera is configured no more.
    fn next(&mut self) -> impl Future<Output = Option<Picture>>;
}

/// See [`Cameras::read`].
pub(crate) trait Reading: 'static {
    /// The next piece; `None` at the end; an error that says why the rest cannot be read.
    fn next(&mut self) -> impl Future<Output = Option<Result<Piece, String>>>;
}
