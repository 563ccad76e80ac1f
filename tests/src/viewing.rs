//! A live picture as a page receives it: one WebSocket, whose binary messages are a film that begins and has no end.

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt as _;

use crate::api::Api;
use crate::wait;

/// What a frame's first byte says it carries (RFC 6455, section 5.2).
const BINARY: u8 = 2;
/// The longest message: the group under way is one.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Watches a path of live pictures until so many messages of film have come, and gives them as one film.
///
/// # Errors
/// It is refused, ends, or is silent for longer than the usual patience.
pub async fn film(api: &Api, path: &str, messages: usize) -> Result<Vec<u8>> {
    let mut socket = api.web_socket_open(path).await?;
    let mut film = Vec::new();
    let mut left = messages;
    let watched = async {
        while left > 0 {
            let kind = socket.read_u8().await? & 0x0f;
            let length = match socket.read_u8().await? & 0x7f {
                126 => usize::from(socket.read_u16().await?),
                127 => usize::try_from(socket.read_u64().await?)?,
                short => usize::from(short),
            };
            ensure!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
            let mut message = vec![0; length];
            socket.read_exact(&mut message).await?;
            if kind == BINARY {
                film.extend(message);
                left -= 1;
            }
        }
        Ok(())
    };
    tokio::time::timeout(wait::PATIENCE, watched).await.context("the live picture stands still")??;
    Ok(film)
}
