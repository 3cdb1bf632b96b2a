//! Samples of time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One call of what is measured.
pub(crate) type Call = Box<dyn FnMut() -> sconce::Result<()>>;

/// How long a sample takes, at least: short enough to fit between two interruptions.
const SAMPLE: Duration = Duration::from_millis(2);

/// What passes while a line runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The time of day: for what runs on several threads.
    Wall,
    /// The time that the calling thread had a processor: other programs on the machine do not count.
    Thread,
}

impl Clock {
    fn now(self, start: Instant) -> f64 {
        match self {
            Self::Thread => {
                let now = clock_gettime(ClockId::ThreadCPUTime);
                now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
            }
            Self::Wall => start.elapsed().as_secs_f64(),
        }
    }
}

/// Seconds per call, over so many calls.
pub(crate) fn sample(call: &mut Call, calls: usize, clock: Clock) -> sconce::Result<f64> {
    let origin = Instant::now();
    let start = clock.now(origin);
    for _ in 0..calls {
        call()?;
    }
    Ok((clock.now(origin) - start) / calls as f64)
}

/// How many calls make a sample, after a warm-up.
pub(crate) fn calls_for(call: &mut Call) -> sconce::Result<usize> {
    let mut calls = 1;
    loop {
        let taken = sample(call, calls, Clock::Wall)? * calls as f64;
        if taken >= SAMPLE.as_secs_f64() {
            return Ok(calls);
        }
        calls *= 2;
    }
}

/// The middle value; NaN of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
