//! G.711, in which most cameras send sound: eight bits a sample, decoded into sixteen (ITU-T G.711).

/// Which of its two laws.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::camera) enum Law {
    /// PCMA.
    A,
    /// PCMU.
    Mu,
}

impl Law {
    /// One sample.
    pub(super) const fn decode(self, byte: u8) -> i16 {
        match self {
            Self::A => a(byte),
            Self::Mu => mu(byte),
        }
    }
}

const fn a(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = ((byte >> 4) & 7, (byte & 0x0f) as i16);
    // Half a step above the lower edge, so that the error is smallest.
    let size = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 { -size } else { size }
}

const fn mu(byte: u8) -> i16 {
    let byte = !byte;
    let (exponent, mantissa) = ((byte >> 4) & 7, (byte & 0x0f) as i16);
    let size = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if byte & 0x80 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::sound::tests::ffmpeg;

    #[test]
    fn every_byte_is_decoded_as_ffmpeg_does() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (law, name) in [(Law::A, "alaw"), (Law::Mu, "mulaw")] {
            let raw = ffmpeg(&["-f", name, "-ar", "8000", "-ac", "1", "-i", "-", "-f", "s16le", "-"], &bytes);
            let theirs: Vec<i16> = raw.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
            let ours: Vec<i16> = bytes.iter().map(|byte| law.decode(*byte)).collect();
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
