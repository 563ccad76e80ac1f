//! The hub's interface as a browser uses it: JSON, a session cookie, and nothing known of the hub's own types.

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::stream::EventStream;

/// One person's browser.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    client: Client,
}

/// What the hub answered, whatever it was.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body; null when it was empty.
    pub body: Value,
}

impl Api {
    /// A browser without a session. `base` is like `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// Never in practice: the client is made without TLS.
    pub fn new(base: &str) -> Result<Self> {
        let client = Client::builder().cookie_store(true).no_proxy().build()?;
        Ok(Self { base: base.to_owned(), client })
    }

    /// A browser in which somebody logged in.
    ///
    /// # Errors
    /// The hub refuses.
    pub async fn log_in(base: &str, username: &str, password: &str) -> Result<Self> {
        let api = Self::new(base)?;
        api.post("/api/v1/session", json!({ "username": username, "password": password })).await?;
        Ok(api)
    }

    /// Reads; anything but success is an error.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, None).await?.success(path)
    }

    /// Does something; anything but success is an error.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::POST, path, Some(body)).await?.success(path)
    }

    /// Changes something; anything but success is an error.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn patch(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::PATCH, path, Some(body)).await?.success(path)
    }

    /// Any request, any answer.
    ///
    /// # Errors
    /// No answer, or a body that is not JSON.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| format!("no answer from {}{path}", self.base))?;
        let status = response.status();
        let text = response.text().await?;
        let body = match text.trim() {
            "" => Value::Null,
            json => serde_json::from_str(json).with_context(|| format!("{path} answered {status} with {json:?}"))?,
        };
        Ok(Answer { status, body })
    }

    /// Brings what is no JSON: a recording.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn bring(&self, path: &str, media_type: &str, body: Vec<u8>) -> Result<Value> {
        let request = self.client.post(format!("{}{path}", self.base)).header("content-type", media_type).body(body);
        let response = request.send().await.with_context(|| format!("no answer from {}{path}", self.base))?;
        Answer { status: response.status(), body: response.json().await? }.success(path)
    }

    /// Reads what is no JSON: a picture, a clip.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let response = self.client.get(format!("{}{path}", self.base)).send().await;
        let response = response.with_context(|| format!("no answer from {}{path}", self.base))?;
        ensure!(response.status().is_success(), "{path} answered {}", response.status());
        Ok(response.bytes().await?.into())
    }

    /// Asks for a WebSocket as a page of the hub's own does, and hangs up. 101 is consent.
    ///
    /// # Errors
    /// No answer.
    pub async fn web_socket(&self, path: &str) -> Result<StatusCode> {
        Ok(self.web_socket_from(path, Some(&self.base)).await?.status())
    }

    /// Opens a WebSocket as a page of the hub's own does. What comes are the frames of RFC 6455.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn web_socket_open(&self, path: &str) -> Result<reqwest::Upgraded> {
        let response = self.web_socket_from(path, Some(&self.base)).await?;
        ensure!(response.status() == StatusCode::SWITCHING_PROTOCOLS, "{path} answered {}", response.status());
        Ok(response.upgrade().await?)
    }

    /// Asks for a WebSocket as a page from somewhere does; `None`: as no page does.
    ///
    /// # Errors
    /// No answer.
    pub async fn web_socket_from(&self, path: &str, origin: Option<&str>) -> Result<Response> {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.header("connection", "upgrade").header("upgrade", "websocket");
        // The key is the specification's own example (RFC 6455).
        let request =
            request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        request.send().await.with_context(|| format!("no answer from {}{path}", self.base))
    }

    /// Follows the change log, after the given sequence or from now on.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn events(&self, last_event_id: Option<i64>) -> Result<EventStream> {
        let mut request = self.client.get(format!("{}/api/v1/events", self.base));
        if let Some(sequence) = last_event_id {
            request = request.header("last-event-id", sequence.to_string());
        }
        let response: Response = request.send().await?;
        if !response.status().is_success() {
            bail!("the change log answered {}", response.status());
        }
        Ok(EventStream::new(response))
    }

    /// A list of the hub's: `list("/api/v1/alarms", "alarms")`.
    ///
    /// # Errors
    /// As [`Api::get`], or no such list in the answer.
    pub async fn list(&self, path: &str, name: &str) -> Result<Vec<Value>> {
        let mut body = self.get(path).await?;
        match body[name].take() {
            Value::Array(list) => Ok(list),
            _ => bail!("{path} answered without {name:?}: {body}"),
        }
    }

    /// The alarms that nobody has closed yet, newest first.
    ///
    /// # Errors
    /// As [`Api::list`].
    pub async fn open_alarms(&self) -> Result<Vec<Value>> {
        self.list("/api/v1/alarms?state=open", "alarms").await
    }
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// The hub refused; the text holds its problem document.
    pub fn success(self, path: &str) -> Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        bail!("{path} answered {}: {}", self.status, self.body)
    }
}
