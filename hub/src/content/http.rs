//! Content over HTTP: the gateways' routes, and the answer with which every room serves a file.
//!
//! | route on the gateways' door | does |
//! | --- | --- |
//! | `HEAD /content/{sha256}` | `Upload-Offset`: how many bytes of an upload are here (all of them: it is done) |
//! | `PUT /content/{sha256}?bytes=&media_type=`, `Upload-Offset` | appends the body. 201 or 200: whole; 202: so far; 409: go on at `Upload-Offset` |
//! | `GET /content/{sha256}` | a content that this gateway was told of; `Range` is understood |
//!
//! A gateway learns of no content but its own: what others brought, or were told of, is to it as if it were not here.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;
use tongluo_protocols::content::{CONTENT_BYTES_MAX, ContentHash, MediaType, UPLOAD_OFFSET};

use super::upload::{self, Outcome, Refused, Wanted};
use super::{Audience, Content, Stat, Told};
use crate::clock;
use crate::gateways::GatewaySite;
use crate::web::Problem;

const OFFSET: HeaderName = HeaderName::from_static(UPLOAD_OFFSET);

/// What the routes work on.
#[derive(Clone)]
struct Door {
    content: Content,
    told: Arc<dyn Told>,
}

/// What gateways ask; `told` knows what each may fetch.
pub fn gateway_routes(content: Content, told: Arc<dyn Told>) -> Router {
    Router::new().route("/content/{sha256}", get(fetch).head(offset).put(append)).with_state(Door { content, told })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announced {
    bytes: u64,
    media_type: String,
}

async fn offset(
    State(Door { content, .. }): State<Door>,
    GatewaySite(site): GatewaySite,
    Path(sha256): Path<String>,
) -> Result<Response, Problem> {
    let hash = read_hash(&sha256)?;
    let held = match content.stat(&hash).await? {
        Some(stat) if stat.is_from(&site) => stat.bytes,
        _ => upload::held_bytes(&content, &site, &hash).await.map_err(Problem::internal)?,
    };
    Ok(at(StatusCode::OK, held))
}

async fn append(
    State(Door { content, .. }): State<Door>,
    GatewaySite(site): GatewaySite,
    Path(sha256): Path<String>,
    Query(announced): Query<Announced>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let hash = read_hash(&sha256)?;
    let media_type = MediaType::from_name(&announced.media_type).ok_or_else(wrong_media_type)?;
    if !(1..=CONTENT_BYTES_MAX).contains(&announced.bytes) {
        return Err(too_large());
    }
    let offset = headers.get(OFFSET).and_then(|offset| offset.to_str().ok()?.parse().ok()).ok_or_else(no_offset)?;
    if let Some(stat) = content.stat(&hash).await?.filter(|stat| stat.is_from(&site)) {
        return Ok(at(StatusCode::OK, stat.bytes));
    }
    let bytes = announced.bytes;
    let wanted = Wanted { site, hash, bytes, media_type };
    match upload::take(&content, wanted, offset, body, clock::utc_ms()).await {
        Ok(Outcome::Whole) => Ok(at(StatusCode::CREATED, bytes)),
        Ok(Outcome::Partial(held)) => Ok(at(StatusCode::ACCEPTED, held)),
        Err(refused) => Ok(refusal(refused)),
    }
}

async fn fetch(
    State(Door { content, told }): State<Door>,
    GatewaySite(site): GatewaySite,
    Path(sha256): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hash = read_hash(&sha256)?;
    match content.stat(&hash).await? {
        Some(stat) if stat.audience == Audience::Gateways && told.was_told(&site, &hash).await? => {
            content.answer(&hash, &stat, &headers).await
        }
        _ => Err(Problem::not_found()),
    }
}

impl Content {
    /// A content as an HTTP answer, whole or the one range that was asked for. The caller has checked who asks.
    ///
    /// # Errors
    /// A range outside the content (416), or the bytes are gone.
    pub async fn answer(&self, hash: &ContentHash, stat: &Stat, headers: &HeaderMap) -> Result<Response, Problem> {
        let etag = format!("\"{hash}\"");
        let wanted = match wanted_range(headers, &etag, stat.bytes) {
            Ok(wanted) => wanted,
            Err(()) => {
                let mut response = outside().into_response();
                let range = HeaderValue::from_str(&format!("bytes */{}", stat.bytes));
                response.headers_mut().insert(header::CONTENT_RANGE, range.map_err(Problem::internal)?);
                return Ok(response);
            }
        };
        let reading = self.read(hash, wanted.clone()).await?.ok_or_else(|| {
            tracing::error!(content.hash = %hash, "The bytes of a content are gone");
            Problem::not_found()
        })?;
        let length = wanted.as_ref().map_or(stat.bytes, |range| range.end - range.start);
        let mut answer = Response::builder()
            .header(header::CONTENT_TYPE, stat.media_type.name())
            .header(header::CONTENT_LENGTH, length)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, etag);
        if let Some(range) = wanted {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, stat.bytes);
            answer = answer.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, text);
        }
        answer.body(Body::from_stream(reading)).map_err(Problem::internal)
    }
}

/// The range to answer. `None`: all of it, which is also right for several ranges and for units nobody knows (RFC 9110,
/// 14.2). An error: the range lies outside.
fn wanted_range(headers: &HeaderMap, etag: &str, bytes: u64) -> Result<Option<std::ops::Range<u64>>, ()> {
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else { return Ok(None) };
    let is_other = headers.get(header::IF_RANGE).is_some_and(|wanted| wanted.as_bytes() != etag.as_bytes());
    if is_other || !range.starts_with("bytes=") || range.contains(',') {
        return Ok(None);
    }
    let Ok(ranges) = http_range_header::parse_range_header(range).map_err(|_| ()) else { return Ok(None) };
    match ranges.validate(bytes).map_err(|_| ())?.as_slice() {
        [range] => Ok(Some(*range.start()..*range.end() + 1)),
        _ => Ok(None),
    }
}

fn read_hash(text: &str) -> Result<ContentHash, Problem> {
    ContentHash::parse(text).ok_or_else(Problem::not_found)
}

fn at(status: StatusCode, offset: u64) -> Response {
    (status, [(OFFSET, HeaderValue::from(offset))]).into_response()
}

fn refusal(refused: Refused) -> Response {
    let held = if let Refused::Offset(held) = refused { Some(held) } else { None };
    let mut response = problem(refused).into_response();
    if let Some(held) = held {
        response.headers_mut().insert(OFFSET, HeaderValue::from(held));
    }
    response
}

fn problem(refused: Refused) -> Problem {
    match refused {
        Refused::Offset(held) => Problem::new(
            StatusCode::CONFLICT,
            "content.offset",
            format!("应从第 {held} 字节续传。"),
            format!("The upload goes on at byte {held}."),
        ),
        Refused::TooLong => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "content.too_long",
            "实际内容比申报的长，已丢弃，请重新上传。",
            "The content is longer than was announced. It was discarded; send it again.",
        ),
        Refused::WrongHash => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "content.wrong_hash",
            "内容与其校验值不符，已丢弃，请重新上传。",
            "The content does not have the hash that names it. It was discarded; send it again.",
        ),
        Refused::SiteFull => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "content.site_full",
            "这个站点的存储额度已用完，内容请留在网关。",
            "This site's storage is used up. Keep the content in the village.",
        )
        .retry_after_s(RETRY_FULL_S),
        Refused::NoRoom => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "content.no_room",
            "平台磁盘空间不足，内容请留在网关。",
            "The hub's disk has no room. Keep the content in the village.",
        )
        .retry_after_s(RETRY_FULL_S),
        Refused::Failed(error) => Problem::internal(error),
    }
}

/// Room is made by people or by expiry, not within seconds.
const RETRY_FULL_S: u64 = 600;

fn wrong_media_type() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content.media_type",
        "不接受这种类型的内容。",
        "Content of this type is not taken.",
    )
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "content.too_large",
        format!("内容应为 1 到 {CONTENT_BYTES_MAX} 字节。"),
        format!("A content has 1 to {CONTENT_BYTES_MAX} bytes."),
    )
}

fn no_offset() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "content.no_offset",
        "缺少 Upload-Offset，应为从哪个字节续传。",
        "Upload-Offset is missing: the byte at which the body begins.",
    )
}

fn outside() -> Problem {
    Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "content.range",
        "请求的范围超出内容长度。",
        "The range lies outside the content.",
    )
}
