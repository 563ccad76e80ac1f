//! `GET /media` on the gateways' port: the media connection of one gateway.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use tongluo_protocols::media::{GatewayMessage, MESSAGE_BYTES_MAX};

use super::relay::Relay;
use crate::gateways::GatewaySite;
use crate::ids::SiteId;

/// A gateway says something at least every five seconds; one that was silent for three times that is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long one message may take onto a gateway's line. They are small.
const SEND_MAX: Duration = Duration::from_secs(10);

/// What the socket collects before it writes; what a gateway is sent is small and wanted at once.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// The room's route for gateways.
pub fn gateway_routes(relay: Relay) -> Router {
    Router::new().route("/media", get(open)).with_state(relay)
}

async fn open(State(relay): State<Relay>, GatewaySite(site): GatewaySite, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .on_upgrade(move |socket| serve(relay, site, socket))
}

async fn serve(relay: Relay, site: SiteId, socket: WebSocket) {
    let (number, mut outgoing) = relay.connected(&site);
    tracing::info!(site.id = %site, "A gateway opened its media connection");
    let (mut sink, mut stream) = socket.split();
    let writer = async {
        while let Some(message) = outgoing.recv().await {
            if message.is_empty() {
                continue;
            }
            match tokio::time::timeout(SEND_MAX, sink.send(Message::Binary(message))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return "nothing could be sent",
            }
        }
        "another connection took its place"
    };
    let reader = async {
        loop {
            match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
                Err(_) => return "it was silent",
                Ok(None | Some(Ok(Message::Close(_)))) => return "the gateway closed it",
                Ok(Some(Err(_))) => return "it broke",
                Ok(Some(Ok(Message::Binary(bytes)))) => match GatewayMessage::parse(&bytes) {
                    Ok(message) if relay.heard(&site, number, message) => {}
                    Ok(_) => return "another connection took its place",
                    Err(error) => {
                        tracing::warn!(site.id = %site, %error, "A message on a media connection cannot be read");
                        return "the gateway said what cannot be read";
                    }
                },
                // The socket answers pings by itself.
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_)))) => {}
            }
        }
    };
    let reason = tokio::select! {
        reason = writer => reason,
        reason = reader => reason,
    };
    relay.disconnected(&site, number);
    tracing::info!(site.id = %site, media.reason = reason, "A media connection ended");
}
