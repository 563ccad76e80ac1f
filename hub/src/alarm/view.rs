//! An alarm as the pages see it: with the names of its place, device and people.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use utoipa::ToSchema;

use super::machine::{AlarmKind, AlarmState, CloseReason, LineKind};
use super::store::Alarm;
use crate::ids::{AlarmId, DeviceId, RegionCode, SiteId};

/// An alarm. Times are UTC milliseconds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlarmView {
    /// Opaque.
    pub id: AlarmId,
    /// What it is about.
    pub kind: AlarmKind,
    /// Where it stands.
    pub state: AlarmState,
    /// Whether it sounds on open pages.
    pub sounding: bool,
    /// Where it came from.
    pub site_id: SiteId,
    /// The site's name.
    pub site_name: String,
    /// The site's region.
    pub region_code: RegionCode,
    /// Names from the county downwards.
    pub region_path: Vec<String>,
    /// The button; null when nobody could tell what sent it.
    pub device_id: Option<DeviceId>,
    /// The button's name: given by a person, else as its own network calls it.
    pub device_name: Option<String>,
    /// Where the button is.
    pub place: Option<String>,
    /// What sent it: a device key, or the source of something unreadable.
    pub source: String,
    /// Presses so far.
    pub presses: i64,
    /// Whether its first press reached the county late.
    pub late: bool,
    /// First press, the hub's clock.
    pub raised_ms: i64,
    /// First press, the gateway's clock.
    pub occurred_ms: i64,
    /// Latest press, the hub's clock.
    pub last_press_ms: i64,
    /// When it was first taken.
    pub acknowledged_ms: Option<i64>,
    /// By whom.
    pub acknowledged_by: Option<String>,
    /// When it was closed.
    pub closed_ms: Option<i64>,
    /// By whom.
    pub closed_by: Option<String>,
    /// Why.
    pub close_reason: Option<CloseReason>,
    /// In their words.
    pub close_note: Option<String>,
    /// Grows with every change: of two views the higher is the newer.
    pub revision: i64,
}

/// What pages call the place and the device of an alarm. Whoever takes a press knows them, and need not have them read again.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The site's name.
    pub site_name: String,
    /// Names from the county downwards.
    pub region_path: Vec<String>,
    /// The device's name: given by a person, else as its own network calls it.
    pub device_name: Option<String>,
    /// Where the device is.
    pub place: Option<String>,
}

impl AlarmView {
    /// An alarm as it stands, with the names that belong to it.
    pub(super) fn new(alarm: &Alarm, names: &Names) -> Self {
        let course = &alarm.course;
        let device = alarm.device_id.as_ref().map(|_| names);
        let closed = course.closed.as_ref();
        Self {
            id: alarm.id.clone(),
            kind: alarm.kind,
            state: course.state,
            sounding: course.sounding,
            site_id: alarm.site_id.clone(),
            site_name: names.site_name.clone(),
            region_code: alarm.region.clone(),
            region_path: names.region_path.clone(),
            device_id: alarm.device_id.clone(),
            device_name: device.and_then(|names| names.device_name.clone()),
            place: device.and_then(|names| names.place.clone()),
            source: alarm.source.clone(),
            presses: course.presses,
            late: course.late,
            raised_ms: course.raised_ms,
            occurred_ms: course.occurred_ms,
            last_press_ms: course.last_press_ms,
            acknowledged_ms: course.acknowledged.as_ref().map(|(at_ms, _)| *at_ms),
            acknowledged_by: course.acknowledged.as_ref().map(|(_, by)| by.clone()),
            closed_ms: closed.map(|closing| closing.at_ms),
            closed_by: closed.map(|closing| closing.by.clone()),
            close_reason: closed.map(|closing| closing.reason),
            close_note: closed.and_then(|closing| closing.note.clone()),
            revision: course.revision,
        }
    }
}

/// An alarm with its story and its presses.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlarmDetail {
    /// The alarm.
    #[serde(flatten)]
    pub alarm: AlarmView,
    /// What happened, in order; the newest 500 lines.
    pub timeline: Vec<TimelineLine>,
    /// Presses, newest first; at most 100.
    pub recent_presses: Vec<PressView>,
}

/// A line of an alarm's story.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TimelineLine {
    /// UTC milliseconds, the hub's clock.
    pub at_ms: i64,
    /// What happened.
    pub what: LineKind,
    /// Who did it; null for a device.
    pub actor: Option<String>,
    /// For a close: why.
    pub detail: Option<String>,
}

/// One press.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PressView {
    /// Journal identity, as the gateway confirmed it.
    pub press_id: String,
    /// The gateway's clock.
    pub occurred_ms: i64,
    /// The hub's clock.
    pub received_ms: i64,
    /// Whether it reached the county late.
    pub late: bool,
    /// What was done to the button.
    pub trigger: String,
}

macro_rules! select_views {
    ($rest:literal) => {
        concat!(
            "select a.id, a.kind, a.state, a.sounding, a.site_id, s.name as site_name, a.region_code, \
             county.name as county_name, township.name as township_name, village.name as village_name, \
             a.device_id, coalesce(d.name, d.reported_name) as device_name, d.place, a.source, a.presses, a.late, \
             a.raised_ms, a.occurred_ms, a.last_press_ms, a.acknowledged_ms, a.acknowledged_by, a.closed_ms, \
             a.closed_by, a.close_reason, a.close_note, a.revision \
             from alarm a join site s on s.id = a.site_id left join device d on d.id = a.device_id \
             left join region county on county.code = substr(a.region_code, 1, 6) \
             left join region township on township.code = substr(a.region_code, 1, 9) and length(a.region_code) >= 9 \
             left join region village on village.code = substr(a.region_code, 1, 12) and length(a.region_code) >= 12 ",
            $rest
        )
    };
}

/// One alarm, wherever it is.
pub(super) async fn one(connection: &mut AnyConnection, id: &AlarmId) -> Result<Option<AlarmView>, sqlx::Error> {
    sqlx::query(select_views!("where a.id = $1"))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?
        .map(|row| from_row(&row))
        .transpose()
}

/// Every open alarm of a region, newest first. All of them: an open alarm that a page does not show is one that nobody
/// answers. The bound is the number of sources.
pub(super) async fn open(connection: &mut AnyConnection, region: &RegionCode) -> Result<Vec<AlarmView>, sqlx::Error> {
    let rows = sqlx::query(select_views!(
        "where a.state <> 'closed' and a.region_code >= $1 and a.region_code < $2 order by a.raised_ms desc, a.id desc"
    ))
    .bind(region.as_str())
    .bind(region.end())
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

/// Closed alarms of a region, last raised first, `limit` of them from below the id `before`.
pub(super) async fn closed(
    connection: &mut AnyConnection,
    region: &RegionCode,
    before: &str,
    limit: i64,
) -> Result<Vec<AlarmView>, sqlx::Error> {
    let rows = sqlx::query(select_views!(
        "where a.state = 'closed' and a.region_code >= $1 and a.region_code < $2 and a.id < $3 order by a.id desc limit $4"
    ))
    .bind(region.as_str())
    .bind(region.end())
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

/// An alarm's story.
pub(super) async fn timeline(connection: &mut AnyConnection, id: &AlarmId) -> Result<Vec<TimelineLine>, sqlx::Error> {
    let rows = sqlx::query(
        "select at_ms, what, actor, detail from (select * from alarm_line where alarm_id = $1 order by position desc \
         limit 500) newest order by position",
    )
    .bind(id.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(TimelineLine {
                at_ms: row.try_get("at_ms")?,
                what: LineKind::from_name(&row.try_get::<String, _>("what")?),
                actor: row.try_get("actor")?,
                detail: row.try_get("detail")?,
            })
        })
        .collect()
}

/// An alarm's newest presses.
pub(super) async fn presses(connection: &mut AnyConnection, id: &AlarmId) -> Result<Vec<PressView>, sqlx::Error> {
    let rows = sqlx::query(
        "select press_id, occurred_ms, received_ms, late, trigger from press where alarm_id = $1 \
         order by received_ms desc, press_id desc limit 100",
    )
    .bind(id.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(PressView {
                press_id: row.try_get("press_id")?,
                occurred_ms: row.try_get("occurred_ms")?,
                received_ms: row.try_get("received_ms")?,
                late: row.try_get::<i64, _>("late")? != 0,
                trigger: row.try_get("trigger")?,
            })
        })
        .collect()
}

fn from_row(row: &AnyRow) -> Result<AlarmView, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let maybe_text = |column| row.try_get::<Option<String>, _>(column);
    let path = ["county_name", "township_name", "village_name"].map(maybe_text);
    Ok(AlarmView {
        id: AlarmId::from_known(text("id")?),
        kind: AlarmKind::from_name(&text("kind")?),
        state: AlarmState::from_name(&text("state")?),
        sounding: row.try_get::<i64, _>("sounding")? != 0,
        site_id: SiteId::from_known(text("site_id")?),
        site_name: text("site_name")?,
        region_code: RegionCode::from_known(text("region_code")?),
        region_path: path.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
        device_id: maybe_text("device_id")?.map(DeviceId::from_known),
        device_name: maybe_text("device_name")?,
        place: maybe_text("place")?,
        source: text("source")?,
        presses: row.try_get("presses")?,
        late: row.try_get::<i64, _>("late")? != 0,
        raised_ms: row.try_get("raised_ms")?,
        occurred_ms: row.try_get("occurred_ms")?,
        last_press_ms: row.try_get("last_press_ms")?,
        acknowledged_ms: row.try_get("acknowledged_ms")?,
        acknowledged_by: maybe_text("acknowledged_by")?,
        closed_ms: row.try_get("closed_ms")?,
        closed_by: maybe_text("closed_by")?,
        close_reason: maybe_text("close_reason")?.map(|reason| CloseReason::from_name(&reason)),
        close_note: maybe_text("close_note")?,
        revision: row.try_get("revision")?,
    })
}
