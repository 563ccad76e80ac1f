//! A broker with everything around it that a test needs.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tongluo_hub::broker::{Arrival, Arrivals, Broker, BrokerConfig, EmbeddedConfig, Gate, UpLeaf};
use tongluo_hub::ids::SiteId;

use crate::authority::{Authority, Identity, Use};
use crate::gateway::Plan;
use crate::within;

/// Which implementation a test runs against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
}

/// A broker, its authority, and what arrived.
pub(crate) struct House {
    pub(crate) kind: Kind,
    pub(crate) authority: Authority,
    pub(crate) gate: Arc<Serials>,
    pub(crate) broker: Option<Broker>,
    pub(crate) arrivals: Arrivals,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
}

/// The serials that may connect.
#[derive(Default)]
pub(crate) struct Serials(Mutex<HashSet<(String, Vec<u8>)>>);

impl Gate for Serials {
    fn allows(&self, site: &SiteId, serial: &[u8]) -> bool {
        self.0.lock().unwrap().contains(&(site.to_string(), serial.to_vec()))
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
        let (broker, arrivals, port) = start(kind, &authority, &gate, 0).await;
        Self { kind, authority, gate, broker: Some(broker), arrivals, port, folder }
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("the broker runs")
    }

    /// A new gateway's certificate, let in.
    pub(crate) fn enrol(&self, site: &str) -> Plan {
        let identity = self.authority.issue(site, Use::Gateway);
        self.gate.0.lock().unwrap().insert((site.to_owned(), identity.serial.clone()));
        Plan::new(self.port, &self.authority, &identity)
    }

    /// Revokes a gateway's certificate as the hub does: first nobody gets in with it, then the session ends.
    pub(crate) async fn revoke(&self, identity: &Identity) {
        self.gate.0.lock().unwrap().remove(&(identity.name.clone(), identity.serial.clone()));
        self.broker().disconnect(&SiteId::from_known(&identity.name)).await;
    }

    /// The broker dies, forgets everything, and is there again on the same port.
    pub(crate) async fn forget_everything(&mut self) {
        match self.kind {
            Kind::Embedded => {
                self.broker.take().expect("the broker runs").shutdown().await;
                let (broker, arrivals, _) = start(self.kind, &self.authority, &self.gate, self.port).await;
                self.broker = Some(broker);
                self.arrivals = arrivals;
            }
        }
    }

    /// The hub loses its connection to the broker, or (embedded) is started anew.
    pub(crate) async fn reconnect(&mut self) {
        match self.kind {
            Kind::Embedded => self.forget_everything().await,
        }
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
        within("an arrival", self.arrivals.recv()).await.expect("the broker runs")
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

async fn start(kind: Kind, authority: &Authority, gate: &Arc<Serials>, port: u16) -> (Broker, Arrivals, u16) {
    let gate: Arc<dyn Gate> = Arc::<Serials>::clone(gate);
    match kind {
        Kind::Embedded => {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let config = BrokerConfig::Embedded(EmbeddedConfig { listen, ..EmbeddedConfig::default() });
            let credentials = authority.files(&authority.issue("hub", Use::Server));
            let (broker, arrivals) = Broker::start(&config, &credentials, gate).await.unwrap();
            let port = broker.address().expect("embedded").port();
            (broker, arrivals, port)
        }
    }
}
