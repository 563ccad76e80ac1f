//! A mosquitto with nothing switched on: what a hop costs at the least.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use tokio::net::TcpStream;
use tongluo_tests::child::{self, Child};
use tongluo_tests::{ports, wait};

/// A broker without passwords, without encryption, without a disk.
pub(crate) struct Bare {
    pub(crate) port: u16,
    _process: Child,
}

impl Bare {
    /// Starts one.
    ///
    /// # Errors
    /// mosquitto is missing, or does not come up.
    pub(crate) async fn start(folder: &Path, name: &str) -> Result<Self> {
        let port = ports::free()?;
        let config = folder.join(format!("{name}.conf"));
        let user = child::output("id", Command::new("id").arg("-un"))?;
        let settings = "allow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_dest stderr";
        std::fs::write(&config, format!("user {}\n{settings}\nlistener {port} 127.0.0.1\n", user.trim()))?;
        let mut command = child::leashed("/usr/sbin/mosquitto");
        command.arg("-c").arg(&config);
        let mut process = Child::spawn(name, &folder.join(format!("{name}.log")), command)?;
        wait::until("a bare mosquitto to listen", async || {
            process.check()?;
            Ok(TcpStream::connect(("127.0.0.1", port)).await.ok())
        })
        .await?;
        Ok(Self { port, _process: process })
    }
}
