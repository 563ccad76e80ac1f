//! SQL of notices: loading what the rules need, saving what they changed. (Views of them are in `view.rs`.)

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::machine::{Course, Decision, Level};
use super::reach::Reach;
use crate::broadcast::speaker::SpeakerView;
use crate::ids::{NoticeId, RegionCode, SiteId, SpeakerId};
use crate::store::insert_rows;
use crate::viewer::Viewer;

/// A notice as the rules and the orders know it.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) id: NoticeId,
    pub(super) region: RegionCode,
    /// The smallest region that holds all of its loudspeakers.
    pub(super) reach_code: RegionCode,
    pub(super) title: String,
    pub(super) text: Option<String>,
    pub(super) sound_sha256: String,
    pub(super) sound_bytes: i64,
    pub(super) duration_ms: i64,
    pub(super) times: i64,
    pub(super) gap_ms: i64,
    pub(super) course: Course,
}

/// The caller's own word for a request, and what was asked for under it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) sha256: &'a str,
}

impl Level {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Emergency => "emergency",
            Self::Test => "test",
        }
    }

    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "emergency" => Self::Emergency,
            "test" => Self::Test,
            _ => Self::Notice,
        }
    }
}

impl Decision {
    const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting_for_second",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }

    /// What is not known is not sent.
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "waiting_for_second" => Self::Waiting,
            "sent" => Self::Sent,
            "stopped" => Self::Stopped,
            _ => Self::Refused,
        }
    }
}

/// The notice that an account has made under a word of its own, and what was asked for. `None`: none yet.
pub(super) async fn of_request(
    connection: &mut AnyConnection,
    account: &str,
    key: &str,
) -> Result<Option<(NoticeId, String)>, sqlx::Error> {
    let row: Option<(String, String)> =
        sqlx::query_as("select id, request_sha256 from notice where account_id = $1 and request_key = $2")
            .bind(account)
            .bind(key)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(id, sha256)| (NoticeId::from_known(id), sha256)))
}

/// How many notices of an account are not over.
pub(super) async fn open_of(connection: &mut AnyConnection, account: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from notice where settled = 0 and account_id = $1")
        .bind(account)
        .fetch_one(connection)
        .await
}

/// Writes a new notice. False: the same account has made one under the same word meanwhile, and nothing was written.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    author: &Viewer,
    notice: &Notice,
    reach: Reach,
    request: Request<'_>,
) -> Result<bool, sqlx::Error> {
    let course = &notice.course;
    let written = sqlx::query(
        "insert into notice (id, account_id, author_username, author, request_key, request_sha256, title, spoken_text, region_code, \
         reach_code, level, sound_sha256, sound_bytes, duration_ms, times, gap_ms, valid_for_ms, night_confirmed, state, \
         villages, sites, speakers, online, created_ms, sent_ms, valid_until_ms, second_needed, settled, revision) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
         $24, $25, $26, $27, 0, 1) on conflict (account_id, request_key) do nothing",
    )
    .bind(notice.id.as_str())
    .bind(author.account_id.as_str())
    .bind(author.username.as_str())
    .bind(author.display_name.as_str())
    .bind(request.key)
    .bind(request.sha256)
    .bind(notice.title.as_str())
    .bind(notice.text.as_deref())
    .bind(notice.region.as_str())
    .bind(notice.reach_code.as_str())
    .bind(course.level.name())
    .bind(notice.sound_sha256.as_str())
    .bind(notice.sound_bytes)
    .bind(notice.duration_ms)
    .bind(notice.times)
    .bind(notice.gap_ms)
    .bind(course.valid_for_ms)
    .bind(i64::from(course.night_confirmed))
    .bind(course.decision.name())
    .bind(reach.villages)
    .bind(reach.sites)
    .bind(reach.speakers)
    .bind(reach.online)
    .bind(course.created_ms)
    .bind(course.sent_ms)
    .bind(course.valid_until_ms)
    .bind(i64::from(course.decision == Decision::Waiting))
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Writes for which loudspeakers a new notice is.
pub(super) async fn insert_speakers(
    connection: &mut AnyConnection,
    id: &NoticeId,
    speakers: &[SpeakerView],
) -> Result<(), sqlx::Error> {
    insert_rows(
        connection,
        "notice_speaker (notice_id, speaker_id, site_id, speaker_name, site_name, state, times, played_ms, detail)",
        9,
        "",
        speakers,
        |values, speaker| {
            values
                .bind(id.as_str().to_owned())
                .bind(speaker.id.as_str())
                .bind(speaker.site_id.as_str())
                .bind(speaker.name.as_str())
                .bind(speaker.site_name.as_str())
                .bind("waiting")
                .bind(0_i64)
                .bind(0_i64)
                .bind("")
        },
    )
    .await?;
    Ok(())
}

/// The loudspeakers of a notice, by site; those that were deleted since are left out and marked as failed.
pub(super) async fn speakers_by_site(
    connection: &mut AnyConnection,
    id: &NoticeId,
) -> Result<Vec<(SiteId, SpeakerId)>, sqlx::Error> {
    sqlx::query(
        "update notice_speaker set state = 'failed', detail = 'deleted' where notice_id = $1 \
         and not exists (select 1 from speaker where speaker.id = notice_speaker.speaker_id)",
    )
    .bind(id.as_str())
    .execute(&mut *connection)
    .await?;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select site_id, speaker_id from notice_speaker where notice_id = $1 and detail <> 'deleted' \
         order by site_id, speaker_id",
    )
    .bind(id.as_str())
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(site, id)| (SiteId::from_known(site), SpeakerId::from_known(id))).collect())
}

/// A notice by its id, held until the transaction ends.
pub(super) async fn load(connection: &mut AnyConnection, id: &NoticeId) -> Result<Option<Notice>, sqlx::Error> {
    // An update that changes nothing is the row lock that both databases know.
    let row = sqlx::query(
        "update notice set revision = revision where id = $1 returning id, account_id, title, spoken_text, region_code, \
         reach_code, level, sound_sha256, sound_bytes, duration_ms, times, gap_ms, valid_for_ms, night_confirmed, state, created_ms, \
         sent_ms, valid_until_ms",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| from_row(&row)).transpose()
}

fn from_row(row: &AnyRow) -> Result<Notice, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    Ok(Notice {
        id: NoticeId::from_known(text("id")?),
        region: RegionCode::from_known(text("region_code")?),
        reach_code: RegionCode::from_known(text("reach_code")?),
        title: text("title")?,
        text: row.try_get("spoken_text")?,
        sound_sha256: text("sound_sha256")?,
        sound_bytes: row.try_get("sound_bytes")?,
        duration_ms: row.try_get("duration_ms")?,
        times: row.try_get("times")?,
        gap_ms: row.try_get("gap_ms")?,
        course: Course {
            level: Level::from_name(&text("level")?),
            decision: Decision::from_name(&text("state")?),
            created_ms: row.try_get("created_ms")?,
            account: text("account_id")?,
            night_confirmed: row.try_get::<i64, _>("night_confirmed")? != 0,
            valid_for_ms: row.try_get("valid_for_ms")?,
            sent_ms: row.try_get("sent_ms")?,
            valid_until_ms: row.try_get("valid_until_ms")?,
        },
    })
}

/// Saves what the rules changed of a notice. One that is refused, or was stopped before it was sent, is over.
pub(super) async fn save(connection: &mut AnyConnection, notice: &Notice) -> Result<(), sqlx::Error> {
    let course = &notice.course;
    let is_over =
        course.decision == Decision::Refused || (course.decision == Decision::Stopped && course.sent_ms.is_none());
    sqlx::query(
        "update notice set state = $2, sent_ms = $3, valid_until_ms = $4, settled = case when $5 = 1 then 1 else settled end, \
         revision = revision + 1 where id = $1",
    )
    .bind(notice.id.as_str())
    .bind(course.decision.name())
    .bind(course.sent_ms)
    .bind(course.valid_until_ms)
    .bind(i64::from(is_over))
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes who confirmed a notice, or refused it and why.
pub(super) async fn save_second(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &NoticeId,
    second: &Viewer,
    refused_reason: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update notice set second_account_id = $2, second_by = $3, second_ms = $4, refused_reason = $5 where id = $1",
    )
    .bind(id.as_str())
    .bind(second.account_id.as_str())
    .bind(second.display_name.as_str())
    .bind(now_ms)
    .bind(refused_reason)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes that nobody confirmed or refused a notice.
pub(super) async fn save_unanswered(connection: &mut AnyConnection, id: &NoticeId) -> Result<(), sqlx::Error> {
    sqlx::query("update notice set refused_reason = 'unanswered' where id = $1")
        .bind(id.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes who stopped a notice.
pub(super) async fn save_stopped(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &NoticeId,
    by: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("update notice set stopped_by = $2, stopped_ms = $3 where id = $1")
        .bind(id.as_str())
        .bind(by)
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}
