//! The county of the demo: its hub, its people, its two villages, their buttons, their cameras and their loudspeakers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tongluo_tests::api::Api;
use tongluo_tests::button::{self, LorawanButton, LorawanModel, Message, Press, ZigbeeButton};
use tongluo_tests::devices::speaker::Speaker;
use tongluo_tests::gst::GstRecorder;
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::lan::Lan;
use tongluo_tests::village::{Village, text};
use tongluo_tests::{clock, ports, wait};

use crate::register::Register;
use crate::running::Running;
use crate::{eyes, say, voices};

/// Where the demo is.
pub(crate) const URL: &str = "http://127.0.0.1:8080";

/// HTTP, HTTPS and MQTT, as everywhere.
const PORTS: [(u16, &str); 4] = [(8080, "HTTP"), (8443, "HTTPS"), (8883, "MQTT"), (8884, "files and media")];

/// Between two reports of each button: often enough that a page that is looked at visibly lives.
const SUPERVISION_EVERY: Duration = Duration::from_secs(30);

/// A button of the demo.
#[derive(Debug)]
pub(crate) struct DemoButton {
    pub(crate) id: &'static str,
    village: usize,
    device: Device,
    /// What its own network calls it.
    reported_name: &'static str,
    /// What a technician called it.
    name: &'static str,
    place: &'static str,
    /// Where it is, so that the nearest camera is found.
    position: (f64, f64),
}

#[derive(Debug)]
enum Device {
    Zigbee { address: u64 },
    Lorawan { dev_eui: u64, model: LorawanModel },
}

/// One Zigbee and one LoRaWAN button in each village.
pub(crate) const BUTTONS: [DemoButton; 4] = [
    DemoButton {
        id: "zigbee-1",
        village: 0,
        device: Device::Zigbee { address: 0x0015_8d00_01a2_b3c4 },
        reported_name: "sos_button_1",
        name: "张桂兰家报警按钮",
        place: "初徐村东头第二户，堂屋门边",
        position: (33.2058, 113.8741),
    },
    DemoButton {
        id: "lorawan-1",
        village: 0,
        device: Device::Lorawan { dev_eui: 0x24e1_2453_5b31_6056, model: LorawanModel::Ws101 },
        reported_name: "ws101-square",
        name: "文化广场报警柱",
        place: "初徐村文化广场北侧",
        position: (33.2047, 113.8719),
    },
    DemoButton {
        id: "zigbee-2",
        village: 1,
        device: Device::Zigbee { address: 0xa4c1_38f0_0b7d_21e9 },
        reported_name: "clinic/sos",
        name: "村卫生室报警按钮",
        place: "海眼村卫生室诊台下",
        position: (33.0954, 113.7431),
    },
    DemoButton {
        id: "lorawan-2",
        village: 1,
        device: Device::Lorawan { dev_eui: 0xa840_4181_7187_02f3, model: LorawanModel::Pb01 },
        reported_name: "pb01-reservoir",
        name: "水库值班房报警按钮",
        place: "海眼村水库大坝南端值班房",
        position: (33.0981, 113.7399),
    },
];

/// Name of the site, region, position.
const VILLAGES: [(&str, &str, f64, f64); 2] =
    [("初徐村委会", "411728102201", 33.2051, 113.8724), ("海眼村委会", "411728103204", 33.0958, 113.7422)];

/// User name, what they are called, role, region. The administrator is made by `init`.
const PEOPLE: [(&str, &str, &str, &str); 5] = [
    ("county", "县指挥中心 王敏", "operator", "411728"),
    ("township", "玉山镇值班室 李强", "operator", "411728102"),
    ("chuxu", "初徐村 徐建国", "village_head", "411728102201"),
    ("haiyan", "海眼村 刘秀英", "village_head", "411728103204"),
    ("technician", "设备维护 陈亮", "technician", "411728"),
];

impl DemoButton {
    pub(crate) fn key(&self) -> String {
        match &self.device {
            Device::Zigbee { address } => self.zigbee(*address).key(),
            Device::Lorawan { dev_eui, model } => self.lorawan(*dev_eui, *model).key(),
        }
    }

    pub(crate) fn press(&self, what: Press, frame: u32) -> Message {
        match &self.device {
            Device::Zigbee { address } => self.zigbee(*address).press(what),
            Device::Lorawan { dev_eui, model } => self.lorawan(*dev_eui, *model).press(what, frame),
        }
    }

    fn supervision(&self, frame: u32) -> Message {
        match &self.device {
            Device::Zigbee { address } => self.zigbee(*address).supervision(97),
            Device::Lorawan { dev_eui, model } => self.lorawan(*dev_eui, *model).supervision(frame),
        }
    }

    fn family(&self) -> &'static str {
        match self.device {
            Device::Zigbee { .. } => "zigbee",
            Device::Lorawan { .. } => "lorawan",
        }
    }

    fn zigbee(&self, address: u64) -> ZigbeeButton {
        ZigbeeButton { address, name: self.reported_name.to_owned() }
    }

    fn lorawan(&self, dev_eui: u64, model: LorawanModel) -> LorawanButton {
        LorawanButton { dev_eui, model, name: self.reported_name.to_owned() }
    }
}

/// Frame numbers that grow with time, so that whoever presses need not know who pressed before. Presses have the odd ones
/// and routine reports the even ones: a press must never look like a repetition.
pub(crate) fn frame_of_press(now_ms: i64) -> u32 {
    frame_of_report(now_ms) | 1
}

fn frame_of_report(now_ms: i64) -> u32 {
    u32::try_from(now_ms / 100 % (1 << 31)).expect("a remainder below 2^31") << 1
}

/// The running county.
#[derive(Debug)]
pub(crate) struct County {
    hub: Hub,
    villages: Vec<(Village, Lan)>,
    recorders: Vec<GstRecorder>,
    /// Switched off when dropped.
    speakers: Vec<Speaker>,
    register: Register,
}

impl County {
    /// Starts all of it, with the user's own cameras at the first village. The future may be dropped half way: then everything it started ends.
    pub(crate) async fn start(running: &Running, own_cameras: &[String]) -> Result<Self> {
        for (port, what) in PORTS {
            if !ports::is_free(port) {
                bail!("port {port} ({what}) is taken by another program; end it, then start the demo again");
            }
        }
        say("starting the hub");
        let [(plain_port, _), (secure_port, _), (mqtt_port, _), (media_port, _)] = PORTS;
        let plan = HubPlan { plain_port, secure_port, mqtt_port, media_port, ..HubPlan::new()? };
        let mut hub = Hub::init(&running.folder().join("hub"), plan)?;
        hub.serve().await?;
        let api = hub.administrator().await?;
        let mut county = Self {
            hub,
            villages: Vec::new(),
            recorders: Vec::new(),
            speakers: Vec::new(),
            register: Register::new(URL),
        };
        county.add_people(&api).await?;
        for (number, (name, region, latitude, longitude)) in VILLAGES.into_iter().enumerate() {
            say(&format!("enrolling the gateway of {name}"));
            let folder = running.folder().join(format!("village-{}", number + 1));
            let village = Village::start(&folder, &api, name, region).await?;
            let place = json!({ "latitude": latitude, "longitude": longitude });
            api.patch(&format!("/api/v1/sites/{}", village.site_id), place).await?;
            let site = json!({ "id": village.site_id, "name": name, "region": region });
            county.register.add("sites", site);
            let lan = village.lan("networks").await?;
            county.villages.push((village, lan));
        }
        county.add_buttons(&api).await?;
        county.add_speakers(&api, running.folder()).await?;
        county.add_cameras(&api, running.folder(), own_cameras).await?;
        Ok(county)
    }

    async fn add_people(&mut self, api: &Api) -> Result<()> {
        let me = api.get("/api/v1/session").await?;
        let (username, password) = self.hub.administrator_login();
        let mut users = vec![user(username, password, &text(&me, "role")?, &me)?];
        for (username, display_name, role, region_code) in PEOPLE {
            let password = tongluo_tests::secret();
            let person = json!({
                "username": username,
                "display_name": display_name,
                "password": password,
                "role": role,
                "region_code": region_code,
            });
            let made = api.post("/api/v1/users", person).await?;
            users.push(user(username, &password, role, &made)?);
        }
        for user in users {
            self.register.add("users", user);
        }
        Ok(())
    }

    /// Lets each village's networks introduce their buttons, waits until the hub knows them, then names and places them.
    async fn add_buttons(&mut self, api: &Api) -> Result<()> {
        for (number, (_, lan)) in self.villages.iter().enumerate() {
            let mine = || BUTTONS.iter().filter(move |button| button.village == number);
            let zigbee: Vec<_> = mine()
                .filter_map(|button| match button.device {
                    Device::Zigbee { address } => Some(button.zigbee(address)),
                    Device::Lorawan { .. } => None,
                })
                .collect();
            lan.publish_all(&button::zigbee_bridge(&zigbee)).await?;
        }
        self.supervise().await?;
        for button in &BUTTONS {
            let (village, _) = &self.villages[button.village];
            let path = format!("/api/v1/devices?site_id={}", village.site_id);
            let device = wait::until(&format!("the hub to know {}", button.id), async || {
                let devices = api.list(&path, "devices").await?;
                Ok(devices.into_iter().find(|device| device["key"] == button.key()))
            })
            .await?;
            let device_id = text(&device, "id")?;
            let (latitude, longitude) = button.position;
            let named =
                json!({ "name": button.name, "place": button.place, "latitude": latitude, "longitude": longitude });
            api.patch(&format!("/api/v1/devices/{device_id}"), named).await?;
            let login = &village.devices_login;
            let entry = json!({
                "id": button.id,
                "family": button.family(),
                "name": button.name,
                "site": village.site_id,
                "device": device_id,
                "key": button.key(),
                "lan": { "port": village.mosquitto.port(), "username": login.username, "password": login.password },
            });
            self.register.add("buttons", entry);
        }
        Ok(())
    }

    /// Switches on each village's loudspeakers, and enters them as a technician does.
    async fn add_speakers(&mut self, api: &Api, folder: &Path) -> Result<()> {
        say("switching on the loudspeakers");
        for (number, (village, _)) in self.villages.iter().enumerate() {
            let folder = folder.join(format!("village-{}", number + 1));
            let (speakers, entries) = voices::start(api, &folder, village, number).await?;
            self.speakers.extend(speakers);
            for entry in entries {
                self.register.add("speakers", entry);
            }
        }
        Ok(())
    }

    /// Starts each village's recorder, and enters its cameras as a technician does.
    async fn add_cameras(&mut self, api: &Api, folder: &Path, own: &[String]) -> Result<()> {
        say("starting the cameras (the first time their pictures are drawn, which takes a minute)");
        for number in 0..self.villages.len() {
            let recorder = eyes::recorder(&folder.join(format!("village-{}", number + 1)), number).await?;
            let site_id = &self.villages[number].0.site_id;
            let mut cameras = eyes::enter(api, &recorder, number, site_id).await?;
            if number == 0 {
                cameras.extend(eyes::enter_own(api, own, site_id).await?);
            }
            for camera in cameras {
                self.register.add("cameras", camera);
            }
            self.recorders.push(recorder);
        }
        Ok(())
    }

    async fn supervise(&self) -> Result<()> {
        for button in &BUTTONS {
            let (_, lan) = &self.villages[button.village];
            lan.publish(&button.supervision(frame_of_report(clock::utc_ms()))).await?;
        }
        Ok(())
    }

    /// Keeps the buttons reporting; returns only when a program of the demo ended by itself.
    pub(crate) async fn live(&mut self) -> Result<()> {
        loop {
            let until = clock::now() + SUPERVISION_EVERY;
            while clock::now() < until {
                self.hub.running()?.check()?;
                for (village, _) in &mut self.villages {
                    village.gateway.running()?.check()?;
                }
                for recorder in &mut self.recorders {
                    recorder.running().check()?;
                }
                clock::pause(Duration::from_secs(1)).await;
            }
            self.supervise().await.context("a village's broker is gone")?;
        }
    }

    /// Ends everything in good order; what does not end is killed.
    pub(crate) async fn stop(&mut self) {
        self.speakers.clear();
        for (village, _) in &mut self.villages {
            report(village.gateway.stop().await);
            report(village.mosquitto.stop().await);
        }
        for recorder in &mut self.recorders {
            report(recorder.stop().await);
        }
        report(self.hub.stop().await);
    }

    pub(crate) fn register(&self) -> &Register {
        &self.register
    }
}

fn user(username: &str, password: &str, role: &str, person: &Value) -> Result<Value> {
    Ok(json!({
        "username": username,
        "password": password,
        "role": role,
        "region": text(person, "region_code")?,
        "region_name": text(person, "region_name")?,
    }))
}

fn report(result: Result<()>) {
    if let Err(error) = result {
        say(&format!("{error:#}"));
    }
}
