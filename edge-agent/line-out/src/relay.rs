//! The relay that switches an amplifier: a GPIO line, or a file such as the system has for a LED.

use std::path::PathBuf;

use anyhow::Context as _;
use gpiocdev::Request;
use gpiocdev::line::{Offset, Value};

/// Who we are to others that look at the chip's lines.
const CONSUMER: &str = "tongluo-line-out";

/// Something that is on or off.
trait Relay {
    fn switch(&self, on: bool) -> anyhow::Result<()>;
}

/// A relay that is ours until this is dropped; then it is off.
pub(crate) struct Held(Box<dyn Relay>);

impl Held {
    /// Takes the relay of this name and switches it.
    ///
    /// # Errors
    /// When there is none, another program has it, or it cannot be switched.
    pub(crate) fn take(name: &str, active_low: bool, on: bool) -> anyhow::Result<Self> {
        let relay: Box<dyn Relay> = match name.split_once(':').filter(|_| !name.starts_with('/')) {
            Some((chip, line)) => Box::new(Gpio::take(chip, line.parse().context("a line is a number")?, active_low)?),
            None => Box::new(File { path: PathBuf::from(name), active_low }),
        };
        let held = Self(relay);
        held.0.switch(on)?;
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It cannot be told to anybody any more; a GPIO line goes back to the system in any case.
        let _ = self.0.switch(false);
    }
}

/// A line of a GPIO character device. The system takes it back when this program ends, however it ends.
struct Gpio {
    request: Request,
    line: Offset,
}

impl Gpio {
    fn take(chip: &str, line: Offset, active_low: bool) -> anyhow::Result<Self> {
        let mut builder = Request::builder();
        builder.on_chip(format!("/dev/{chip}")).with_consumer(CONSUMER).with_line(line).as_output(Value::Inactive);
        if active_low {
            builder.as_active_low();
        }
        Ok(Self { request: builder.request()?, line })
    }
}

impl Relay for Gpio {
    fn switch(&self, on: bool) -> anyhow::Result<()> {
        self.request.set_value(self.line, if on { Value::Active } else { Value::Inactive })?;
        Ok(())
    }
}

/// A file that takes 1 and 0.
struct File {
    path: PathBuf,
    active_low: bool,
}

impl Relay for File {
    fn switch(&self, on: bool) -> anyhow::Result<()> {
        let level = if on == self.active_low { "0" } else { "1" };
        std::fs::write(&self.path, level).with_context(|| self.path.display().to_string())
    }
}
