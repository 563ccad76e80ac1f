//! How soon a village hears: a press its siren, and a notice that was sent at the county.
//!
//! Real mosquitto, gateway and hub; the loudspeaker is virtual, keeps our protocol and notes when its first sample that is not
//! silent leaves. A press is timed from the button's message on the village's broker. A notice is timed from the request that
//! sends it, and each has a sound of its own, which the gateway and the loudspeaker fetch first, as in life. In between the bare way
//! ([`Limit`]) is measured: two MQTT hops and two syncs, less than what either needs at the least.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tongluo_tests::api::Api;
use tongluo_tests::button::{Press, ZigbeeButton, zigbee_bridge};
use tongluo_tests::horn::{Horn, tone};
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::lan::Lan;
use tongluo_tests::scene::Folder;
use tongluo_tests::village::{Village, text};
use tongluo_tests::{clock, wait};

use crate::Size;
use crate::gateways::VILLAGE;
use crate::limit::Limit;
use crate::report::{Goal, Report, Samples};

/// Presses and notices that are not counted: every program has done everything once.
const WARM_UP: usize = 2;
/// The shortest siren that can be chosen: the next press waits for its end.
const SIREN_S: u32 = 1;
/// As short as a recording may be.
const SOUND_MS: u32 = 500;
/// Notices differ by this, so that none has the sound of another.
const PITCH_STEP_HZ: u32 = 10;

struct Scene {
    api: Api,
    lan: Lan,
    horn: Horn,
    button: ZigbeeButton,
    limit: Limit,
}

/// Measures sirens, then notices.
///
/// # Errors
/// A program does not do what it should.
pub(crate) async fn measure(folder: &Folder, size: Size, report: &mut Report) -> Result<()> {
    let home = folder.inside("voice")?;
    let mut hub = Hub::init(&home.join("hub"), HubPlan::new()?)?;
    hub.serve().await?;
    let api = hub.administrator().await?;
    let mut village = Village::start(&home.join("village"), &api, "voice", VILLAGE).await?;
    let horn = Horn::enter(&api, &home, &village, "horn-1").await?;
    let button = ZigbeeButton { address: 0x0015_8d00_0000_0002, name: "pillar".to_owned() };
    let lan = village.lan("devices").await?;
    lan.publish_all(&zigbee_bridge(std::slice::from_ref(&button))).await?;
    let limit = Limit::start(&home).await?;
    let mut scene = Scene { api, lan, horn, button, limit };
    scene.choose_siren().await?;

    let (mut sirens, mut sounds, mut limits) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..WARM_UP + size.sounds {
        let siren = scene.press().await.with_context(|| format!("press {round}"))?;
        let sound = scene.notice(round).await.with_context(|| format!("notice {round}"))?;
        let limit = scene.limit.measure().await?;
        if round >= WARM_UP {
            sirens.add(siren);
            sounds.add(sound);
            limits.add(limit);
        }
    }
    let (p95, p99) = (limits.ms(0.95), limits.ms(0.99));
    report.add("limit.voice_ms.p95", p95);
    report.add("alarm.press_to_siren_ms.p50", sirens.ms(0.5));
    let goal = Some(Goal::AtMost(300.0));
    report.compare("alarm.press_to_siren_ms.p99", sirens.ms(0.99), goal, "limit p99", p99);
    report.add("broadcast.order_to_sound_ms.p50", sounds.ms(0.5));
    let goal = Some(Goal::AtMost(300.0));
    report.compare("broadcast.order_to_sound_ms.p95", sounds.ms(0.95), goal, "limit p95", p95);
    village.gateway.stop().await?;
    hub.stop().await
}

impl Scene {
    /// Has the button set off a siren, and presses until it does.
    async fn choose_siren(&mut self) -> Result<()> {
        self.lan.publish(&self.button.supervision(100)).await?;
        let device = wait::until("the hub to know the button", async || {
            let devices = self.api.list("/api/v1/devices", "devices").await?;
            Ok(devices.into_iter().find(|device| device["key"] == self.button.key()))
        })
        .await?;
        let chosen = json!({ "response": { "kind": "siren", "siren_s": SIREN_S } });
        self.api.patch(&format!("/api/v1/devices/{}", text(&device, "id")?), chosen).await?;
        wait::until("the first siren", async || {
            self.lan.press(&self.button.press(Press::Sos)).await?;
            Ok((!self.horn.heard()?.is_empty()).then_some(()))
        })
        .await
    }

    /// From the button's message to the siren's first sample.
    async fn press(&mut self) -> Result<Duration> {
        let before = self.quiet().await?;
        let begun_us = clock::utc_us();
        self.lan.press(&self.button.press(Press::Sos)).await?;
        self.first_sample(before, begun_us).await
    }

    /// From the request that sends a notice to the first sample of its chime.
    async fn notice(&mut self, round: usize) -> Result<Duration> {
        let pitch_hz = 500 + PITCH_STEP_HZ * u32::try_from(round)?;
        let sound = self.api.bring("/api/v1/sounds", "audio/wav", tone(pitch_hz, SOUND_MS)?).await?;
        let wish = json!({ "region_code": VILLAGE, "sound_sha256": sound["sha256"], "level": "notice" });
        let before = self.quiet().await?;
        let begun_us = clock::utc_us();
        let notice = text(&self.api.post("/api/v1/notices", wish).await?, "id")?;
        let took = self.first_sample(before, begun_us).await?;
        wait::until("the notice to be over", async || {
            Ok((self.api.get(&format!("/api/v1/notices/{notice}")).await?["state"] == "done").then_some(()))
        })
        .await?;
        Ok(took)
    }

    /// Waits until nothing sounds; gives how many sounds were heard.
    async fn quiet(&self) -> Result<usize> {
        self.horn.wait_until_quiet(0).await?;
        Ok(self.horn.heard()?.len())
    }

    /// How long after `begun_us` the next sound after so many was heard.
    async fn first_sample(&self, before: usize, begun_us: i64) -> Result<Duration> {
        let (_, at_us) = wait::until("a sound", async || Ok(self.horn.heard()?.get(before).copied())).await?;
        Ok(Duration::from_micros(u64::try_from(at_us - begun_us).context("it was heard before it began")?))
    }
}
