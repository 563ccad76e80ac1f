//! Real mosquitto brokers: a village's own network, and one that a county brings for its gateways.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tokio::net::TcpStream;

use crate::child::{self, Child};
use crate::{ports, wait};

/// A broker that can be ended in any way and started again on its port.
#[derive(Debug)]
pub struct Mosquitto {
    name: String,
    port: u16,
    config: PathBuf,
    log: PathBuf,
    store: PathBuf,
    process: Option<Child>,
}

/// A name and a password at a village's broker.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Mosquitto {
    /// A village's broker, as the installer of a gateway sets it up: names and passwords, nobody anonymous, sessions kept on
    /// disk. It is started.
    ///
    /// # Errors
    /// mosquitto is missing, or does not come up.
    pub async fn village(folder: &Path, logins: &[Login]) -> Result<Self> {
        let passwords = folder.join("passwords");
        write_passwords(&passwords, logins)?;
        let mut settings = String::from("persistence true\nautosave_on_changes true\nautosave_interval 1\n");
        writeln!(settings, "allow_anonymous false\npassword_file {}", passwords.display())?;
        Self::start(folder, "mosquitto", ports::free()?, "", &settings).await
    }

    /// A county's broker with mutual TLS, as the hub's documentation asks for: one port for gateways, whose certificates name
    /// their client id, and one for the hub. It keeps nothing over a restart.
    ///
    /// # Errors
    /// mosquitto is missing, or does not come up.
    pub async fn county(folder: &Path, gateways: u16, hub: u16, keys: &CountyKeys) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let access = folder.join("access");
        std::fs::write(&access, COUNTY_ACCESS)?;
        let tls = format!(
            "cafile {}\ncrlfile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\nuse_identity_as_username true\n",
            keys.authority.display(),
            keys.revocations.display(),
            keys.certificate.display(),
            keys.key.display(),
        );
        let settings = format!(
            "persistence false\nallow_anonymous false\nacl_file {}\nmax_queued_messages 16384\n",
            access.display()
        );
        let gateways_port = format!("{tls}use_username_as_clientid true\nlistener {hub} 127.0.0.1\n{tls}");
        Self::start(folder, "county-mosquitto", gateways, &gateways_port, &settings).await
    }

    /// `listener_settings` follow the listener's line, `settings` stand before it.
    async fn start(folder: &Path, name: &str, port: u16, listener_settings: &str, settings: &str) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let store = folder.join(format!("{name}-store"));
        std::fs::create_dir_all(&store)?;
        let config = folder.join(format!("{name}.conf"));
        let mut text = String::new();
        // Started by root, mosquitto would change into a user who cannot read our folder.
        writeln!(text, "user {}", child::output("id", Command::new("id").arg("-un"))?.trim())?;
        writeln!(text, "log_dest stderr\nset_tcp_nodelay true\npersistence_location {}/\n{settings}", store.display())?;
        writeln!(text, "listener {port} 127.0.0.1\n{listener_settings}")?;
        std::fs::write(&config, text)?;
        let log = folder.join(format!("{name}.log"));
        let mut broker = Self { name: name.to_owned(), port, config, log, store, process: None };
        broker.run().await?;
        Ok(broker)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn run(&mut self) -> Result<()> {
        let mut command = child::leashed("/usr/sbin/mosquitto");
        command.arg("-c").arg(&self.config);
        let mut process = Child::spawn(&self.name, &self.log, command)?;
        wait::until("mosquitto to listen", async || {
            process.check()?;
            Ok(TcpStream::connect(("127.0.0.1", self.port)).await.ok())
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("mosquitto is not running")?.kill()
    }

    /// Forgets what it kept on disk. It must not be running.
    ///
    /// # Errors
    /// The folder cannot be emptied.
    pub fn wipe(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.store)?;
        std::fs::create_dir_all(&self.store)?;
        Ok(())
    }

    /// Ends it in good order, if it runs.
    ///
    /// # Errors
    /// It had to be killed.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.stop().await,
            None => Ok(()),
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The files with which a county's broker proves itself to gateways, and knows them.
#[derive(Clone, Debug)]
pub struct CountyKeys {
    /// The hub's CA.
    pub authority: PathBuf,
    /// Its list of certificates that are good no more.
    pub revocations: PathBuf,
    /// The broker's certificate under it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What the protocol document demands of a broker: a gateway keeps to its own topics, the hub sees all.
const COUNTY_ACCESS: &str = "\
user tongluo-hub
topic readwrite tl/1/#

pattern write tl/1/%u/up
pattern write tl/1/%u/down/ack
pattern write tl/1/%u/beat
pattern write tl/1/%u/state
pattern read tl/1/%u/up/ack
pattern read tl/1/%u/down
pattern read tl/1/%u/call
";

fn write_passwords(path: &Path, logins: &[Login]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let lines: String = logins.iter().map(|login| format!("{}:{}\n", login.username, login.password)).collect();
    std::fs::write(path, lines)?;
    // `-U` turns the plain passwords of the file into hashes, in place.
    child::output("mosquitto_passwd", Command::new("mosquitto_passwd").arg("-U").arg(path))?;
    Ok(())
}
