//! `GET /api/v1/events`: the change log as server-sent events.
//!
//! A stream begins with a `beat`, catches up from the sequence it names (`?after=` or `Last-Event-ID`), then follows.
//! Beats every five seconds are events, not comments, because a page cannot see comments and must know within fifteen
//! seconds that it has gone stale. A sequence that the log no longer holds, or never held (a hub restored from a
//! backup), gets `reset`: the page fetches everything again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Event, Live, StreamSeat, store};
use crate::clock;
use crate::identity::Identity;
use crate::viewer::Viewer;
use crate::web::{Problem, ProblemDocument};

/// A third of the fifteen seconds after which a page calls itself stale.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// Events in flight to one page. A page that reads slower falls behind the tail and re-reads from the log.
const STREAM_EVENTS_MAX: usize = 64;
/// Events read at once while catching up.
const PAGE_EVENTS: usize = 500;

/// What the stream needs of the hub.
#[derive(Clone, Debug)]
pub struct LiveRoom {
    /// The log's tail.
    pub live: Live,
    /// To notice that a right has ended.
    pub identity: Identity,
}

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<LiveRoom> {
    OpenApiRouter::new().routes(routes!(events))
}

#[derive(Debug, Deserialize, IntoParams)]
struct Resume {
    /// Send what came after this sequence; `Last-Event-ID` wins over it. Absent: only what comes from now on.
    after: Option<i64>,
}

/// Follow every change that the viewer may see.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "live", params(Resume),
    responses(
        (status = 200, description = "Server-sent events: alarm, site, device, fault, camera, evidence, beat, reset", content_type = "text/event-stream", body = String),
        (status = 401, description = "No session", body = ProblemDocument),
        (status = 503, description = "Too many streams", body = ProblemDocument),
    )
)]
async fn events(
    State(room): State<LiveRoom>,
    viewer: Viewer,
    Query(resume): Query<Resume>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let after = last_event_id.or(resume.after);
    let seat = room.live.take_seat().ok_or_else(too_many_streams)?;
    let (sender, receiver) = mpsc::channel(STREAM_EVENTS_MAX);
    let stream = Stream { tail: room.live.tail.subscribe(), room, viewer, sender, passed: 0, _seat: seat };
    tokio::spawn(stream.run(after));
    let mut response = Sse::new(ReceiverStream::new(receiver)).into_response();
    // Reverse proxies must not collect events into pages.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

fn too_many_streams() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "live.too_many_streams",
        "打开的页面太多，平台暂时不能再推送。请关闭不用的页面后再试。",
        "Too many pages are open for the hub to follow. Close some and try again.",
    )
    .retry_after_s(30)
}

/// The page went away, its right ended, or the database failed: the stream ends and the page reconnects.
struct Ended;

/// One open page.
struct Stream {
    room: LiveRoom,
    viewer: Viewer,
    tail: broadcast::Receiver<Arc<Event>>,
    sender: mpsc::Sender<Result<SseEvent, Infallible>>,
    /// The newest sequence that was sent or rightly withheld.
    passed: i64,
    _seat: StreamSeat,
}

impl Stream {
    /// Runs until the stream ends. Why it ended is of no interest to anybody: the page reconnects.
    async fn run(mut self, after: Option<i64>) {
        let _: Result<(), Ended> = self.serve(after).await;
    }

    async fn serve(&mut self, after: Option<i64>) -> Result<(), Ended> {
        // The first beat names where this page stands, not where the log does: a page that is cut off before it has caught
        // up resumes from what it heard last.
        self.passed = after.unwrap_or_else(|| self.room.live.newest());
        self.beat().await?;
        if let Some(after) = after {
            self.resume(after).await?;
        }
        let mut beat = tokio::time::interval(BEAT_EVERY);
        beat.reset();
        let mut sessions_ended = self.room.identity.sessions_ended();
        loop {
            tokio::select! {
                event = self.tail.recv() => match event {
                    Ok(event) => self.pass(&event).await?,
                    Err(RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(RecvError::Closed) => return Err(Ended),
                },
                _ = beat.tick() => {
                    self.check_right().await?;
                    self.beat().await?;
                }
                Ok(()) = sessions_ended.changed() => self.check_right().await?,
                () = self.sender.closed() => return Err(Ended),
            }
        }
    }

    /// Takes up after `after`, or tells the page to start over when the log cannot continue from there.
    async fn resume(&mut self, after: i64) -> Result<(), Ended> {
        let oldest = store::oldest(self.room.live.store.reader()).await.map_err(database_failed)?;
        let newest = self.newest_committed().await?;
        if after > newest || after + 1 < oldest {
            self.passed = newest;
            return self
                .send(SseEvent::default().event("reset").id(newest.to_string()).data(sequence_json(newest)))
                .await;
        }
        self.passed = after;
        self.catch_up().await
    }

    async fn newest_committed(&self) -> Result<i64, Ended> {
        let mut connection = self.room.live.store.reader().acquire().await.map_err(database_failed)?;
        store::current(&mut connection).await.map_err(database_failed)
    }

    /// Reads the log from where this stream stands.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let page =
                store::after(self.room.live.store.reader(), self.passed, PAGE_EVENTS).await.map_err(database_failed)?;
            for event in &page {
                self.pass(event).await?;
            }
            if page.len() < PAGE_EVENTS {
                return Ok(());
            }
        }
    }

    /// Sends an event that is new to this stream and lies in the viewer's region.
    async fn pass(&mut self, event: &Event) -> Result<(), Ended> {
        if event.sequence <= self.passed {
            return Ok(());
        }
        self.passed = event.sequence;
        if !self.viewer.sees(&event.region) {
            return Ok(());
        }
        let message = SseEvent::default().id(event.sequence.to_string()).event(&event.kind).data(&event.body);
        self.send(message).await
    }

    /// Proof of life. It carries the stream's position, so that `Last-Event-ID` moves on through events of other regions.
    async fn beat(&self) -> Result<(), Ended> {
        let data = json!({ "now_ms": clock::utc_ms(), "sequence": self.passed }).to_string();
        self.send(SseEvent::default().event("beat").id(self.passed.to_string()).data(data)).await
    }

    /// A session that ended or a role or region that changed since: the stream goes on with the rights of now, or ends.
    async fn check_right(&mut self) -> Result<(), Ended> {
        let viewer = self.room.identity.recheck(&self.viewer, clock::utc_ms()).await.map_err(database_failed)?;
        match viewer {
            Some(viewer) if viewer.region == self.viewer.region => {
                self.viewer = viewer;
                Ok(())
            }
            // Another region wants another list to begin with.
            Some(_) | None => Err(Ended),
        }
    }

    async fn send(&self, event: SseEvent) -> Result<(), Ended> {
        self.sender.send(Ok(event)).await.map_err(|_| Ended)
    }
}

fn sequence_json(sequence: i64) -> String {
    json!({ "sequence": sequence }).to_string()
}

fn database_failed(error: sqlx::Error) -> Ended {
    tracing::error!(%error, "A page's stream ends because the change log cannot be read");
    Ended
}
