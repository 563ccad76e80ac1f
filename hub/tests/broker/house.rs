//! A broker with everything around it that a test needs.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tongluo_hub::broker::{
    Arrival, Arrivals, Broker, BrokerConfig, EmbeddedConfig, ExternalConfig, Gate, HUB_CLIENT_ID, UpLeaf,
};
use tongluo_hub::ids::SiteId;

use crate::authority::{Authority, Identity, Use};
use crate::gateway::Plan;
use crate::mosquitto::Mosquitto;
use crate::within;

/// Which implementation a test runs against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    External,
}

/// A broker, its authority, and what arrived.
pub(crate) struct House {
    pub(crate) authority: Authority,
    pub(crate) gate: Arc<Serials>,
    pub(crate) broker: Option<Broker>,
    /// Until a test gives them to the link.
    pub(crate) arrivals: Option<Arrivals>,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    /// The external broker, if that is what is tested.
    pub(crate) mosquitto: Option<Mosquitto>,
    revoked: Mutex<Vec<Vec<u8>>>,
}

/// The serials that may connect, as whatever site: that a certificate speaks for its own site only is the broker's part.
#[derive(Default)]
pub(crate) struct Serials(Mutex<HashSet<Vec<u8>>>);

impl Gate for Serials {
    fn allows(&self, _site: &SiteId, serial: &[u8]) -> bool {
        self.0.lock().unwrap().contains(serial)
    }
}

impl House {
    pub(crate) async fn new(kind: Kind) -> Self {
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let folder = std::env::temp_dir().join(format!("tongluo-broker-{:016x}", u64::from_ne_bytes(name)));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new(&folder, "county");
        let gate = Arc::new(Serials::default());
        let mosquitto = match kind {
            Kind::Embedded => None,
            Kind::External => Some(Mosquitto::start(&folder, &authority).await),
        };
        let (broker, arrivals) = start(mosquitto.as_ref(), &authority, &gate, 0).await;
        let port = mosquitto.as_ref().map(|mosquitto| mosquitto.gateways_port);
        let port = port.or_else(|| Some(broker.address()?.port())).expect("a broker listens somewhere");
        Self {
            authority,
            gate,
            broker: Some(broker),
            arrivals: Some(arrivals),
            port,
            folder,
            mosquitto,
            revoked: Mutex::default(),
        }
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.mosquitto.is_none()
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("the broker runs")
    }

    /// A new gateway's certificate, let in.
    pub(crate) fn enrol(&self, site: &str) -> Plan {
        let identity = self.authority.issue(site, Use::Gateway);
        self.gate.0.lock().unwrap().insert(identity.serial.clone());
        Plan::new(self.port, &self.authority, &identity)
    }

    /// Revokes a gateway's certificate as the hub does: first nobody gets in with it, then the session ends.
    pub(crate) async fn revoke(&self, identity: &Identity) {
        self.gate.0.lock().unwrap().remove(&identity.serial);
        if let Some(mosquitto) = &self.mosquitto {
            // Mosquitto does not say when it has read the list, so a certificate that stands on it too is tried.
            let probe = self.authority.issue("probe", Use::Gateway);
            let revoked = {
                let mut revoked = self.revoked.lock().unwrap();
                revoked.extend([identity.serial.clone(), probe.serial.clone()]);
                revoked.clone()
            };
            self.authority.revoke(&revoked);
            mosquitto.reload();
            let probe = Plan { will: None, ..Plan::new(self.port, &self.authority, &probe) };
            within("the revocation list to be read", async { while probe.try_connect().await.is_ok() {} }).await;
        }
        self.broker().disconnect(&SiteId::from_known(&identity.name)).await;
    }

    /// The broker dies, forgets everything, and is there again on the same port.
    pub(crate) async fn forget_everything(&mut self) {
        match &mut self.mosquitto {
            None => self.restart_hub().await,
            Some(mosquitto) => mosquitto.forget_everything().await,
        }
    }

    /// The hub stops and starts again; an external broker stays.
    pub(crate) async fn restart_hub(&mut self) {
        self.broker.take().expect("the broker runs").shutdown().await;
        let (broker, arrivals) = start(self.mosquitto.as_ref(), &self.authority, &self.gate, self.port).await;
        self.broker = Some(broker);
        self.arrivals = Some(arrivals);
    }

    /// Waits until the broker has dropped so many messages.
    pub(crate) async fn until_dropped(&self, count: u64) {
        within("dropped messages", async {
            while self.broker().stats().received_dropped < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The next arrival, whatever it is.
    pub(crate) async fn next(&mut self) -> Arrival {
        let arrivals = self.arrivals.as_mut().expect("the test has not given them away");
        within("an arrival", arrivals.recv()).await.expect("the broker runs")
    }

    /// The next message that is no state; presence and states are passed over.
    pub(crate) async fn message(&mut self) -> (String, UpLeaf, Vec<u8>) {
        loop {
            if let Arrival::Message { site, leaf, payload } = self.next().await
                && leaf != UpLeaf::State
            {
                return (site.to_string(), leaf, payload.to_vec());
            }
        }
    }

    /// Waits for a presence of a site, passing over everything else.
    pub(crate) async fn presence(&mut self, site: &str, online: bool) {
        let site = SiteId::from_known(site);
        let wanted = if online { Arrival::Online { site } } else { Arrival::Offline { site } };
        while self.next().await != wanted {}
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn start(
    mosquitto: Option<&Mosquitto>,
    authority: &Authority,
    gate: &Arc<Serials>,
    port: u16,
) -> (Broker, Arrivals) {
    let gate: Arc<dyn Gate> = Arc::<Serials>::clone(gate);
    let (config, identity) = match mosquitto {
        None => {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let config = BrokerConfig::Embedded(EmbeddedConfig { listen, ..EmbeddedConfig::default() });
            (config, authority.issue("hub", Use::Server))
        }
        Some(mosquitto) => {
            let host = "localhost".to_owned();
            let config = ExternalConfig { host, port: mosquitto.hub_port, username: None, password_file: None };
            (BrokerConfig::External(config), authority.issue(HUB_CLIENT_ID, Use::Gateway))
        }
    };
    let (broker, arrivals) = Broker::start(&config, &authority.files(&identity), gate).await.unwrap();
    if mosquitto.is_some() {
        within("the hub to reach the broker", async {
            while broker.stats().connects == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    (broker, arrivals)
}
