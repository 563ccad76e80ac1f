//! What can be wrong with a camera. Every one of these has been met in a village.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What is wrong, until another is set. Clients that are connected are cut where the fault concerns new connections, so that
/// it shows at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Nobody listens on its port.
    Unreachable,
    /// It takes connections and never answers.
    Silent,
    /// Each answer takes so long.
    Slow(Duration),
    /// What it says is no RTSP, and what it sends is no RTP.
    Garbage,
    /// Its password has been changed.
    WrongPassword,
    /// It does not know the path.
    NoSuchStream,
    /// It speaks Motion JPEG.
    Unsupported,
    /// The connection stays, requests are answered, and no packets come.
    Stall,
    /// The picture has another size, from the next keyframe on.
    OtherParameters,
    /// One packet in so many is missing.
    Loss(u32),
    /// The picture is black, from the next keyframe on.
    Black,
    /// The picture does not move, from the next keyframe on.
    Frozen,
}

/// What can happen to a camera once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// All connections are reset.
    Reset,
    /// Presentation times jump by so many milliseconds, forward or back.
    Jump(i64),
    /// It forgets its sessions: no packets, and "session not found" to whoever asks; new ones are welcome.
    Forget,
    /// Its wall clock, as its sender reports tell it, is off by so many milliseconds from now on; 0 mends it.
    Clock(i64),
}

impl Fault {
    /// Whether those who are connected are reset when it begins, although it concerns those who connect.
    pub(crate) fn cuts(self) -> bool {
        matches!(self, Self::Unreachable | Self::WrongPassword | Self::NoSuchStream | Self::Unsupported)
    }
}

/// As written to `tongluo-camera`: `stall`, `slow:3000`, `loss:50`.
impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, number) = split(text)?;
        Ok(match (name, number) {
            ("none", None) => Self::None,
            ("unreachable", None) => Self::Unreachable,
            ("silent", None) => Self::Silent,
            ("slow", Some(ms)) => Self::Slow(Duration::from_millis(ms.try_into().context("a duration in ms")?)),
            ("garbage", None) => Self::Garbage,
            ("wrong-password", None) => Self::WrongPassword,
            ("no-such-stream", None) => Self::NoSuchStream,
            ("unsupported", None) => Self::Unsupported,
            ("stall", None) => Self::Stall,
            ("other-parameters", None) => Self::OtherParameters,
            ("loss", Some(one_in)) if one_in > 0 => Self::Loss(one_in.try_into().context("one packet in how many")?),
            ("black", None) => Self::Black,
            ("frozen", None) => Self::Frozen,
            _ => bail!(
                "{text:?} is no fault; there are none, unreachable, silent, slow:MS, garbage, wrong-password, no-such-stream, \
                 unsupported, stall, other-parameters, loss:N, black, frozen"
            ),
        })
    }
}

/// As written to `tongluo-camera`: `reset`, `jump:-5000`, `forget`, `clock:60000`.
impl FromStr for Mishap {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match split(text)? {
            ("reset", None) => Self::Reset,
            ("jump", Some(ms)) => Self::Jump(ms),
            ("forget", None) => Self::Forget,
            ("clock", Some(ms)) => Self::Clock(ms),
            _ => bail!("{text:?} is no mishap; there are reset, jump:MS, forget, clock:MS"),
        })
    }
}

fn split(text: &str) -> Result<(&str, Option<i64>)> {
    Ok(match text.split_once(':') {
        None => (text, None),
        Some((name, number)) => (name, Some(number.parse().with_context(|| format!("a number after {name}:"))?)),
    })
}
