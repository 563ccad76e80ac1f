//! The program under test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::broker::{PASSWORD, USER};

/// A gateway's folder, and the gateway if it runs.
pub(crate) struct Gateway {
    folder: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    child: Option<Child>,
}

impl Gateway {
    /// Writes the configuration of a gateway beside a village's broker.
    pub(crate) fn new(folder: &Path, lan_port: u16) -> Self {
        std::fs::write(folder.join("password"), format!("{PASSWORD}\n")).unwrap();
        let configuration = format!(
            "data_dir = {:?}\n[lan]\nport = {lan_port}\nusername = {USER:?}\npassword_file = {:?}\n\
             [journal]\nreserve_mib = 1\n",
            folder.join("data"),
            folder.join("password"),
        );
        std::fs::write(folder.join("edge.toml"), configuration).unwrap();
        Self { folder: folder.to_owned(), environment: Vec::new(), child: None }
    }

    /// Adds to its configuration, before it is started.
    pub(crate) fn configure(&self, more: &str) {
        let path = self.folder.join("edge.toml");
        let configuration = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, configuration + more).unwrap();
    }

    /// What the programs that it starts find in their environment.
    pub(crate) fn set_environment(&mut self, name: &'static str, value: &Path) {
        self.environment.push((name, value.to_owned()));
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("gateway.log")).unwrap_or_default()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tongluo-edge"));
        command.arg(name).arg("--config").arg(self.folder.join("edge.toml")).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command
    }

    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.join("gateway.log")).unwrap();
        self.child = Some(self.command("run").stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end, and answers whether it ended well.
    pub(crate) fn stop(&mut self) -> bool {
        let mut child = self.child.take().expect("the gateway was started");
        let asked = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(asked.success());
        child.wait().unwrap().success()
    }

    pub(crate) async fn enroll(&self, claim: &str) -> Output {
        let mut command = self.command("enroll");
        command.arg("--claim").arg(claim);
        // The hub that it talks to runs in this process.
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}
