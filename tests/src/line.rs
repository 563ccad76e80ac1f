//! A telephone line that can be cut: a TCP forwarder between a gateway and its hub.

use std::net::Ipv4Addr;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports;

/// Carries connections to another loopback port until it is cut, and again once it is mended.
#[derive(Debug)]
pub struct Line {
    port: u16,
    is_whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Line {
    /// A whole line to `target`.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(target: u16) -> Result<Self> {
        let port = ports::free()?;
        let listener = ports::listen(port).await?;
        let (is_whole, state) = watch::channel(true);
        let task = tokio::spawn(carry(listener, target, state));
        Ok(Self { port, is_whole, task })
    }

    /// Where its near end listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection and takes no new ones.
    pub fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    /// Carries again.
    pub fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(listener: TcpListener, target: u16, state: watch::Receiver<bool>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let mut state = state.clone();
        if !*state.borrow() {
            continue;
        }
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
                return;
            };
            tokio::select! {
                // Either end hung up; the other notices by itself.
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = state.wait_for(|is_whole| !is_whole) => {}
            }
        });
    }
}
