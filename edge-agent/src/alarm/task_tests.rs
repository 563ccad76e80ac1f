//! What a presser is told, second by second: the real task and journal, while minutes pass in no time.
//!
//! Time stands still but where a test lets it pass ([`Village::pass`]), so the disk may be as slow as it likes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tongluo_protocols::configuration::{Configuration, Response, ResponseKind};
use tongluo_protocols::event::{Event, Family, Press, Trigger};
use tongluo_protocols::id::{DeviceKey, Lane, PressId, StreamKey};
use tongluo_protocols::order::{AlarmState, AlarmWord};

use super::{Rooms, Shows, Task, Voice, Voices, Words};
use crate::clock::Clock;
use crate::clock::testing::Course;
use crate::config::JournalConfig;
use crate::event_body;
use crate::journal::{Draft, Journal, Opened};
use crate::speaker::{Busy, Sounds};
use crate::testing::{TempDir, speaker};

/// How long a busy machine may take for what needs no time here.
const PATIENCE: Duration = Duration::from_secs(60);
const MINUTE_MS: u64 = 60_000;
/// Whoever presses has been helped by then, or was not.
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Who takes it.
const WHO: &str = "王主任";

/// A button that speaks where it hangs, as somebody chose.
const SPEAKING: u64 = 1;
/// One that is silent, as households are at first.
const HOUSEHOLD: u64 = 2;
/// One of which the county has said nothing yet.
const UNKNOWN: u64 = 3;

/// Both the village's network and its loudspeakers: what is shown and said, in its order and in few words.
#[derive(Clone)]
struct Ears(mpsc::UnboundedSender<String>);

impl Ears {
    fn hear(&self, what: String) {
        self.0.send(what).unwrap();
    }
}

impl Shows for Ears {
    fn say(&self, topic: &str, payload: Vec<u8>) {
        let answer: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert!(answer["at_ms"].is_i64(), "{answer}");
        let by = answer["by"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
        let device = topic.strip_prefix("tongluo/answer/zigbee_0x000000000000000").unwrap();
        self.hear(format!("{device} is shown {}{by}", answer["truth"].as_str().unwrap()));
    }

    async fn joined(&mut self) {
        std::future::pending().await
    }
}

impl Voices for Ears {
    fn sound(&self, Voice { play, .. }: Voice) -> Result<(), Busy> {
        assert_eq!(play.speakers, ["yard"]);
        self.hear(play.name.replace("alarm/zigbee:0x000000000000000", "").replace('/', " hears "));
        Ok(())
    }

    fn hush(&self, name: &str) -> Result<(), Busy> {
        self.hear(format!("{name} is silent"));
        Ok(())
    }
}

fn configuration() -> Configuration {
    let response = |button, speaks| Response {
        device: DeviceKey::zigbee(button).as_str().to_owned(),
        kind: ResponseKind::Silent,
        speaks,
        speakers: Vec::new(),
        siren_s: 0,
    };
    let responses = vec![response(SPEAKING, true), response(HOUSEHOLD, false)];
    Configuration { speakers: vec![speaker("yard")], responses, ..Configuration::default() }
}

/// A village whose alarms are answered.
struct Village {
    clock: Clock,
    course: &'static Course,
    journal: Journal,
    words: Words,
    line: watch::Sender<bool>,
    heard: mpsc::UnboundedReceiver<String>,
    _configure: watch::Sender<Arc<Configuration>>,
}

impl Village {
    /// Has something happen in a village with a line to the county.
    fn tell(story: impl AsyncFnOnce(&mut Self)) {
        let dir = TempDir::new("answers");
        let (clock, course) = Clock::start_virtual(1_795_406_400_000);
        let config = JournalConfig { space_mib: 8, reserve_mib: 1, acked_days: 7 };
        let Opened { journal, closing, .. } = Journal::open(dir.path(), &config, clock).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let (ears, heard) = mpsc::unbounded_channel();
            let (words, spoken) = Words::channel();
            let (configure, configurations) = watch::channel(Arc::new(configuration()));
            let (line, line_seen) = watch::channel(true);
            let rooms = Rooms {
                journal: journal.clone(),
                configurations,
                voices: Ears(ears.clone()),
                sounds: Sounds::at(dir.path()),
                teller: Ears(ears),
                words: spoken,
                line: line_seen,
            };
            let task = tokio::task::spawn_local(Task::new(rooms, clock).run());
            let mut village = Self { clock, course, journal, words, line, heard, _configure: configure };
            story(&mut village).await;
            assert!(!task.is_finished(), "whoever presses is answered for as long as the gateway runs");
            task.abort();
        });
        drop((local, runtime));
        closing.wait();
    }

    /// Presses, and waits until that is on disk.
    async fn press(&self, button: u64) -> PressId {
        let press = Press {
            device: DeviceKey::zigbee(button),
            family: Family::Zigbee2mqtt,
            trigger: Trigger::Sos,
            source_key: None,
            heard_ms: self.clock.utc_ms(),
            replayed: false,
            name: None,
            battery_percent: None,
        };
        let event = Event::Press(press);
        let body = event_body(&event);
        let draft = Draft { lane: Lane::Urgent, kind: event.kind(), body, source: None, facts: Vec::new() };
        let press = self.journal.append(draft).await.unwrap().press_id().unwrap();
        self.until_shelf_shows(|head, _| head >= press.sequence).await;
        press
    }

    /// Presses the button that speaks, and has the county take that.
    async fn press_and_hear_that_it_is_sent(&mut self) {
        let press = self.press(SPEAKING).await;
        self.in_ledger(press).await;
        self.hears(&["1 is shown sent", "1 hears sent"]).await;
    }

    /// The county has it in its ledger, and said so.
    async fn in_ledger(&self, press: PressId) {
        self.journal.acked(StreamKey { lane: Lane::Urgent, epoch: press.epoch }, press.sequence);
        self.until_shelf_shows(|_, acked| acked >= press.sequence).await;
    }

    async fn until_shelf_shows(&self, shows: impl Fn(u64, u64) -> bool) {
        let shelf = self.journal.shelf();
        let mut changes = shelf.changes();
        let is_so = || {
            let streams = shelf.streams();
            streams.iter().any(|stream| stream.key.lane == Lane::Urgent && shows(stream.head, stream.acked))
        };
        let waits = async {
            while !is_so() {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.expect("the journal keeps up");
    }

    /// A person at the county says something about a device's alarm.
    fn say(&self, button: u64, state: AlarmState) {
        let device = DeviceKey::zigbee(button);
        self.words.pass(&AlarmWord { device, press: None, state, by: Some(WHO), at_ms: self.clock.utc_ms() });
    }

    /// Lets time pass, until this moment since the beginning.
    async fn pass(&self, until_ms: u64) {
        tokio::select! {
            () = self.course.run() => unreachable!("time passes for ever"),
            () = self.clock.until(Some(until_ms)) => {}
        }
        assert_eq!(self.clock.mono_ms(), until_ms);
    }

    /// These are shown or said next.
    async fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
            assert_eq!(heard.unwrap_or_else(|_| panic!("nobody says {expected:?}")).unwrap(), *expected);
        }
        self.hears_nothing_until(self.clock.mono_ms()).await;
    }

    /// Nothing is shown or said until then, and at that moment neither.
    async fn hears_nothing_until(&mut self, until_ms: u64) {
        self.pass(until_ms).await;
        // Whatever falls due at this moment has its turn.
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.heard.try_recv().ok(), None, "at {} ms", self.clock.mono_ms());
    }
}

#[test]
fn when_nobody_takes_it_for_ninety_seconds_the_presser_is_told_so_once() {
    Village::tell(async |village| {
        village.press_and_hear_that_it_is_sent().await;
        village.hears_nothing_until(89_999).await;
        village.pass(90_000).await;
        village.hears(&["1 is shown nobody", "1 hears nobody"]).await;
        village.hears_nothing_until(HOUR_MS).await;
        // Late is better than never.
        village.say(SPEAKING, AlarmState::Acknowledged);
        village.hears(&["1 is shown taken by 王主任", "1 hears taken"]).await;
    });
}

#[test]
fn when_a_person_takes_it_in_the_last_second_nobody_says_that_nobody_did() {
    Village::tell(async |village| {
        village.press_and_hear_that_it_is_sent().await;
        village.hears_nothing_until(89_000).await;
        village.say(SPEAKING, AlarmState::Acknowledged);
        village.hears(&["1 is shown taken by 王主任", "1 hears taken"]).await;
        village.hears_nothing_until(HOUR_MS).await;
    });
}

#[test]
fn a_household_is_answered_without_a_sound() {
    for button in [HOUSEHOLD, UNKNOWN] {
        Village::tell(async |village| {
            let press = village.press(button).await;
            village.in_ledger(press).await;
            village.hears(&[&format!("{button} is shown sent")]).await;
            village.pass(90_000).await;
            village.hears(&[&format!("{button} is shown nobody")]).await;
            village.say(button, AlarmState::Acknowledged);
            village.hears(&[&format!("{button} is shown taken by 王主任")]).await;
            village.hears_nothing_until(HOUR_MS).await;
        });
    }
}

#[test]
fn with_the_line_cut_before_the_county_has_it_the_presser_hears_that_and_then_what_becomes_of_it() {
    Village::tell(async |village| {
        let press = village.press(SPEAKING).await;
        village.hears_nothing_until(1_000).await;
        village.line.send_replace(false);
        village.hears_nothing_until(2_999).await;
        village.pass(3_000).await;
        village.hears(&["1 is shown nobody", "1 hears nobody"]).await;
        village.hears_nothing_until(40_000).await;
        // A line alone is no answer.
        village.line.send_replace(true);
        village.hears_nothing_until(41_000).await;
        village.in_ledger(press).await;
        village.hears(&["1 is shown sent", "1 hears sent"]).await;
        village.hears_nothing_until(89_999).await;
        village.pass(90_000).await;
        village.hears(&["1 is shown nobody", "1 hears nobody"]).await;
        village.hears_nothing_until(HOUR_MS).await;
    });
}

#[test]
fn with_the_line_cut_in_between_the_presser_hears_nothing_that_is_not_so() {
    Village::tell(async |village| {
        village.press_and_hear_that_it_is_sent().await;
        village.hears_nothing_until(10_000).await;
        village.line.send_replace(false);
        // Somebody takes it now, and the village cannot know: what is said is that nobody has answered here.
        village.hears_nothing_until(89_999).await;
        village.pass(90_000).await;
        village.hears(&["1 is shown nobody", "1 hears nobody"]).await;
        village.line.send_replace(true);
        village.hears_nothing_until(91_000).await;
        village.say(SPEAKING, AlarmState::Acknowledged);
        village.hears(&["1 is shown taken by 王主任", "1 hears taken"]).await;
        village.hears_nothing_until(HOUR_MS).await;

        // That it was closed while the line was cut once more came to nobody. The line is back, and with it what a person says of
        // the next press, before it has taken too long.
        village.line.send_replace(false);
        village.hears_nothing_until(HOUR_MS).await;
        village.line.send_replace(true);
        village.press_and_hear_that_it_is_sent().await;
        village.line.send_replace(false);
        village.hears_nothing_until(HOUR_MS + 60_000).await;
        village.line.send_replace(true);
        village.say(SPEAKING, AlarmState::Acknowledged);
        village.hears(&["1 is shown taken by 王主任", "1 hears taken"]).await;
        village.hears_nothing_until(2 * HOUR_MS).await;
    });
}
