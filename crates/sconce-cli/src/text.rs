//! Numbers and names as text for people, and for JSON.

use std::io::{Write, stderr};

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

/// Four significant digits.
pub(crate) fn short(x: f64) -> String {
    match x {
        _ if !x.is_finite() => "-".to_owned(),
        0.0 => "0".to_owned(),
        _ if (1e-4..1e6).contains(&x.abs()) => {
            let digits = (3 - x.abs().log10().floor() as i32).max(0) as usize;
            format!("{x:.digits$}")
        }
        _ => format!("{x:.3e}"),
    }
}

/// A number for JSON, which has neither NaN nor infinity: they are null.
pub(crate) fn number(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { Value::Null }
}

/// Digits in groups of three.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
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
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (1.0, "1.000"), (-0.012345, "-0.01235"), (1234.5, "1234"), (1e-9, "1.000e-9")];
        for (x, text) in cases {
            assert_eq!(short(x), text);
        }
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!(grouped(123), "123");
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
