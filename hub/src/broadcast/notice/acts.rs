//! What people do with a notice that was made: let it be heard, refuse it, stop it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::http::finish;
use super::machine::{Course, Refusal};
use super::order;
use super::store::{self, Notice};
use super::view::{self, NoticeView};
use crate::audit;
use crate::broadcast::BroadcastRoom;
use crate::clock;
use crate::ids::NoticeId;
use crate::store::Transaction;
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 200;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<BroadcastRoom> {
    OpenApiRouter::new().routes(routes!(confirm)).routes(routes!(refuse)).routes(routes!(stop))
}

/// Let a notice be heard beyond one village, as the second person.
#[utoipa::path(post, path = "/api/v1/notices/{id}/confirm", operation_id = "confirm_notice", tag = "broadcast",
    params(("id" = String, Path)), responses(
    (status = OK, body = NoticeView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn confirm(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<NoticeId>,
) -> Result<Json<NoticeView>, Problem> {
    let rule = |course: &mut Course, now_ms, second: &str| course.confirm(now_ms, room.night, second);
    decide(&room, &viewer, &id, ("notice.confirm", None), rule).await
}

/// Why a notice is not to be heard.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NoticeRefusal {
    /// In the second person's words; 1–200 characters.
    reason: String,
}

/// Do not let a notice be heard, as the second person.
#[utoipa::path(post, path = "/api/v1/notices/{id}/refuse", operation_id = "refuse_notice", tag = "broadcast",
    params(("id" = String, Path)), request_body = NoticeRefusal, responses(
    (status = OK, body = NoticeView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn refuse(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<NoticeId>,
    Json(request): Json<NoticeRefusal>,
) -> Result<Json<NoticeView>, Problem> {
    let reason = request.reason.trim();
    if !(1..=REASON_CHARS_MAX).contains(&reason.chars().count()) {
        return Err(Problem::invalid("reason", "应为 1 至 200 个字", "1 to 200 characters"));
    }
    decide(&room, &viewer, &id, ("notice.refuse", Some(reason)), Course::refuse).await
}

/// What the second person says, as far as the rule lets them; a word that it does not take is in the audit trail all the same.
async fn decide(
    room: &BroadcastRoom,
    viewer: &Viewer,
    id: &NoticeId,
    (action, reason): (&'static str, Option<&str>),
    rule: impl FnOnce(&mut Course, i64, &str) -> Result<(), Refusal>,
) -> Result<Json<NoticeView>, Problem> {
    let (mut transaction, mut notice) = held(room, viewer, id).await?;
    let now_ms = clock::utc_ms();
    if let Err(refusal) = rule(&mut notice.course, now_ms, viewer.account_id.as_str()) {
        return Err(turn_down(room, transaction, viewer, (action, &notice), refusal).await?);
    }
    store::save(&mut transaction, &notice).await?;
    store::save_second(&mut transaction, now_ms, id, viewer, reason).await?;
    audit_done(&mut transaction, viewer, now_ms, (action, &notice), reason.unwrap_or_default()).await?;
    Ok(Json(finish(room, transaction, now_ms, &notice).await?))
}

/// Stop a notice: what plays falls silent, what waits does not begin. Stopping twice changes nothing.
#[utoipa::path(post, path = "/api/v1/notices/{id}/stop", operation_id = "stop_notice", tag = "broadcast",
    params(("id" = String, Path)), responses(
    (status = OK, body = NoticeView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn stop(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<NoticeId>,
) -> Result<Json<NoticeView>, Problem> {
    let (mut transaction, mut notice) = held(&room, &viewer, &id).await?;
    let now_ms = clock::utc_ms();
    let was_sent = match notice.course.stop() {
        Ok(Some(was_sent)) => was_sent,
        Ok(None) => {
            let view = view::one(&mut transaction, &id).await?.ok_or_else(Problem::not_found)?;
            return Ok(Json(view));
        }
        Err(refusal) => return Err(refused(refusal)),
    };
    store::save(&mut transaction, &notice).await?;
    store::save_stopped(&mut transaction, now_ms, &id, &viewer.display_name).await?;
    audit_done(&mut transaction, &viewer, now_ms, ("notice.stop", &notice), "").await?;
    let sites = match was_sent {
        true => order::stop(&mut transaction, &room.orders, now_ms, &notice).await?,
        false => Vec::new(),
    };
    let view = finish(&room, transaction, now_ms, &notice).await?;
    for site in &sites {
        room.orders.wake(site);
    }
    Ok(Json(view))
}

/// A notice that the viewer may act on, held until the transaction ends.
async fn held(room: &BroadcastRoom, viewer: &Viewer, id: &NoticeId) -> Result<(Transaction, Notice), Problem> {
    viewer.may(Right::BroadcastSend)?;
    let mut transaction = room.store.begin().await?;
    let notice = store::load(&mut transaction, id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&notice.region)?;
    Ok((transaction, notice))
}

async fn audit_done(
    transaction: &mut Transaction,
    viewer: &Viewer,
    now_ms: i64,
    (action, notice): (&'static str, &Notice),
    detail: &str,
) -> Result<(), sqlx::Error> {
    let line = audit::Record::done(viewer, action, notice.id.as_str(), &notice.region).detail(detail);
    audit::record(transaction, now_ms, line).await
}

/// Writes into the audit trail that an act was refused. The transaction is given back first: the line has one of its own.
async fn turn_down(
    room: &BroadcastRoom,
    transaction: Transaction,
    viewer: &Viewer,
    (action, notice): (&'static str, &Notice),
    refusal: Refusal,
) -> Result<Problem, Problem> {
    transaction.rollback().await?;
    let line = audit::Record::done(viewer, action, notice.id.as_str(), &notice.region).detail(format!("{refusal:?}"));
    audit::refused(&room.store, clock::utc_ms(), line).await;
    Ok(refused(refusal))
}

/// A rule's refusal in words.
pub(super) fn refused(refusal: Refusal) -> Problem {
    let (code, zh, en) = match refusal {
        Refusal::Night => (
            "notice.night",
            "现在是夜间，只能播紧急通知，没有发送。内容还在，请天亮后再发。",
            "It is night: only emergencies sound, so nothing was sent. Yours is kept; send it in the morning.",
        ),
        Refusal::NightUnconfirmed => (
            "notice.night_unconfirmed",
            "现在是夜间，会吵醒全村，还没有发送。确有危险，请再确认一次。",
            "It is night and everybody would wake; nothing was sent yet. If there is danger, confirm once more.",
        ),
        Refusal::OwnNotice => (
            "notice.own",
            "这条通知是您自己写的，要由另一个人确认，什么都没有改变。",
            "This notice is your own: somebody else has to decide on it. Nothing was changed.",
        ),
        Refusal::NotWaiting => (
            "notice.not_waiting",
            "这条通知不在等待确认，什么都没有改变。",
            "This notice does not wait for anybody's word. Nothing was changed.",
        ),
        Refusal::TooLate => (
            "notice.too_late",
            "这条通知等待确认已超过一小时，不再播出。需要的话请重新发送。",
            "This notice has waited for more than an hour and will not be heard. Send it anew if it is still needed.",
        ),
        Refusal::Over => {
            ("notice.over", "这条通知已经结束，什么都没有改变。", "This notice is over. Nothing was changed.")
        }
    };
    Problem::new(StatusCode::CONFLICT, code, zh, en)
}
