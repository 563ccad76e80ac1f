//! What a press of a device sets off in its village, beside its light: chosen with its household or place.
//!
//! Help must not harm the one who calls for it: a device of which nobody said anything is silent, and what sounds does so from
//! the loudspeakers that somebody named for it, or from all of the village if somebody said that.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use utoipa::ToSchema;

use super::view;
use crate::ids::{DeviceId, SiteId, SpeakerId};
use crate::live::Draft;
use crate::store::{chunks, parameters};
use crate::web::Problem;

/// How long a siren lasts, unless somebody says otherwise.
const SIREN_S_DEFAULT: u8 = 30;
/// No siren lasts longer.
const SIREN_S_MAX: u8 = 60;
/// Most loudspeakers of one device: as many as a site may have. More than that are not of one site.
const SPEAKERS_MAX: usize = 64;

/// Who is to hear of a press at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseKind {
    /// Nobody but those who are called: only the device's light answers.
    #[default]
    Silent,
    /// The neighbours: a voice from the loudspeakers.
    Neighbours,
    /// Everybody: a siren.
    Siren,
}

/// What a press of a device sets off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseView {
    /// Who is to hear of it.
    pub kind: ResponseKind,
    /// Whether what becomes of the press is spoken, too.
    pub speaks: bool,
    /// How long a siren lasts: 1–60.
    pub siren_s: u8,
    /// Whether every loudspeaker of its site sounds, those that are entered later too.
    pub everywhere: bool,
    /// The loudspeakers that sound, where it is not all. None: those that were chosen have been deleted, and nothing is heard; or
    /// nothing is to be heard in any case.
    pub speaker_ids: Vec<SpeakerId>,
}

/// What to change of it; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponsePatch {
    /// Who is to hear of a press at once.
    pub(super) kind: Option<ResponseKind>,
    /// Whether what becomes of the press is spoken, too.
    pub(super) speaks: Option<bool>,
    /// How long a siren lasts: 1–60.
    pub(super) siren_s: Option<u8>,
    /// Every loudspeaker of its site; then none is named.
    pub(super) everywhere: Option<bool>,
    /// The loudspeakers that sound, all of the device's own site; at most 64. Whoever names some does not mean all any more.
    pub(super) speaker_ids: Option<Vec<SpeakerId>>,
}

impl Default for ResponseView {
    fn default() -> Self {
        Self {
            kind: ResponseKind::Silent,
            speaks: false,
            siren_s: SIREN_S_DEFAULT,
            everywhere: false,
            speaker_ids: Vec::new(),
        }
    }
}

impl ResponseKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Neighbours => "neighbours",
            Self::Siren => "siren",
        }
    }

    /// What is unknown is silent.
    fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("siren") => Self::Siren,
            Some("neighbours") => Self::Neighbours,
            _ => Self::Silent,
        }
    }
}

impl ResponseView {
    /// As stored, but for the loudspeakers; a device without a row is silent.
    pub(super) fn stored(
        kind: Option<&str>,
        speaks: Option<i64>,
        siren_s: Option<i64>,
        everywhere: Option<i64>,
    ) -> Self {
        let is = |flag: Option<i64>| flag.is_some_and(|flag| flag != 0);
        Self {
            kind: ResponseKind::from_name(kind),
            speaks: is(speaks),
            siren_s: siren_s.and_then(|seconds| u8::try_from(seconds).ok()).unwrap_or(SIREN_S_DEFAULT),
            everywhere: is(everywhere),
            speaker_ids: Vec::new(),
        }
    }

    /// Whether loudspeakers are to be named for it.
    pub(super) fn names_speakers(&self) -> bool {
        self.is_meant_to_sound() && !self.everywhere
    }

    /// Whether anything is heard of a press: something was chosen, and there is a loudspeaker left for it.
    pub fn is_heard(&self) -> bool {
        self.is_meant_to_sound() && (self.everywhere || !self.speaker_ids.is_empty())
    }

    fn is_meant_to_sound(&self) -> bool {
        self.speaks || self.kind != ResponseKind::Silent
    }

    /// In a few words, for the audit trail.
    pub(super) fn in_words(&self) -> String {
        let mut words = self.kind.name().to_owned();
        if self.kind == ResponseKind::Siren {
            words.push_str(&format!(" {} s", self.siren_s));
        }
        if self.speaks {
            words.push_str(", speaks");
        }
        if self.everywhere {
            words.push_str(", everywhere");
        }
        for id in &self.speaker_ids {
            words.push(' ');
            words.push_str(id.as_str());
        }
        words
    }
}

impl ResponsePatch {
    /// What a device's press sets off afterwards; whether its loudspeakers exist is for [`refuse_strangers`] to say.
    pub(super) fn applied(self, known: ResponseView) -> Result<ResponseView, Problem> {
        let siren_s = self.siren_s.unwrap_or(known.siren_s);
        if !(1..=SIREN_S_MAX).contains(&siren_s) {
            return Err(Problem::invalid("siren_s", "应为 1 至 60 秒", "1 to 60 seconds"));
        }
        let is_named = self.speaker_ids.as_ref().is_some_and(|ids| !ids.is_empty());
        if is_named && self.everywhere == Some(true) {
            return Err(Problem::invalid(
                "speaker_ids",
                "全村的喇叭和挑选的喇叭只能选一样",
                "either every loudspeaker of the village or some that are named, not both",
            ));
        }
        let mut response = ResponseView {
            kind: self.kind.unwrap_or(known.kind),
            speaks: self.speaks.unwrap_or(known.speaks),
            siren_s,
            everywhere: self.everywhere.unwrap_or(known.everywhere && self.speaker_ids.is_none()),
            speaker_ids: self.speaker_ids.unwrap_or(known.speaker_ids),
        };
        if response.everywhere || !response.is_meant_to_sound() {
            response.speaker_ids.clear();
        }
        response.everywhere &= response.is_meant_to_sound();
        response.speaker_ids.sort_unstable();
        response.speaker_ids.dedup();
        response.checked()
    }
}

impl ResponseView {
    fn checked(self) -> Result<Self, Problem> {
        if self.speaker_ids.len() > SPEAKERS_MAX {
            return Err(Problem::invalid("speaker_ids", "最多 64 个喇叭", "at most 64 loudspeakers"));
        }
        // Nobody named does not mean everybody.
        if self.is_meant_to_sound() && !self.is_heard() {
            return Err(Problem::invalid(
                "speaker_ids",
                "要出声，请至少选一个喇叭，或者选全村的喇叭",
                "what is to be heard needs a loudspeaker at least, or every one of the village",
            ));
        }
        Ok(self)
    }
}

/// Refuses loudspeakers that are not of a site. That of another site and one that never was look alike.
pub(super) async fn refuse_strangers(
    connection: &mut AnyConnection,
    site: &SiteId,
    speakers: &[SpeakerId],
) -> Result<(), Problem> {
    let own: Vec<String> = sqlx::query_scalar("select id from speaker where site_id = $1")
        .bind(site.as_str())
        .fetch_all(connection)
        .await?;
    match speakers.iter().all(|id| own.iter().any(|own| own == id.as_str())) {
        true => Ok(()),
        false => Err(Problem::invalid(
            "speaker_ids",
            "这个站点没有其中的喇叭，可能已经删除",
            "this site has not all of these loudspeakers; perhaps one was deleted",
        )),
    }
}

/// Writes what a device's press sets off.
pub(super) async fn save(
    connection: &mut AnyConnection,
    id: &DeviceId,
    response: &ResponseView,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into device_response (device_id, response, speaks, siren_s, everywhere) values ($1, $2, $3, $4, $5) \
         on conflict (device_id) do update set response = excluded.response, speaks = excluded.speaks, \
         siren_s = excluded.siren_s, everywhere = excluded.everywhere",
    )
    .bind(id.as_str())
    .bind(response.kind.name())
    .bind(i64::from(response.speaks))
    .bind(i64::from(response.siren_s))
    .bind(i64::from(response.everywhere))
    .execute(&mut *connection)
    .await?;
    sqlx::query("delete from device_response_speaker where device_id = $1")
        .bind(id.as_str())
        .execute(&mut *connection)
        .await?;
    for speaker in &response.speaker_ids {
        sqlx::query("insert into device_response_speaker (device_id, speaker_id) values ($1, $2)")
            .bind(id.as_str())
            .bind(speaker.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Which loudspeakers were chosen for devices, each device's in one order.
pub(super) async fn speakers_of(
    connection: &mut AnyConnection,
    devices: &[&DeviceId],
) -> Result<HashMap<DeviceId, Vec<SpeakerId>>, sqlx::Error> {
    let mut chosen: HashMap<DeviceId, Vec<SpeakerId>> = HashMap::new();
    for chunk in chunks(devices) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let mut query = sqlx::query_as(AssertSqlSafe(format!(
            "select device_id, speaker_id from device_response_speaker where device_id in (values {wanted}) \
             order by device_id, speaker_id"
        )));
        for id in chunk {
            query = query.bind(id.as_str());
        }
        let rows: Vec<(String, String)> = query.fetch_all(&mut *connection).await?;
        for (device, speaker) in rows {
            chosen.entry(DeviceId::from_known(device)).or_default().push(SpeakerId::from_known(speaker));
        }
    }
    Ok(chosen)
}

/// What presses of a site's devices set off, by the devices' keys; those without a row are not among them.
///
/// # Errors
/// The database's.
pub async fn of_site(
    connection: &mut AnyConnection,
    site: &SiteId,
) -> Result<Vec<(String, ResponseView)>, sqlx::Error> {
    let rows = sqlx::query(
        "select d.id, d.key, r.response, r.speaks, r.siren_s, r.everywhere from device_response r \
         join device d on d.id = r.device_id where d.site_id = $1 order by d.key",
    )
    .bind(site.as_str())
    .fetch_all(&mut *connection)
    .await?;
    let ids = rows
        .iter()
        .map(|row| Ok(DeviceId::from_known(row.try_get::<String, _>("id")?)))
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    let mut chosen = speakers_of(connection, &ids.iter().collect::<Vec<_>>()).await?;
    rows.iter()
        .zip(&ids)
        .map(|(row, id)| {
            let kind: String = row.try_get("response")?;
            let (speaks, siren_s) = (row.try_get("speaks")?, row.try_get("siren_s")?);
            let mut response = ResponseView::stored(Some(&kind), speaks, siren_s, row.try_get("everywhere")?);
            response.speaker_ids = chosen.remove(id).unwrap_or_default();
            Ok((row.try_get("key")?, response))
        })
        .collect()
}

/// Takes a loudspeaker that is deleted out of what presses set off. Returns what to append to the change log: the devices that it was
/// chosen for. One for which no other was chosen is not heard any more, as its page then says.
///
/// # Errors
/// The database's.
pub async fn forget_speaker(connection: &mut AnyConnection, speaker: &SpeakerId) -> Result<Vec<Draft>, sqlx::Error> {
    let mut devices = view::devices_with_speaker(connection, speaker).await?;
    sqlx::query("delete from device_response_speaker where speaker_id = $1")
        .bind(speaker.as_str())
        .execute(connection)
        .await?;
    for device in &mut devices {
        device.response.speaker_ids.retain(|id| id != speaker);
    }
    Ok(devices.iter().map(view::DeviceView::draft).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<SpeakerId> {
        names.iter().map(|name| SpeakerId::from_known(*name)).collect()
    }

    #[test]
    fn what_sounds_has_loudspeakers_and_nobody_named_is_not_everybody() {
        let siren = ResponsePatch { kind: Some(ResponseKind::Siren), ..ResponsePatch::default() };
        let spoken = ResponsePatch { speaks: Some(true), ..ResponsePatch::default() };
        for patch in [siren.clone(), spoken] {
            assert!(patch.applied(ResponseView::default()).is_err(), "no loudspeaker was chosen");
        }
        let all = ResponsePatch { everywhere: Some(true), ..siren.clone() }.applied(ResponseView::default()).unwrap();
        assert!(all.everywhere && all.is_heard());
        let some = ResponsePatch { speaker_ids: Some(ids(&["b", "a", "b"])), ..ResponsePatch::default() };
        let some = some.applied(all.clone()).unwrap();
        assert_eq!((some.everywhere, &some.speaker_ids), (false, &ids(&["a", "b"])), "whoever names some means those");
        let none = ResponsePatch { speaker_ids: Some(Vec::new()), ..ResponsePatch::default() };
        assert!(none.applied(all.clone()).is_err());
        let both = ResponsePatch { everywhere: Some(true), speaker_ids: Some(ids(&["a"])), ..ResponsePatch::default() };
        assert!(both.applied(all).is_err());
        let many = (0..65).map(|number| SpeakerId::from_known(number.to_string())).collect();
        assert!(ResponsePatch { speaker_ids: Some(many), ..siren }.applied(ResponseView::default()).is_err());

        let quiet = ResponsePatch { kind: Some(ResponseKind::Silent), ..ResponsePatch::default() };
        let quiet = quiet.applied(some).unwrap();
        assert_eq!(quiet, ResponseView::default(), "what is silent has no loudspeakers");
    }
}
