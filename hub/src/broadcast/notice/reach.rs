//! Whom a notice reaches: counted, and said in words before anything is sent.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::distinct;
use crate::broadcast::BroadcastRoom;
use crate::broadcast::speaker::{self, SpeakerView};
use crate::clock;
use crate::ids::{RegionCode, SpeakerId};
use crate::region;
use crate::viewer::{Right, Viewer};
use crate::web::{Language, Problem, ProblemDocument};

/// Digits of a village's code.
const VILLAGE_DIGITS: usize = 12;

/// The route.
pub(super) fn routes() -> OpenApiRouter<BroadcastRoom> {
    OpenApiRouter::new().routes(routes!(tell))
}

/// How far a notice reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::broadcast) struct Reach {
    /// How many villages.
    pub(super) villages: i64,
    /// How many sites in them.
    pub(super) sites: i64,
    /// How many loudspeakers.
    pub(super) speakers: i64,
    /// How many of them would be heard now.
    pub(super) online: i64,
}

/// How far a notice would reach, in figures and in words.
#[derive(Debug, Serialize, ToSchema)]
struct ReachTold {
    #[serde(flatten)]
    reach: Reach,
    /// Whether a second person has to let it be heard.
    second_needed: bool,
    /// Whether it is night: then only emergencies sound.
    night: bool,
    /// The same as a sentence, to be read before sending.
    words: String,
}

/// For whom a notice would be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReachRequest {
    /// For which region.
    #[schema(value_type = String)]
    region_code: RegionCode,
    /// Which loudspeakers; null: all of the region.
    speaker_ids: Option<Vec<SpeakerId>>,
}

/// Say how far a notice would reach, before it is sent.
#[utoipa::path(post, path = "/api/v1/notices/reach", operation_id = "tell_reach", tag = "broadcast",
    request_body = ReachRequest, responses(
    (status = OK, body = ReachTold),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn tell(
    State(room): State<BroadcastRoom>,
    viewer: Viewer,
    headers: HeaderMap,
    Json(request): Json<ReachRequest>,
) -> Result<Json<ReachTold>, Problem> {
    viewer.may(Right::BroadcastSend)?;
    viewer.require_region(&request.region_code)?;
    let now_ms = clock::utc_ms();
    let ids = request.speaker_ids.map(distinct).transpose()?;
    let mut snapshot = room.store.snapshot().await?;
    let speakers = chosen(&mut snapshot, now_ms, &request.region_code, ids.as_deref()).await?;
    let name = region::name(&mut snapshot, &request.region_code).await?;
    let name = name.unwrap_or_else(|| request.region_code.to_string());
    let reach = Reach::of(&speakers);
    let (second_needed, night) = (needs_second(&code(&request.region_code, &speakers)), room.night.is_at(now_ms));
    let words = reach.words(Language::of_request(&headers), &name, second_needed, night);
    Ok(Json(ReachTold { reach, second_needed, night, words }))
}

/// The smallest region that holds all of these loudspeakers: their village, or what was asked for.
pub(super) fn code(asked: &RegionCode, speakers: &[SpeakerView]) -> RegionCode {
    let villages: BTreeSet<&str> = speakers.iter().map(village_of).collect();
    match villages.first() {
        Some(village) if villages.len() == 1 && village.len() == VILLAGE_DIGITS => RegionCode::from_known(*village),
        _ => asked.clone(),
    }
}

/// Whether a notice that reaches all of a region needs a second person: one beyond a village does.
pub(super) fn needs_second(code: &RegionCode) -> bool {
    code.as_str().len() < VILLAGE_DIGITS
}

fn village_of(speaker: &SpeakerView) -> &str {
    let code = speaker.region_code.as_str();
    &code[..code.len().min(VILLAGE_DIGITS)]
}

/// The loudspeakers of a region, or those of them that were named.
pub(super) async fn chosen(
    connection: &mut AnyConnection,
    now_ms: i64,
    region: &RegionCode,
    ids: Option<&[SpeakerId]>,
) -> Result<Vec<SpeakerView>, Problem> {
    let speakers = speaker::in_region(connection, now_ms, region, None).await?;
    let all = speakers.into_iter().map(|speaker| speaker.view);
    let Some(ids) = ids else { return Ok(all.collect()) };
    let named: Vec<SpeakerView> = all.filter(|speaker| ids.binary_search(&speaker.id).is_ok()).collect();
    if named.len() < ids.len() {
        let (zh, en) = ("其中有不在这个范围里的喇叭", "not all of these are loudspeakers of this region");
        return Err(Problem::invalid("speaker_ids", zh, en));
    }
    Ok(named)
}

impl Reach {
    /// How far these loudspeakers are heard.
    pub(super) fn of(speakers: &[SpeakerView]) -> Self {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            villages: count(speakers.iter().map(village_of).collect::<BTreeSet<_>>().len()),
            sites: count(speakers.iter().map(|speaker| &speaker.site_id).collect::<BTreeSet<_>>().len()),
            speakers: count(speakers.len()),
            online: count(speakers.iter().filter(|speaker| speaker.online == Some(true)).count()),
        }
    }

    fn words(self, language: Language, region: &str, second_needed: bool, night: bool) -> String {
        let Self { villages, speakers, online, .. } = self;
        match language {
            Language::Chinese => {
                let place = if villages > 1 { format!("{region}的 {villages} 个村") } else { region.to_owned() };
                let second =
                    if second_needed { "范围超出一个村，要另一个人确认后才会播出。" } else { "" };
                let night = if night { "现在是夜间，只能播紧急通知。" } else { "" };
                format!("{place}：{speakers} 个喇叭，{online} 个在线。{second}{night}")
            }
            Language::English => {
                let place = if villages > 1 { format!("{villages} villages of {region}") } else { region.to_owned() };
                let second = if second_needed {
                    " It goes beyond one village: a second person has to confirm it before it is heard."
                } else {
                    ""
                };
                let night = if night { " It is night: only emergencies sound." } else { "" };
                let noun = if speakers == 1 { "loudspeaker" } else { "loudspeakers" };
                format!("{place}: {speakers} {noun}, {online} on line.{second}{night}")
            }
        }
    }
}

/// Nobody would hear it.
pub(super) fn nobody() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "notice.nobody",
        "这个范围里还没有喇叭，没有发送。请先让技术员安装喇叭。",
        "There is no loudspeaker in this region, so nothing was sent. Have a technician install one first.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_the_figures_say() {
        let own = Reach { villages: 1, sites: 1, speakers: 6, online: 5 };
        assert_eq!(own.words(Language::Chinese, "张庄村", false, false), "张庄村：6 个喇叭，5 个在线。");
        assert_eq!(
            own.words(Language::English, "Zhang village", false, false),
            "Zhang village: 6 loudspeakers, 5 on line."
        );
        let wide = Reach { villages: 3, sites: 3, speakers: 20, online: 0 };
        let words = wide.words(Language::Chinese, "灈阳街道", true, true);
        assert_eq!(
            words,
            "灈阳街道的 3 个村：20 个喇叭，0 个在线。范围超出一个村，要另一个人确认后才会播出。现在是夜间，只能播紧急通知。"
        );
        assert!(wide.words(Language::English, "Quyang", true, false).contains("a second person"));
    }
}
