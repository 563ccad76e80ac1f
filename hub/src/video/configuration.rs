//! What a site's gateway is told of its cameras: the part of its configuration that this room answers for.
//!
//! Here, and only here, credentials are opened again. A camera at a home whose household does not consent is not told
//! of at all: the gateway cannot open what it does not know.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::{AnyConnection, Row};
use tongluo_protocols::configuration::{
    ANY_DEVICE, Camera, CameraKind, Configuration, DeviceCameras, Record, Recorder,
};

use super::VideoRoom;
use super::address::{Credentials, filled};
use super::camera::{CameraKind as Kind, RecordPolicy};
use super::nearest::{Candidate, Point, nearest};
use super::store::{self, label};
use super::view::{self, CameraView};
use crate::configuration::Contributor;
use crate::ids::{CameraId, DeviceId, RecorderId, RegionCode, SiteId};
use crate::seal::Seal;

/// The recorders, the cameras and what they look at, of one site; without a revision. `None`: there is no such site.
///
/// # Errors
/// The database's.
pub async fn configuration_of(
    connection: &mut AnyConnection,
    seal: &Seal,
    site: &SiteId,
) -> Result<Option<Configuration>, sqlx::Error> {
    let Some(here) = place(connection, site).await? else { return Ok(None) };
    let recorders = store::recorders(connection, site).await?;
    let opened: HashMap<&RecorderId, Credentials> =
        recorders.iter().filter_map(|recorder| Some((&recorder.id, open(seal, recorder)?))).collect();
    let cameras = view::cameras(connection, 0, &here.region, Some(site)).await?;
    let cameras: Vec<_> = cameras.into_iter().filter(|camera| is_allowed(&camera.view)).collect();
    let views: Vec<&CameraView> = cameras.iter().map(|camera| &camera.view).collect();
    let devices = devices(connection, site).await?;
    let keys: HashMap<&DeviceId, &str> = devices.iter().map(|device| (&device.id, device.key.as_str())).collect();
    Ok(Some(Configuration {
        site_id: site.to_string(),
        region_code: here.region.to_string(),
        watch: watch(here.at, &devices, &views),
        cameras: cameras
            .iter()
            .map(|camera| {
                let credentials = opened.get(&camera.view.recorder_id);
                told(camera, credentials, &keys)
            })
            .collect(),
        recorders: recorders
            .iter()
            .filter(|recorder| views.iter().any(|camera| camera.recorder_id == recorder.id))
            .map(|recorder| Recorder {
                id: recorder.id.to_string(),
                host: recorder.place.host.clone(),
                port: recorder.place.port,
                username: opened.get(&recorder.id).map(|known| known.username.clone()),
                password: opened.get(&recorder.id).map(|known| known.password.clone()),
                sessions_max: u8::try_from(recorder.sessions_max).unwrap_or(u8::MAX),
            })
            .collect(),
        ..Configuration::default()
    }))
}

#[async_trait]
impl Contributor for VideoRoom {
    async fn contribute(
        &self,
        connection: &mut AnyConnection,
        site: &SiteId,
        configuration: &mut Configuration,
    ) -> anyhow::Result<()> {
        if let Some(ours) = configuration_of(connection, &self.seal, site).await? {
            configuration.recorders = ours.recorders;
            configuration.cameras = ours.cameras;
            configuration.watch = ours.watch;
        }
        Ok(())
    }
}

/// What opens a recorder. `None`: it asks for nothing, or what is stored does not open any more.
pub(super) fn open(seal: &Seal, recorder: &store::Recorder) -> Option<Credentials> {
    let sealed = recorder.credentials.as_ref()?;
    let opened = seal.unseal(&label(&recorder.id), sealed).map_err(|error| error.to_string());
    match opened.and_then(|plain| serde_json::from_slice(&plain).map_err(|_| "it holds no credentials".to_owned())) {
        Ok(credentials) => Some(credentials),
        Err(error) => {
            tracing::error!(error, recorder.id = %recorder.id, "A recorder's credentials cannot be opened; enter them again");
            None
        }
    }
}

fn is_allowed(camera: &CameraView) -> bool {
    camera.kind != Kind::Home || camera.consent_ms.is_some()
}

fn told(camera: &view::Camera, credentials: Option<&Credentials>, keys: &HashMap<&DeviceId, &str>) -> Camera {
    let view = &camera.view;
    Camera {
        id: view.id.to_string(),
        recorder_id: view.recorder_id.to_string(),
        name: view.name.clone(),
        main_path: filled(&camera.main_path, credentials),
        sub_path: camera.sub_path.as_deref().map(|path| filled(path, credentials)),
        kind: match view.kind {
            Kind::Public => CameraKind::Public,
            Kind::Facility => CameraKind::Facility,
            Kind::Home => CameraKind::Home,
        },
        record: match view.record {
            RecordPolicy::Off => Record::Off,
            RecordPolicy::Main => Record::Main,
            RecordPolicy::Sub => Record::Sub,
        },
        days_max: u16::try_from(view.days_max).unwrap_or(u16::MAX),
        bytes_max: u64::try_from(view.bytes_max).unwrap_or(0),
        audio: view.audio,
        household: view.household_device_ids.iter().filter_map(|id| keys.get(id).map(ToString::to_string)).collect(),
    }
}

/// Which cameras look at which device; of those that would be told the same as the rest, nothing.
fn watch(site_at: Option<Point>, devices: &[Device], cameras: &[&CameraView]) -> Vec<DeviceCameras> {
    let candidates = candidates(site_at, cameras);
    let of = |device: Option<&DeviceId>, at| -> Vec<String> {
        nearest(device, at, &candidates).iter().map(CameraId::to_string).collect()
    };
    let rest = of(None, site_at);
    let mut watch: Vec<DeviceCameras> = devices
        .iter()
        .map(|device| DeviceCameras {
            device: device.key.clone(),
            cameras: of(Some(&device.id), device.at.or(site_at)),
        })
        .filter(|watch| watch.cameras != rest)
        .collect();
    if !rest.is_empty() {
        watch.push(DeviceCameras { device: ANY_DEVICE.to_owned(), cameras: rest });
    }
    watch
}

/// Cameras as the choice of the nearest takes them.
pub(super) fn candidates<'a>(site_at: Option<Point>, cameras: &[&'a CameraView]) -> Vec<Candidate<'a>> {
    cameras
        .iter()
        .map(|camera| Candidate {
            id: &camera.id,
            kind: camera.kind,
            at: Point::known(camera.latitude, camera.longitude).or(site_at),
            direction_degrees: camera.direction_degrees,
            household: &camera.household_device_ids,
            has_consent: camera.consent_ms.is_some(),
        })
        .collect()
}

/// Where a site is.
pub(super) struct SitePlace {
    pub(super) region: RegionCode,
    pub(super) at: Option<Point>,
}

/// Where a site is. `None`: there is no such site.
pub(super) async fn place(connection: &mut AnyConnection, site: &SiteId) -> Result<Option<SitePlace>, sqlx::Error> {
    let row = sqlx::query("select region_code, latitude, longitude from site where id = $1")
        .bind(site.as_str())
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        Ok(SitePlace {
            region: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
            at: Point::known(row.try_get("latitude")?, row.try_get("longitude")?),
        })
    })
    .transpose()
}

struct Device {
    id: DeviceId,
    key: String,
    at: Option<Point>,
}

async fn devices(connection: &mut AnyConnection, site: &SiteId) -> Result<Vec<Device>, sqlx::Error> {
    let rows = sqlx::query("select id, key, latitude, longitude from device where site_id = $1 order by key")
        .bind(site.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Device {
                id: DeviceId::from_known(row.try_get::<String, _>("id")?),
                key: row.try_get("key")?,
                at: Point::known(row.try_get("latitude")?, row.try_get("longitude")?),
            })
        })
        .collect()
}
