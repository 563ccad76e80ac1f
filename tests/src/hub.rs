//! A real hub on free loopback ports.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::api::Api;
use crate::child::{self, Child};
use crate::mosquitto::CountyKeys;
use crate::scene::Folder;
use crate::{ports, wait};

/// A cold start on a busy machine makes keys, tables and regions; a later one does not.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What is chosen about a hub; the rest has defaults.
#[derive(Clone, Debug)]
pub struct HubPlan {
    /// `sqlite`, or a `postgres://` address.
    pub database: String,
    /// Where pages and tests reach it: plain HTTP on loopback.
    pub plain_port: u16,
    /// HTTPS, for gateways' enrolment.
    pub secure_port: u16,
    /// Where gateways reach its broker.
    pub mqtt_port: u16,
    /// The port of the broker that gateways are told, when something stands between.
    pub mqtt_public_port: Option<u16>,
    /// Where gateways bring and fetch files, and open their media connection.
    pub media_port: u16,
    /// The port for that which gateways are told, when something stands between.
    pub media_public_port: Option<u16>,
    /// A port of a broker outside at which the hub is a client; `None` for the broker inside the hub.
    pub external_port: Option<u16>,
    /// From which age a press is marked late.
    pub late_after_s: u32,
}

impl HubPlan {
    /// SQLite, the broker inside, free ports.
    ///
    /// # Errors
    /// No port is free.
    pub fn new() -> Result<Self> {
        Ok(Self {
            database: "sqlite".to_owned(),
            plain_port: ports::free()?,
            secure_port: ports::free()?,
            mqtt_port: ports::free()?,
            mqtt_public_port: None,
            media_port: ports::free()?,
            media_public_port: None,
            external_port: None,
            late_after_s: 60,
        })
    }

    fn config(&self, data_dir: &Path) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "data_dir = {:?}\ndatabase = {:?}", data_dir.display().to_string(), self.database)?;
        writeln!(text, "public_names = [\"127.0.0.1\", \"localhost\"]")?;
        if let Some(port) = self.mqtt_public_port.or(self.external_port.map(|_| self.mqtt_port)) {
            writeln!(text, "broker_public_port = {port}")?;
        }
        writeln!(text, "\n[http]\nplain = \"127.0.0.1:{}\"", self.plain_port)?;
        writeln!(text, "secure = \"127.0.0.1:{}\"", self.secure_port)?;
        match self.external_port {
            None => writeln!(text, "\n[broker]\nmode = \"embedded\"\nlisten = \"127.0.0.1:{}\"", self.mqtt_port)?,
            Some(port) => writeln!(text, "\n[broker]\nmode = \"external\"\nhost = \"127.0.0.1\"\nport = {port}")?,
        }
        writeln!(text, "\n[gateways]\nlisten = \"127.0.0.1:{}\"", self.media_port)?;
        if let Some(port) = self.media_public_port {
            writeln!(text, "public_port = {port}")?;
        }
        // Tests and the demo run at every hour, and what they say is heard by nobody.
        writeln!(text, "\n[broadcast]\nnight = \"none\"")?;
        writeln!(text, "\n[alarm]\nlate_after_s = {}", self.late_after_s)?;
        Ok(text)
    }
}

/// A hub that can be ended in any way and started again on its ports and data.
#[derive(Debug)]
pub struct Hub {
    plan: HubPlan,
    folder: PathBuf,
    process: Option<Child>,
    username: String,
    password: String,
    ca_fingerprint: String,
}

impl Hub {
    /// Makes a county: its keys, its tables, its administrator.
    ///
    /// # Errors
    /// `tongluo-hub init` fails.
    pub fn init(folder: &Path, plan: HubPlan) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let config = folder.join("hub.toml");
        std::fs::write(&config, plan.config(&folder.join("data"))?)?;
        let mut command = child::leashed(child::program("tongluo-hub")?);
        command.arg("init").arg("--config").arg(&config).arg("--json");
        let printed = child::output("tongluo-hub init", &mut command)?;
        let made: Value = serde_json::from_str(printed.trim())
            .with_context(|| format!("tongluo-hub init --json printed {printed:?}"))?;
        let text = |name: &str| {
            made[name].as_str().map(str::to_owned).with_context(|| format!("tongluo-hub init says no {name:?}"))
        };
        Ok(Self {
            username: text("username")?,
            password: text("password")?,
            ca_fingerprint: text("ca_fingerprint")?,
            plan,
            folder: folder.to_owned(),
            process: None,
        })
    }

    /// Makes a county and starts its hub.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(folder: &Folder, plan: HubPlan) -> Result<Self> {
        let mut hub = Self::init(&folder.path().join("hub"), plan)?;
        hub.serve().await?;
        Ok(hub)
    }

    /// Starts it (again), and waits until it is healthy.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn serve(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_until_healthy().await
    }

    /// Starts it (again) without waiting.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        let mut command = child::leashed(child::program("tongluo-hub")?);
        command.arg("serve").arg("--config").arg(self.folder.join("hub.toml"));
        self.process = Some(Child::spawn("tongluo-hub", &self.log(), command)?);
        Ok(())
    }

    /// Waits until it answers `/healthz`.
    ///
    /// # Errors
    /// It does not, or it ended.
    pub async fn wait_until_healthy(&mut self) -> Result<()> {
        let api = Api::new(&self.url())?;
        wait::until_within(START_PATIENCE, "the hub to be healthy", async || {
            self.running()?.check()?;
            Ok(api.get("/healthz").await.ok())
        })
        .await?;
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the hub is not running")?.kill()
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

    /// Its process.
    ///
    /// # Errors
    /// It is not running.
    pub fn running(&mut self) -> Result<&mut Child> {
        self.process.as_mut().context("the hub is not running")
    }

    /// Where browsers reach it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.plain_port)
    }

    /// The administrator's browser.
    ///
    /// # Errors
    /// The hub refuses.
    pub async fn administrator(&self) -> Result<Api> {
        Api::log_in(&self.url(), &self.username, &self.password).await
    }

    /// The administrator's name and password, as `init` gave them.
    pub fn administrator_login(&self) -> (&str, &str) {
        (&self.username, &self.password)
    }

    /// SHA-256 of its CA certificate.
    pub fn ca_fingerprint(&self) -> &str {
        &self.ca_fingerprint
    }

    /// What was chosen about it.
    pub fn plan(&self) -> &HubPlan {
        &self.plan
    }

    /// Its folder: `hub.toml`, `hub.log`, and `data/`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("hub.log")
    }

    /// Where its ledger is, as sqlx understands it.
    pub fn ledger_address(&self) -> String {
        if self.plan.database == "sqlite" {
            format!("sqlite://{}", self.folder.join("data/hub.db").display())
        } else {
            self.plan.database.clone()
        }
    }

    /// The certificates that a county's own broker uses.
    pub fn county_keys(&self) -> CountyKeys {
        let authority = self.folder.join("data/authority");
        CountyKeys {
            authority: authority.join("ca.pem"),
            revocations: authority.join("revoked.pem"),
            certificate: authority.join("server.pem"),
            key: authority.join("server-key.pem"),
        }
    }
}
