//! `target/demo/demo.json`: who can log in and what there is, for people and for the browser tests.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

const FILE: &str = "demo.json";

/// What the file says. It holds passwords, so only its owner may read it.
#[derive(Clone, Debug)]
pub(crate) struct Register(Value);

impl Register {
    pub(crate) fn new(url: &str) -> Self {
        Self(json!({ "url": url, "users": [], "sites": [], "buttons": [], "cameras": [], "speakers": [] }))
    }

    /// Adds to one of its lists.
    pub(crate) fn add(&mut self, list: &str, entry: Value) {
        self.0[list].as_array_mut().expect("the list is one of those made in new").push(entry);
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let mut file = std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "{}", serde_json::to_string_pretty(&self.0)?)?;
        Ok(())
    }

    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read(&path)
            .with_context(|| format!("cannot read {}; wait until the demo is ready", path.display()))?;
        Ok(Self(serde_json::from_slice(&text)?))
    }

    /// Port, name and password for publishing where a button's network does.
    pub(crate) fn lan_of(&self, button: &str) -> Result<(u16, String, String)> {
        let found = self.0["buttons"].as_array().and_then(|list| list.iter().find(|one| one["id"] == button));
        let lan = &found.with_context(|| format!("{FILE} does not list {button}"))?["lan"];
        let text = |name: &str| lan[name].as_str().map(str::to_owned).with_context(|| format!("{FILE} lacks {name}"));
        let port = lan["port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("a port")?;
        Ok((port, text("username")?, text("password")?))
    }

    /// A line for each person.
    pub(crate) fn who_can_log_in(&self) -> Vec<String> {
        let users = self.0["users"].as_array().into_iter().flatten();
        let line = |user: &Value| {
            let text = |name: &str| user[name].as_str().unwrap_or_default().to_owned();
            format!("  {:<12} {:<18} {:<14} {}", text("username"), text("password"), text("role"), text("region_name"))
        };
        std::iter::once("who can log in:".to_owned()).chain(users.map(line)).collect()
    }
}
