//! The form in which people send a notice.

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tongluo_protocols::content::ContentHash;
use utoipa::ToSchema;

use super::machine::Level;
use crate::broadcast::no_such_sound;
use crate::ids::{RegionCode, SpeakerId};
use crate::voice::TEXT_CHARS_MAX;
use crate::web::{Problem, form};

/// Most loudspeakers that one notice names. Whoever wants more leaves them out, which means all of the region.
pub(super) const SPEAKERS_MAX: usize = 1_000;
/// How often a notice is played at most.
const TIMES_MAX: u8 = 20;
/// Longest pause between two plays.
const GAP_MS_MAX: u32 = 60_000;
/// The pause, unless somebody says otherwise.
const GAP_MS_DEFAULT: u32 = 2_000;
/// Longest that a notice sounds, all times and pauses together.
const WHOLE_MS_MAX: i64 = 3_600_000;
/// How long a loudspeaker that comes back may still begin, unless somebody says otherwise.
const VALID_FOR_S_DEFAULT: u32 = 900;
/// Bounds of that: a minute is less than a gateway's connection takes to be missed; half a day is another day's matter.
const VALID_FOR_S: std::ops::RangeInclusive<u32> = 60..=43_200;
/// Longest word with which a caller names its request.
const REQUEST_KEY_BYTES_MAX: usize = 64;

/// A notice to be sent.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoticeCreate {
    /// For which region: the viewer's own, or one in it.
    #[schema(value_type = String)]
    pub(super) region_code: RegionCode,
    /// Which loudspeakers, at most 1,000; null: all of the region.
    pub(super) speaker_ids: Option<Vec<SpeakerId>>,
    /// What is played: a sound that was brought or spoken before.
    pub(super) sound_sha256: String,
    /// What it says, as it was typed; at most 1,000 characters.
    pub(super) text: Option<String>,
    /// At most 80 characters; absent: the beginning of the text, or the time.
    pub(super) title: Option<String>,
    /// How often: 1–20, default 1.
    pub(super) times: Option<u8>,
    /// Silence in between: 0–60,000, default 2,000.
    pub(super) gap_ms: Option<u32>,
    /// `notice` or `emergency`.
    pub(super) level: Level,
    /// How long a loudspeaker that comes back may still begin it: 60–43,200, default 900.
    pub(super) valid_for_s: Option<u32>,
    /// At night: whether its author says that this emergency may sound now.
    #[serde(default)]
    pub(super) confirm_night: bool,
    /// Whether it is kept as a template, too.
    #[serde(default)]
    pub(super) template: bool,
    /// The caller's own word for this request, 1–64 visible characters; the header `Idempotency-Key` means the same. The same
    /// person's same word is sent once, however often it is asked for.
    pub(super) client_id: Option<String>,
}

/// What is stored of a notice that its author decides, checked.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) region: RegionCode,
    pub(super) speaker_ids: Option<Vec<SpeakerId>>,
    pub(super) hash: ContentHash,
    pub(super) text: Option<String>,
    pub(super) title: Option<String>,
    pub(super) times: u8,
    pub(super) gap_ms: u32,
    pub(super) level: Level,
    pub(super) valid_for_ms: i64,
    pub(super) night_confirmed: bool,
    pub(super) is_template: bool,
    /// SHA-256 of what is to be heard, where and how, to know the same request again.
    pub(super) request_sha256: String,
}

impl NoticeCreate {
    /// What is asked for, if each field alone is right.
    pub(super) fn wish(self) -> Result<Wish, Problem> {
        // A yes to the night is no other notice: whoever lost the answer by day is asked for it when it is sent again by night.
        let asked = Self { confirm_night: false, ..self.clone() };
        let request = serde_json::to_vec(&asked).expect("texts and numbers are plain data");
        let request_sha256 = ContentHash::new(Sha256::digest(&request).into()).to_string();
        let hash = ContentHash::parse(&self.sound_sha256).ok_or_else(no_such_sound)?;
        let (times, gap_ms) = (self.times.unwrap_or(1), self.gap_ms.unwrap_or(GAP_MS_DEFAULT));
        let valid_for_s = self.valid_for_s.unwrap_or(VALID_FOR_S_DEFAULT);
        if self.level == Level::Test {
            let (zh, en) = ("只能是通知或紧急", "it is notice or emergency");
            return Err(Problem::invalid("level", zh, en));
        }
        if !(1..=TIMES_MAX).contains(&times) {
            return Err(Problem::invalid("times", "应为 1 至 20 遍", "1 to 20 times"));
        }
        if gap_ms > GAP_MS_MAX {
            return Err(Problem::invalid("gap_ms", "最长 60000 毫秒", "at most 60,000 milliseconds"));
        }
        if !VALID_FOR_S.contains(&valid_for_s) {
            return Err(Problem::invalid("valid_for_s", "应为 60 至 43200 秒", "60 to 43,200 seconds"));
        }
        if self.text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
            return Err(Problem::invalid("text", "最多 1000 个字", "at most 1,000 characters"));
        }
        let trimmed = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Wish {
            speaker_ids: self.speaker_ids.map(distinct).transpose()?,
            region: self.region_code,
            hash,
            text: self.text.as_ref().and_then(trimmed),
            title: form::optional_name("title", self.title.as_deref().unwrap_or_default())?,
            times,
            gap_ms,
            level: self.level,
            valid_for_ms: i64::from(valid_for_s) * 1_000,
            night_confirmed: self.confirm_night,
            is_template: self.template,
            request_sha256,
        })
    }
}

impl Wish {
    /// How long it sounds at most, with a sound of this length.
    pub(super) fn whole_ms(&self, duration_ms: i64) -> Result<i64, Problem> {
        let whole_ms = whole_ms(duration_ms, i64::from(self.times), i64::from(self.gap_ms));
        if whole_ms > WHOLE_MS_MAX {
            return Err(Problem::invalid(
                "times",
                "全部播完不能超过一小时",
                "all of it must not last longer than an hour",
            ));
        }
        Ok(whole_ms)
    }
}

/// How long a notice sounds at most: each time, and the pauses in between.
pub(super) const fn whole_ms(duration_ms: i64, times: i64, gap_ms: i64) -> i64 {
    duration_ms * times + gap_ms * (times - 1)
}

/// Loudspeakers that a request names, each once.
pub(super) fn distinct(mut ids: Vec<SpeakerId>) -> Result<Vec<SpeakerId>, Problem> {
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || ids.len() > SPEAKERS_MAX {
        let (zh, en) = ("应选 1 至 1000 个喇叭；全部则不填", "1 to 1,000 loudspeakers; leave it out for all");
        return Err(Problem::invalid("speaker_ids", zh, en));
    }
    Ok(ids)
}

/// The caller's own word for a request, in the header `Idempotency-Key` or in the form. `None`: it gave none.
pub(super) fn request_key(headers: &HeaderMap, client_id: Option<&str>) -> Result<Option<String>, Problem> {
    let key = match headers.get("idempotency-key") {
        Some(value) => Some(value.to_str().unwrap_or_default()),
        None => client_id,
    };
    let is_right =
        |key: &str| (1..=REQUEST_KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match key {
        Some(key) if !is_right(key) => {
            Err(Problem::invalid("client_id", "应为 1 至 64 个可见字符", "1 to 64 visible ASCII characters"))
        }
        key => Ok(key.map(str::to_owned)),
    }
}
