//! The running gateway: opens the journal, starts the field and the uplink, and ends them in order.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tongluo_protocols::event::{Event, Started};
use tongluo_protocols::id::Lane;

use crate::alarm;
use crate::broadcast::{self, Broadcasts, Confirmed};
use crate::camera;
use crate::clock::Clock;
use crate::config::Config;
use crate::field::Field;
use crate::fleet::Identity;
use crate::fleet::desired::{self, Desired, Present};
use crate::journal::{Draft, Journal, Opened, OrderMemory};
use crate::media::{self, evidence};
use crate::mqtt::Connection;
use crate::order::{Desk, Rooms, confirmed_time};
use crate::speaker;
use crate::uplink::{Uplink, Vitals};
use crate::{VERSION, event_body};

/// How often a gateway that is not enrolled looks whether it has been.
const ENROLMENT_LOOK_MS: u64 = 2_000;

/// Runs a gateway until it is told to end by SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration's files are of no use, or the journal cannot be opened.
pub fn run(config: &Config, config_path: &Path, clock: Clock) -> anyhow::Result<()> {
    let credentials = config.lan_credentials(config_path)?;
    make_data_dir(&config.data_dir)?;
    let Opened { journal, mut memory, closing } = Journal::open(&config.data_dir, &config.journal, clock)?;
    let orders = std::mem::take(&mut memory.orders);
    let (broadcasts, asked) = Broadcasts::channel(std::mem::take(&mut memory.plays));
    let (confirmed, time) = confirmed_time();
    let present = desired::load(&config.data_dir);
    let cameras = camera::Cameras::start(&config.camera, &config.data_dir, present.subscribe(), clock)?;
    let watched = present.subscribe();
    let evidence = evidence::start(&config.data_dir, journal.clone(), cameras.cameras.clone(), watched, clock)?;
    let heard = speaker::start(config, credentials.clone(), journal.clone(), present.subscribe(), clock)?;
    let reports = cameras.reports;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, async {
        let (stop, stopped) = watch::channel(false);
        let vitals = Rc::new(Vitals::default());
        let (field, connection, confirmer) =
            Field::new(&config.lan, credentials, journal.clone(), memory, vitals.clone(), clock);
        let teller = field.teller();
        tell_started(&journal, config);
        tokio::task::spawn_local(tell_cameras(journal.clone(), reports));
        let mut field = tokio::task::spawn_local(field.run(connection, stopped.clone()));
        let mut confirmer = tokio::task::spawn_local(confirmer.run());
        let (words, spoken) = alarm::Words::channel();
        let rooms = alarm::Rooms {
            journal: journal.clone(),
            configurations: present.subscribe(),
            voices: broadcasts.clone(),
            sounds: heard.sounds.clone(),
            teller,
            words: spoken,
            line: vitals.hub_connected.subscribe(),
        };
        let world = broadcast::World {
            sinks: heard.speakers,
            news: heard.news,
            sounds: heard.sounds,
            journal: journal.clone(),
            clock,
            time,
            configurations: present.subscribe(),
        };
        let mut broadcast = tokio::task::spawn_local(broadcast::Task::new(asked, world).run());
        let mut alarm = tokio::task::spawn_local(alarm::Task::new(rooms, clock).run());
        let house =
            House { orders, present, journal, vitals, cameras: cameras.cameras, words, broadcasts, confirmed, clock };
        let mut uplink = tokio::task::spawn_local(uplink(config.data_dir.clone(), house, stopped));
        tracing::info!(gateway.start_ms = clock.mono_ms(), gateway.version = VERSION, "the gateway is running");
        // A task that ends by itself has met a bug. A gateway that looks alive and hears nothing would be worse than one
        // that ends and is started again.
        tokio::select! {
            ended = end_of_run() => ended?,
            _ = &mut field => anyhow::bail!("the field ended by itself"),
            _ = &mut confirmer => anyhow::bail!("the journal ended by itself"),
            _ = &mut uplink => anyhow::bail!("the uplink ended by itself"),
            _ = &mut broadcast => anyhow::bail!("nobody decides any more what is heard"),
            _ = &mut alarm => anyhow::bail!("the answer to presses ended by itself"),
        }
        tracing::info!("the gateway is ending");
        let _ = stop.send(true);
        alarm.abort();
        broadcast.abort();
        let _ = tokio::join!(field, uplink);
        Ok(())
    });
    // The last handles to the journal go with the tasks; then its thread writes what is left and ends.
    drop(local);
    drop(runtime);
    evidence.wait();
    heard.closing.wait();
    closing.wait();
    cameras.closing.wait();
    result
}

/// What the hub hears and sees of a village, and what it sets there.
struct House {
    orders: OrderMemory,
    present: Present,
    journal: Journal,
    vitals: Rc<Vitals>,
    cameras: camera::Cameras,
    words: alarm::Words,
    broadcasts: Broadcasts,
    confirmed: watch::Sender<Option<Confirmed>>,
    clock: Clock,
}

impl House {
    /// Everything that an enrolled gateway does with its hub: what is said in both directions, the configuration it follows, and
    /// the connection for pictures, which waits to be called.
    fn prepare(&self, identity: &Identity, data_dir: &Path) -> anyhow::Result<(Uplink, Connection, Desired)> {
        let (journal, clock) = (&self.journal, self.clock);
        let (desired, following) = Desired::new(identity, data_dir, self.present.clone(), journal.clone(), clock)?;
        let (words, broadcasts) = (self.words.clone(), self.broadcasts.clone());
        let rooms = Rooms { following, words, broadcasts };
        let (orders, confirmed) = (self.orders.clone(), self.confirmed.clone());
        let desk = Desk::new(identity, orders, journal.clone(), rooms, clock, confirmed)?;
        let calls = media::start(identity.clone(), self.cameras.clone(), clock)?;
        let (uplink, connection) = Uplink::new(identity, journal.clone(), desk, self.vitals.clone(), calls, clock)?;
        Ok((uplink, connection, desired))
    }
}

/// Waits until the gateway is enrolled, then keeps the journal replicated.
async fn uplink(data_dir: std::path::PathBuf, house: House, mut stop: watch::Receiver<bool>) {
    let clock = house.clock;
    let mut told = false;
    let (uplink, connection, desired) = loop {
        match Identity::load(&data_dir) {
            Ok(Some(identity)) => match house.prepare(&identity, &data_dir) {
                Ok(prepared) => {
                    tracing::info!(
                        site.id = identity.site_id,
                        hub.host = identity.mqtt_host,
                        hub.port = identity.mqtt_port,
                        "this gateway is enrolled"
                    );
                    break prepared;
                }
                Err(error) if !told => {
                    tracing::error!(gateway.error = format!("{error:#}"), "the identity is of no use")
                }
                Err(_) => {}
            },
            Ok(None) if !told => {
                tracing::warn!("this gateway is not enrolled: presses are kept here until it is");
            }
            Err(error) if !told => tracing::error!(gateway.error = %error, "the identity cannot be read"),
            _ => {}
        }
        told = true;
        let look_at_ms = clock.mono_ms() + ENROLMENT_LOOK_MS;
        tokio::select! {
            () = clock.until(Some(look_at_ms)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    };
    tokio::select! {
        () = uplink.run(connection, stop) => {}
        () = desired.run() => {}
    }
}

/// Journals what is to be said of cameras. A report that the journal sheds comes again within ten minutes.
async fn tell_cameras(journal: Journal, mut reports: mpsc::Receiver<camera::Report>) {
    while let Some(report) = reports.recv().await {
        let event = Event::CameraReport(report.event());
        drop(journal.append(draft(&event)));
    }
    tracing::error!("the cameras' thread has ended: there is no video until this program is started again");
}

fn tell_started(journal: &Journal, config: &Config) {
    let configuration = format!(
        "lan {}:{}, journal {} MiB and {} MiB reserve",
        config.lan.host, config.lan.port, config.journal.space_mib, config.journal.reserve_mib
    );
    let started = Started { version: VERSION, boot_id: journal.boot_id(), configuration: &configuration };
    drop(journal.append(draft(&Event::Started(started))));
}

/// An entry of the routine lane that nothing recognises when it comes again.
fn draft(event: &Event<'_>) -> Draft {
    Draft { lane: Lane::Routine, kind: event.kind(), body: event_body(event), source: None, facts: Vec::new() }
}

async fn end_of_run() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Makes the folder that holds the key and the journal, closed to others.
///
/// # Errors
/// When it cannot be made.
pub fn make_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("data_dir = {:?} cannot be created", data_dir.display().to_string()))
}
