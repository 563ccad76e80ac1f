//! A loudspeaker as the pages see it, whole: in lists, in answers, and in the change log. Never with its key.
//!
//! A gateway says how each of its loudspeakers is when that changes, and every ten minutes while it does not. One of which
//! nothing was heard for longer, or whose gateway is off line, is shown `stale`, never as it last was.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use utoipa::ToSchema;

use super::form::Settings;
use crate::ids::{RegionCode, SiteId, SpeakerId};
use crate::live::Draft;
use crate::store::{chunks, parameters};

/// For how long a report is believed: two and a half of its ten minutes, so that one may get lost.
pub(super) const BELIEVED_MS: i64 = 25 * 60 * 1000;
/// The state of a loudspeaker of which nothing was heard yet.
pub(super) const NEW: &str = "new";
/// The state of a loudspeaker of which nobody knows how it is.
pub(super) const STALE: &str = "stale";
/// The state of a loudspeaker with which nothing is wrong.
const OK: &str = "ok";

/// What a loudspeaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpeakerKind {
    /// On the village's network, by our own protocol.
    Mqtt,
    /// The gateway's own sound card, with an amplifier behind it.
    LineOut,
}

impl SpeakerKind {
    /// As stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::LineOut => "line_out",
        }
    }

    fn from_name(name: &str) -> Self {
        if name == "line_out" { Self::LineOut } else { Self::Mqtt }
    }
}

/// A loudspeaker. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SpeakerView {
    /// Opaque.
    pub id: SpeakerId,
    /// Whose gateway commands it.
    pub site_id: SiteId,
    /// That site's name.
    pub site_name: String,
    /// That site's region.
    pub region_code: RegionCode,
    /// As people call it.
    pub name: String,
    /// What it is.
    pub kind: SpeakerKind,
    /// Its serial, or its sound card; empty: the gateway's default.
    pub device: String,
    /// Where it is.
    pub place: Option<String>,
    /// WGS 84 degrees; null: where its site is.
    pub latitude: Option<f64>,
    /// WGS 84 degrees.
    pub longitude: Option<f64>,
    /// Never louder than this: 0–100.
    pub volume_percent: i64,
    /// How long its amplifier takes until it is heard.
    pub warm_up_ms: i64,
    /// Whether a notice would be heard from it now; null: nothing was ever heard of it.
    pub online: Option<bool>,
    /// When it last proved that it is alive, the gateway's clock.
    pub last_heard_ms: Option<i64>,
    /// The notice that it plays now.
    pub playing: Option<String>,
    /// `ok`, `starting`, `silent`, `refused`, `failed` as its gateway says; `new`: it has not said anything yet; `stale`:
    /// nobody knows, because the gateway is off line or has been silent about it. Others may come.
    pub state: String,
    /// Since when: the gateway's clock, of `stale` and `new` the hub's.
    pub since_ms: i64,
    /// What was seen, for the technician; of `stale` how it last was.
    pub detail: String,
    /// When the hub last heard of it.
    pub reported_ms: Option<i64>,
    /// Grows with each change by a person.
    pub revision: i64,
    /// True in the change log's last word of a loudspeaker that was deleted; never in lists.
    pub deleted: bool,
}

/// A loudspeaker with what pages are not shown.
#[derive(Clone, Debug)]
pub(in crate::broadcast) struct Speaker {
    /// What they are shown.
    pub(in crate::broadcast) view: SpeakerView,
    /// As last reported, whether or not that is still believed.
    pub(super) reported_state: String,
    /// Whether the pages were told that nobody knows how it is.
    pub(super) told_stale: bool,
    /// Sealed under [`label`](super::label).
    pub(in crate::broadcast) key: Option<Vec<u8>>,
}

impl SpeakerView {
    /// The change-log entry that says "this is how the loudspeaker is now".
    pub(super) fn draft(&self) -> Draft {
        Draft {
            kind: "speaker",
            region: self.region_code.clone(),
            subject: self.id.to_string(),
            body: serde_json::json!(self),
        }
    }

    /// What people decided of it.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            name: self.name.clone(),
            kind: self.kind,
            device: self.device.clone(),
            place: self.place.clone(),
            latitude: self.latitude,
            longitude: self.longitude,
            volume_percent: u8::try_from(self.volume_percent).unwrap_or(0),
            warm_up_ms: u16::try_from(self.warm_up_ms).unwrap_or(0),
        }
    }
}

macro_rules! select_speakers {
    ($rest:literal) => {
        concat!(
            "select sp.id, sp.site_id, s.name as site_name, s.region_code, sp.name, sp.kind, sp.device, sp.key, sp.place, ",
            "sp.latitude, sp.longitude, sp.volume_percent, sp.warm_up_ms, sp.created_ms, sp.revision, sp.state, ",
            "sp.state_since_ms, sp.state_detail, sp.playing, sp.last_heard_ms, sp.reported_ms, sp.stale, p.online, ",
            "p.online_changed_ms from speaker sp join site s on s.id = sp.site_id ",
            "left join presence p on p.site_id = sp.site_id ",
            $rest
        )
    };
}

/// One loudspeaker. `None`: there is none of this id.
pub(in crate::broadcast) async fn one(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &SpeakerId,
) -> Result<Option<Speaker>, sqlx::Error> {
    let row = sqlx::query(select_speakers!("where sp.id = $1")).bind(id.as_str()).fetch_optional(connection).await?;
    row.map(|row| from_row(&row, now_ms)).transpose()
}

/// Those of the loudspeakers that exist, in no order.
pub(super) async fn some(
    connection: &mut AnyConnection,
    now_ms: i64,
    ids: &[&str],
) -> Result<Vec<Speaker>, sqlx::Error> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in chunks(ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        let select = select_speakers!("where sp.id in (values ");
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!("{select}{wanted})")));
        for id in chunk {
            query = query.bind(*id);
        }
        for row in query.fetch_all(&mut *connection).await? {
            found.push(from_row(&row, now_ms)?);
        }
    }
    Ok(found)
}

/// The loudspeakers of a region, or of one site in it, by site and name.
pub(in crate::broadcast) async fn in_region(
    connection: &mut AnyConnection,
    now_ms: i64,
    region: &RegionCode,
    site: Option<&SiteId>,
) -> Result<Vec<Speaker>, sqlx::Error> {
    let rows = sqlx::query(select_speakers!(
        "where s.region_code >= $1 and s.region_code < $2 and ($3 = '' or sp.site_id = $3) \
         order by s.region_code, s.name, sp.site_id, sp.name, sp.id"
    ))
    .bind(region.as_str())
    .bind(region.end())
    // An empty text is no site's id.
    .bind(site.map_or("", SiteId::as_str))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| from_row(row, now_ms)).collect()
}

fn from_row(row: &AnyRow, now_ms: i64) -> Result<Speaker, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let reported_state = text("state")?;
    let reported_ms: Option<i64> = row.try_get("reported_ms")?;
    let is_gateway_online = row.try_get::<Option<i64>, _>("online")?.is_some_and(|online| online != 0);
    let last_word_ms = reported_ms.unwrap_or(row.try_get("created_ms")?);
    let cut_ms = row.try_get::<Option<i64>, _>("online_changed_ms")?.unwrap_or(last_word_ms).max(last_word_ms);
    let (state, since_ms, detail) = if reported_ms.is_some() && !is_gateway_online {
        (STALE.to_owned(), cut_ms, reported_state.clone())
    } else if now_ms - last_word_ms > BELIEVED_MS {
        (STALE.to_owned(), last_word_ms, reported_state.clone())
    } else {
        (reported_state.clone(), row.try_get("state_since_ms")?, text("state_detail")?)
    };
    let is_stale = state == STALE;
    let view = SpeakerView {
        id: SpeakerId::from_known(text("id")?),
        site_id: SiteId::from_known(text("site_id")?),
        site_name: text("site_name")?,
        region_code: RegionCode::from_known(text("region_code")?),
        name: text("name")?,
        kind: SpeakerKind::from_name(&text("kind")?),
        device: text("device")?,
        place: row.try_get("place")?,
        latitude: row.try_get("latitude")?,
        longitude: row.try_get("longitude")?,
        volume_percent: row.try_get("volume_percent")?,
        warm_up_ms: row.try_get("warm_up_ms")?,
        online: reported_ms.map(|_| state == OK),
        last_heard_ms: row.try_get("last_heard_ms")?,
        playing: row.try_get::<Option<String>, _>("playing")?.filter(|_| !is_stale),
        state,
        since_ms,
        detail,
        reported_ms,
        revision: row.try_get("revision")?,
        deleted: false,
    };
    Ok(Speaker { view, reported_state, told_stale: row.try_get::<i64, _>("stale")? != 0, key: row.try_get("key")? })
}
