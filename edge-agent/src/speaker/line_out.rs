//! The gateway's own line-out: a sound card, and a relay that switches the amplifier behind it.
//!
//! ALSA is not linked here. A helper program, `tongluo-line-out`, plays one sound and ends; its standard input is the leash: when
//! that is closed, by us or because this program has died, it falls silent and lets the relay go. So a gateway without a sound
//! card, and even without ALSA, runs as well as any, and a driver that hangs is killed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines, Take};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tongluo_protocols::device::speaker::{Sound, State};

use super::What;
use super::board::{Health, Life, Said, Sink};
use crate::clock::Clock;
use crate::config::SpeakerConfig;

/// The helper's name, beside this program.
const PROGRAM: &str = "tongluo-line-out";
/// What a sound may take beyond its own length: the amplifier's warm-up and a slow card.
const GRACE_MS: u64 = 70_000;
/// How long the helper may take to fall silent; then it is killed.
const FAREWELL_MS: u64 = 1_000;
/// How often a card that is not in use is tried.
const CHECK_MS: u64 = 120_000;
/// How soon one that failed is tried again.
const CHECK_AGAIN_MS: u64 = 20_000;
/// How long trying may take.
const CHECK_TIMEOUT_MS: u64 = 5_000;
/// What the helper says at most: a line per second of an hour and its reasons.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 160;
/// Plays that wait for the card: each takes the place of the one before, so more than two are nobody's wish any longer.
const WAITING_MAX: usize = 4;

/// What a line-out is told.
#[derive(Debug)]
pub(super) enum Tell {
    Play { play: u64, what: What, volume_percent: u8 },
    Stop { play: u64 },
}

/// What a line-out says.
#[derive(Debug)]
pub(super) enum Heard {
    Said(Said),
    Lives(Sink, Life),
}

/// How a line-out is reached.
#[derive(Clone, Debug)]
pub(super) struct Wiring {
    program: PathBuf,
    relay: Option<String>,
    relay_active_low: bool,
    device: String,
    warm_up_ms: u16,
    /// Where sounds lie.
    folder: PathBuf,
}

impl Wiring {
    pub(super) fn new(config: &SpeakerConfig, folder: &Path, device: &str, warm_up_ms: u16) -> Self {
        let beside = || {
            let here = std::env::current_exe().ok();
            here.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from(PROGRAM), |dir| dir.join(PROGRAM))
        };
        Self {
            program: config.line_out.clone().unwrap_or_else(beside),
            relay: config.relay.clone(),
            relay_active_low: config.relay_active_low,
            device: if device.is_empty() { "default".to_owned() } else { device.to_owned() },
            warm_up_ms,
            folder: folder.to_owned(),
        }
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(what).arg("--device").arg(&self.device);
        if let Some(relay) = &self.relay {
            command.arg("--relay").arg(relay);
            if self.relay_active_low {
                command.arg("--relay-active-low");
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    fn play(&self, what: &What, volume_percent: u8) -> Command {
        let mut command = self.command("play");
        command.arg("--warm-up-ms").arg(self.warm_up_ms.to_string());
        command.arg("--volume-percent").arg(volume_percent.to_string());
        match *what {
            What::File { content, times, gap_ms, from_ms, .. } => {
                command.arg("--file").arg(self.folder.join(content.to_string()));
                command.args(["--times", &times.to_string(), "--gap-ms", &gap_ms.to_string()]);
                command.args(["--from-ms", &from_ms.to_string()]);
            }
            What::BuiltIn { sound, length_ms } => {
                let name = match sound {
                    Sound::Chime => "chime",
                    Sound::Siren => "siren",
                    Sound::Test => "test",
                };
                command.args(["--sound", name, "--length-ms", &length_ms.to_string()]);
            }
        }
        command
    }
}

/// Serves one line-out.
pub(super) struct LineOut {
    pub(super) wiring: Wiring,
    pub(super) sink: Sink,
    pub(super) clock: Clock,
    pub(super) inbox: mpsc::UnboundedReceiver<Tell>,
    pub(super) heard: mpsc::Sender<Heard>,
}

/// A play that the helper is carrying out.
struct Running {
    play: u64,
    child: Child,
    /// While it is held the helper plays.
    leash: Option<ChildStdin>,
    lines: Lines<BufReader<Take<ChildStdout>>>,
    give_up_at_ms: u64,
    last: (u32, u8),
    ended: bool,
}

impl LineOut {
    /// Works until nobody can tell it anything any more; then it falls silent.
    pub(super) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut check_at_ms = self.clock.mono_ms();
        loop {
            if let Some((play, what, volume_percent)) = waiting.pop_front() {
                let died = self.sound(play, &what, volume_percent, &mut waiting).await;
                check_at_ms = self.clock.mono_ms() + if died { 0 } else { CHECK_MS };
                continue;
            }
            tokio::select! {
                told = self.inbox.recv() => match told {
                    Some(told) => self.told(told, &mut waiting).await,
                    None => return,
                },
                () = self.clock.until(Some(check_at_ms)) => {
                    let well = self.check().await;
                    check_at_ms = self.clock.mono_ms() + if well { CHECK_MS } else { CHECK_AGAIN_MS };
                }
            }
        }
    }

    /// Takes in what is told while nothing plays.
    async fn told(&self, told: Tell, waiting: &mut VecDeque<(u64, What, u8)>) {
        match told {
            Tell::Play { play, what, volume_percent } => {
                if waiting.len() >= WAITING_MAX
                    && let Some((play, ..)) = waiting.pop_front()
                {
                    self.say(play, State::Replaced, (0, 0), None).await;
                }
                waiting.push_back((play, what, volume_percent));
            }
            Tell::Stop { play } => {
                if let Some(place) = waiting.iter().position(|(waits, ..)| *waits == play) {
                    waiting.remove(place);
                    self.say(play, State::Stopped, (0, 0), None).await;
                }
            }
        }
    }

    /// Plays to the end, or until something else is told; answers whether the helper failed.
    async fn sound(
        &mut self,
        play: u64,
        what: &What,
        volume_percent: u8,
        waiting: &mut VecDeque<(u64, What, u8)>,
    ) -> bool {
        let mut running = match self.begin(play, what, volume_percent) {
            Ok(running) => running,
            Err(error) => {
                let why = format!("the helper {} cannot be started: {error}", self.wiring.program.display());
                self.say(play, State::Failed, (0, 0), Some(why)).await;
                return true;
            }
        };
        loop {
            tokio::select! {
                line = running.lines.next_line() => {
                    let Ok(Some(line)) = line else { break };
                    self.line(&mut running, &line).await;
                }
                told = self.inbox.recv(), if running.leash.is_some() => {
                    let ends = match &told {
                        Some(Tell::Stop { play }) => *play == running.play,
                        Some(Tell::Play { .. }) | None => true,
                    };
                    if ends {
                        running.leash = None;
                        running.give_up_at_ms = self.clock.mono_ms() + FAREWELL_MS;
                    }
                    if let Some(told) = told {
                        self.told(told, waiting).await;
                    }
                }
                () = self.clock.until(Some(running.give_up_at_ms)) => break,
            }
        }
        let let_go = running.leash.is_none();
        let _ = running.child.kill().await;
        if running.ended {
            return false;
        }
        if let_go {
            self.say(play, State::Stopped, running.last, None).await;
        } else {
            let why = "the line-out's helper ended without a word".to_owned();
            self.say(play, State::Failed, running.last, Some(why)).await;
        }
        // Killed, it may have left the relay as it was: trying the card switches it off.
        true
    }

    fn begin(&self, play: u64, what: &What, volume_percent: u8) -> std::io::Result<Running> {
        let missing = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let mut child = self.wiring.play(what, volume_percent).spawn()?;
        let leash = Some(child.stdin.take().ok_or_else(missing)?);
        let lines = BufReader::new(child.stdout.take().ok_or_else(missing)?.take(OUTPUT_BYTES_MAX)).lines();
        let give_up_at_ms = self.clock.mono_ms() + what.whole_ms() + GRACE_MS;
        Ok(Running { play, child, leash, lines, give_up_at_ms, last: (0, 0), ended: false })
    }

    /// Takes in a line of the helper's. What cannot be read is passed over.
    async fn line(&self, running: &mut Running, line: &str) {
        let mut words = line.splitn(4, ' ');
        let state = match words.next() {
            Some("started" | "played") => State::Started,
            Some("finished") => State::Finished,
            Some("stopped") => State::Stopped,
            Some("failed") => State::Failed,
            _ => return,
        };
        let played_ms = words.next().and_then(|word| word.parse().ok()).unwrap_or(running.last.0);
        let times = words.next().and_then(|word| word.parse().ok()).unwrap_or(running.last.1);
        let detail = words.next().map(|why| why.chars().take(REASON_CHARS_MAX).collect());
        running.last = (played_ms, times);
        if !running.ended {
            running.ended = state.is_final();
            self.say(running.play, state, running.last, detail).await;
        }
        if state != State::Failed {
            self.lives(Health::Ok, "the sound card plays".to_owned()).await;
        }
    }

    /// Tries the card; answers whether it is well.
    async fn check(&self) -> bool {
        let output = async { self.wiring.command("check").spawn()?.wait_with_output().await };
        let (health, detail) = match tokio::time::timeout(Duration::from_millis(CHECK_TIMEOUT_MS), output).await {
            Ok(Ok(output)) => {
                let text: String =
                    String::from_utf8_lossy(&output.stdout).trim().chars().take(REASON_CHARS_MAX).collect();
                (if output.status.success() { Health::Ok } else { Health::Silent }, text)
            }
            Ok(Err(error)) => (Health::Silent, format!("{} cannot be started: {error}", self.wiring.program.display())),
            Err(_) => (Health::Silent, "the sound card does not answer".to_owned()),
        };
        self.lives(health, detail).await;
        health == Health::Ok
    }

    async fn lives(&self, health: Health, detail: String) {
        let heard_ms = (health == Health::Ok).then(|| self.clock.utc_ms());
        let _ = self.heard.send(Heard::Lives(self.sink.clone(), Life { health, heard_ms, detail })).await;
    }

    async fn say(&self, play: u64, state: State, (played_ms, times): (u32, u8), detail: Option<String>) {
        let _ = self.heard.send(Heard::Said(Said { play, state, played_ms, times, detail })).await;
    }
}
