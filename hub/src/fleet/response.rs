//! What a press of a device sets off in its village, beside its light: chosen with its household or place.
//!
//! Help must not harm the one who calls for it: a device of which nobody said anything is silent.

use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::ToSchema;

use crate::ids::DeviceId;
use crate::web::Problem;

/// How long a siren lasts, unless somebody says otherwise.
const SIREN_S_DEFAULT: u8 = 30;
/// No siren lasts longer.
const SIREN_S_MAX: u8 = 60;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseView {
    /// Who is to hear of it.
    pub kind: ResponseKind,
    /// Whether what becomes of the press is spoken, too.
    pub speaks: bool,
    /// How long a siren lasts: 1–60.
    pub siren_s: u8,
}

/// What to change of it; absent fields stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponsePatch {
    /// Who is to hear of a press at once.
    pub(super) kind: Option<ResponseKind>,
    /// Whether what becomes of the press is spoken, too.
    pub(super) speaks: Option<bool>,
    /// How long a siren lasts: 1–60.
    pub(super) siren_s: Option<u8>,
}

impl Default for ResponseView {
    fn default() -> Self {
        Self { kind: ResponseKind::Silent, speaks: false, siren_s: SIREN_S_DEFAULT }
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
}

impl ResponseView {
    /// As stored; a device without a row is silent, and so is one of an unknown kind.
    pub(super) fn stored(kind: Option<&str>, speaks: Option<i64>, siren_s: Option<i64>) -> Self {
        let kind = match kind {
            Some("siren") => ResponseKind::Siren,
            Some("neighbours") => ResponseKind::Neighbours,
            _ => ResponseKind::Silent,
        };
        let siren_s = siren_s.and_then(|seconds| u8::try_from(seconds).ok()).unwrap_or(SIREN_S_DEFAULT);
        Self { kind, speaks: speaks.is_some_and(|speaks| speaks != 0), siren_s }
    }
}

impl ResponsePatch {
    /// What a device's press sets off afterwards.
    pub(super) fn applied(self, known: ResponseView) -> Result<ResponseView, Problem> {
        let siren_s = self.siren_s.unwrap_or(known.siren_s);
        if !(1..=SIREN_S_MAX).contains(&siren_s) {
            return Err(Problem::invalid("siren_s", "应为 1 至 60 秒", "1 to 60 seconds"));
        }
        Ok(ResponseView { kind: self.kind.unwrap_or(known.kind), speaks: self.speaks.unwrap_or(known.speaks), siren_s })
    }
}

/// Writes what a device's press sets off.
pub(super) async fn save(
    connection: &mut AnyConnection,
    id: &DeviceId,
    response: ResponseView,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into device_response (device_id, response, speaks, siren_s) values ($1, $2, $3, $4) \
         on conflict (device_id) do update set response = excluded.response, speaks = excluded.speaks, \
         siren_s = excluded.siren_s",
    )
    .bind(id.as_str())
    .bind(response.kind.name())
    .bind(i64::from(response.speaks))
    .bind(i64::from(response.siren_s))
    .execute(connection)
    .await?;
    Ok(())
}
