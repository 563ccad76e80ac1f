//! A real mosquitto, configured by the hub's own template.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;
use tongluo_hub::broker::{MosquittoPlan, access_list, mosquitto_config};

use crate::authority::{Authority, Use};
use crate::within;

/// A running mosquitto; dropped, it is killed.
pub(crate) struct Mosquitto {
    process: Child,
    configuration: PathBuf,
    pub(crate) gateways_port: u16,
    pub(crate) hub_port: u16,
}

impl Mosquitto {
    pub(crate) async fn start(folder: &Path, authority: &Authority) -> Self {
        let (gateways_port, hub_port) = (free_port(), free_port());
        let plan = MosquittoPlan {
            gateways: SocketAddr::from((Ipv4Addr::LOCALHOST, gateways_port)),
            hub: SocketAddr::from((Ipv4Addr::LOCALHOST, hub_port)),
            connections_max: 1_000,
            credentials: authority.files(&authority.issue("mosquitto", Use::Server)),
            revocations: authority.revocations(),
            access_list: folder.join("access.list"),
            // The folder is the test's own; without this a root mosquitto would step down and not be able to read it.
            user: Some("root".to_owned()),
        };
        std::fs::write(&plan.access_list, access_list()).unwrap();
        let configuration = folder.join("mosquitto.conf");
        std::fs::write(&configuration, mosquitto_config(&plan)).unwrap();
        let process = run(&configuration);
        let mosquitto = Self { process, configuration, gateways_port, hub_port };
        mosquitto.answers().await;
        mosquitto
    }

    /// `kill -9`, and a new one that knows nothing.
    pub(crate) async fn forget_everything(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = run(&self.configuration);
        self.answers().await;
    }

    /// Has it read its certificates and revocation list again. It does so when it next has time.
    pub(crate) fn reload(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    async fn answers(&self) {
        for port in [self.gateways_port, self.hub_port] {
            within("mosquitto to listen", async {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(configuration: &Path) -> Child {
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    Command::new(program)
        .arg("-c")
        .arg(configuration)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("mosquitto is installed (Debian: apt-get install mosquitto)")
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
