//! The routes of sounds: bring a recording, have a text spoken, listen first.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tongluo_protocols::content::{ContentHash, MediaType};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, NewSound};
use super::{Sound, SoundError, TEXT_CHARS_MAX, VoiceError, VoiceRoom, speak, words};
use crate::audit;
use crate::clock;
use crate::content::{self, Audience};
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Largest recording: ten minutes at 16 kHz are 19.2 MB.
const RECORDING_BYTES_MAX: usize = 20 * 1024 * 1024;
/// How long a sound is kept that nothing plays: a draft may wait for its moment.
const DRAFT_MS: i64 = 30 * DAY_MS;
/// Sounds that one person makes in a day. A village head makes a few; a script that runs wild must not fill the disk.
const SOUNDS_PER_DAY_MAX: i64 = 200;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// When a caller who found every place taken may try again.
const BUSY_S: u64 = 5;

/// The routes of sounds; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<VoiceRoom> {
    OpenApiRouter::new().routes(routes!(record)).routes(routes!(spoken)).routes(routes!(listen))
}

/// A sound that notices may play.
#[derive(Debug, Serialize, ToSchema)]
struct SoundView {
    /// Its name: SHA-256 of the WAV file.
    sha256: String,
    /// How long it sounds once.
    duration_ms: i64,
    /// Of the WAV file.
    bytes: i64,
    /// Its loudness after levelling (EBU R 128): all sounds are close to −18.
    loudness_lufs: f64,
    /// What was spoken, with its figures written out; null: a recording.
    spoken_text: Option<String>,
}

/// Bring a recording. It is brought to the loudness of everything that is played; what is kept is the result.
#[utoipa::path(post, path = "/api/v1/sounds", operation_id = "record_sound", tag = "broadcast",
    request_body(content = Vec<u8>, content_type = "audio/wav",
        description = "16-bit PCM, one or two channels, 8,000–48,000 Hz, at most ten minutes and 20 MB"),
    responses(
    (status = CREATED, body = SoundView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn record(
    State(room): State<VoiceRoom>,
    viewer: Viewer,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<SoundView>), Problem> {
    viewer.may(Right::BroadcastSend)?;
    let announced = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !announced(header::CONTENT_TYPE).is_some_and(is_wav) {
        return Err(wrong_media_type());
    }
    if announced(header::CONTENT_LENGTH)
        .is_some_and(|length| length.parse().is_ok_and(|n: usize| n > RECORDING_BYTES_MAX))
    {
        return Err(too_large());
    }
    let _place = room.arriving.try_acquire().map_err(|_| busy())?;
    let wav = axum::body::to_bytes(body, RECORDING_BYTES_MAX).await.map_err(|_| too_large())?;
    let sound = room.levelled(wav).await?;
    Ok((StatusCode::CREATED, Json(room.keep(&viewer, &sound, None).await?)))
}

/// What is to be spoken.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SpeechRequest {
    /// 1–1,000 characters. Figures, dates, times and telephone numbers are read as an announcer reads them.
    text: String,
}

/// Have a text spoken. Listen to it, then have a notice play it.
#[utoipa::path(post, path = "/api/v1/sounds/speech", operation_id = "speak_text", tag = "broadcast",
    request_body = SpeechRequest, responses(
    (status = CREATED, body = SoundView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn spoken(
    State(room): State<VoiceRoom>,
    viewer: Viewer,
    Json(request): Json<SpeechRequest>,
) -> Result<(StatusCode, Json<SoundView>), Problem> {
    viewer.may(Right::BroadcastSend)?;
    let _place = room.arriving.try_acquire().map_err(|_| busy())?;
    let sound = speak(room.voice.as_ref(), &request.text).await.map_err(unspoken)?;
    let spoken_text = words::written_out(request.text.trim());
    Ok((StatusCode::CREATED, Json(room.keep(&viewer, &sound, Some(spoken_text)).await?)))
}

/// Listen to a sound; `Range` is understood.
#[utoipa::path(get, path = "/api/v1/sounds/{sha256}", operation_id = "listen_to_sound", tag = "broadcast",
    params(("sha256" = String, Path)), responses(
    (status = OK, content_type = "audio/wav", body = Vec<u8>),
    (status = PARTIAL_CONTENT, description = "The range that was asked for", content_type = "audio/wav", body = Vec<u8>),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn listen(
    State(room): State<VoiceRoom>,
    viewer: Viewer,
    Path(sha256): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hash = ContentHash::parse(&sha256).ok_or_else(Problem::not_found)?;
    let known = store::known(&mut *room.store.reader().acquire().await?, &viewer.region, &hash).await?;
    known.ok_or_else(Problem::not_found)?;
    let stat = room.content.stat(&hash).await?.ok_or_else(Problem::not_found)?;
    room.content.answer(&hash, &stat, &headers).await
}

impl VoiceRoom {
    /// A recording at the loudness of everything that is played.
    async fn levelled(&self, wav: Bytes) -> Result<Sound, Problem> {
        let _turn = self.levelling.acquire().await.map_err(Problem::internal)?;
        let work = tokio::task::spawn_blocking(move || Sound::from_wav(&wav).and_then(|sound| sound.levelled()));
        work.await.map_err(Problem::internal)?.map_err(|error| unheard(&error))
    }

    /// Keeps a sound for whoever made it, where gateways may read it.
    async fn keep(&self, viewer: &Viewer, sound: &Sound, spoken_text: Option<String>) -> Result<SoundView, Problem> {
        let now_ms = clock::utc_ms();
        let wav = sound.to_wav();
        let mut connection = self.store.reader().acquire().await?;
        if store::count_since(&mut connection, &viewer.account_id, now_ms - DAY_MS).await? >= SOUNDS_PER_DAY_MAX {
            return Err(too_many());
        }
        drop(connection);
        let hash = self.content.put(now_ms, &wav, MediaType::Wav, Audience::Gateways).await?;
        let view = SoundView {
            sha256: hash.to_string(),
            duration_ms: i64::try_from(sound.duration_ms()).unwrap_or(i64::MAX),
            bytes: i64::try_from(wav.len()).unwrap_or(i64::MAX),
            loudness_lufs: sound.loudness_lufs(),
            spoken_text,
        };
        let new = NewSound {
            hash: &hash,
            region: &viewer.region,
            bytes: view.bytes,
            duration_ms: view.duration_ms,
            loudness_lufs: view.loudness_lufs,
            spoken_text: view.spoken_text.as_deref(),
            account: &viewer.account_id,
        };
        let mut transaction = self.store.begin().await?;
        store::insert(&mut transaction, now_ms, &new).await?;
        content::link(&mut transaction, &hash, &format!("sound:{}", viewer.region), now_ms + DRAFT_MS).await?;
        let action = if view.spoken_text.is_some() { "sound.speak" } else { "sound.record" };
        let line = audit::Record::done(viewer, action, view.sha256.as_str(), &viewer.region);
        audit::record(&mut transaction, now_ms, line.detail(format!("duration_ms={}", view.duration_ms))).await?;
        transaction.commit().await?;
        Ok(view)
    }
}

fn is_wav(media_type: &str) -> bool {
    let name = media_type.split(';').next().unwrap_or_default().trim();
    ["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn unheard(error: &SoundError) -> Problem {
    match error {
        SoundError::Silent => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "sound.silent",
            "里面没有听得见的声音，没有保存。请靠近话筒再录一次。",
            "There is nothing to hear in it, so nothing was kept. Record it again, closer to the microphone.",
        ),
        SoundError::TooLong(_) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "sound.too_long",
            "录音太长，没有保存：最长 10 分钟。请分成几段。",
            "The recording is too long and was not kept: ten minutes at most. Record it in parts.",
        ),
        SoundError::Unreadable(_) | SoundError::Form(_) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "sound.wrong_form",
            "这个文件不是能播放的录音，没有保存：需要 16 位 PCM 的 WAV，单声道或双声道，8 至 48 kHz。",
            "This file is no recording that can be played, so nothing was kept: WAV with 16-bit PCM, one or two channels, \
             8 to 48 kHz.",
        ),
    }
}

fn unspoken(error: VoiceError) -> Problem {
    match error {
        VoiceError::Length(_) => Problem::invalid(
            "text",
            &format!("应为 1 至 {TEXT_CHARS_MAX} 个字"),
            &format!("1 to {TEXT_CHARS_MAX} characters"),
        ),
        VoiceError::Sound(SoundError::Silent) => {
            Problem::invalid("text", "里面没有可以读出来的字", "there is nothing in it that can be spoken")
        }
        VoiceError::Sound(error) => unheard(&error),
        VoiceError::Engine(error) => {
            tracing::error!(error, "A text was not spoken");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "voice.unavailable",
                "现在不能把文字读出来，文字还在。请直接录音，或稍后再试。",
                "Texts cannot be spoken now; yours is still here. Record it yourself, or try again later.",
            )
        }
    }
}

fn wrong_media_type() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "wrong_media_type",
        "录音应以 WAV 格式（audio/wav）发送，没有保存。",
        "A recording is sent as WAV (audio/wav). Nothing was kept.",
    )
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "sound.too_large",
        "录音没有完整收到，或超过了 20 MB，没有保存。",
        "The recording did not arrive whole, or is larger than 20 MB. Nothing was kept.",
    )
}

fn busy() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "sound.busy",
        "现在有很多录音正在处理，请过几秒再试；您的录音还在手机上。",
        "Many recordings are being worked on. Try again in some seconds; yours is still on your phone.",
    )
    .retry_after_s(BUSY_S)
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "sound.too_many",
        "今天录制或朗读的次数已达上限（200 次），没有保存。",
        "You have made as many sounds today as one may (200). Nothing was kept.",
    )
}
