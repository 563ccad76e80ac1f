//! Every refusal and failure, as an RFC 9457 problem document in the reader's language.
//!
//! A handler returns a [`Problem`]; the layer in this room writes the body once the request's language is known. One
//! mapping from error to HTTP, so that the pages meet the same shape everywhere: what happened, what was kept, what to do.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::language::Language;

/// A refusal: HTTP status, a stable code that programs may compare, and words in each language.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    zh: String,
    en: String,
    retry_after_s: Option<u64>,
}

/// The body of an `application/problem+json` answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A whole sentence for the person: what happened and what to do.
    pub detail: String,
    /// Stable name of the problem, e.g. `alarm.already_closed`.
    pub code: String,
}

impl Problem {
    /// A problem with its words in Chinese and in English, each a whole sentence.
    pub fn new(status: StatusCode, code: &'static str, zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { status, code, zh: zh.into(), en: en.into(), retry_after_s: None }
    }

    /// Nothing there, or nothing the viewer may know of: the two look alike on purpose.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "没有找到，或者您无权查看。",
            "There is nothing here, or nothing you may see.",
        )
    }

    /// The viewer's role or region does not allow it.
    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "您的岗位或辖区不允许这项操作，什么都没有改变。",
            "Your role or region does not allow this. Nothing was changed.",
        )
    }

    /// No session, or one that ended.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "请先登录，登录后再试一次。",
            "Please log in, then try again.",
        )
    }

    /// A field of the request is wrong: which one, and what is allowed.
    pub fn invalid(field: &str, zh: &str, en: &str) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            format!("“{field}”填写有误：{zh}。什么都没有改变。"),
            format!("\"{field}\" is not valid: {en}. Nothing was changed."),
        )
    }

    /// The hub itself failed; the cause is logged here, once, and not shown to the caller.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        let error: anyhow::Error = error.into();
        tracing::error!(error = format!("{error:#}"), "A request failed inside the hub");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "平台内部出错，已记录。请稍后再试；如果一直这样，请联系管理员。",
            "The hub failed and has logged it. Try again shortly; if it goes on, tell the administrator.",
        )
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn document(&self, language: Language) -> ProblemDocument {
        ProblemDocument {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: self.status.as_u16(),
            detail: match language {
                Language::Chinese => self.zh.clone(),
                Language::English => self.en.clone(),
            },
            code: self.code.to_owned(),
        }
    }

    fn respond(&self, language: Language) -> Response {
        let mut response = (self.status, Json(self.document(language))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(anyhow::Error::new(error).context("the database"))
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of each problem in the language the request asked for, and turns the framework's own refusals
/// (wrong body, wrong path, wrong method, too large) into problems.
pub async fn localise(request: Request, next: Next) -> Response {
    let language = Language::of_request(request.headers());
    let response = next.run(request).await;
    if let Some(problem) = response.extensions().get::<Problem>() {
        return with_headers_of(&response, problem.respond(language));
    }
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    if (status.is_client_error() || status.is_server_error()) && !is_json {
        return with_headers_of(&response, from_framework(status).respond(language));
    }
    response
}

/// Keeps what a refusal says beside its body: `Allow`, `Content-Range`, `Upload-Offset`.
fn with_headers_of(refusal: &Response, mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in refusal.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    answer
}

fn from_framework(status: StatusCode) -> Problem {
    let (code, zh, en) = match status {
        StatusCode::NOT_FOUND => return Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", "这个地址不支持这种请求。", "This address does not take that kind of request.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "内容太大，没有保存。", "That is too large. Nothing was saved."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("wrong_media_type", "请求的格式不对。", "The request has the wrong format.")
        }
        status if status.is_client_error() => (
            "bad_request",
            "请求内容有误，什么都没有改变。",
            "The request is not as it should be. Nothing was changed.",
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ("busy", "平台正忙，请稍后再试。", "The hub is busy. Try again shortly.")
        }
        _ => ("internal", "平台内部出错，已记录。请稍后再试。", "The hub failed and has logged it. Try again shortly."),
    };
    Problem::new(status, code, zh, en)
}
