//! Templates: one's own voice or a text, kept to be sent again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};
use tongluo_protocols::content::ContentHash;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{BroadcastRoom, no_such_sound};
use crate::audit;
use crate::clock;
use crate::content;
use crate::ids::{self, RegionCode, TemplateId};
use crate::live;
use crate::viewer::{Right, Viewer};
use crate::voice::{self, TEXT_CHARS_MAX};
use crate::web::{Problem, ProblemDocument, form};

/// Most templates of one region. A village has a dozen; one page shows them all.
const TEMPLATES_MAX: i64 = 100;
/// Most templates in one answer: those of the viewer's own region come first.
const LISTED_MAX: i64 = 200;
/// How long the sound of a template is kept: until it is deleted.
const SOUND_KEPT_MS: i64 = 100 * 366 * 24 * 3_600_000;

/// The routes of templates.
pub(super) fn routes() -> OpenApiRouter<BroadcastRoom> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

/// A notice that is kept to be sent again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct TemplateView {
    /// Opaque.
    id: TemplateId,
    /// Where it belongs.
    region_code: RegionCode,
    /// In a few words.
    title: String,
    /// What it says; null: a recording.
    text: Option<String>,
    /// What is played; null: the text is to be spoken first.
    sound_sha256: Option<String>,
    /// How long that sounds once.
    duration_ms: Option<i64>,
    /// Who made it.
    author: String,
    /// When, UTC milliseconds.
    created_ms: i64,
}

/// Templates of the viewer's region.
#[derive(Debug, Serialize, ToSchema)]
struct TemplatePage {
    /// Sequence of the change log at which this was read.
    sequence: i64,
    /// The viewer's own region's first, then by title; at most 200.
    templates: Vec<TemplateView>,
}

/// A template to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplateCreate {
    /// The viewer's own region, or one in it.
    #[schema(value_type = String)]
    region_code: RegionCode,
    /// 1–80 characters.
    title: String,
    /// At most 1,000 characters; needed when there is no sound.
    text: Option<String>,
    /// A sound that was brought or spoken before.
    sound_sha256: Option<String>,
}

/// What is written of a new template.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewTemplate<'a> {
    pub(super) region: &'a RegionCode,
    pub(super) title: &'a str,
    pub(super) text: Option<&'a str>,
    /// With its length, milliseconds.
    pub(super) sound: Option<(&'a ContentHash, i64)>,
}

/// Templates of the viewer's region.
#[utoipa::path(get, path = "/api/v1/templates", operation_id = "list_templates", tag = "broadcast", responses(
    (status = OK, body = TemplatePage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list(State(room): State<BroadcastRoom>, viewer: Viewer) -> Result<Json<TemplatePage>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let rows = sqlx::query(
        "select id, region_code, title, spoken_text, sound_sha256, duration_ms, author, created_ms from notice_template \
         where region_code >= $1 and region_code < $2 order by case when region_code = $1 then 0 else 1 end, title, id \
         limit $3",
    )
    .bind(viewer.region.as_str())
    .bind(viewer.region.end())
    .bind(LISTED_MAX)
    .fetch_all(&mut *snapshot)
    .await?;
    let templates = rows.iter().map(from_row).collect::<Result<_, sqlx::Error>>()?;
    Ok(Json(TemplatePage { sequence, templates }))
}

/// Keep a template.
#[utoipa::path(post, path = "/api/v1/templates", operation_id = "create_template", tag = "broadcast",
    request_body = TemplateCreate, responses(
    (status = CREATED, body = TemplateView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Json(request): Json<TemplateCreate>,
) -> Result<(StatusCode, Json<TemplateView>), Problem> {
    viewer.may(Right::BroadcastSend)?;
    viewer.require_region(&request.region_code)?;
    let title = form::name("title", &request.title)?;
    let text = request.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
        return Err(Problem::invalid("text", "最多 1000 个字", "at most 1,000 characters"));
    }
    let mut transaction = room.store.begin().await?;
    let sound = match &request.sound_sha256 {
        Some(sha256) => {
            let hash = ContentHash::parse(sha256).ok_or_else(no_such_sound)?;
            let known = voice::known(&mut transaction, &viewer.region, &hash).await?.ok_or_else(no_such_sound)?;
            Some((hash, known.duration_ms))
        }
        None if text.is_none() => {
            let (zh, en) = ("文字和录音至少要有一样", "there must be a text or a sound");
            return Err(Problem::invalid("text", zh, en));
        }
        None => None,
    };
    let now_ms = clock::utc_ms();
    let sound = sound.as_ref().map(|(hash, duration_ms)| (hash, *duration_ms));
    let new = NewTemplate { region: &request.region_code, title: &title, text, sound };
    let view = keep(&mut transaction, &viewer, now_ms, new).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Delete a template. What was sent from it stays.
#[utoipa::path(delete, path = "/api/v1/templates/{id}", operation_id = "delete_template", tag = "broadcast",
    params(("id" = String, Path)), responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn delete(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    Path(id): Path<TemplateId>,
) -> Result<StatusCode, Problem> {
    viewer.may(Right::BroadcastSend)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let region: Option<String> = sqlx::query_scalar("select region_code from notice_template where id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
    let region = RegionCode::from_known(region.ok_or_else(Problem::not_found)?);
    viewer.require_region(&region)?;
    sqlx::query("delete from notice_template where id = $1").bind(id.as_str()).execute(&mut *transaction).await?;
    content::unlink(&mut transaction, &subject(&id)).await?;
    let line = audit::Record::done(&viewer, "template.delete", id.as_str(), &region);
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps a template, in the caller's transaction.
pub(super) async fn keep(
    connection: &mut AnyConnection,
    viewer: &Viewer,
    now_ms: i64,
    new: NewTemplate<'_>,
) -> Result<TemplateView, Problem> {
    let held: i64 = sqlx::query_scalar("select count(*) from notice_template where region_code = $1")
        .bind(new.region.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if held >= TEMPLATES_MAX {
        return Err(too_many());
    }
    let id = TemplateId::from_known(ids::sortable(now_ms));
    let row = sqlx::query(
        "insert into notice_template (id, region_code, title, spoken_text, sound_sha256, duration_ms, author, created_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning id, region_code, title, spoken_text, sound_sha256, duration_ms, \
         author, created_ms",
    )
    .bind(id.as_str())
    .bind(new.region.as_str())
    .bind(new.title)
    .bind(new.text)
    .bind(new.sound.map(|(hash, _)| hash.to_string()))
    .bind(new.sound.map(|(_, duration_ms)| duration_ms))
    .bind(viewer.display_name.as_str())
    .bind(now_ms)
    .fetch_one(&mut *connection)
    .await?;
    if let Some((hash, _)) = new.sound {
        content::link(connection, hash, &subject(&id), now_ms + SOUND_KEPT_MS).await?;
    }
    let line = audit::Record::done(viewer, "template.create", id.as_str(), new.region);
    audit::record(connection, now_ms, line).await?;
    Ok(from_row(&row)?)
}

fn from_row(row: &AnyRow) -> Result<TemplateView, sqlx::Error> {
    Ok(TemplateView {
        id: TemplateId::from_known(row.try_get::<String, _>("id")?),
        region_code: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
        title: row.try_get("title")?,
        text: row.try_get("spoken_text")?,
        sound_sha256: row.try_get("sound_sha256")?,
        duration_ms: row.try_get("duration_ms")?,
        author: row.try_get("author")?,
        created_ms: row.try_get("created_ms")?,
    })
}

/// Under which the sound of a template is kept.
fn subject(id: &TemplateId) -> String {
    format!("template:{id}")
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "template.too_many",
        "这里的模板已达上限（100 个），没有保存。请先删除不用的。",
        "There are as many templates here as there may be (100). Nothing was kept; delete some first.",
    )
}
