//! Numbers and names as text for people, and for JSON.

use std::io::{Write, stderr};

pub(crate) use sconce::stats::text::{grouped, short};
use serde_json::{Value, json};

/// One line on the error output, without characters that would steer a terminal.
pub(crate) fn complain(message: &str) {
    // Nobody can be told that this failed.
    let _ = writeln!(stderr(), "sconce: {}", printable(message));
}

/// A name without characters that would steer a terminal.
pub(crate) fn printable(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A number for JSON, which has neither NaN nor infinity: they are null.
pub(crate) fn number(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { Value::Null }
}

/// One block character per range, its height relative to the fullest.
pub(crate) fn bars(histogram: &[u64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = histogram.iter().copied().max().unwrap_or(0);
    let bar = |&n: &u64| match n {
        0 => ' ',
        n => BLOCKS[((n as f64 / most as f64 * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    histogram.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
