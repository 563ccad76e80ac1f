//! What the pages may do with alarms.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::machine::{CloseReason, Course, LineKind, Refusal, Step};
use super::store::Alarm;
use super::view::{AlarmDetail, AlarmView};
use super::{draft, store, view, word};
use crate::audit;
use crate::clock;
use crate::ids::AlarmId;
use crate::live::{self, Live};
use crate::order::Orders;
use crate::store::{Store, Transaction};
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Closed alarms in one answer, when the page does not say.
const PAGE_DEFAULT: u32 = 50;
/// Most closed alarms in one answer.
const PAGE_MAX: u32 = 200;
/// Longest note, in characters. Ten sentences; a longer story belongs in a report.
const NOTE_CHARS_MAX: usize = 1_000;

/// What the room needs of the hub.
#[derive(Clone, Debug)]
pub struct AlarmRoom {
    /// The ledger's tables.
    pub store: Store,
    /// To be told of changes.
    pub live: Live,
    /// To have whoever pressed told what people did.
    pub orders: Orders,
}

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<AlarmRoom> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(detail))
        .routes(routes!(acknowledge))
        .routes(routes!(going))
        .routes(routes!(arrived))
        .routes(routes!(close))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    /// Not closed.
    #[default]
    Open,
    /// Closed.
    Closed,
}

#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// `open` (the default; always complete) or `closed` (in pages).
    #[serde(default)]
    #[param(inline)]
    state: Wanted,
    /// Of closed alarms, those below this id: `next` of the page before.
    after: Option<String>,
    /// Of closed alarms, how many: 1 to 200, default 50.
    limit: Option<u32>,
}

/// Alarms of the viewer's region.
#[derive(Debug, Serialize, ToSchema)]
struct AlarmList {
    /// The change log's sequence at which this was read.
    sequence: i64,
    /// Newest first.
    alarms: Vec<AlarmView>,
    /// Where the next page begins; null at the end.
    next: Option<AlarmId>,
}

/// Alarms of the viewer's region: all that are open, or a page of closed ones.
#[utoipa::path(
    get, path = "/api/v1/alarms", operation_id = "list_alarms", tag = "alarm", params(ListQuery),
    responses((status = 200, body = AlarmList), (status = 401, body = ProblemDocument))
)]
async fn list(
    State(room): State<AlarmRoom>,
    viewer: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<AlarmList>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let (alarms, next) = match query.state {
        Wanted::Open => (view::open(&mut snapshot, &viewer.region).await?, None),
        Wanted::Closed => {
            let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
            // '~' follows every character that an id may hold.
            let before = query.after.as_deref().unwrap_or("~");
            let alarms = view::closed(&mut snapshot, &viewer.region, before, i64::from(limit)).await?;
            let is_full = alarms.len() == limit as usize;
            let next = alarms.last().filter(|_| is_full).map(|alarm| alarm.id.clone());
            (alarms, next)
        }
    };
    Ok(Json(AlarmList { sequence, alarms, next }))
}

/// One alarm with its story and its presses.
#[utoipa::path(
    get, path = "/api/v1/alarms/{id}", tag = "alarm", params(("id" = String, Path)),
    responses((status = 200, body = AlarmDetail), (status = 404, body = ProblemDocument))
)]
async fn detail(
    State(room): State<AlarmRoom>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Json<AlarmDetail>, Problem> {
    let id = AlarmId::from_known(id);
    let mut snapshot = room.store.snapshot().await?;
    let alarm = view::one(&mut snapshot, &id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&alarm.region_code)?;
    let timeline = view::timeline(&mut snapshot, &id).await?;
    let recent_presses = view::presses(&mut snapshot, &id).await?;
    Ok(Json(AlarmDetail { alarm, timeline, recent_presses }))
}

/// Take an alarm: "I have it". It falls silent on every page until its button is pressed again.
#[utoipa::path(
    post, path = "/api/v1/alarms/{id}/acknowledge", tag = "alarm", params(("id" = String, Path)),
    responses(
        (status = 200, body = AlarmView),
        (status = 403, body = ProblemDocument),
        (status = 404, body = ProblemDocument),
        (status = 409, description = "It is closed", body = ProblemDocument),
    )
)]
async fn acknowledge(
    State(room): State<AlarmRoom>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Json<AlarmView>, Problem> {
    let now_ms = clock::utc_ms();
    let by = viewer.display_name.clone();
    act(&room, &viewer, id, now_ms, "alarm.acknowledge", |course| course.acknowledge(now_ms, &by)).await
}

/// Say "I am going": whoever pressed is told that somebody has it.
#[utoipa::path(
    post, path = "/api/v1/alarms/{id}/going", operation_id = "going_to_alarm", tag = "alarm", params(("id" = String, Path)),
    responses(
        (status = 200, body = AlarmView),
        (status = 403, body = ProblemDocument),
        (status = 404, body = ProblemDocument),
        (status = 409, description = "It is closed", body = ProblemDocument),
    )
)]
async fn going(
    State(room): State<AlarmRoom>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Json<AlarmView>, Problem> {
    attend(&room, &viewer, id, "alarm.going", (Step::Going, LineKind::Going)).await
}

/// Say "I am there".
#[utoipa::path(
    post, path = "/api/v1/alarms/{id}/arrived", operation_id = "arrived_at_alarm", tag = "alarm",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = AlarmView),
        (status = 403, body = ProblemDocument),
        (status = 404, body = ProblemDocument),
        (status = 409, description = "It is closed", body = ProblemDocument),
    )
)]
async fn arrived(
    State(room): State<AlarmRoom>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Json<AlarmView>, Problem> {
    attend(&room, &viewer, id, "alarm.arrived", (Step::Arrived, LineKind::Arrived)).await
}

/// How an alarm ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CloseRequest {
    /// Why.
    reason: CloseReason,
    /// In the person's words; at most 1,000 characters; required for `other`.
    note: Option<String>,
}

/// Close an alarm, with a reason. Only a person does this.
#[utoipa::path(
    post, path = "/api/v1/alarms/{id}/close", tag = "alarm", params(("id" = String, Path)), request_body = CloseRequest,
    responses(
        (status = 200, body = AlarmView),
        (status = 403, body = ProblemDocument),
        (status = 404, body = ProblemDocument),
        (status = 409, description = "It is closed already", body = ProblemDocument),
        (status = 422, description = "The note is missing or too long", body = ProblemDocument),
    )
)]
async fn close(
    State(room): State<AlarmRoom>,
    viewer: Viewer,
    Path(id): Path<String>,
    Json(request): Json<CloseRequest>,
) -> Result<Json<AlarmView>, Problem> {
    let CloseRequest { reason, note } = request;
    if note.as_ref().is_some_and(|note| note.chars().count() > NOTE_CHARS_MAX) {
        return Err(Problem::invalid("note", "最多 1000 字", "at most 1,000 characters"));
    }
    let now_ms = clock::utc_ms();
    let by = viewer.display_name.clone();
    act(&room, &viewer, id, now_ms, "alarm.close", |course| course.close(now_ms, &by, reason, note)).await
}

/// One person's act on one alarm: rule, tables, order, audit and change log in one transaction.
async fn act(
    room: &AlarmRoom,
    viewer: &Viewer,
    id: String,
    now_ms: i64,
    action: &'static str,
    rule: impl FnOnce(&mut Course) -> Result<Vec<LineKind>, Refusal>,
) -> Result<Json<AlarmView>, Problem> {
    let (transaction, mut alarm) = held(room, viewer, id).await?;
    let lines = rule(&mut alarm.course).map_err(refused)?;
    finish(room, viewer, transaction, now_ms, action, (&alarm, &lines)).await
}

/// Somebody goes to help, or is there.
async fn attend(
    room: &AlarmRoom,
    viewer: &Viewer,
    id: String,
    action: &'static str,
    (step, line): (Step, LineKind),
) -> Result<Json<AlarmView>, Problem> {
    let now_ms = clock::utc_ms();
    let by = viewer.display_name.as_str();
    let (mut transaction, mut alarm) = held(room, viewer, id).await?;
    let said_before = store::was_said_last(&mut transaction, &alarm, line, by).await?;
    let lines = alarm.course.attend(now_ms, by, step, said_before).map_err(refused)?;
    finish(room, viewer, transaction, now_ms, action, (&alarm, &lines)).await
}

/// An alarm that the viewer may act on, held until the transaction ends.
async fn held(room: &AlarmRoom, viewer: &Viewer, id: String) -> Result<(Transaction, Alarm), Problem> {
    viewer.may(Right::AlarmHandle)?;
    let mut transaction = room.store.begin().await?;
    let alarm = store::load(&mut transaction, &AlarmId::from_known(id)).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&alarm.region)?;
    Ok((transaction, alarm))
}

/// Writes what an act changed, has whoever pressed told of it, and commits.
async fn finish(
    room: &AlarmRoom,
    viewer: &Viewer,
    mut transaction: Transaction,
    now_ms: i64,
    action: &'static str,
    (alarm, lines): (&Alarm, &[LineKind]),
) -> Result<Json<AlarmView>, Problem> {
    if !lines.is_empty() {
        store::save(&mut transaction, alarm, now_ms, &viewer.display_name, lines).await?;
        word::order(&mut transaction, &room.orders, now_ms, alarm, lines, &viewer.display_name).await?;
        let record = audit::Record::done(viewer, action, alarm.id.as_str(), &alarm.region);
        audit::record(&mut transaction, now_ms, record).await?;
    }
    let view = view::one(&mut transaction, &alarm.id).await?.ok_or_else(Problem::not_found)?;
    if !lines.is_empty() {
        live::append(&mut transaction, now_ms, &[draft(&view)]).await?;
    }
    transaction.commit().await?;
    room.live.notify();
    room.orders.wake(&alarm.site_id);
    Ok(Json(view))
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::AlreadyClosed => Problem::new(
            StatusCode::CONFLICT,
            "alarm.already_closed",
            "这起警情已经结警，什么都没有改变。再次按压会产生新的警情。",
            "This alarm is closed; nothing was changed. A new press raises a new alarm.",
        ),
        Refusal::NoteRequired => {
            Problem::invalid("note", "选择“其他”时请写明原因", "say why when the reason is \"other\"")
        }
    }
}
