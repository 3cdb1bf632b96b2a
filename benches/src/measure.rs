//! Samples of wall-clock time.

use std::time::{Duration, Instant};

/// One call of what is measured.
pub(crate) type Call = Box<dyn FnMut() -> sconce::Result<()>>;

/// How long a sample takes, at least: short enough to fit between two interruptions.
const SAMPLE: Duration = Duration::from_millis(2);

/// Seconds per call, over so many calls.
pub(crate) fn sample(call: &mut Call, calls: usize) -> sconce::Result<f64> {
    let start = Instant::now();
    for _ in 0..calls {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() / calls as f64)
}

/// How many calls make a sample, after a warm-up.
pub(crate) fn calls_for(call: &mut Call) -> sconce::Result<usize> {
    let mut calls = 1;
    loop {
        let taken = sample(call, calls)? * calls as f64;
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
