//! The cameras of this village, as the media connection wants them.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tongluo_protocols::media::Quality;

use super::source::{Cameras, Frame, Piece, Watching};
use crate::camera::{self, Probed, Refusal};

/// What the hub asks.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    /// Try an address.
    Probe { url: String, username: Option<String>, password: Option<String> },
    /// What is recorded.
    Spans { camera: String, from_ms: i64, to_ms: i64 },
    /// The newest picture.
    Snapshot { camera: String },
}

/// The pictures of one stream: the group that was under way, then what follows.
pub(crate) struct Stream {
    group: std::vec::IntoIter<Arc<Frame>>,
    frames: mpsc::Receiver<Arc<Frame>>,
}

impl Cameras for camera::Cameras {
    type Watching = Stream;

    async fn watch(&self, camera: &str, quality: Quality) -> Result<Stream, String> {
        Self::watch(self, camera, quality).await.map(Stream::from).map_err(|refusal| said(&refusal))
    }

    async fn stopgap(&self, camera: &str) -> Option<Stream> {
        Self::stopgap(self, camera).await.map(Stream::from)
    }

    /// A camera is kept in one quality, which serves both.
    async fn read(&self, camera: &str, _: Quality, from_ms: i64, to_ms: i64) -> Result<mpsc::Receiver<Piece>, String> {
        let reading = Self::read(self, camera, from_ms, to_ms).await.map_err(|refusal| said(&refusal))?;
        Ok(reading.pieces)
    }

    async fn ask(&self, question: &[u8]) -> Vec<u8> {
        let answer = match serde_json::from_slice(question) {
            Ok(Question::Probe { url, username, password }) => {
                probed(self.probe(&url, username.as_deref(), password.as_deref()).await)
            }
            Ok(Question::Spans { camera, from_ms, to_ms }) => {
                let spans = self.spans(&camera, from_ms, to_ms).await;
                let spans: Vec<_> =
                    spans.iter().map(|span| json!({ "from_ms": span.from_ms, "to_ms": span.to_ms })).collect();
                json!({ "spans": spans })
            }
            Ok(Question::Snapshot { camera }) => match self.snapshot(&camera).await {
                Ok(snapshot) => return snapshot.jpeg,
                Err(refusal) => failed(&said(&refusal)),
            },
            // The question may hold a password, so it is not shown.
            Err(_) => json!({ "error": "not_understood" }),
        };
        answer.to_string().into_bytes()
    }
}

impl From<camera::Watching> for Stream {
    fn from(watching: camera::Watching) -> Self {
        Self { group: watching.gop.into_iter(), frames: watching.frames }
    }
}

impl Watching for Stream {
    async fn next(&mut self) -> Option<Arc<Frame>> {
        match self.group.next() {
            Some(frame) => Some(frame),
            None => self.frames.recv().await,
        }
    }
}

/// A refusal as a camera state, and words after a colon.
fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Unknown => "no_such_stream: the gateway knows no such camera".to_owned(),
        Refusal::NoPicture { state, detail } => format!("{}: {detail}", state.name()),
        Refusal::Busy => "starting: too much is asked of the gateway at once".to_owned(),
        Refusal::Eye(error) => format!("no_frames: {error}"),
    }
}

fn failed(reason: &str) -> Value {
    let (error, detail) = reason.split_once(": ").unwrap_or((reason, ""));
    json!({ "error": error, "detail": detail })
}

fn probed(probed: Probed) -> Value {
    let main = probed.facts.map(|facts| {
        json!({
            "codec": facts.codec.as_str(),
            "width": facts.width,
            "height": facts.height,
            "frames_per_s": probed.frames_per_s,
        })
    });
    json!({
        "reason": probed.reason,
        "detail": probed.detail,
        "tries_left": probed.tries_left,
        "main": main,
        "jpeg_base64": probed.jpeg.map(|jpeg| Base64::encode_string(&jpeg)),
    })
}
