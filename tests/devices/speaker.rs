//! A virtual loudspeaker: our protocol's other end, which writes what it plays to WAV files, in real time.
//!
//! It is what a firmware author would build, without the hardware: it takes commands from its gateway alone, fetches a sound
//! and compares its hash, plays it sample by sample as time passes, and reports what it played. Each play becomes
//! `<play>.wav` in the speaker's folder; `diary.jsonl` beside them says when the first sample left that is not silent, and how
//! each play ended ([`diary`]), so that a test can ask when a village would have heard something.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, NetworkOptions, Packet, PublishOptions, QoS};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tongluo_protocols::device::speaker::envelope::Direction;
use tongluo_protocols::device::speaker::{
    Alive, Command, Key, MESSAGE_BYTES_MAX, Obedience, Play, Progress, Report, Ring, Sealed, Session, Sound, State,
    TOPIC_PREFIX,
};

use crate::clock;
use crate::mosquitto::Login;

/// What the speaker is called in its reports.
const FIRMWARE: &str = "tongluo virtual loudspeaker 1";
/// Between two attempts to reach a broker.
const RETRY: Duration = Duration::from_millis(200);
/// How often a speaker that has not heard its gateway yet greets.
const GREETING: Duration = Duration::from_secs(10);
/// Samples leave in pieces of this length, as from a sound card's buffer.
const PIECE_MS: u32 = 20;
/// The rate of the built-in sounds.
const BUILT_IN_RATE_HZ: u32 = 16_000;
/// The longest sound that is fetched: ten minutes at 48,000 samples a second.
const SOUND_BYTES_MAX: u32 = 60_000_000;

/// How a speaker is set up.
#[derive(Clone, Debug)]
pub struct SpeakerPlan {
    /// Its id.
    pub id: String,
    /// The key on its label.
    pub key: Key,
    /// Port of the village's broker on this machine.
    pub broker_port: u16,
    /// Name and password there.
    pub login: Login,
    /// Where what it plays is written.
    pub folder: PathBuf,
}

/// One line of a speaker's diary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The first sample of a play that is not silent has left.
    Heard {
        /// Which play; its sound is in `<play>.wav`.
        play: u64,
        /// When, in UTC microseconds.
        at_us: i64,
    },
    /// A play has ended.
    Ended {
        /// Which.
        play: u64,
        /// How: `Finished`, `Stopped`, `Replaced` or `Failed`.
        how: String,
    },
}

/// What a speaker with this folder has written down so far; a line that is still being written is not there yet.
///
/// # Errors
/// The diary cannot be read. A speaker that has played nothing has none, and nothing written in it.
pub fn diary(folder: &Path) -> Result<Vec<Line>> {
    let text = match std::fs::read_to_string(folder.join(DIARY)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let play = value["play"].as_u64()?;
        Some(match value["ended"].as_str() {
            Some(how) => Line::Ended { play, how: how.to_owned() },
            None => Line::Heard { play, at_us: value["heard_us"].as_i64()? },
        })
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The name of the diary.
const DIARY: &str = "diary.jsonl";

/// A running speaker; its power goes when it is dropped.
#[derive(Debug)]
pub struct Speaker {
    tasks: [JoinHandle<()>; 2],
}

impl Speaker {
    /// Switches it on.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn start(plan: SpeakerPlan) -> Result<Self> {
        std::fs::create_dir_all(&plan.folder).with_context(|| format!("cannot make {}", plan.folder.display()))?;
        let mut session = [0; 16];
        getrandom::fill(&mut session)?;
        let mut options = MqttOptions::new(format!("speaker-{}", plan.id), ("127.0.0.1", plan.broker_port));
        options.set_credentials(plan.login.username.clone(), plan.login.password.clone());
        options.set_keep_alive(10);
        options.set_clean_session(true);
        // Nothing secret and nothing proved: it merely lets a person who listens to the broker see who fell off.
        options.set_last_will(LastWill::new(format!("{TOPIC_PREFIX}{}/off", plan.id), "", QoS::AtMostOnce, false));
        let (client, mut events) = AsyncClient::builder(options).capacity(64).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        let (orders, inbox) = mpsc::unbounded_channel();
        let (reports, outbox) = mpsc::unbounded_channel();
        let obedience = Obedience::new(Session(session));
        let ear = Ear { obedience, counter: 0, playing: None, knows_gateway: false, plan: plan.clone() };
        let listening = tokio::spawn(ear.run(client, events, orders, outbox));
        let playing = tokio::spawn(Player { folder: plan.folder, reports, last: None }.run(inbox));
        Ok(Self { tasks: [listening, playing] })
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What the ear tells the player.
#[derive(Debug)]
enum Order {
    File {
        play: u64,
        url: String,
        sha256: [u8; 32],
        bytes: u32,
        times: u8,
        gap_ms: u32,
        from_ms: u32,
        volume_percent: u8,
    },
    BuiltIn {
        play: u64,
        sound: Sound,
        length_ms: u32,
        volume_percent: u8,
    },
    Stop(Option<u64>),
}

impl Order {
    fn play(&self) -> Option<u64> {
        match self {
            Self::File { play, .. } | Self::BuiltIn { play, .. } => Some(*play),
            Self::Stop(_) => None,
        }
    }
}

/// What the player says.
#[derive(Clone, Debug)]
struct Word {
    play: u64,
    state: State,
    played_ms: u32,
    times: u8,
    detail: Option<String>,
}

/// The half that speaks with the gateway.
struct Ear {
    plan: SpeakerPlan,
    obedience: Obedience,
    counter: u64,
    playing: Option<u64>,
    /// Whether the gateway was heard in this life.
    knows_gateway: bool,
}

impl Ear {
    async fn run(
        mut self,
        client: AsyncClient,
        mut events: EventLoop,
        orders: UnboundedSender<Order>,
        mut words: UnboundedReceiver<Word>,
    ) {
        let topic = format!("{TOPIC_PREFIX}{}", self.plan.id);
        let mut greet_at = clock::now() + GREETING;
        loop {
            let report = tokio::select! {
                event = events.poll() => match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        let _ = client.try_subscribe(format!("{topic}/do"), QoS::AtLeastOnce);
                        None
                    }
                    // Only now an ask would be heard.
                    Ok(Event::Incoming(Packet::SubAck(_))) => Some(self.alive([0; 16])),
                    Ok(Event::Incoming(Packet::Publish(message))) => self.hear(&message.payload, &orders),
                    Ok(_) => None,
                    Err(_) => {
                        clock::pause(RETRY).await;
                        None
                    }
                },
                Some(word) = words.recv() => Some(self.pass_on(&word)),
                () = clock::until(greet_at), if !self.knows_gateway => {
                    greet_at = clock::now() + GREETING;
                    Some(self.alive([0; 16]))
                }
            };
            if let Some(report) = report {
                let _ = client.try_publish(format!("{topic}/did"), report, PublishOptions::at_least_once());
            }
        }
    }

    /// Takes a message in; answers an ask.
    fn hear(&mut self, bytes: &[u8], orders: &UnboundedSender<Order>) -> Option<Vec<u8>> {
        let sealed = Sealed::open(&self.plan.key, Direction::ToSpeaker, &self.plan.id, bytes).ok()?;
        let order = match self.obedience.command(&sealed).ok()? {
            Command::Ask(challenge) => {
                self.knows_gateway = true;
                return Some(self.alive(challenge));
            }
            // A virtual speaker fetches from the same machine: there is nothing to gain.
            Command::Keep(_) => return None,
            Command::Play(Play { play, sound, times, gap_ms, from_ms, volume_percent }) => {
                let (url, sha256, bytes) = (sound.url.to_owned(), sound.sha256, sound.bytes);
                Order::File { play, url, sha256, bytes, times, gap_ms, from_ms, volume_percent }
            }
            Command::Ring(Ring { play, sound, length_ms, volume_percent }) => {
                Order::BuiltIn { play, sound, length_ms, volume_percent }
            }
            Command::Stop(play) => Order::Stop(play),
        };
        let _ = orders.send(order);
        None
    }

    /// An answer to an ask; with a challenge of zeros a greeting, which proves nothing and only has the gateway ask soon.
    fn alive(&mut self, challenge: [u8; 16]) -> Vec<u8> {
        let (playing, obeyed) = (self.playing, self.obedience.obeyed());
        self.seal(&Report::Alive(Alive { challenge, firmware: FIRMWARE, uptime_s: 0, playing, obeyed }))
    }

    fn pass_on(&mut self, word: &Word) -> Vec<u8> {
        self.playing = (!word.state.is_final()).then_some(word.play);
        let Word { play, state, played_ms, times, ref detail } = *word;
        self.seal(&Report::Progress(Progress { play, state, played_ms, times, detail: detail.as_deref() }))
    }

    fn seal(&mut self, report: &Report<'_>) -> Vec<u8> {
        self.counter += 1;
        let mut body = [0; MESSAGE_BYTES_MAX];
        let length = report.emit(&mut body).expect("a report is short");
        let sealed = Sealed { session: self.obedience.session(), counter: self.counter, body: &body[..length] };
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let length = sealed
            .emit(&self.plan.key, Direction::FromSpeaker, &self.plan.id, &mut message)
            .expect("a report is shorter than any message");
        message.truncate(length);
        message
    }
}

/// The half that sounds.
struct Player {
    folder: PathBuf,
    reports: UnboundedSender<Word>,
    /// The play that came last: the same number again is the same play.
    last: Option<u64>,
}

/// Why a play ended before its end.
enum Cut {
    By(Order),
    Broken(anyhow::Error),
}

impl Player {
    async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        let mut next = orders.recv().await;
        while let Some(order) = next {
            next = match order.play() {
                Some(play) if self.last != Some(play) => self.play(play, order, &mut orders).await,
                Some(_) => None,
                None => {
                    self.stop_nothing(&order);
                    None
                }
            };
            if next.is_none() {
                next = orders.recv().await;
            }
        }
    }

    /// Nothing plays: a stop of one play is answered all the same, so that the gateway need not tell it again.
    fn stop_nothing(&self, order: &Order) {
        if let Order::Stop(Some(play)) = *order
            && self.last != Some(play)
        {
            let _ = self.reports.send(Word { play, state: State::Stopped, played_ms: 0, times: 0, detail: None });
        }
    }

    /// Plays; answers the order that cut it short, if one did.
    async fn play(&mut self, play: u64, order: Order, orders: &mut UnboundedReceiver<Order>) -> Option<Order> {
        self.last = Some(play);
        let mut word = Word { play, state: State::Fetching, played_ms: 0, times: 0, detail: None };
        let ended = self.sound(&order, &mut word, orders).await;
        let (state, next) = match ended {
            Ok(()) => (State::Finished, None),
            Err(Cut::By(Order::Stop(_))) => (State::Stopped, None),
            Err(Cut::By(other)) => (State::Replaced, Some(other)),
            Err(Cut::Broken(error)) => {
                word.detail = Some(format!("{error:#}"));
                (State::Failed, None)
            }
        };
        if let Err(error) = note(&self.folder, &json!({ "play": play, "ended": format!("{state:?}") })) {
            word.detail.get_or_insert(format!("{error:#}"));
        }
        let _ = self.reports.send(Word { state, ..word });
        next
    }

    async fn sound(&self, order: &Order, word: &mut Word, orders: &mut UnboundedReceiver<Order>) -> Result<(), Cut> {
        let mut from = 0;
        let (rate_hz, samples, times, gap_ms, volume_percent) = match order {
            Order::File { url, sha256, bytes, times, gap_ms, from_ms, volume_percent, .. } => {
                let _ = self.reports.send(word.clone());
                let (rate_hz, samples) = fetch(url, sha256, *bytes).await.map_err(Cut::Broken)?;
                from = (u64::from(rate_hz) * u64::from(*from_ms) / 1_000) as usize;
                (rate_hz, samples, *times, *gap_ms, *volume_percent)
            }
            Order::BuiltIn { sound, length_ms, volume_percent, .. } => {
                (BUILT_IN_RATE_HZ, built_in(*sound, *length_ms), 1, 0, *volume_percent)
            }
            Order::Stop(_) => return Ok(()),
        };
        let mut tape = Tape::open(&self.folder, word.play, rate_hz).map_err(Cut::Broken)?;
        for time in 0..times {
            if time > 0 {
                tape.roll(&silence(rate_hz, gap_ms), 0, word, orders).await?;
            }
            if time == 0 {
                let _ = self.reports.send(Word { state: State::Started, ..word.clone() });
            }
            let begin = if time == 0 { from.min(samples.len()) } else { 0 };
            tape.roll(&samples[begin..], volume_percent, word, orders).await?;
            word.times += 1;
        }
        tape.close().map_err(Cut::Broken)
    }
}

/// A WAV file that is written as time passes.
struct Tape {
    folder: PathBuf,
    wav: hound::WavWriter<BufWriter<File>>,
    rate_hz: u32,
    /// How much has passed, gaps and all.
    rolled: u64,
    began: std::time::Instant,
    heard: bool,
}

impl Tape {
    fn open(folder: &Path, play: u64, rate_hz: u32) -> Result<Self> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate_hz,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let wav = hound::WavWriter::create(folder.join(format!("{play}.wav")), spec)?;
        Ok(Self { folder: folder.to_owned(), wav, rate_hz, rolled: 0, began: clock::now(), heard: false })
    }

    /// Writes samples, no faster than they sound.
    async fn roll(
        &mut self,
        samples: &[i16],
        volume_percent: u8,
        word: &mut Word,
        orders: &mut UnboundedReceiver<Order>,
    ) -> Result<(), Cut> {
        let piece = (self.rate_hz * PIECE_MS / 1_000).max(1) as usize;
        let before_ms = word.played_ms;
        let mut written = 0u64;
        for samples in samples.chunks(piece) {
            self.until_due(word.play, orders).await?;
            for sample in samples {
                let turned_down = i32::from(*sample) * i32::from(volume_percent) / 100;
                let turned_down = i16::try_from(turned_down).expect("a volume is at most 100");
                self.wav.write_sample(turned_down).map_err(|error| Cut::Broken(error.into()))?;
            }
            if !self.heard && volume_percent > 0 && samples.iter().any(|sample| *sample != 0) {
                self.heard = true;
                let line = json!({ "play": word.play, "heard_us": clock::utc_us() });
                note(&self.folder, &line).map_err(Cut::Broken)?;
            }
            // The file is whole after each piece: a speaker may lose its power at any time.
            self.wav.flush().map_err(|error| Cut::Broken(error.into()))?;
            written += samples.len() as u64;
            self.rolled += samples.len() as u64;
            if volume_percent > 0 {
                word.played_ms =
                    before_ms + u32::try_from(written * 1_000 / u64::from(self.rate_hz)).unwrap_or(u32::MAX);
            }
        }
        Ok(())
    }

    /// Waits until what was written has sounded, or an order cuts in.
    async fn until_due(&self, play: u64, orders: &mut UnboundedReceiver<Order>) -> Result<(), Cut> {
        let due = self.began + Duration::from_micros(self.rolled * 1_000_000 / u64::from(self.rate_hz));
        loop {
            let left = due.saturating_duration_since(clock::now());
            tokio::select! {
                biased;
                Some(order) = orders.recv() => match order {
                    Order::Stop(Some(other)) if other != play => {}
                    repeated if repeated.play() == Some(play) => {}
                    order => return Err(Cut::By(order)),
                },
                () = clock::pause(left) => return Ok(()),
            }
        }
    }

    fn close(self) -> Result<()> {
        Ok(self.wav.finalize()?)
    }
}

fn note(folder: &Path, line: &serde_json::Value) -> Result<()> {
    let mut diary = File::options().append(true).create(true).open(folder.join(DIARY))?;
    diary.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

async fn fetch(url: &str, sha256: &[u8; 32], bytes: u32) -> Result<(u32, Vec<i16>)> {
    ensure!(bytes <= SOUND_BYTES_MAX, "a sound of {bytes} bytes is longer than this speaker plays");
    let body = reqwest::get(url).await?.error_for_status()?.bytes().await?;
    ensure!(body.len() == bytes as usize, "{} bytes came instead of {bytes}", body.len());
    ensure!(Sha256::digest(&body).as_slice() == sha256, "what was fetched has another hash");
    let mut wav = hound::WavReader::new(body.as_ref())?;
    ensure!(wav.spec().channels == 1 && wav.spec().bits_per_sample == 16, "it is not 16-bit mono");
    let samples = wav.samples::<i16>().collect::<Result<Vec<_>, _>>()?;
    Ok((wav.spec().sample_rate, samples))
}

fn silence(rate_hz: u32, length_ms: u32) -> Vec<i16> {
    vec![0; (u64::from(rate_hz) * u64::from(length_ms) / 1_000) as usize]
}

/// The sounds that every speaker has: two falling tones, a wail, 1 kHz.
fn built_in(sound: Sound, length_ms: u32) -> Vec<i16> {
    let count = u64::from(BUILT_IN_RATE_HZ) * u64::from(length_ms) / 1_000;
    let mut phase = 0.0_f64;
    (0..count)
        .map(|at| {
            let seconds = at as f64 / f64::from(BUILT_IN_RATE_HZ);
            let pitch_hz = match sound {
                Sound::Chime => {
                    if seconds < 0.5 {
                        660.0
                    } else {
                        528.0
                    }
                }
                Sound::Siren => 900.0 + 400.0 * (seconds * std::f64::consts::TAU * 0.5).sin(),
                Sound::Test => 1_000.0,
            };
            phase += pitch_hz * std::f64::consts::TAU / f64::from(BUILT_IN_RATE_HZ);
            (phase.sin() * 24_000.0) as i16
        })
        .collect()
}
