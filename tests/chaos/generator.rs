//! One village's buttons. It presses, and remembers every press that the gateway said was safe. It lives in a process that is
//! never killed, so its memory is the record.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::watch;
use tongluo_tests::button::{LorawanButton, LorawanModel, Press, ZigbeeButton, zigbee_bridge};
use tongluo_tests::clock;
use tongluo_tests::lan::{Confirmed, Lan};

use crate::dice::Dice;

/// Of each family, in each village.
const BUTTONS: usize = 8;

/// Mean pace is half of it: about thirty presses a second in each village.
const PAUSE_MAX: Duration = Duration::from_millis(60);

/// A LoRaWAN frame that was not confirmed is sent again, as a device does that gets no answer.
const REPEAT_AFTER: Duration = Duration::from_secs(3);

/// Once in so many presses, a network server repeats a frame that was confirmed long ago.
const STALE_REPEAT_ONCE_IN: usize = 20;

/// How long after the end confirmations may still come in.
const LAST_WORDS: Duration = Duration::from_secs(45);

/// What one village's gateway has confirmed.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Presses that buttons sent. A repetition is none.
    pub(crate) pressed: usize,
    /// LoRaWAN frames that were repeated until the end and never confirmed.
    pub(crate) unconfirmed: usize,
    /// By press id.
    pub(crate) confirmed: HashMap<String, Confirmed>,
    /// By the device's own number for it.
    pub(crate) by_source_key: HashMap<String, String>,
}

/// The presses that are on their way, and the record.
pub(crate) struct Generator {
    lan: Lan,
    dice: Dice,
    zigbee: Vec<ZigbeeButton>,
    lorawan: Vec<LorawanButton>,
    frame: u32,
    unconfirmed: HashMap<String, (usize, u32, Instant)>,
    record: Record,
    confirmed_count: Arc<AtomicUsize>,
}

impl Generator {
    pub(crate) async fn new(lan: Lan, village: usize, dice: Dice, confirmed_count: Arc<AtomicUsize>) -> Result<Self> {
        let number = |button: usize| (village * 1_000 + button) as u64;
        let zigbee: Vec<_> = (0..BUTTONS)
            .map(|button| ZigbeeButton {
                address: 0x0015_8d00_0000_0000 + number(button),
                name: format!("button {button}"),
            })
            .collect();
        let lorawan = (0..BUTTONS)
            .map(|button| LorawanButton {
                dev_eui: 0x24e1_2453_0000_0000 + number(button),
                name: format!("lorawan {button}"),
                model: if button % 2 == 0 { LorawanModel::Ws101 } else { LorawanModel::Pb01 },
            })
            .collect();
        lan.publish_all(&zigbee_bridge(&zigbee)).await?;
        Ok(Self {
            lan,
            dice,
            zigbee,
            lorawan,
            frame: 0,
            unconfirmed: HashMap::new(),
            record: Record::default(),
            confirmed_count,
        })
    }

    /// Presses until told to end, then waits for the last confirmations.
    pub(crate) async fn run(mut self, mut end: watch::Receiver<bool>) -> Result<Record> {
        while !*end.borrow_and_update() {
            self.press().await?;
            self.listen()?;
            self.repeat().await?;
            clock::pause(self.dice.up_to(PAUSE_MAX)).await;
        }
        // By now everything runs again, and a LoRaWAN frame is repeated until it gets through.
        let deadline = clock::now() + LAST_WORDS;
        while !self.unconfirmed.is_empty() {
            if clock::now() > deadline {
                // Whoever judges the run has their number.
                break;
            }
            self.listen()?;
            self.repeat().await?;
            clock::pause(PAUSE_MAX).await;
        }
        self.record.unconfirmed = self.unconfirmed.len();
        Ok(self.record)
    }

    async fn press(&mut self) -> Result<()> {
        self.record.pressed += 1;
        if self.dice.once_in(2) {
            let button = self.dice.below(BUTTONS);
            return self.lan.publish(&self.zigbee[button].press(Press::Sos)).await;
        }
        let button = self.dice.below(BUTTONS);
        self.frame += 1;
        let key = self.source_key(button, self.frame);
        self.unconfirmed.insert(key, (button, self.frame, clock::now()));
        self.lan.publish(&self.lorawan[button].press(Press::Sos, self.frame)).await
    }

    /// How the gateway names a frame.
    fn source_key(&self, button: usize, frame: u32) -> String {
        let button = &self.lorawan[button];
        format!("{:016x}/{frame}/{}", button.dev_eui, button.deduplication_id(frame))
    }

    fn listen(&mut self) -> Result<()> {
        while let Some(confirmed) = self.lan.try_confirmed() {
            if let Some(key) = &confirmed.source_key {
                self.unconfirmed.remove(key);
                let id = self.record.by_source_key.entry(key.clone()).or_insert_with(|| confirmed.press.clone());
                if *id != confirmed.press {
                    bail!("the frame {key} was confirmed as press {id} and as press {}", confirmed.press);
                }
            }
            if self.record.confirmed.insert(confirmed.press.clone(), confirmed).is_none() {
                self.confirmed_count.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn repeat(&mut self) -> Result<()> {
        let now = clock::now();
        let due = |at: &Instant| now.duration_since(*at) > REPEAT_AFTER;
        let mut again: Vec<(usize, u32)> = Vec::new();
        for (button, frame, at) in self.unconfirmed.values_mut().filter(|(_, _, at)| due(at)) {
            again.push((*button, *frame));
            *at = now;
        }
        if self.frame > 1 && self.dice.once_in(STALE_REPEAT_ONCE_IN) {
            let frame = u32::try_from(self.dice.below(self.frame as usize)).expect("below a u32") + 1;
            // A frame belongs to one button; of the wrong ones this is a first press, which is as good.
            let button = self.dice.below(BUTTONS);
            if self.record.by_source_key.contains_key(&self.source_key(button, frame)) {
                again.push((button, frame));
            }
        }
        for (button, frame) in again {
            self.lan.publish(&self.lorawan[button].press(Press::Sos, frame)).await?;
        }
        Ok(())
    }
}
