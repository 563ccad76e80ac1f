//! Mosquitto, as a village or a hub has it.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::until;

/// The user and password of everybody on the village's network.
pub(crate) const USER: &str = "village";
pub(crate) const PASSWORD: &str = "gong";

/// A running mosquitto, ended with its owner.
pub(crate) struct Broker {
    pub(crate) port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Broker {
    /// A village's: with a password file, and a memory that outlives it.
    pub(crate) async fn village(folder: &Path, port: u16) -> Self {
        let passwords = folder.join("passwords");
        let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&passwords).args([USER, PASSWORD]).status();
        assert!(made.unwrap().success());
        let options = format!("allow_anonymous false\npassword_file {}\n", passwords.display());
        Self::start(folder, port, &options).await
    }

    /// A hub's: mutual TLS. The folder holds `ca.pem`, `server.pem` and `server.key`.
    pub(crate) async fn hub(folder: &Path, port: u16) -> Self {
        let file = |name: &str| folder.join(name).display().to_string();
        let options = format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\nuse_identity_as_username true\n",
            file("ca.pem"),
            file("server.pem"),
            file("server.key")
        );
        Self::start(folder, port, &options).await
    }

    async fn start(folder: &Path, port: u16, options: &str) -> Self {
        let configuration = format!(
            "user root\nlistener {port} 127.0.0.1\n{options}persistence true\npersistence_location {}/\n\
             autosave_interval 1\nautosave_on_changes true\nmax_queued_messages 100000\n",
            folder.display()
        );
        std::fs::write(folder.join("mosquitto.conf"), configuration).unwrap();
        let mut broker = Self { port, folder: folder.to_owned(), child: None };
        broker.run().await;
        broker
    }

    /// Starts it, again if it was killed.
    pub(crate) async fn run(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.join("mosquitto.log")).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.folder.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto is installed");
        self.child = Some(child);
        let port = self.port;
        until("mosquitto to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
