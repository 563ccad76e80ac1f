//! What this process may take of the gateway.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Address space: FFmpeg's libraries map 200 MB before the first picture, a 4K picture with its references needs 150 MB more.
const ADDRESS_BYTES_MAX: u64 = 768 * 1024 * 1024;

/// Processor time of one request. A second of 4K H.265 takes less on the slowest gateway; the gateway itself gives up earlier.
const REQUEST_CPU_S_MAX: u64 = 5;

/// How much this process steps back: a press never waits for a picture.
const NICENESS: i32 = 10;

/// Bounds memory for good, and steps back. No file can be made, whatever a codec is made to do.
pub(crate) fn apply() -> rustix::io::Result<()> {
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, limit(ADDRESS_BYTES_MAX))?;
    setrlimit(Resource::Fsize, limit(0))?;
    setrlimit(Resource::Core, limit(0))?;
    // Where stepping back is not allowed it decodes all the same.
    let _ = rustix::process::nice(NICENESS);
    Ok(())
}

/// Gives the next request its time: the system ends the process when that is used up.
pub(crate) fn begin_request() {
    let used_s = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
    let limit = Rlimit { current: Some(used_s + REQUEST_CPU_S_MAX), maximum: getrlimit(Resource::Cpu).maximum };
    // The gateway's own time limit stands in where the system knows none.
    let _ = setrlimit(Resource::Cpu, limit);
}
