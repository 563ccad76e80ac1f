//! A village: a site at the hub, a mosquitto of its own, and a real, really enrolled gateway.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::Api;
use crate::child::{self, Child};
use crate::lan::Lan;
use crate::mosquitto::{Login, Mosquitto};
use crate::wait;

/// Seconds between two reports of an unchanged device: the shortest that a gateway allows.
const SUPERVISION_INTERVAL_S: u32 = 10;

/// One village.
#[derive(Debug)]
pub struct Village {
    /// The id of its site.
    pub site_id: String,
    /// Its own broker.
    pub mosquitto: Mosquitto,
    /// Its gateway.
    pub gateway: Gateway,
    /// What its devices' networks log in with.
    pub devices_login: Login,
}

impl Village {
    /// Makes a site through the hub's interface, starts a broker, enrols a gateway and runs it until the hub sees it.
    ///
    /// # Errors
    /// Any of these fails.
    pub async fn start(folder: &Path, api: &Api, name: &str, region_code: &str) -> Result<Self> {
        Self::start_with(folder, api, name, region_code, "").await
    }

    /// As [`Village::start`], with more lines of TOML at the end of the gateway's configuration.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with(folder: &Path, api: &Api, name: &str, region_code: &str, config: &str) -> Result<Self> {
        let site = api.post("/api/v1/sites", json!({ "name": name, "region_code": region_code })).await?;
        let site_id = text(&site, "id")?;
        let login = |username: &str| Login { username: username.to_owned(), password: crate::secret() };
        let (gateway_login, devices_login) = (login("gateway"), login("devices"));
        let mosquitto = Mosquitto::village(folder, &[gateway_login.clone(), devices_login.clone()]).await?;
        let mut gateway = Gateway::configure(folder, mosquitto.port(), &gateway_login)?;
        gateway.add_config(config)?;
        gateway.enrol(&claim(api, &site_id).await?).await?;
        gateway.run()?;
        let village = Self { site_id, mosquitto, gateway, devices_login };
        village.wait_until_online(api).await?;
        Ok(village)
    }

    /// Waits until the hub says that the gateway is on line and reaches its village's broker.
    ///
    /// # Errors
    /// It does not.
    pub async fn wait_until_online(&self, api: &Api) -> Result<()> {
        wait::until("the gateway to be on line with its village", async || {
            let gateway = &api.get(&format!("/api/v1/sites/{}", self.site_id)).await?["gateway"];
            Ok((gateway["online"] == true && gateway["lan_connected"] == true).then_some(()))
        })
        .await
    }

    /// Waits until the hub says that the gateway's connection is gone, or that there is no gateway any more.
    ///
    /// # Errors
    /// It does not.
    pub async fn wait_until_offline(&self, api: &Api) -> Result<()> {
        wait::until("the gateway to be off line", async || {
            let site = api.get(&format!("/api/v1/sites/{}", self.site_id)).await?;
            Ok((site["gateway"]["online"] != true).then_some(()))
        })
        .await
    }

    /// The devices' networks on this village's broker.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn lan(&self, client_id: &str) -> Result<Lan> {
        Lan::connect(self.mosquitto.port(), &self.devices_login, client_id).await
    }
}

/// Asks the hub for a claim for a site, as a technician does; gives its text.
///
/// # Errors
/// The hub refuses.
pub async fn claim(api: &Api, site_id: &str) -> Result<String> {
    text(&api.post(&format!("/api/v1/sites/{site_id}/claims"), json!({})).await?, "text")
}

/// A text of an answer.
///
/// # Errors
/// There is none of that name.
pub fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).with_context(|| format!("no text {name:?} in {value}"))
}

/// A real gateway that can be ended in any way and started again on its data.
#[derive(Debug)]
pub struct Gateway {
    folder: PathBuf,
    process: Option<Child>,
}

impl Gateway {
    /// Writes its configuration; it is neither enrolled nor started.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn configure(folder: &Path, lan_port: u16, login: &Login) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let password_file = folder.join("gateway-password");
        std::fs::write(&password_file, &login.password)?;
        let data_dir = folder.join("gateway");
        let mut config = String::new();
        writeln!(config, "data_dir = {:?}\n\n[lan]\nport = {lan_port}", data_dir.display().to_string())?;
        writeln!(config, "username = {:?}", login.username)?;
        writeln!(config, "password_file = {:?}", password_file.display().to_string())?;
        writeln!(config, "supervision_interval_s = {SUPERVISION_INTERVAL_S}")?;
        // A village of two buttons needs no more, and a test's disk may be small.
        writeln!(config, "\n[journal]\nspace_mib = 16\nreserve_mib = 1")?;
        std::fs::write(folder.join("edge.toml"), config)?;
        Ok(Self { folder: folder.to_owned(), process: None })
    }

    /// Adds lines at the end of its configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_config(&self, more: &str) -> Result<()> {
        let mut file = std::fs::File::options().append(true).open(self.config())?;
        Ok(std::io::Write::write_all(&mut file, more.as_bytes())?)
    }

    /// Enrols it with the text of a claim.
    ///
    /// # Errors
    /// `tongluo-edge enroll` fails; the text holds what it said.
    pub async fn enrol(&self, claim: &str) -> Result<()> {
        let mut command = child::leashed(child::program("tongluo-edge")?);
        command.arg("enroll").arg("--config").arg(self.config()).arg("--claim").arg(claim);
        child::output("tongluo-edge enroll", &mut command)?;
        Ok(())
    }

    /// Starts it (again).
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn run(&mut self) -> Result<()> {
        let mut command = child::leashed(child::program("tongluo-edge")?);
        command.arg("run").arg("--config").arg(self.config());
        self.process = Some(Child::spawn("tongluo-edge", &self.folder.join("gateway.log"), command)?);
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the gateway is not running")?.kill()
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
        self.process.as_mut().context("the gateway is not running")
    }

    /// What it was given when it enrolled: certificate, key, where the broker is.
    ///
    /// # Errors
    /// It is not enrolled.
    pub fn identity(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.identity_file())?)?)
    }

    /// Lets it reach the hub through other ports than those it was told: a line of its own, which can be cut. It must not run.
    ///
    /// # Errors
    /// It is not enrolled, or the file cannot be written.
    pub fn reroute(&self, mqtt_port: u16, media_port: u16) -> Result<()> {
        let mut identity = self.identity()?;
        identity["mqtt_port"] = mqtt_port.into();
        identity["media_port"] = media_port.into();
        Ok(std::fs::write(self.identity_file(), identity.to_string())?)
    }

    fn identity_file(&self) -> PathBuf {
        self.folder.join("gateway/identity.json")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("edge.toml")
    }
}
