//! How much memory and time a piece of work takes.

use std::fs;
use std::time::{Duration, Instant};

/// What a piece of work took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    /// The growth of the process's resident memory at its peak, in bytes; `None` where the system does not say.
    pub peak: Option<u64>,
    pub time: Duration,
}

/// Runs a piece of work and measures it.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, Footprint) {
    // Writing 5 sets the peak to the present size; see proc_pid_clear_refs(5).
    let before = fs::write("/proc/self/clear_refs", "5").ok().and_then(|()| peak());
    let start = Instant::now();
    let result = work();
    let time = start.elapsed();
    let peak = before.zip(peak()).map(|(before, after)| after.saturating_sub(before));
    (result, Footprint { peak, time })
}

/// The highest resident size so far.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_memory_that_is_gone_again() {
        let (sum, footprint) = measure(|| vec![1u8; 64 << 20].iter().map(|&b| u64::from(b)).sum::<u64>());
        assert_eq!(sum, 64 << 20);
        assert!(footprint.peak.is_none_or(|peak| peak >= 48 << 20), "{footprint:?}");
        assert!(footprint.time > Duration::ZERO);
    }
}
