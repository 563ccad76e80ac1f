//! The routes of loudspeakers: see them, enter, change and delete them.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{KEY_BYTES, KeyText, Settings, SpeakerCreate, SpeakerPatch};
use super::view::{self, Speaker, SpeakerKind, SpeakerView};
use super::{SPEAKERS_PER_SITE_MAX, label, store};
use crate::audit;
use crate::broadcast::BroadcastRoom;
use crate::clock;
use crate::fault;
use crate::fleet;
use crate::ids::{self, RegionCode, SiteId, SpeakerId};
use crate::live;
use crate::store::Transaction;
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// The routes of loudspeakers.
pub(in crate::broadcast) fn routes() -> OpenApiRouter<BroadcastRoom> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(change, delete))
}

#[derive(Debug, Deserialize, IntoParams)]
struct SpeakerQuery {
    /// Only this site's.
    #[param(value_type = Option<String>)]
    site_id: Option<SiteId>,
}

/// Loudspeakers, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
struct SpeakerPage {
    /// Sequence of the change log at which this was read.
    sequence: i64,
    /// By site and name.
    speakers: Vec<SpeakerView>,
}

/// A loudspeaker that was just entered.
#[derive(Debug, Serialize, ToSchema)]
struct NewSpeaker {
    /// The loudspeaker.
    #[serde(flatten)]
    speaker: SpeakerView,
    /// The key that the hub drew for it, 64 hexadecimal digits: to be entered at the loudspeaker now, for it is never shown
    /// again. Null: it has one already, or needs none.
    key: Option<String>,
}

/// The loudspeakers of the viewer's region.
#[utoipa::path(get, path = "/api/v1/speakers", operation_id = "list_speakers", tag = "broadcast", params(SpeakerQuery),
    responses(
    (status = OK, body = SpeakerPage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Query(query): Query<SpeakerQuery>,
) -> Result<Json<SpeakerPage>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let speakers = view::in_region(&mut snapshot, clock::utc_ms(), &viewer.region, query.site_id.as_ref()).await?;
    Ok(Json(SpeakerPage { sequence, speakers: speakers.into_iter().map(|speaker| speaker.view).collect() }))
}

/// Enter a loudspeaker. Its key is sealed; one that the hub draws is shown in this answer and never again.
#[utoipa::path(post, path = "/api/v1/speakers", operation_id = "create_speaker", tag = "broadcast",
    request_body = SpeakerCreate, responses(
    (status = CREATED, body = NewSpeaker),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Json(request): Json<SpeakerCreate>,
) -> Result<(StatusCode, Json<NewSpeaker>), Problem> {
    viewer.may(Right::SiteManage)?;
    let settings = request.settings()?;
    let (key, drawn) = key_of(settings.kind, request.key.as_ref())?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let site = &request.site_id;
    let region = held_site(&mut transaction, &viewer, site).await?;
    if store::count(&mut transaction, site).await? >= SPEAKERS_PER_SITE_MAX {
        return Err(too_many());
    }
    let id = SpeakerId::from_known(ids::opaque());
    refuse_taken(&mut transaction, site, &id, &settings).await?;
    store::insert(&mut transaction, now_ms, &id, site, &settings).await?;
    if let Some(key) = key {
        store::save_key(&mut transaction, &id, room.seal.seal(&label(&id), &key)).await?;
    }
    let line = audit::Record::done(&viewer, "speaker.create", id.as_str(), &region).detail(settings.kind.as_str());
    audit::record(&mut transaction, now_ms, line).await?;
    let speaker = finish(&room, transaction, now_ms, &id).await?;
    Ok((StatusCode::CREATED, Json(NewSpeaker { speaker, key: drawn })))
}

/// Change a loudspeaker; absent fields stay.
#[utoipa::path(patch, path = "/api/v1/speakers/{id}", operation_id = "change_speaker", tag = "broadcast",
    params(("id" = String, Path)), request_body = SpeakerPatch, responses(
    (status = OK, body = SpeakerView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn change(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<SpeakerId>,
    Json(patch): Json<SpeakerPatch>,
) -> Result<Json<SpeakerView>, Problem> {
    viewer.may(Right::SiteManage)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let (speaker, region) = held_speaker(&mut transaction, &viewer, &id, now_ms).await?;
    let settings = patch.settings(speaker.view.settings())?;
    refuse_taken(&mut transaction, &speaker.view.site_id, &id, &settings).await?;
    store::update(&mut transaction, &id, &settings).await?;
    if let Some(text) = &patch.key {
        let (key, _) = key_of(settings.kind, Some(text))?;
        let key = key.expect("a key that is given is one: key_of refuses the rest");
        store::save_key(&mut transaction, &id, room.seal.seal(&label(&id), &key)).await?;
    }
    let line = audit::Record::done(&viewer, "speaker.change", id.as_str(), &region).detail(patch.named());
    audit::record(&mut transaction, now_ms, line).await?;
    Ok(Json(finish(&room, transaction, now_ms, &id).await?))
}

/// Delete a loudspeaker. What it played stays written.
#[utoipa::path(delete, path = "/api/v1/speakers/{id}", operation_id = "delete_speaker", tag = "broadcast",
    params(("id" = String, Path)), responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn delete(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<SpeakerId>,
) -> Result<StatusCode, Problem> {
    viewer.may(Right::SiteManage)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let (speaker, region) = held_speaker(&mut transaction, &viewer, &id, now_ms).await?;
    let site = &speaker.view.site_id;
    let mut drafts = fleet::response::forget_speaker(&mut transaction, &id).await?;
    store::delete(&mut transaction, &id).await?;
    let line = audit::Record::done(&viewer, "speaker.delete", id.as_str(), &region);
    audit::record(&mut transaction, now_ms, line).await?;
    drafts.extend(fault::clear_source(&mut transaction, now_ms, site, &super::fault_source(&id)).await?);
    drafts.push(SpeakerView { deleted: true, ..speaker.view.clone() }.draft());
    fleet::configuration::mark(&mut transaction, now_ms, site).await?;
    live::append(&mut transaction, now_ms, &drafts).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok(StatusCode::NO_CONTENT)
}

/// Tells everybody how a loudspeaker is now, and commits.
async fn finish(
    room: &BroadcastRoom,
    mut transaction: Transaction,
    now_ms: i64,
    id: &SpeakerId,
) -> Result<SpeakerView, Problem> {
    let speaker = view::one(&mut transaction, now_ms, id).await?.ok_or_else(Problem::not_found)?;
    fleet::configuration::mark(&mut transaction, now_ms, &speaker.view.site_id).await?;
    live::append(&mut transaction, now_ms, &[speaker.view.draft()]).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok(speaker.view)
}

/// The key of a loudspeaker: as given, or drawn here and then also as text to be shown once. `None`: it needs none.
fn key_of(kind: SpeakerKind, given: Option<&KeyText>) -> Result<(Option<[u8; KEY_BYTES]>, Option<String>), Problem> {
    match (kind, given) {
        (SpeakerKind::Mqtt, Some(text)) => Ok((Some(text.bytes()?), None)),
        (SpeakerKind::Mqtt, None) => {
            let mut key = [0; KEY_BYTES];
            getrandom::fill(&mut key).map_err(|error| Problem::internal(anyhow::anyhow!("no randomness: {error}")))?;
            let text = tongluo_protocols::content::ContentHash::new(key).to_string();
            Ok((Some(key), Some(text)))
        }
        (SpeakerKind::LineOut, None) => Ok((None, None)),
        (SpeakerKind::LineOut, Some(_)) => {
            Err(Problem::invalid("key", "网关自带音频口没有密钥", "the gateway's own line-out has no key"))
        }
    }
}

async fn refuse_taken(
    connection: &mut AnyConnection,
    site: &SiteId,
    id: &SpeakerId,
    settings: &Settings,
) -> Result<(), Problem> {
    if !store::is_device_taken(connection, site, id, settings).await? {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "speaker.taken",
        "这个站点已经有同一个序列号或声卡的喇叭，什么都没有改变。",
        "This site has a loudspeaker with this serial or sound card already. Nothing was changed.",
    ))
}

/// Locks a site's row, if the viewer may know of it.
async fn held_site(connection: &mut AnyConnection, viewer: &Viewer, site: &SiteId) -> Result<RegionCode, Problem> {
    let region = store::hold_site(connection, site).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&region)?;
    Ok(region)
}

/// Locks the row of a loudspeaker's site, if the viewer may know of it, and reads the loudspeaker.
async fn held_speaker(
    connection: &mut AnyConnection,
    viewer: &Viewer,
    id: &SpeakerId,
    now_ms: i64,
) -> Result<(Speaker, RegionCode), Problem> {
    let found = view::one(connection, now_ms, id).await?.ok_or_else(Problem::not_found)?;
    let region = held_site(connection, viewer, &found.view.site_id).await?;
    // Read again: between the first look and the lock somebody may have changed or deleted it.
    let speaker = view::one(connection, now_ms, id).await?.ok_or_else(Problem::not_found)?;
    Ok((speaker, region))
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "speaker.too_many",
        "这个站点的喇叭已达上限（64 个），什么都没有改变。",
        "This site has as many loudspeakers as it may have (64). Nothing was changed.",
    )
}
