//! The sounds that every gateway has at hand before they are wanted: the test tone, and the three truths in words.
//!
//! They are made here when the hub starts, kept as contents, and named in each gateway's configuration. A press hears no name:
//! whose name a loudspeaker may say is for its owner to allow.

use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Row as _};
use tongluo_protocols::content::{ContentHash, MediaType};

use super::BroadcastRoom;
use crate::content::{self, Audience};
use crate::voice::Sound;

/// The technician's tone.
pub(super) const TONE: &str = "tone";

/// What each is made of. A changed recipe is made anew at the next start.
const RECIPES: [(&str, Recipe); 4] = [
    (TONE, Recipe::Tone { hertz: 880, duration_ms: 2_000 }),
    ("sent", Recipe::Spoken("已发出，正在叫人。")),
    ("taken", Recipe::Spoken("已经有人接警。")),
    ("nobody", Recipe::Spoken("无人应答，请拨打110或者120。")),
];
const RATE_HZ: u32 = 16_000;
/// How a tone begins and ends, so that it does not click.
const FADE_MS: u32 = 20;
/// For as long as there is a hub.
const FOR_EVER_MS: i64 = i64::MAX;

#[derive(Clone, Copy, Debug)]
enum Recipe {
    Tone { hertz: u32, duration_ms: u32 },
    Spoken(&'static str),
}

/// A sound that is at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AtHand {
    pub(super) name: String,
    pub(super) sha256: String,
    pub(super) bytes: i64,
    pub(super) duration_ms: i64,
}

/// The sound of this name. `None`: it is not made yet.
pub(super) async fn named(connection: &mut AnyConnection, name: &str) -> Result<Option<AtHand>, sqlx::Error> {
    Ok(all(connection).await?.into_iter().find(|sound| sound.name == name))
}

/// Every sound that is at hand, by name.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<AtHand>, sqlx::Error> {
    let rows = sqlx::query("select name, sha256, bytes, duration_ms from named_sound order by name")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(AtHand {
                name: row.try_get("name")?,
                sha256: row.try_get("sha256")?,
                bytes: row.try_get("bytes")?,
                duration_ms: row.try_get("duration_ms")?,
            })
        })
        .collect()
}

/// Makes what is not at hand yet, and has every gateway told if that was anything. One that cannot be made is left for the next
/// time.
pub(super) async fn prepare(room: &BroadcastRoom, now_ms: i64) -> anyhow::Result<()> {
    for (name, recipe) in RECIPES {
        let text = format!("{recipe:?}");
        let known: Option<String> = sqlx::query_scalar("select recipe from named_sound where name = $1")
            .bind(name)
            .fetch_optional(room.store.reader())
            .await?;
        if known.as_deref() == Some(&text) {
            continue;
        }
        match recipe.make(room).await {
            Ok(sound) => keep(room, now_ms, name, &text, &sound).await?,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, sound.name = name, "A sound that gateways keep at hand cannot be made yet");
            }
        }
    }
    Ok(())
}

impl Recipe {
    async fn make(self, room: &BroadcastRoom) -> anyhow::Result<Sound> {
        Ok(match self {
            Self::Tone { hertz, duration_ms } => tone(hertz, duration_ms).levelled()?,
            Self::Spoken(text) => room.voice.spoken(text).await?,
        })
    }
}

fn tone(hertz: u32, duration_ms: u32) -> Sound {
    let (count, fade) = (RATE_HZ * duration_ms / 1_000, RATE_HZ * FADE_MS / 1_000);
    let sample = |at: u32| {
        let edge = at.min(count - 1 - at).min(fade) as f32 / fade as f32;
        let wave = (at as f32 * hertz as f32 / RATE_HZ as f32 * std::f32::consts::TAU).sin();
        (wave * edge * 0.25 * f32::from(i16::MAX)) as i16
    };
    Sound { rate_hz: RATE_HZ, samples: (0..count).map(sample).collect() }
}

async fn keep(room: &BroadcastRoom, now_ms: i64, name: &str, recipe: &str, sound: &Sound) -> anyhow::Result<()> {
    let wav = sound.to_wav();
    let hash = ContentHash::new(Sha256::digest(&wav).into());
    room.content.put(now_ms, &wav, MediaType::Wav, Audience::Gateways).await?;
    let mut transaction = room.store.begin().await?;
    let subject = format!("named-sound:{name}");
    content::unlink(&mut transaction, &subject).await?;
    content::link(&mut transaction, &hash, &subject, FOR_EVER_MS).await?;
    sqlx::query(
        "insert into named_sound (name, recipe, sha256, bytes, duration_ms) values ($1, $2, $3, $4, $5) \
         on conflict (name) do update set recipe = excluded.recipe, sha256 = excluded.sha256, bytes = excluded.bytes, \
         duration_ms = excluded.duration_ms",
    )
    .bind(name)
    .bind(recipe)
    .bind(hash.to_string())
    .bind(i64::try_from(wav.len())?)
    .bind(i64::try_from(sound.duration_ms())?)
    .execute(&mut *transaction)
    .await?;
    // Whoever has a configuration is told in a new one.
    sqlx::query(
        "insert into configuration_due (site_id, marked_ms) select site_id, $1 from configuration where true \
         on conflict (site_id) do nothing",
    )
    .bind(now_ms)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
