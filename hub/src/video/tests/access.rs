//! Who may see what, and the trail it leaves.

use std::time::Duration;

use super::*;
use crate::ids::CameraId;
use crate::video::{Look, LookKind, access, configuration_of};
use crate::web::Problem;

impl Village {
    /// A household with a button, its camera, and an alarm of that button.
    async fn household(&self) -> CameraId {
        self.execute(
            "insert into device (id, site_id, key, family, kind, first_heard_ms, last_heard_ms) \
             values ('d1', 'site1', 'zigbee:1', 'zigbee2mqtt', 'button', 0, 0)",
        )
        .await;
        let body = json!({"kind": "home", "name": "堂屋", "household_device_ids": ["d1"], "url": "rtsp://u:p@10.0.0.5/1?pwd=p"});
        let camera = self.enter(body).await;
        CameraId::from_known(camera["id"].as_str().unwrap())
    }

    async fn raise(&self) {
        self.execute(
            "insert into alarm (id, site_id, region_code, source, device_id, kind, state, sounding, late, presses, \
             occurred_ms, raised_ms, last_press_ms, revision) \
             values ('a1', 'site1', '411728102201', 'zigbee:1', 'd1', 'sos', 'unacknowledged', 1, 0, 1, 0, 0, 0, 1)",
        )
        .await;
    }

    async fn access(&self, somebody: &Viewer, camera: &CameraId) -> Result<super::super::CameraAccess, Problem> {
        access(&mut self.store.reader().acquire().await.unwrap(), somebody, camera).await
    }

    async fn refusal(&self, somebody: &Viewer, camera: &CameraId) -> &'static str {
        self.access(somebody, camera).await.map_or_else(|problem| problem.code(), |_| "opens")
    }

    async fn consent(&self, camera: &CameraId, consent: bool) {
        let answer = self.ask("PATCH", &format!("/api/v1/cameras/{camera}"), json!({"consent": consent})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_camera_at_a_home_opens_during_its_households_alarm_and_with_consent_only() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let head = viewer(Role::VillageHead, VILLAGE);
        let camera = village.household().await;
        assert_eq!(village.refusal(&head, &camera).await, "camera.no_consent");
        village.raise().await;
        assert_eq!(village.refusal(&head, &camera).await, "camera.no_consent", "an alarm is no consent");
        village.consent(&camera, true).await;
        assert_eq!(village.refusal(&head, &camera).await, "opens");
        village.execute("update alarm set device_id = null").await;
        assert_eq!(village.refusal(&head, &camera).await, "camera.home_closed", "somebody else's alarm");
        village.execute("update alarm set device_id = 'd1'").await;
        village.consent(&camera, false).await;
        assert_eq!(village.refusal(&head, &camera).await, "camera.no_consent");
        village.consent(&camera, true).await;
        village.execute("update alarm set state = 'closed'").await;
        assert_eq!(village.refusal(&head, &camera).await, "camera.home_closed");
        village.execute("update camera set kind = 'public'").await;
        assert_eq!(village.refusal(&head, &camera).await, "opens");
    })
    .await;
}

#[tokio::test]
async fn another_villages_camera_does_not_exist() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let id = camera["id"].as_str().unwrap();
        village.raise_foreign_looks(id).await;
    })
    .await;
}

impl Village {
    async fn raise_foreign_looks(&self, id: &str) {
        let camera = CameraId::from_known(id);
        for role in Role::ALL {
            let stranger = viewer(role, "411728102202");
            assert_eq!(self.refusal(&stranger, &camera).await, "not_found", "{role:?}");
            let eyes = Self::with(&self.store, self.site.clone(), stranger).await;
            let listed = eyes.ask("GET", "/api/v1/cameras?site_id=site1", Value::Null).await;
            assert_eq!(listed.body["cameras"], json!([]));
        }
        assert_eq!(self.refusal(&viewer(Role::Operator, "411728"), &camera).await, "opens");
        let nobodys = CameraId::from_known("nobody's");
        assert_eq!(self.refusal(&viewer(Role::Operator, "411728"), &nobodys).await, "not_found");
    }
}

#[tokio::test]
async fn a_look_is_written_when_it_begins_and_when_it_ends() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let head = viewer(Role::VillageHead, VILLAGE);
        let opened = village.access(&head, &CameraId::from_known(camera["id"].as_str().unwrap())).await.unwrap();
        let look = Look::begin(&store, &head, &opened, LookKind::Live, "quality=sub").await.unwrap();
        const LOOKS: &str =
            "select action || ' ' || actor || ' ' || detail from audit where action like 'camera.watch%' order by id";
        assert_eq!(village.texts(LOOKS).await, ["camera.watch a quality=sub"]);
        drop(look);
        let ended = async {
            loop {
                let lines = village.texts(LOOKS).await;
                if lines.len() == 2 {
                    return lines;
                }
                tokio::task::yield_now().await;
            }
        };
        let lines = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        assert!(lines[1].starts_with("camera.watched a duration_ms="), "{lines:?}");
        assert!(lines[1].ends_with(" quality=sub"), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn a_gateway_is_told_of_its_cameras_with_what_opens_them() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.household().await;
        let square = village.enter(json!({"url": "rtsp://10.0.0.9/2", "sub_url": "/3", "days_max": 3})).await;
        let other = add_site(&store, "site2").await;
        let told = async |site: &SiteId| {
            let mut connection = store.reader().acquire().await.unwrap();
            configuration_of(&mut connection, &village.seal, site).await.unwrap()
        };
        let before = told(&village.site).await.unwrap();
        assert_eq!(before.cameras.len(), 1, "without consent the gateway does not know of a home's camera");
        assert_eq!(before.recorders.len(), 1);
        village.consent(&camera, true).await;
        let after = told(&village.site).await.unwrap();
        let home = after.cameras.iter().find(|known| known.id == camera.as_str()).unwrap();
        assert_eq!(home.main_path, "/1?pwd=p", "the path is whole again");
        assert_eq!(home.household, ["zigbee:1"]);
        let recorder = after.recorder(&home.recorder_id).unwrap();
        assert_eq!((recorder.username.as_deref(), recorder.password.as_deref()), (Some("u"), Some("p")));
        let public = after.cameras.iter().find(|known| known.id != camera.as_str()).unwrap();
        assert_eq!((public.sub_path.as_deref(), public.days_max), (Some("/3"), 3));
        assert_eq!(after.recorder(&public.recorder_id).unwrap().password, None);
        let of = |device| after.cameras_of(device).map(|camera| camera.id.as_str()).collect::<Vec<_>>();
        let square = square["id"].as_str().unwrap();
        assert_eq!(of("zigbee:1"), [camera.as_str(), square]);
        assert_eq!(of("zigbee:2"), [square]);
        let shown = format!("{after:?}");
        assert!(!shown.contains("pwd=p") && !shown.contains("Some(\"p\")"), "{shown}");
        assert_eq!(told(&other).await.unwrap().cameras.len(), 0);
        assert!(told(&SiteId::from_known("nowhere")).await.is_none());
    })
    .await;
}
