//! A notice as the pages see it, with what became of it.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use utoipa::ToSchema;

use super::machine::{Decision, Level};
use super::reach::Reach;
use crate::ids::{NoticeId, RegionCode, SpeakerId};
use crate::live::Draft;
use crate::store::{chunks, parameters};

/// Most loudspeakers in one answer, those that need somebody first. The counts are of all.
const SPEAKERS_SHOWN_MAX: i64 = 500;

/// Where a notice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::broadcast) enum NoticeState {
    /// It goes beyond one village, and nobody else has said yes or no yet.
    WaitingForSecond,
    /// It was ordered; no loudspeaker has begun.
    Sent,
    /// Loudspeakers play it, or have played it while others are still to begin.
    Playing,
    /// Nothing more will happen.
    Done,
    /// Somebody stopped it, and not every loudspeaker has said its last word: some may still be heard.
    Stopping,
    /// Somebody stopped it, and nothing is heard of it any more.
    Stopped,
    /// A second person said no, or nobody said anything for an hour.
    Refused,
}

/// A notice. Times are UTC milliseconds of the hub's clock.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::broadcast) struct NoticeView {
    /// Opaque.
    pub(in crate::broadcast) id: NoticeId,
    /// In a few words.
    title: String,
    /// What it says; null: a recording.
    text: Option<String>,
    /// For which region.
    pub(super) region_code: RegionCode,
    /// That region's name.
    region_name: String,
    /// What it was sent for.
    level: Level,
    /// Who made it.
    author: String,
    /// What they log in with: a page knows its own person's notices by it.
    author_username: String,
    /// When it was made.
    created_ms: i64,
    /// Where it stands.
    state: NoticeState,
    /// What is played.
    sound_sha256: String,
    /// How long that sounds once.
    duration_ms: i64,
    /// How often.
    times: i64,
    /// Silence in between.
    gap_ms: i64,
    /// When it was ordered; null: not yet, or never.
    sent_ms: Option<i64>,
    /// No loudspeaker begins it after this; null: it was not ordered.
    valid_until_ms: Option<i64>,
    /// The second person.
    second: SecondView,
    /// How far it reached when it was made.
    reach: Reach,
    /// What the loudspeakers made of it.
    played: PlayedView,
    /// Why a second person refused it; `unanswered`: nobody said anything in time.
    refused_reason: Option<String>,
    /// Who stopped it.
    stopped_by: Option<String>,
    /// When.
    stopped_ms: Option<i64>,
    /// Grows with every change: of two views the higher is the newer.
    revision: i64,
}

/// The second person of a notice.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct SecondView {
    /// Whether one is needed.
    needed: bool,
    /// Who confirmed or refused it.
    by: Option<String>,
    /// When.
    at_ms: Option<i64>,
}

/// What loudspeakers made of a notice, by their gateways' reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
struct PlayedView {
    /// Played to the end, as often as was asked for.
    played: i64,
    /// At it now.
    playing: i64,
    /// Still to begin.
    waiting: i64,
    /// Failed, broken off, or too late.
    failed: i64,
    /// Refused by the gateway.
    refused: i64,
    /// Stopped by a person.
    stopped: i64,
}

/// A notice with its loudspeakers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct NoticeDetail {
    /// The notice.
    #[serde(flatten)]
    pub(super) notice: NoticeView,
    /// Its loudspeakers, those that need somebody first; at most 500.
    pub(super) speakers: Vec<NoticeSpeakerView>,
}

/// What one loudspeaker made of a notice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct NoticeSpeakerView {
    /// The loudspeaker; it may have been deleted since.
    speaker_id: SpeakerId,
    /// As it was called then.
    name: String,
    /// Of its site, then.
    site_name: String,
    /// `waiting`, `fetching`, `playing`, `played`, `interrupted`, `failed`, `refused`, `expired` or `stopped`; others may
    /// come.
    state: String,
    /// How much of it left for the loudspeaker, all times together. Whether that was heard, nobody measured.
    played_ms: i64,
    /// Whole plays.
    times: i64,
    /// Why, as a stable word or the gateway's sentence; empty where there is nothing to say.
    reason: String,
    /// Since when, the gateway's clock; null: it has not said anything.
    at_ms: Option<i64>,
}

impl NoticeView {
    /// The change-log entry that says "this is how the notice is now".
    pub(in crate::broadcast) fn draft(&self) -> Draft {
        Draft {
            kind: "notice",
            region: self.region_code.clone(),
            subject: self.id.to_string(),
            body: serde_json::json!(self),
        }
    }
}

impl PlayedView {
    fn add(&mut self, state: &str, count: i64) {
        *match state {
            "played" => &mut self.played,
            "playing" => &mut self.playing,
            "failed" | "interrupted" | "expired" => &mut self.failed,
            "refused" => &mut self.refused,
            "stopped" => &mut self.stopped,
            _ => &mut self.waiting,
        } += count;
    }
}

/// Where a notice stands, by what people decided and what loudspeakers did. A decision silences nothing by itself: a gateway that is
/// off line plays on until the order to stop has reached it.
fn state(decision: Decision, is_settled: bool, played: PlayedView) -> NoticeState {
    match decision {
        Decision::Waiting => NoticeState::WaitingForSecond,
        Decision::Refused => NoticeState::Refused,
        Decision::Stopped if is_settled => NoticeState::Stopped,
        Decision::Stopped => NoticeState::Stopping,
        Decision::Sent if is_settled => NoticeState::Done,
        Decision::Sent if played.playing + played.played > 0 => NoticeState::Playing,
        Decision::Sent => NoticeState::Sent,
    }
}

macro_rules! select_notices {
    ($rest:literal) => {
        concat!(
            "select n.id, n.title, n.spoken_text, n.region_code, coalesce(r.name, n.region_code) as region_name, n.level, ",
            "n.author, n.author_username, n.created_ms, n.state, n.settled, n.sound_sha256, n.duration_ms, n.times, n.gap_ms, n.sent_ms, ",
            "n.valid_until_ms, n.second_needed, n.second_by, n.second_ms, n.villages, n.sites, n.speakers, n.online, ",
            "n.refused_reason, n.stopped_by, n.stopped_ms, n.revision ",
            "from notice n left join region r on r.code = n.region_code ",
            $rest
        )
    };
}

/// One notice. `None`: there is none of this id.
pub(in crate::broadcast) async fn one(
    connection: &mut AnyConnection,
    id: &NoticeId,
) -> Result<Option<NoticeView>, sqlx::Error> {
    Ok(some(connection, &[id.as_str()]).await?.pop())
}

/// Those of the notices that exist, in no order.
pub(super) async fn some(connection: &mut AnyConnection, ids: &[&str]) -> Result<Vec<NoticeView>, sqlx::Error> {
    let mut rows = Vec::with_capacity(ids.len());
    for chunk in chunks(ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        let select = select_notices!("where n.id in (values ");
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!("{select}{wanted})")));
        for id in chunk {
            query = query.bind(*id);
        }
        rows.extend(query.fetch_all(&mut *connection).await?);
    }
    with_counts(connection, &rows).await
}

/// Notices of a region, of one level or of each, the newest first, `limit` of them from below the id `before`. Technicians' tests
/// are not among them.
pub(super) async fn list(
    connection: &mut AnyConnection,
    region: &RegionCode,
    level: Option<Level>,
    before: &str,
    limit: i64,
) -> Result<Vec<NoticeView>, sqlx::Error> {
    let rows = sqlx::query(select_notices!(
        "where n.region_code >= $1 and n.region_code < $2 and n.id < $3 and n.level <> 'test' \
         and ($4 = '' or n.level = $4) order by n.id desc limit $5"
    ))
    .bind(region.as_str())
    .bind(region.end())
    .bind(before)
    // An empty text is no level.
    .bind(level.map_or("", Level::name))
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    with_counts(connection, &rows).await
}

/// What the loudspeakers of a notice made of it.
pub(super) async fn speakers(
    connection: &mut AnyConnection,
    id: &NoticeId,
) -> Result<Vec<NoticeSpeakerView>, sqlx::Error> {
    let rows = sqlx::query(
        "select speaker_id, speaker_name, site_name, state, played_ms, times, detail, at_ms from notice_speaker \
         where notice_id = $1 order by case when state = 'played' then 2 when state = 'playing' then 1 else 0 end, \
         site_name, site_id, speaker_name, speaker_id limit $2",
    )
    .bind(id.as_str())
    .bind(SPEAKERS_SHOWN_MAX)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(NoticeSpeakerView {
                speaker_id: SpeakerId::from_known(row.try_get::<String, _>("speaker_id")?),
                name: row.try_get("speaker_name")?,
                site_name: row.try_get("site_name")?,
                state: row.try_get("state")?,
                played_ms: row.try_get("played_ms")?,
                times: row.try_get("times")?,
                reason: row.try_get("detail")?,
                at_ms: row.try_get("at_ms")?,
            })
        })
        .collect()
}

async fn with_counts(connection: &mut AnyConnection, rows: &[AnyRow]) -> Result<Vec<NoticeView>, sqlx::Error> {
    let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>()?;
    let mut counts: HashMap<String, PlayedView> = HashMap::new();
    for chunk in chunks(&ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let mut query = sqlx::query_as(AssertSqlSafe(format!(
            "select notice_id, state, count(*) from notice_speaker where notice_id in (values {wanted}) \
             group by notice_id, state"
        )));
        for id in chunk {
            query = query.bind(id.as_str());
        }
        let counted: Vec<(String, String, i64)> = query.fetch_all(&mut *connection).await?;
        for (id, state, count) in counted {
            counts.entry(id).or_default().add(&state, count);
        }
    }
    rows.iter().zip(&ids).map(|(row, id)| from_row(row, counts.get(id).copied().unwrap_or_default())).collect()
}

fn from_row(row: &AnyRow, played: PlayedView) -> Result<NoticeView, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let is = |column| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)? != 0);
    Ok(NoticeView {
        id: NoticeId::from_known(text("id")?),
        title: text("title")?,
        text: row.try_get("spoken_text")?,
        region_code: RegionCode::from_known(text("region_code")?),
        region_name: text("region_name")?,
        level: Level::from_name(&text("level")?),
        author: text("author")?,
        author_username: text("author_username")?,
        created_ms: row.try_get("created_ms")?,
        state: state(Decision::from_name(&text("state")?), is("settled")?, played),
        sound_sha256: text("sound_sha256")?,
        duration_ms: row.try_get("duration_ms")?,
        times: row.try_get("times")?,
        gap_ms: row.try_get("gap_ms")?,
        sent_ms: row.try_get("sent_ms")?,
        valid_until_ms: row.try_get("valid_until_ms")?,
        second: SecondView {
            needed: is("second_needed")?,
            by: row.try_get("second_by")?,
            at_ms: row.try_get("second_ms")?,
        },
        reach: Reach {
            villages: row.try_get("villages")?,
            sites: row.try_get("sites")?,
            speakers: row.try_get("speakers")?,
            online: row.try_get("online")?,
        },
        played,
        refused_reason: row.try_get("refused_reason")?,
        stopped_by: row.try_get("stopped_by")?,
        stopped_ms: row.try_get("stopped_ms")?,
        revision: row.try_get("revision")?,
    })
}
