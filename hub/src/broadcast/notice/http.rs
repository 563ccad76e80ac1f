//! The routes of notices: send one, see them. What is done with one afterwards is in `acts.rs`.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{self, NoticeCreate, Wish};
use super::machine::{Course, Level};
use super::store::{self, Notice, Request};
use super::view::{self, NoticeDetail, NoticeView};
use super::{acts, order, reach};
use crate::audit;
use crate::broadcast::template::{self, NewTemplate};
use crate::broadcast::{BroadcastRoom, KEPT_MS, no_such_sound};
use crate::clock;
use crate::content;
use crate::ids::{self, NoticeId, RegionCode};
use crate::live;
use crate::store::Transaction;
use crate::viewer::{Right, Viewer};
use crate::voice::{self, KnownSound};
use crate::web::{Language, Problem, ProblemDocument};

/// Notices in one answer.
const PAGE: i64 = 50;
/// Most notices of one person that are not over. Whoever has more is not listening to what they say.
const OPEN_MAX: i64 = 20;
/// How much of a text becomes its title.
const TITLE_CHARS: usize = 20;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<BroadcastRoom> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(detail))
}

#[derive(Debug, Deserialize, IntoParams)]
struct NoticeQuery {
    /// Only those that were sent for this.
    level: Option<Level>,
    /// Those below this id: `next` of the page before.
    after: Option<String>,
}

/// Notices of the viewer's region, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
struct NoticePage {
    /// Sequence of the change log at which this was read.
    sequence: i64,
    /// The newest first; at most 50.
    notices: Vec<NoticeView>,
    /// Where the next page begins; null at the end.
    next: Option<NoticeId>,
}

/// Notices of the viewer's region, the newest first.
#[utoipa::path(get, path = "/api/v1/notices", operation_id = "list_notices", tag = "broadcast", params(NoticeQuery),
    responses(
    (status = OK, body = NoticePage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Query(query): Query<NoticeQuery>,
) -> Result<Json<NoticePage>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    // '~' follows every character that an id may hold.
    let before = query.after.as_deref().unwrap_or("~");
    let notices = view::list(&mut snapshot, &viewer.region, query.level, before, PAGE).await?;
    let next = notices.last().filter(|_| notices.len() as i64 == PAGE).map(|notice| notice.id.clone());
    Ok(Json(NoticePage { sequence, notices, next }))
}

/// One notice with its loudspeakers.
#[utoipa::path(get, path = "/api/v1/notices/{id}", operation_id = "notice_detail", tag = "broadcast",
    params(("id" = String, Path)), responses(
    (status = OK, body = NoticeDetail),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn detail(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<NoticeId>,
) -> Result<Json<NoticeDetail>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let notice = view::one(&mut snapshot, &id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&notice.region_code)?;
    let speakers = view::speakers(&mut snapshot, &id).await?;
    Ok(Json(NoticeDetail { notice, speakers }))
}

/// Send a notice. Beyond one village it waits for a second person. A caller that names its request (`client_id`) may
/// repeat it: the same request is sent once, and answered with the notice that it made.
#[utoipa::path(post, path = "/api/v1/notices", operation_id = "send_notice", tag = "broadcast",
    params(("Idempotency-Key" = Option<String>, Header, description = "1–64 visible characters of the caller's own")),
    request_body = NoticeCreate, responses(
    (status = CREATED, body = NoticeView),
    (status = OK, description = "This request was made before; nothing new was sent", body = NoticeView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    headers: HeaderMap,
    Json(request): Json<NoticeCreate>,
) -> Result<(StatusCode, Json<NoticeView>), Problem> {
    viewer.may(Right::BroadcastSend)?;
    viewer.require_region(&request.region_code)?;
    let key = form::request_key(&headers, request.client_id.as_deref())?;
    let wish = request.wish()?;
    let mut transaction = room.store.begin().await?;
    if let Some(known) = repeated(&mut transaction, &viewer, key.as_deref(), &wish).await? {
        return Ok((StatusCode::OK, Json(known)));
    }
    let now_ms = clock::utc_ms();
    let known = voice::known(&mut transaction, &viewer.region, &wish.hash).await?.ok_or_else(no_such_sound)?;
    if room.content.stat(&wish.hash).await?.is_none() {
        return Err(no_such_sound());
    }
    let whole_ms = wish.whole_ms(known.duration_ms)?;
    let speakers = reach::chosen(&mut transaction, now_ms, &wish.region, wish.speaker_ids.as_deref()).await?;
    if speakers.is_empty() {
        return Err(reach::nobody());
    }
    if store::open_of(&mut transaction, viewer.account_id.as_str()).await? >= OPEN_MAX {
        return Err(too_many());
    }
    let (reach, reach_code) = (reach::Reach::of(&speakers), reach::code(&wish.region, &speakers));
    let about = (wish.level, viewer.account_id.as_str(), wish.night_confirmed, wish.valid_for_ms);
    let course = Course::begin(now_ms, room.night, reach::needs_second(&reach_code), about).map_err(acts::refused)?;
    let notice = made(&wish, &known, (course, reach_code), Language::of_request(&headers));
    let asked = Request { key: key.as_deref(), sha256: &wish.request_sha256 };
    if !store::insert(&mut transaction, &viewer, &notice, reach, asked).await? {
        // The same request overtook this one between the look and the writing.
        let known = repeated(&mut transaction, &viewer, key.as_deref(), &wish).await?;
        return known.map(|known| (StatusCode::OK, Json(known))).ok_or_else(Problem::not_found);
    }
    store::insert_speakers(&mut transaction, &notice.id, &speakers).await?;
    content::link(&mut transaction, &wish.hash, &format!("notice:{}", notice.id), now_ms + KEPT_MS).await?;
    if wish.is_template {
        let sound = Some((&wish.hash, known.duration_ms));
        let (title, text) = (notice.title.as_str(), notice.text.as_deref());
        template::keep(&mut transaction, &viewer, now_ms, NewTemplate { region: &wish.region, title, text, sound })
            .await?;
    }
    let detail = format!("level={} speakers={} whole_ms={whole_ms}", wish.level.name(), reach.speakers);
    let line = audit::Record::done(&viewer, "notice.create", notice.id.as_str(), &notice.region).detail(detail);
    audit::record(&mut transaction, now_ms, line).await?;
    let view = finish(&room, transaction, now_ms, &notice).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Orders a notice that was sent, tells everybody how it is now, and commits.
pub(super) async fn finish(
    room: &BroadcastRoom,
    mut transaction: Transaction,
    now_ms: i64,
    notice: &Notice,
) -> Result<NoticeView, Problem> {
    let sites = match notice.course.sent_ms {
        Some(sent_ms) if sent_ms == now_ms => order::start(&mut transaction, &room.orders, now_ms, notice).await?,
        _ => Vec::new(),
    };
    let view = view::one(&mut transaction, &notice.id).await?.ok_or_else(Problem::not_found)?;
    live::append(&mut transaction, now_ms, &[view.draft()]).await?;
    transaction.commit().await?;
    room.live.notify();
    for site in &sites {
        room.orders.wake(site);
    }
    Ok(view)
}

/// The notice that this request has made already, if it has.
async fn repeated(
    transaction: &mut Transaction,
    viewer: &Viewer,
    key: Option<&str>,
    wish: &Wish,
) -> Result<Option<NoticeView>, Problem> {
    let Some(key) = key else { return Ok(None) };
    let Some((id, sha256)) = store::of_request(transaction, viewer.account_id.as_str(), key).await? else {
        return Ok(None);
    };
    if sha256 != wish.request_sha256 {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "notice.other_request",
            "这个请求编号已经用于另一条通知，没有发送。请重新打开页面再发。",
            "This request's key was used for another notice. Nothing was sent; reload the page and send it again.",
        ));
    }
    Ok(view::one(transaction, &id).await?)
}

fn made(wish: &Wish, sound: &KnownSound, (course, reach_code): (Course, RegionCode), language: Language) -> Notice {
    let text = wish.text.clone().or_else(|| sound.spoken_text.clone());
    let title = wish.title.clone().unwrap_or_else(|| match &text {
        Some(text) => text.chars().filter(|c| !c.is_control()).take(TITLE_CHARS).collect(),
        None if language == Language::English => "Recording".to_owned(),
        None => "录音通知".to_owned(),
    });
    Notice {
        id: NoticeId::from_known(ids::sortable(course.created_ms)),
        region: wish.region.clone(),
        reach_code,
        title,
        text,
        sound_sha256: wish.hash.to_string(),
        sound_bytes: sound.bytes,
        duration_ms: sound.duration_ms,
        times: i64::from(wish.times),
        gap_ms: i64::from(wish.gap_ms),
        course,
    }
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "notice.too_many",
        "您还有 20 条通知没有播完，没有发送。请先等它们播完，或停止其中一些。",
        "Twenty of your notices are not over yet, so nothing was sent. Wait for them, or stop some.",
    )
}
