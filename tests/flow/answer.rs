//! Whoever presses is told the truth, by what becomes of the press at the county and with the line cut; it is spoken where somebody
//! chose that; and what was chosen for the place sounds, at once, even in the first moments of a gateway that was away.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tongluo_protocols::configuration::Configuration;
use tongluo_tests::api::Api;
use tongluo_tests::button::{LorawanButton, Press};
use tongluo_tests::horn::{Horn, VOLUME_PERCENT, samples_of};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::line::Line;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::{Village, text};
use tongluo_tests::{clock, ports, wait};

use crate::house::{House, Store, VILLAGE, alarm_of, lorawan, zigbee};

/// As short as a siren can be chosen to be told from another, so that the story need not wait long for its end.
const SIREN_S: u32 = 2;
/// Where the voices lie that gateways have from the beginning.
const BUILT_IN_VOICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../edge-agent/sounds");

#[test]
fn whoever_presses_is_told_the_truth_and_what_was_chosen_sounds() {
    play("answer", story);
}

async fn story(folder: &Folder) -> Result<()> {
    let mqtt_port = ports::free()?;
    let line = Line::to(mqtt_port).await?;
    let plan = HubPlan { mqtt_port, mqtt_public_port: Some(line.port()), ..HubPlan::new()? };
    let house = House::new(folder, Store::Sqlite, plan).await?;
    let (mut village, mut lan) = house.village(folder, "village", VILLAGE).await?;
    let horn = Horn::enter(&house.api, folder.path(), &village, "horn-1").await?;
    let mut ear = Ear::open(&village).await?;
    let gateway = folder.path().join("village/gateway");
    choose(&house.api, &gateway, &zigbee().key(), json!({ "kind": "siren", "siren_s": SIREN_S, "everywhere": true }))
        .await?;

    // A gateway that was away, and whose broker knows it still: a press sets the siren off from the first moment that it is back.
    village.gateway.kill()?;
    village.wait_until_offline(&house.api).await?;
    village.gateway.run()?;
    village.wait_until_online(&house.api).await?;
    lan.press(&zigbee().press(Press::Sos)).await?;
    ear.told(&zigbee().key(), "sent").await?;
    horn.wait_until_quiet(1).await?;
    ensure!(sirens(&horn)? == 1, "one siren for one press");

    // Somebody takes it: that is the second truth, and only that.
    act(&house.api, &zigbee().key(), "acknowledge").await?;
    let answer = ear.told(&zigbee().key(), "taken").await?;
    ensure!(answer["by"].is_string(), "a person has it, who has a name: {answer}");

    // A household's button of which nobody chose anything: the truth, and no sound.
    lan.press(&lorawan().press(Press::Single, 1)).await?;
    ear.told(&lorawan().key(), "sent").await?;
    let commands = ear.take_commands();
    refused(&ear, &horn, &commands).await?;

    // With the line cut the presser hears that only the village knows; once it is mended, that the county does.
    line.cut();
    village.wait_until_offline(&house.api).await?;
    lan.press(&lorawan().press(Press::Single, 2)).await?;
    ear.told(&lorawan().key(), "nobody").await?;
    // The siren of the pillar needs no county.
    lan.press(&zigbee().press(Press::Sos)).await?;
    horn.wait_until_quiet(2).await?;
    line.mend();
    ear.told(&lorawan().key(), "sent").await?;

    // Cut in between: what a person says waits for the line, and is not said before it.
    line.cut();
    village.wait_until_offline(&house.api).await?;
    act(&house.api, &lorawan().key(), "acknowledge").await?;
    line.mend();
    ear.told(&lorawan().key(), "taken").await?;
    ensure!(sirens(&horn)? == 2, "each press of the pillar once, and the household's never");

    // A household that asked for it hears each truth in a voice, once.
    let button = LorawanButton { dev_eui: lorawan().dev_eui + 1, ..lorawan() };
    lan.press(&button.press(Press::Single, 1)).await?;
    ear.told(&button.key(), "sent").await?;
    choose(&house.api, &gateway, &button.key(), json!({ "speaks": true, "speaker_ids": [horn.id] })).await?;
    lan.press(&button.press(Press::Single, 2)).await?;
    ear.told(&button.key(), "sent").await?;
    horn.wait_until_quiet(3).await?;
    act(&house.api, &button.key(), "acknowledge").await?;
    ear.told(&button.key(), "taken").await?;
    horn.wait_until_quiet(4).await?;
    ensure!(spoken(&horn, &gateway)?[2..] == ["sent", "taken"], "{:?}", spoken(&horn, &gateway)?);
    Ok(())
}

/// Has a button set something off, as a technician chooses with the place; waits until the gateway follows that.
pub(crate) async fn choose(api: &Api, gateway: &Path, key: &str, response: Value) -> Result<()> {
    let devices = api.list("/api/v1/devices", "devices").await?;
    let device = devices.iter().find(|device| device["key"] == key).context("the button is not known")?;
    let chosen = json!({ "response": response });
    api.patch(&format!("/api/v1/devices/{}", text(device, "id")?), chosen).await?;
    wait::until("the gateway to follow what was chosen", async || {
        let followed = configuration(gateway)?;
        let knows = followed.responses.iter().any(|response| response.device == key);
        Ok((knows && !followed.speakers.is_empty()).then_some(()))
    })
    .await
}

/// What a gateway follows.
fn configuration(gateway: &Path) -> Result<Configuration> {
    Ok(Configuration::parse(&std::fs::read(gateway.join("configuration.cbor"))?)?)
}

/// Which of the voices each play was, sample by sample.
fn spoken(horn: &Horn, gateway: &Path) -> Result<Vec<&'static str>> {
    let voices = voices(gateway)?;
    let heard = horn.heard()?.into_iter().map(|(play, _)| {
        let (samples, _) = horn.samples(play)?;
        Ok(voices.iter().find(|(_, voice)| *voice == samples).map_or("no voice", |(name, _)| *name))
    });
    heard.collect()
}

/// The voices that a gateway may speak with, as loud as they are heard: those of the hub, and those that it has from the beginning.
pub(crate) fn voices(gateway: &Path) -> Result<Vec<(&'static str, Vec<i16>)>> {
    let mut voices = Vec::new();
    for name in ["sent", "taken", "nobody", "neighbours"] {
        let built_in = Path::new(BUILT_IN_VOICES).join(format!("{name}.wav"));
        let given =
            configuration(gateway)?.sound(name).map(|sound| gateway.join("sounds").join(sound.content.to_string()));
        for path in [Some(built_in), given].into_iter().flatten().filter(|path| path.exists()) {
            voices.push((name, turned_down(&samples_of(&path)?.0)));
        }
    }
    Ok(voices)
}

/// A sound as a loudspeaker lets it out.
pub(crate) fn turned_down(samples: &[i16]) -> Vec<i16> {
    let turned_down = |sample: &i16| i16::try_from(i32::from(*sample) * VOLUME_PERCENT / 100).expect("quieter");
    samples.iter().map(turned_down).collect()
}

/// What a person does with the open alarm of a device.
async fn act(api: &Api, device: &str, act: &str) -> Result<()> {
    let alarm = alarm_of(api, device, "an alarm", |alarm| alarm["state"] == "unacknowledged").await?;
    api.post(&format!("/api/v1/alarms/{}/{act}", text(&alarm, "id")?), json!({})).await.map(drop)
}

/// How many sirens were heard; each was as long as chosen, and no louder than its ceiling of 80 %.
fn sirens(horn: &Horn) -> Result<usize> {
    let heard = horn.heard()?;
    for (play, _) in &heard {
        let (samples, rate_hz) = horn.samples(*play)?;
        ensure!(samples.len() as u32 / rate_hz == SIREN_S, "{} samples", samples.len());
        let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        ensure!((10_000..=19_200).contains(&loudest), "it keeps to its ceiling: {loudest}");
    }
    Ok(heard.len())
}

/// Commands that are no longer, or never were, the gateway's move nothing: repeated, changed, broken, oversize, another's.
async fn refused(ear: &Ear, horn: &Horn, commands: &[Vec<u8>]) -> Result<()> {
    let before = horn.diary()?;
    ensure!(commands.len() >= 2, "an ask and the siren went over the village's broker: {}", commands.len());
    let topic = "tongluo/speaker/horn-1/do";
    let mut forged = vec![Vec::new(), b"{}".to_vec(), vec![1; 40], vec![1; 1_025], vec![0; 9_000]];
    for command in commands {
        forged.push(command.clone());
        for at in [0, 1, 20, 26, command.len() - 1] {
            let mut changed = command.clone();
            changed[at] ^= 1;
            forged.push(changed);
        }
    }
    for payload in forged {
        ear.client.publish(topic, payload, PublishOptions::at_least_once()).await?;
    }
    // An ask is answered whenever it comes: with the answer to the last one everything before it was looked at.
    let ask = commands.iter().min_by_key(|command| command.len()).context("no ask")?;
    let answers = ear.answers();
    ear.client.publish(topic, ask.clone(), PublishOptions::at_least_once()).await?;
    wait::until("the loudspeaker to answer", async || Ok((ear.answers() > answers).then_some(()))).await?;
    let after = horn.diary()?;
    ensure!(before == after, "something that was not the gateway's was obeyed: {after:?}");
    Ok(())
}
/// Listens to what the gateway answers, and to what passes between it and the loudspeaker.
struct Ear {
    client: AsyncClient,
    heard: UnboundedReceiver<(String, Vec<u8>)>,
    commands: UnboundedReceiver<Vec<u8>>,
    answers: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Ear {
    async fn open(village: &Village) -> Result<Self> {
        let mut options = MqttOptions::new("ear", ("127.0.0.1", village.mosquitto.port()));
        let login = &village.devices_login;
        options.set_credentials(login.username.clone(), login.password.clone());
        options.set_max_packet_size(100_000, 100_000);
        let (client, events) = AsyncClient::builder(options).capacity(256).build();
        let ((tell, heard), (command, commands)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (up, mut is_up) = mpsc::channel(1);
        let answers = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let task = tokio::spawn(listen(client.clone(), events, tell, command, answers.clone(), up));
        tokio::time::timeout(wait::PATIENCE, is_up.recv()).await.context("no answer from the village's broker")?;
        Ok(Self { client, heard, commands, answers, task })
    }

    /// Waits until a device's presser is told this truth; gives the answer.
    async fn told(&mut self, device: &str, truth: &str) -> Result<Value> {
        let topic = format!("tongluo/answer/{}", device.replace(':', "_"));
        loop {
            let next = tokio::time::timeout(wait::PATIENCE, self.heard.recv()).await;
            let (heard, payload) = next.with_context(|| format!("{device} was not told {truth:?}"))?.context("gone")?;
            let answer: Value = serde_json::from_slice(&payload)?;
            if heard == topic && answer["truth"] == truth {
                ensure!(answer["at_ms"].is_i64(), "{answer}");
                return Ok(answer);
            }
        }
    }

    fn take_commands(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }

    fn answers(&self) -> usize {
        self.answers.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    client: AsyncClient,
    mut events: EventLoop,
    tell: UnboundedSender<(String, Vec<u8>)>,
    command: UnboundedSender<Vec<u8>>,
    answers: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    up: mpsc::Sender<()>,
) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                for topic in ["tongluo/answer/#", "tongluo/speaker/#"] {
                    let _ = client.try_subscribe(topic, QoS::AtLeastOnce);
                }
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                let _ = up.try_send(());
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                if topic.ends_with("/do") {
                    let _ = command.send(publish.payload.to_vec());
                } else if topic.ends_with("/did") {
                    answers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                } else if topic.starts_with("tongluo/answer/") {
                    let _ = tell.send((topic, publish.payload.to_vec()));
                }
            }
            Ok(_) => {}
            Err(_) => clock::pause(std::time::Duration::from_millis(50)).await,
        }
    }
}
