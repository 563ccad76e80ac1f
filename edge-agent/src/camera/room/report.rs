//! What is said of each camera, and the looks at its pictures on which that rests.

use std::sync::Arc;

use tongluo_protocols::media::Quality;

use super::{Room, Told};
use crate::camera::health::{Facts, State};
use crate::camera::{Report, StreamFacts};

/// A camera that does not change is reported so often all the same, as proof of life.
const REPORT_MS: u64 = 600_000;

impl Room {
    /// Lets the helper look at a camera's picture now and then.
    pub(super) fn judge(&mut self, id: &Arc<str>, now_ms: u64) {
        let keyframe = self.standing(id).and_then(|running| {
            let shown = running.shown.borrow();
            shown.keyframe.clone().filter(|_| shown.state == Some(State::Ok))
        });
        let Some(camera) = self.cameras.get_mut(id) else { return };
        let Some(keyframe) = keyframe else {
            camera.judge.forget();
            return;
        };
        // The same keyframe twice would look frozen.
        if camera.judged_90k != Some(keyframe.decode_90k) && camera.judge.is_due(now_ms) {
            camera.judged_90k = Some(keyframe.decode_90k);
            let (eye, judged, id) = (self.eye.clone(), self.judged.0.clone(), id.clone());
            tokio::task::spawn_local(async move {
                let looks = eye.judge(keyframe).await;
                let _ = judged.send((id, looks)).await;
            });
        }
    }

    /// Says how a camera is: when that has changed, when its streams take another form, when its recordings begin or are gone,
    /// and every ten minutes.
    pub(super) fn report(&mut self, id: &Arc<str>, now_ms: u64) {
        let now_utc_ms = self.clock.utc_ms();
        let (facts, totals) = (self.facts(id), self.recordings.totals(id));
        let told = Told {
            main: self.form(id, Quality::Main),
            sub: self.form(id, Quality::Sub),
            is_recorded: totals.from_ms.is_some(),
        };
        let Some(camera) = self.cameras.get_mut(id) else { return };
        let changed = camera.health.judge(&facts, now_ms, now_utc_ms);
        let due = camera.reported_at_ms.is_none_or(|at_ms| now_ms >= at_ms + REPORT_MS) || camera.reported != told;
        if !changed && !due {
            return;
        }
        let (state, since_ms, detail) =
            (camera.health.state(), camera.health.since_ms(), camera.health.detail().to_owned());
        if changed {
            tracing::info!(
                camera.id = %id,
                camera.state = state.name(),
                camera.detail = detail,
                "a camera's state has changed"
            );
        }
        let last_frame_ms = [Quality::Main, Quality::Sub]
            .into_iter()
            .filter_map(|quality| self.streams.get(&(id.clone(), quality))?.shown.borrow().last_frame_ms)
            .max();
        let report = Report {
            camera: id.clone(),
            state,
            since_ms,
            detail,
            main: told.main,
            sub: told.sub,
            recorded_from_ms: totals.from_ms,
            recorded_bytes: (totals.bytes > 0).then_some(totals.bytes),
            last_frame_ms,
            heard_ms: now_utc_ms,
        };
        // A report that finds no room is made again at the next look.
        let sent = self.reports.try_send(report).is_ok();
        if let Some(camera) = self.cameras.get_mut(id) {
            camera.reported_at_ms = sent.then_some(now_ms);
            camera.reported = told;
        }
    }

    /// What a stream is, as far as it was seen.
    fn form(&self, id: &Arc<str>, quality: Quality) -> Option<StreamFacts> {
        let shown = self.streams.get(&(id.clone(), quality))?.shown.borrow();
        let track = shown.track.as_ref()?;
        Some(StreamFacts { codec: track.codec, width: track.width, height: track.height })
    }

    /// All that is known of a camera.
    fn facts(&self, id: &Arc<str>) -> Facts {
        let Some(camera) = self.cameras.get(id) else { return Facts::default() };
        let shown = [Quality::Main, Quality::Sub]
            .into_iter()
            .filter_map(|quality| self.streams.get(&(id.clone(), quality)).map(|running| running.shown.borrow()));
        let mut facts = Facts { picture: camera.judge.state(), ..Facts::default() };
        for shown in shown {
            if let Some(state) = shown.state {
                facts.streams.push((state, shown.detail.clone()));
            }
            facts.clock_off_ms = facts.clock_off_ms.or(shown.clock_off_ms);
        }
        if camera.plan.record.is_some() {
            facts.gap_at_ms = self.recordings.totals(id).gap_at_ms;
            facts.disk_full = self.recordings.is_disk_full();
        }
        facts
    }
}
