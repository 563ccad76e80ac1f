//! What the demo's cameras look at: four places of a village, drawn by ffmpeg from boxes, with a car, somebody who walks, and a
//! running clock. Nobody's face is in them.

/// Pixels of the drawing; a recipe of another size scales it.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

/// One of the four places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// A village's entrance: a house, a tree, the road.
    Gate,
    /// The square before the village's hall, with its alarm pillar.
    Square,
    /// The yard of the village's clinic.
    Clinic,
    /// A reservoir's dam and its guard house.
    Dam,
}

/// A box: left, top, width, height, colour.
type Block = (u32, u32, u32, u32, &'static str);

struct Drawing {
    sky: &'static str,
    horizon: &'static str,
    blocks: &'static [Block],
    car: &'static str,
}

const GATE: Drawing = Drawing {
    sky: "0x9cb8cf",
    horizon: "0xdde5e6",
    blocks: &[
        (0, 330, 1280, 390, "0x8a9a66"),
        (0, 330, 1280, 10, "0x6f8158"),
        (0, 470, 1280, 130, "0x9b9a94"),
        (0, 468, 1280, 4, "0xc9c8c0"),
        (0, 598, 1280, 4, "0xc9c8c0"),
        (120, 200, 300, 190, "0xd8d2c4"),
        (100, 180, 340, 34, "0x7a4a3e"),
        (250, 290, 60, 100, "0x5a4638"),
        (155, 250, 60, 56, "0x4f6270"),
        (340, 250, 60, 56, "0x4f6270"),
        (980, 120, 12, 270, "0x6b6f70"),
        (940, 120, 60, 12, "0x6b6f70"),
        (640, 240, 200, 140, "0x54754a"),
        (722, 380, 30, 40, "0x5c4a38"),
    ],
    car: "0xb5473c",
};

const SQUARE: Drawing = Drawing {
    sky: "0x8fb2d2",
    horizon: "0xe6e3d6",
    blocks: &[
        (0, 350, 1280, 370, "0xbdb6a8"),
        (0, 350, 1280, 6, "0x9d978b"),
        (0, 480, 1280, 110, "0xa8a196"),
        (380, 150, 520, 220, "0xe2dccd"),
        (360, 130, 560, 30, "0x8a3d33"),
        (600, 260, 80, 110, "0x6a3a30"),
        (430, 220, 90, 60, "0x5b7080"),
        (760, 220, 90, 60, "0x5b7080"),
        (1080, 60, 8, 330, "0x8d9092"),
        (1088, 64, 90, 56, "0xb3372f"),
        (180, 330, 26, 120, "0xc23b2e"),
        (172, 318, 42, 18, "0xf0efe9"),
        (60, 260, 90, 110, "0x5d7d50"),
        (96, 370, 18, 40, "0x5c4a38"),
    ],
    car: "0x4b6a8a",
};

const CLINIC: Drawing = Drawing {
    sky: "0xa9bcc8",
    horizon: "0xe3e6e4",
    blocks: &[
        (0, 340, 1280, 380, "0xa9a79d"),
        (0, 480, 1280, 120, "0x94928a"),
        (300, 140, 620, 240, "0xf0eee8"),
        (300, 140, 620, 22, "0x4d7f72"),
        (570, 250, 90, 130, "0x7c97a0"),
        (360, 220, 120, 70, "0x61788a"),
        (750, 220, 120, 70, "0x61788a"),
        (592, 176, 46, 14, "0x2f8f5b"),
        (608, 160, 14, 46, "0x2f8f5b"),
        (0, 300, 240, 110, "0xb39d86"),
        (1040, 300, 240, 110, "0xb39d86"),
    ],
    car: "0xe6e6e2",
};

const DAM: Drawing = Drawing {
    sky: "0x86a6c4",
    horizon: "0xd4e0e6",
    blocks: &[
        (0, 280, 1280, 60, "0x6d8464"),
        (0, 340, 1280, 140, "0x5c88a0"),
        (0, 350, 1280, 6, "0x7aa2b6"),
        (0, 410, 1280, 4, "0x7aa2b6"),
        (0, 470, 1280, 150, "0xa5a29a"),
        (0, 470, 1280, 8, "0xd0cdc4"),
        (0, 620, 1280, 100, "0x7f8f62"),
        (900, 250, 180, 226, "0xd9d4c8"),
        (884, 232, 212, 26, "0x4f5f6b"),
        (960, 370, 54, 106, "0x59483c"),
        (920, 300, 44, 44, "0x52697a"),
        (240, 390, 10, 90, "0xb3372f"),
        (228, 390, 34, 10, "0xf0efe9"),
    ],
    car: "0x6a7a4a",
};

impl View {
    /// Name in a file's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Square => "square",
            Self::Clinic => "clinic",
            Self::Dam => "dam",
        }
    }

    fn drawing(self) -> &'static Drawing {
        match self {
            Self::Gate => &GATE,
            Self::Square => &SQUARE,
            Self::Clinic => &CLINIC,
            Self::Dam => &DAM,
        }
    }

    /// An ffmpeg filter graph. The still part is drawn once; the car passes once in the file's length and the walker walks
    /// it once, so that the end joins the beginning.
    pub(crate) fn source(self, width: u32, height: u32, frames_per_s: u32, seconds: u32) -> String {
        let Drawing { sky, horizon, blocks, car } = self.drawing();
        let blocks: String =
            blocks.iter().map(|(x, y, w, h, color)| format!(",drawbox={x}:{y}:{w}:{h}:{color}:fill")).collect();
        let time = format!("r={frames_per_s}:d={seconds}");
        let digits = |what: &str| format!("%{{eif\\:{what}\\:d\\:2}}");
        let clock = format!(
            "{}\\:{}.{}",
            digits(&format!("n/{frames_per_s}/60")),
            digits(&format!("mod(n/{frames_per_s}\\,60)")),
            digits(&format!("mod(n\\,{frames_per_s})"))
        );
        format!(
            "gradients=s={WIDTH}x{HEIGHT}:r={frames_per_s}:d=1:n=2:c0={sky}:c1={horizon}:x0=0:y0=0:x1=0:y1=380:speed=0.00001\
             {blocks},trim=end_frame=1,loop=loop={}:size=1[still];\
             color={car}:s=120x46:{time},drawbox=84:0:36:18:0x9cb8cf:fill[car];color=0x33343a:s=16x46:{time}[walker];\
             [still][car]overlay=x='t*1400/{seconds}-120':y=500[one];\
             [one][walker]overlay=x='mod(1280+500-t*1296/{seconds},1296)-16':y=556,scale={width}:{height},noise=alls=5:allf=t,\
             drawtext=text='{clock}':x=h/30:y=h/36:fontsize=h/21:fontcolor=white:box=1:boxcolor=black@0.55:boxborderw={}",
            frames_per_s * seconds - 1,
            height / 90
        )
    }
}
