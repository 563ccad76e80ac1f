//! What a site's gateway is told of what sounds in its village: loudspeakers, what a press sets off, sounds at hand, the night.
//!
//! Here, and only here, loudspeakers' keys are opened again.

use async_trait::async_trait;
use sqlx::AnyConnection;
use tongluo_protocols::configuration::{
    self as told, Configuration, NamedSound, Response, ResponseKind, Speaker as ToldSpeaker,
};
use tongluo_protocols::content::ContentHash;
use tongluo_protocols::device::speaker::Key;
use tongluo_protocols::id::ContentId;

use super::speaker::{self, Speaker, SpeakerKind};
use super::{BroadcastRoom, tones};
use crate::configuration::Contributor;
use crate::fleet::{self, ResponseView};
use crate::ids::{RegionCode, SiteId};

#[async_trait]
impl Contributor for BroadcastRoom {
    async fn contribute(
        &self,
        connection: &mut AnyConnection,
        site: &SiteId,
        configuration: &mut Configuration,
    ) -> anyhow::Result<()> {
        let region = RegionCode::from_known(configuration.region_code.as_str());
        let speakers = speaker::in_region(connection, 0, &region, Some(site)).await?;
        configuration.speakers = speakers.iter().map(|speaker| self.told(speaker)).collect();
        configuration.responses = responses(connection, site).await?;
        configuration.sounds = tones::all(connection).await?.iter().filter_map(at_hand).collect();
        configuration.night = Some(self.night.told());
        Ok(())
    }
}

impl BroadcastRoom {
    fn told(&self, speaker: &Speaker) -> ToldSpeaker {
        let view = &speaker.view;
        ToldSpeaker {
            id: view.id.to_string(),
            name: view.name.clone(),
            kind: match view.kind {
                SpeakerKind::Mqtt => told::SpeakerKind::Mqtt,
                SpeakerKind::LineOut => told::SpeakerKind::LineOut,
            },
            device: view.device.clone(),
            key: self.opened(speaker),
            volume_percent: u8::try_from(view.volume_percent).unwrap_or(0),
            warm_up_ms: u16::try_from(view.warm_up_ms).unwrap_or(0),
        }
    }

    /// A loudspeaker's key. `None`: it has none, or what is stored does not open any more; then it will refuse its gateway,
    /// which is a fault that somebody sees.
    fn opened(&self, speaker: &Speaker) -> Option<Key> {
        let sealed = speaker.key.as_ref()?;
        let id = &speaker.view.id;
        let opened = self.seal.unseal(&speaker::label(id), sealed).map_err(|error| error.to_string());
        match opened.and_then(|key| key.try_into().map_err(|_| "it is no key".to_owned())) {
            Ok(key) => Some(Key::new(key)),
            Err(error) => {
                tracing::error!(error, speaker.id = %id, "A loudspeaker's key cannot be opened; enter it again");
                None
            }
        }
    }
}

/// What presses of a site's devices set off; of a device that is not named, nothing but its light.
async fn responses(connection: &mut AnyConnection, site: &SiteId) -> Result<Vec<Response>, sqlx::Error> {
    let chosen = fleet::response::of_site(connection, site).await?;
    // To a gateway a list without loudspeakers means all of them: one whose loudspeakers are gone is not told at all.
    Ok(chosen.into_iter().filter(|(_, response)| response.is_heard()).map(set_off).collect())
}

fn set_off((device, response): (String, ResponseView)) -> Response {
    Response {
        device,
        kind: match response.kind {
            fleet::ResponseKind::Silent => ResponseKind::Silent,
            fleet::ResponseKind::Neighbours => ResponseKind::Neighbours,
            fleet::ResponseKind::Siren => ResponseKind::Siren,
        },
        speaks: response.speaks,
        speakers: response.speaker_ids.iter().map(ToString::to_string).collect(),
        siren_s: response.siren_s.min(Response::SIREN_S_MAX),
    }
}

fn at_hand(sound: &tones::AtHand) -> Option<NamedSound> {
    Some(NamedSound {
        name: sound.name.clone(),
        content: ContentId(*ContentHash::parse(&sound.sha256)?.as_bytes()),
        bytes: u64::try_from(sound.bytes).ok()?,
        content_ms: u32::try_from(sound.duration_ms).ok()?,
    })
}
