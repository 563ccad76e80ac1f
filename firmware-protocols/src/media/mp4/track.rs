//! The track: what a decoder must know before the first picture.

use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use mp4_atom::{
    Atom as _, Avc1, Avcc, Codec as SampleEntry, Dinf, Dref, Encode as _, FourCC, Ftyp, Hdlr, Hvc1, Hvcc, Mdhd, Mdia,
    Minf, Moov, Mvex, Mvhd, Stbl, Stsd, Tkhd, Trak, Trex, Url, Visual, Vmhd,
};

use super::super::{Codec, TIMESCALE};
use super::{FLAGS_DELTA, FLAGS_KEY, Mp4Error, SOUND_TRACK_ID, Sound, TRACK_ID};

/// What the pictures of a stream are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// How they are encoded.
    pub codec: Codec,
    /// The body of an `avcC` or `hvcC` box (ISO/IEC 14496-15).
    pub parameters: Vec<u8>,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// What sounds beside them; `None`: nothing does.
    pub sound: Option<Sound>,
}

impl Track {
    /// The codecs as RFC 6381 names them, for `MediaSource.isTypeSupported`: `avc1.640028`, `hvc1.1.6.L93.B0,mp4a.40.2`.
    ///
    /// # Errors
    /// Parameters that are no record of the codec.
    pub fn rfc6381(&self) -> Result<String, Mp4Error> {
        let mut name = match self.codec {
            Codec::H264 => {
                let avcc = self.avcc()?;
                let (profile, level) = (avcc.avc_profile_indication, avcc.avc_level_indication);
                format!("avc1.{profile:02x}{:02x}{level:02x}", avcc.profile_compatibility)
            }
            Codec::H265 => hvc1_name(&self.hvcc()?),
        };
        if let Some(sound) = &self.sound {
            name.push(',');
            name.push_str(&sound.rfc6381());
        }
        Ok(name)
    }

    fn avcc(&self) -> Result<Avcc, Mp4Error> {
        Avcc::decode_body(&mut &self.parameters[..]).map_err(Mp4Error::Parameters)
    }

    fn hvcc(&self) -> Result<Hvcc, Mp4Error> {
        Hvcc::decode_body(&mut &self.parameters[..]).map_err(Mp4Error::Parameters)
    }

    fn sample_entry(&self) -> Result<SampleEntry, Mp4Error> {
        let visual = Visual { data_reference_index: 1, width: self.width, height: self.height, ..Visual::default() };
        Ok(match self.codec {
            Codec::H264 => SampleEntry::Avc1(Avc1 {
                visual,
                avcc: self.avcc()?,
                btrt: None,
                colr: None,
                pasp: None,
                taic: None,
                fiel: None,
                spatial: None,
            }),
            Codec::H265 => SampleEntry::Hvc1(Hvc1 {
                visual,
                hvcc: self.hvcc()?,
                lhvc: None,
                btrt: None,
                colr: None,
                pasp: None,
                taic: None,
                fiel: None,
                ccst: None,
                spatial: None,
            }),
        })
    }

    /// The tracks' box around their tables of samples, which are empty where fragments follow. `sound` is left out of a
    /// stream that has none.
    pub(super) fn moov(&self, samples: Stbl, duration_90k: u64, sound: Stbl, sound_90k: u64) -> Result<Moov, Mp4Error> {
        let stbl = Stbl { stsd: Stsd { codecs: vec![self.sample_entry()?] }, ..samples };
        let minf = Minf {
            vmhd: Some(Vmhd::default()),
            dinf: Dinf { dref: Dref { entries: vec![Url::default().into()] } },
            stbl,
            ..Minf::default()
        };
        let mdia = Mdia {
            mdhd: Mdhd { timescale: TIMESCALE, duration: duration_90k, language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: FourCC::new(b"vide"), name: "video".into() },
            minf,
        };
        let tkhd = Tkhd {
            track_id: TRACK_ID,
            duration: duration_90k,
            enabled: true,
            in_movie: true,
            width: self.width.into(),
            height: self.height.into(),
            ..Tkhd::default()
        };
        let mut trak = vec![Trak { tkhd, mdia, ..Trak::default() }];
        if let Some(track) = &self.sound {
            trak.push(track.trak(sound, sound_90k)?);
        }
        Ok(Moov {
            mvhd: Mvhd {
                timescale: TIMESCALE,
                duration: duration_90k.max(sound_90k),
                next_track_id: trak.len() as u32 + 1,
                rate: 1.into(),
                volume: 1.into(),
                ..Mvhd::default()
            },
            trak,
            ..Moov::default()
        })
    }
}

/// `ftyp` and `moov` that fragments follow.
///
/// # Errors
/// Parameters that are no record of the codec.
pub fn init_segment(track: &Track) -> Result<Vec<u8>, Mp4Error> {
    let mut moov = track.moov(Stbl::default(), 0, Stbl::default(), 0)?;
    let trex = |track_id, default_sample_flags| Trex {
        track_id,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags,
    };
    let mut defaults = vec![trex(TRACK_ID, FLAGS_DELTA)];
    // A decoder can begin with any piece of sound.
    defaults.extend(track.sound.as_ref().map(|_| trex(SOUND_TRACK_ID, FLAGS_KEY)));
    moov.mvex = Some(Mvex { mehd: None, trex: defaults });
    let mut bytes = Vec::with_capacity(1024);
    ftyp(b"iso6", &[b"iso6", b"mp41"]).encode(&mut bytes).map_err(Mp4Error::Box)?;
    moov.encode(&mut bytes).map_err(Mp4Error::Box)?;
    Ok(bytes)
}

pub(super) fn ftyp(major: &[u8; 4], compatible: &[&[u8; 4]]) -> Ftyp {
    Ftyp {
        major_brand: FourCC::new(major),
        minor_version: 0,
        compatible_brands: compatible.iter().map(|brand| FourCC::new(brand)).collect(),
    }
}

/// ISO/IEC 14496-15, annex E.3: profile, compatibility flags in reversed bit order, tier and level, constraints without
/// the zero bytes at their end.
fn hvc1_name(hvcc: &Hvcc) -> String {
    let space = ["", "A", "B", "C"][usize::from(hvcc.general_profile_space & 3)];
    let flags = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let mut name = format!("hvc1.{space}{}.{flags:X}.{tier}{}", hvcc.general_profile_idc, hvcc.general_level_idc);
    let constraints = &hvcc.general_constraint_indicator_flags;
    let used = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        name.push_str(&format!(".{byte:X}"));
    }
    name
}
