//! The task between the loudspeakers, the board and the journal.
//!
//! A village without loudspeakers on its broker costs nothing here: the connection and the server of sounds are there while the
//! configuration names one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{MqttOptions, QoS};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tongluo_protocols::configuration::{self, Configuration, SpeakerKind};
use tongluo_protocols::device::speaker::{TOPIC_PREFIX, is_id, reporting};
use tongluo_protocols::event::{Event, SpeakerReport, SpeakerState as Word};
use tongluo_protocols::id::Lane;

use super::board::{Act, Board, Health, Life, Report, Said, Sink};
use super::line_out::{Heard, LineOut, Tell, Wiring};
use super::machine::{self, Input, Machine, Output};
use super::serve::{SoundServer, own_address};
use super::{Ask, News, States, What};
use crate::clock::Clock;
use crate::config::{LanConfig, SpeakerConfig};
use crate::event_body;
use crate::journal::{Draft, Journal};
use crate::mqtt::{self, Client, Connection, Happened};

/// Our second name at the village's broker, beside the field's.
const CLIENT_ID: &str = "tongluo-edge-speakers";
/// What every speaker reports on.
const SUBSCRIPTION: &str = "tongluo/speaker/+/did";
/// The longest message that is read: a speaker's message and its topic are far below.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// The village's network is local: a broker that is silent for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long commands may wait for the village's broker before it is dialled again.
const TAKE_TIMEOUT_MS: u64 = 5_000;
/// Messages that arrived and were not looked at yet. At the bound the broker waits.
const INBOX_MAX: usize = 64;
/// How long speakers may take to hear that they are to be silent, when the program ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// How the task is set up.
pub(super) struct Plan {
    pub(super) lan: LanConfig,
    pub(super) speaker: SpeakerConfig,
    pub(super) credentials: Option<(String, String)>,
    /// Where sounds lie.
    pub(super) folder: PathBuf,
    pub(super) clock: Clock,
}

/// Whom the task speaks with in the gateway.
pub(super) struct Ends {
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) news: mpsc::Sender<News>,
    pub(super) states: watch::Sender<States>,
    pub(super) journal: Journal,
    pub(super) configurations: watch::Receiver<Arc<Configuration>>,
}

/// Works until `stop` is set, then ends what sounds.
pub(super) async fn run(plan: Plan, ends: Ends, mut stop: watch::Receiver<bool>) {
    let Ends { mut asks, news, states, journal, mut configurations } = ends;
    let (heard, mut line_outs) = mpsc::channel(INBOX_MAX);
    let mut task = Task {
        plan,
        news,
        states,
        journal,
        machine: Machine::default(),
        board: Board::default(),
        village: None,
        line_outs: BTreeMap::new(),
        heard,
    };
    let configuration = configurations.borrow_and_update().clone();
    task.configure(&configuration).await;
    loop {
        task.settle().await;
        let (clock, deadline_ms) = (task.plan.clock, task.next_deadline());
        tokio::select! {
            happened = next(&mut task.village) => task.happened(happened),
            ask = asks.recv() => match ask {
                Some(Ask::Play(play)) => {
                    let acts = task.board.play(&play, || getrandom::u64().expect("the system gives random numbers"));
                    task.act(acts).await;
                }
                Some(Ask::Stop { name, speaker }) => {
                    let acts = task.board.stop(&name, speaker.as_deref());
                    task.act(acts).await;
                }
                None => break,
            },
            Some(heard) = line_outs.recv() => task.heard(heard).await,
            Ok(()) = configurations.changed() => {
                let configuration = configurations.borrow_and_update().clone();
                task.configure(&configuration).await;
            }
            () = clock.until(deadline_ms) => task.handle(Input::Tick),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    task.farewell().await;
}

struct Task {
    plan: Plan,
    news: mpsc::Sender<News>,
    states: watch::Sender<States>,
    journal: Journal,
    machine: Machine,
    board: Board,
    village: Option<Village>,
    line_outs: BTreeMap<Sink, (mpsc::UnboundedSender<Tell>, JoinHandle<()>)>,
    heard: mpsc::Sender<Heard>,
}

/// What there is for loudspeakers on the village's broker.
struct Village {
    client: Client,
    events: mpsc::Receiver<Happened>,
    /// Where they find a sound, up to its hash; none if the server cannot be started.
    url: Option<String>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Village {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What happens next on the village's broker; nothing, without one.
async fn next(village: &mut Option<Village>) -> Option<Happened> {
    match village {
        Some(village) => village.events.recv().await,
        None => std::future::pending().await,
    }
}

impl Task {
    fn next_deadline(&self) -> Option<u64> {
        self.machine.next_deadline().into_iter().chain(self.board.next_deadline()).min()
    }

    async fn configure(&mut self, configuration: &Configuration) {
        let speakers: Vec<_> = configuration.speakers.iter().filter(|speaker| is_usable(speaker)).cloned().collect();
        let (now_ms, now_utc_ms) = (self.plan.clock.mono_ms(), self.plan.clock.utc_ms());
        let acts = self.board.configure(now_ms, now_utc_ms, &speakers);
        self.act(acts).await;
        let of_broker = speakers.iter().filter(|speaker| speaker.kind == SpeakerKind::Mqtt);
        let keyed = of_broker.filter_map(|speaker| {
            let key = speaker.key.clone()?;
            Some(machine::Speaker { id: speaker.device.clone(), key })
        });
        let keyed: Vec<_> = keyed.collect();
        if keyed.is_empty() {
            self.leave();
        } else if self.village.is_none() {
            self.village = Some(self.join().await);
        }
        self.handle(Input::Configured(keyed));
        self.wire();
    }

    /// Starts and ends the line-outs' tasks.
    fn wire(&mut self) {
        let wanted: Vec<Sink> = self.board.sinks().cloned().collect();
        self.line_outs.retain(|sink, _| wanted.contains(sink));
        for sink in wanted {
            let Sink::LineOut { device, warm_up_ms } = &sink else { continue };
            if self.line_outs.contains_key(&sink) {
                continue;
            }
            let wiring = Wiring::new(&self.plan.speaker, &self.plan.folder, device, *warm_up_ms);
            let (tell, inbox) = mpsc::unbounded_channel();
            let (clock, heard) = (self.plan.clock, self.heard.clone());
            let line_out = LineOut { wiring, sink: sink.clone(), clock, inbox, heard };
            self.line_outs.insert(sink, (tell, tokio::task::spawn_local(line_out.run())));
        }
    }

    /// Connects to the village's broker, and serves sounds to those who hang there.
    async fn join(&self) -> Village {
        let Plan { lan, speaker, credentials, folder, clock } = &self.plan;
        let mut options = MqttOptions::new(CLIENT_ID, (lan.host.clone(), lan.port));
        // What was said while nobody listened is of no use later: whoever lives is asked again.
        options.set_clean_session(true);
        options.set_max_packet_size(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
        if let Some((username, password)) = credentials.clone() {
            options.set_credentials(username, password);
        }
        mqtt::keep_alive(&mut options, KEEP_ALIVE);
        let (client, connection) = Connection::new(options, *clock, TAKE_TIMEOUT_MS);
        let (happened, events) = mpsc::channel(INBOX_MAX);
        let mut tasks = vec![tokio::task::spawn_local(poll(connection, happened))];
        let url = match SoundServer::listen(speaker.listen, folder.clone(), *clock).await {
            Ok(server) => {
                let url = sound_url(lan, speaker, server.port()).await;
                tasks.push(tokio::task::spawn_local(server.run()));
                url
            }
            Err(error) => {
                let address = speaker.listen;
                tracing::error!(speaker.listen = %address, speaker.error = %error, "no sounds can be served to loudspeakers");
                None
            }
        };
        Village { client, events, url, tasks }
    }

    fn happened(&mut self, happened: Option<Happened>) {
        match happened {
            Some(Happened::Connected { .. }) => {
                if let Some(village) = &self.village {
                    village.client.subscribe([SUBSCRIPTION]);
                }
            }
            // Only now an answer would be heard.
            Some(Happened::Subscribed { granted: true }) => self.handle(Input::Connected(true)),
            Some(Happened::Subscribed { granted: false }) => {
                tracing::error!("the village's broker refuses the loudspeakers' topics: let this user read them");
            }
            Some(Happened::Disconnected { .. }) => self.handle(Input::Connected(false)),
            Some(Happened::Message(publish)) => {
                let topic = String::from_utf8_lossy(&publish.topic);
                if let Some(speaker) = reporting(&topic) {
                    self.handle(Input::Message { speaker, bytes: &publish.payload });
                }
            }
            None => {
                tracing::error!("the loudspeakers' connection ended by itself");
                self.leave();
            }
        }
    }

    fn leave(&mut self) {
        self.village = None;
        self.handle(Input::Connected(false));
    }

    async fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Said(said) => self.said(said).await,
            Heard::Lives(sink, life) => self.board.lives(&sink, &life),
        }
    }

    async fn said(&mut self, said: Said) {
        if let Some(news) = self.board.said(said) {
            self.tell(news).await;
        }
    }

    async fn tell(&self, news: News) {
        tracing::info!(
            play.name = &*news.name,
            speaker.id = news.speaker,
            play.state = ?news.state,
            play.played_ms = news.played_ms,
            play.detail = news.detail,
            "a loudspeaker has news"
        );
        // Nobody listens only when the program ends.
        let _ = self.news.send(news).await;
    }

    async fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Tell(news) => self.tell(news).await,
                Act::Play { sink: Sink::Mqtt(id), play, what, volume_percent } => match self.at_url(what) {
                    Ok(what) => self.handle(Input::Play { play, speaker: &id, what, volume_percent }),
                    Err(why) => self.said(failed(play, why)).await,
                },
                Act::Stop { sink: Sink::Mqtt(id), play } => self.handle(Input::Stop { play, speaker: &id }),
                Act::Play { sink, play, what, volume_percent } => {
                    let tell = Tell::Play { play, what, volume_percent };
                    if self.line_outs.get(&sink).is_none_or(|(line_out, _)| line_out.send(tell).is_err()) {
                        self.said(failed(play, "the line-out is not ready".to_owned())).await;
                    }
                }
                Act::Stop { sink, play } => {
                    if let Some((line_out, _)) = self.line_outs.get(&sink) {
                        let _ = line_out.send(Tell::Stop { play });
                    }
                }
            }
        }
    }

    /// A sound as a loudspeaker on the broker is told of it.
    fn at_url(&self, what: What) -> Result<machine::What, String> {
        match what {
            What::File { content, bytes, length_ms, times, gap_ms, from_ms } => {
                let url = self.village.as_ref().and_then(|village| village.url.as_deref());
                let url = url.ok_or("the gateway cannot serve sounds to loudspeakers")?;
                let bytes = u32::try_from(bytes).map_err(|_| "the sound is too long for a loudspeaker")?;
                let url = format!("{url}{content}");
                Ok(machine::What::File { url, sha256: content.0, bytes, length_ms, times, gap_ms, from_ms })
            }
            What::BuiltIn { sound, length_ms } => Ok(machine::What::BuiltIn { sound, length_ms }),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut challenge = [0; 16];
        getrandom::fill(&mut challenge).expect("the system gives random numbers");
        self.machine.handle(self.plan.clock.mono_ms(), challenge, input);
    }

    /// Carries out what the machine decided, and tells what has changed.
    async fn settle(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { speaker, bytes } => {
                    if let Some(village) = &self.village {
                        // What does not arrive is told again.
                        drop(village.client.publish(&format!("{TOPIC_PREFIX}{speaker}/do"), bytes, QoS::AtLeastOnce));
                    }
                }
                Output::Progress { play, state, played_ms, times, detail, .. } => {
                    self.said(Said { play, state, played_ms, times, detail }).await;
                }
            }
        }
        self.notice_life();
        let (now_ms, now_utc_ms) = (self.plan.clock.mono_ms(), self.plan.clock.utc_ms());
        for report in self.board.reports(now_ms, now_utc_ms) {
            self.report(&report);
        }
        let states = self.board.states();
        self.states.send_if_modified(|present| std::mem::replace(present, states.clone()) != states);
    }

    fn notice_life(&mut self) {
        let (now_ms, now_utc_ms) = (self.plan.clock.mono_ms(), self.plan.clock.utc_ms());
        for (id, look) in self.machine.looks() {
            let ago_ms = |at_ms: u64| i64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(i64::MAX);
            let (health, detail) = match look.health {
                machine::Health::Starting => (Health::Starting, ""),
                machine::Health::Ok => (Health::Ok, look.firmware),
                machine::Health::Silent => (Health::Silent, "it does not answer"),
                machine::Health::Refused => (Health::Refused, "what comes under its name is sealed with another key"),
            };
            let heard_ms = look.heard_ms.map(|at_ms| now_utc_ms.saturating_sub(ago_ms(at_ms)));
            self.board.lives(&Sink::Mqtt(id.to_owned()), &Life { health, heard_ms, detail: detail.to_owned() });
        }
    }

    /// Journals how a loudspeaker is. A report that the journal sheds comes again within ten minutes.
    fn report(&self, report: &Report) {
        let state = match report.health {
            Health::Starting => Word::Starting,
            Health::Ok => Word::Ok,
            Health::Failed => Word::Failed,
            Health::Refused => Word::Refused,
            Health::Silent => Word::Silent,
        };
        let detail = report.detail.as_str();
        tracing::info!(
            speaker.id = report.speaker,
            speaker.state = state.name(),
            speaker.detail = detail,
            "a loudspeaker"
        );
        let event = Event::SpeakerReport(SpeakerReport {
            speaker: &report.speaker,
            state,
            since_ms: report.since_ms,
            heard_ms: report.heard_ms,
            detail,
            volume_percent: report.volume_percent,
            playing: report.playing.as_deref(),
        });
        let (kind, body) = (event.kind(), event_body(&event));
        drop(self.journal.append(Draft { lane: Lane::Routine, kind, body, source: None, facts: Vec::new() }));
    }

    /// Has everything fall silent.
    async fn farewell(mut self) {
        let acts = self.board.stop_all();
        self.act(acts).await;
        self.settle().await;
        let line_outs = std::mem::take(&mut self.line_outs);
        let (told, ending): (Vec<_>, Vec<_>) = line_outs.into_values().unzip();
        drop((told, self.heard));
        if let Some(mut village) = self.village.take() {
            village.client.disconnect(Some(FAREWELL));
            let gone = async { while village.events.recv().await.is_some() {} };
            let _ = tokio::time::timeout(FAREWELL, gone).await;
        }
        for line_out in ending {
            let _ = tokio::time::timeout(2 * FAREWELL, line_out).await;
        }
    }
}

/// Polls the connection and does nothing else, because a poll must not be given up half-way.
async fn poll(mut connection: Connection, events: mpsc::Sender<Happened>) {
    while let Some(happened) = connection.next().await {
        if events.send(happened).await.is_err() {
            return;
        }
    }
}

/// Where loudspeakers find sounds: at the address that is configured, or else at ours in the broker's network.
async fn sound_url(lan: &LanConfig, speaker: &SpeakerConfig, port: u16) -> Option<String> {
    let address = match speaker.address {
        Some(address) => address,
        None => match own_address(&lan.host, lan.port).await {
            Ok(address) => address,
            Err(error) => {
                tracing::error!(speaker.error = %error, "this gateway's address in the village's network is not known");
                return None;
            }
        },
    };
    if speaker.address.is_none() && address.is_loopback() {
        tracing::warn!(
            "the village's broker runs on this machine, so only loudspeakers on this machine find its sounds: set speaker.address"
        );
    }
    Some(format!("http://{}/sound/", std::net::SocketAddr::new(address, port)))
}

/// Whether a loudspeaker of the configuration can be talked with at all.
fn is_usable(speaker: &configuration::Speaker) -> bool {
    let usable = match speaker.kind {
        SpeakerKind::Mqtt => is_id(&speaker.device) && speaker.key.is_some(),
        SpeakerKind::LineOut => !speaker.device.contains('\0'),
    };
    if !usable {
        tracing::error!(speaker.id, "a loudspeaker has no key or no serial that can be a topic: it is left out");
    }
    usable
}

fn failed(play: u64, why: String) -> Said {
    Said { play, state: tongluo_protocols::device::speaker::State::Failed, played_ms: 0, times: 0, detail: Some(why) }
}
