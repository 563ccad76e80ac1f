//! Sound beside the pictures: a second track, in the same ticks.
//!
//! What a browser plays of what cameras send is AAC; what it does not play (G.711) arrives here as FLAC, which every browser
//! and player reads and which loses nothing.

use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use mp4_atom::{
    Audio, Codec as SampleEntry, Decode as _, Dfla, Dinf, Dref, Encode as _, Esds, Flac, FlacMetadataBlock, FourCC,
    Hdlr, Mdhd, Mdia, Minf, Mp4a, Smhd, Stbl, Stsd, Tkhd, Trak, Url,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};

use super::super::{SOUND_CHANNELS_MAX, SOUND_FRAME_SAMPLES_MAX, SOUND_RATES_HZ, SoundCodec, TIMESCALE};
use super::{Mp4Error, SOUND_TRACK_ID};

/// MPEG-4 audio among the object types of ISO/IEC 14496-1.
const OBJECT_TYPE_MPEG4_AUDIO: u8 = 0x40;

/// An audio stream among the stream types of ISO/IEC 14496-1.
const STREAM_TYPE_AUDIO: u8 = 5;

/// FLAC's shortest block (RFC 9639, section 8.2).
const FLAC_BLOCK_MIN: u16 = 16;

/// Bits of a sample, as it is decoded.
const SAMPLE_BITS: u16 = 16;

/// What the sound of a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// How it is encoded.
    pub codec: SoundCodec,
    /// Samples a second.
    pub rate_hz: u32,
    /// One or two.
    pub channels: u8,
    /// AAC: the AudioSpecificConfig (ISO/IEC 14496-3). FLAC: nothing, the rest says it all.
    pub parameters: Vec<u8>,
}

impl Sound {
    /// The codec as RFC 6381 names it: `mp4a.40.2`, `flac`.
    pub fn rfc6381(&self) -> String {
        match self.codec {
            SoundCodec::Aac => format!("mp4a.40.{}", self.parameters.first().map_or(0, |byte| byte >> 3)),
            SoundCodec::Flac => String::from("flac"),
        }
    }

    fn sample_entry(&self) -> Result<SampleEntry, Mp4Error> {
        let rate_hz = u16::try_from(self.rate_hz).ok().filter(|_| SOUND_RATES_HZ.contains(&self.rate_hz));
        let rate_hz = rate_hz.ok_or(Mp4Error::Foreign("a rate of sound that is none"))?;
        if !(1..=SOUND_CHANNELS_MAX).contains(&self.channels) {
            return Err(Mp4Error::Foreign("sound of neither one nor two channels"));
        }
        let audio = Audio {
            data_reference_index: 1,
            channel_count: self.channels.into(),
            sample_size: SAMPLE_BITS,
            sample_rate: rate_hz.into(),
        };
        Ok(match self.codec {
            SoundCodec::Aac => SampleEntry::Mp4a(Mp4a { audio, esds: self.esds()?, btrt: None, taic: None }),
            SoundCodec::Flac => SampleEntry::Flac(Flac { audio, dfla: Dfla { blocks: vec![self.stream_info()] } }),
        })
    }

    fn esds(&self) -> Result<Esds, Mp4Error> {
        let config = DecoderSpecific::decode(&mut &self.parameters[..]).map_err(Mp4Error::Parameters)?;
        if config.raw.len() < 2 || config.profile == 0 {
            return Err(Mp4Error::Foreign("AAC without an AudioSpecificConfig"));
        }
        let dec_config = DecoderConfig {
            object_type_indication: OBJECT_TYPE_MPEG4_AUDIO,
            stream_type: STREAM_TYPE_AUDIO,
            dec_specific: Some(config),
            ..DecoderConfig::default()
        };
        let es_id = SOUND_TRACK_ID as u16;
        Ok(Esds { es_desc: EsDescriptor { es_id, dec_config, sl_config: SLConfig {}, ..EsDescriptor::default() } })
    }

    fn stream_info(&self) -> FlacMetadataBlock {
        FlacMetadataBlock::StreamInfo {
            minimum_block_size: FLAC_BLOCK_MIN,
            maximum_block_size: SOUND_FRAME_SAMPLES_MAX,
            minimum_frame_size: [0; 3].into(),
            maximum_frame_size: [0; 3].into(),
            sample_rate: self.rate_hz,
            num_channels_minus_one: self.channels - 1,
            bits_per_sample_minus_one: SAMPLE_BITS as u8 - 1,
            // Not known while it flows, and not summed up.
            number_of_interchannel_samples: 0,
            md5_checksum: vec![0; 16],
        }
    }

    /// The sound of a sample entry.
    pub(super) fn of(entry: &SampleEntry) -> Result<Self, Mp4Error> {
        let of = |codec, audio: &Audio, parameters| {
            let channels = u8::try_from(audio.channel_count).unwrap_or(u8::MAX);
            Self { codec, rate_hz: u32::from(audio.sample_rate.integer()), channels, parameters }
        };
        match entry {
            SampleEntry::Mp4a(mp4a) => {
                let mut parameters = Vec::new();
                let config = mp4a.esds.es_desc.dec_config.dec_specific.as_ref();
                let config = config.ok_or(Mp4Error::Foreign("AAC without an AudioSpecificConfig"))?;
                config.encode(&mut parameters).map_err(Mp4Error::Box)?;
                Ok(of(SoundCodec::Aac, &mp4a.audio, parameters))
            }
            SampleEntry::Flac(flac) => Ok(of(SoundCodec::Flac, &flac.audio, Vec::new())),
            _ => Err(Mp4Error::Foreign("sound that is neither AAC nor FLAC")),
        }
    }

    /// The track's box around a table of samples, which is empty where fragments follow.
    pub(super) fn trak(&self, samples: Stbl, duration_90k: u64) -> Result<Trak, Mp4Error> {
        let stbl = Stbl { stsd: Stsd { codecs: vec![self.sample_entry()?] }, ..samples };
        let dinf = Dinf { dref: Dref { entries: vec![Url::default().into()] } };
        let minf = Minf { smhd: Some(Smhd::default()), dinf, stbl, ..Minf::default() };
        let mdia = Mdia {
            mdhd: Mdhd { timescale: TIMESCALE, duration: duration_90k, language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: FourCC::new(b"soun"), name: "sound".into() },
            minf,
        };
        let tkhd = Tkhd {
            track_id: SOUND_TRACK_ID,
            duration: duration_90k,
            enabled: true,
            in_movie: true,
            volume: 1.into(),
            ..Tkhd::default()
        };
        Ok(Trak { tkhd, mdia, ..Trak::default() })
    }
}

/// One piece of sound to be written: an AAC or FLAC frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundSample<'a> {
    /// The frame.
    pub data: &'a [u8],
    /// How long it sounds, in ticks.
    pub duration_90k: u32,
}

/// Shortens the first pieces so that what begins `early_90k` too soon begins at zero, and all that follows stands where it
/// stood: the times of sound must add up, and before zero there is none.
pub(super) fn shorten<'a>(durations: impl Iterator<Item = &'a mut u32>, mut early_90k: u64) {
    for duration in durations {
        // None becomes nothing: browsers take a piece without length for a mistake.
        let cut = u64::from(duration.saturating_sub(1)).min(early_90k);
        *duration -= cut as u32;
        early_90k -= cut;
        if early_90k == 0 {
            return;
        }
    }
}
