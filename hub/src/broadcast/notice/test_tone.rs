//! `POST /api/v1/speakers/{id}/test`: one loudspeaker plays a tone, by the same way as every notice.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acts;
use super::http::finish;
use super::machine::{Course, Level};
use super::reach::Reach;
use super::store::{self, Notice, Request};
use super::view::NoticeView;
use crate::audit;
use crate::broadcast::{BroadcastRoom, speaker, tones};
use crate::clock;
use crate::ids::{self, NoticeId, SpeakerId};
use crate::viewer::{Right, Viewer};
use crate::web::{Language, Problem, ProblemDocument};

/// A technician stands there and listens: a tone that comes later than this is none.
const VALID_MS: i64 = 60_000;

/// The route.
pub(super) fn routes() -> OpenApiRouter<BroadcastRoom> {
    OpenApiRouter::new().routes(routes!(test))
}

/// Have one loudspeaker play a test tone. The answer is a notice of the level `test`: follow it for what became of the tone.
#[utoipa::path(post, path = "/api/v1/speakers/{id}/test", operation_id = "test_speaker", tag = "broadcast",
    params(("id" = String, Path)), responses(
    (status = ACCEPTED, body = NoticeView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn test(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<SpeakerId>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<NoticeView>), Problem> {
    viewer.may(Right::SiteManage)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let speaker = speaker::one(&mut transaction, now_ms, &id).await?.ok_or_else(Problem::not_found)?.view;
    viewer.require_region(&speaker.region_code)?;
    let tone = tones::named(&mut transaction, tones::TONE).await?.ok_or_else(no_tone)?;
    let about = (Level::Test, viewer.account_id.as_str(), false, VALID_MS);
    let course = Course::begin(now_ms, room.night, false, about).map_err(acts::refused)?;
    let title = match Language::of_request(&headers) {
        Language::Chinese => format!("试音：{}", speaker.name),
        Language::English => format!("Test: {}", speaker.name),
    };
    let notice = Notice {
        id: NoticeId::from_known(ids::sortable(now_ms)),
        region: speaker.region_code.clone(),
        reach_code: speaker.region_code.clone(),
        title,
        text: None,
        sound_sha256: tone.sha256,
        sound_bytes: tone.bytes,
        duration_ms: tone.duration_ms,
        times: 1,
        gap_ms: 0,
        course,
    };
    let speakers = [speaker];
    store::insert(&mut transaction, &viewer, &notice, Reach::of(&speakers), Request { key: None, sha256: "" }).await?;
    store::insert_speakers(&mut transaction, &notice.id, &speakers).await?;
    let line = audit::Record::done(&viewer, "speaker.test", id.as_str(), &notice.region).detail(notice.id.as_str());
    audit::record(&mut transaction, now_ms, line).await?;
    let view = finish(&room, transaction, now_ms, &notice).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

fn no_tone() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "speaker.no_tone",
        "试音的声音还没有准备好，请过一会儿再试。",
        "The test tone is not ready yet. Try again in a moment.",
    )
}
