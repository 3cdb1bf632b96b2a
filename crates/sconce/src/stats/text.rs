//! Numbers and histograms as text for people.

use std::fmt;

use super::Summary;

/// Characters of the longest bar.
const WIDTH: usize = 50;

/// A number in four significant digits; what is not finite is a dash.
///
/// ```
/// use sconce::stats::text::short;
/// let cases = [(0.0, "0"), (1.0, "1.000"), (-0.012345, "-0.01235"), (1234.5, "1234"), (1e-9, "1.000e-9")];
/// assert!(cases.iter().all(|(x, text)| short(*x) == *text));
/// ```
pub fn short(x: f64) -> String {
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

/// The digits of a number in groups of three.
///
/// ```
/// assert_eq!(sconce::stats::text::grouped(1234567), "1,234,567");
/// ```
pub fn grouped(n: u64) -> String {
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

/// A line per range of the histogram, with its least value, count and bar; then mean, deviation, and what is odd.
///
/// ```
/// use sconce::{Tensor, stats};
/// let x = Tensor::from_vec(vec![0.0f32, 1.0, 2.0, 2.0], [4])?;
/// let text = stats::of_tensor(&x, 2)?.to_string();
/// assert!(text.starts_with("          0  1  ████"));
/// assert!(text.ends_with("  mean 1.250, std 0.9574, 1 zeros, 0 NaN, 0 Inf\n"));
/// # Ok::<(), sconce::Error>(())
/// ```
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stats, histogram } = self;
        let most = histogram.iter().copied().max().unwrap_or(0);
        let step = (stats.max - stats.min) / histogram.len() as f64;
        let digits = histogram.iter().map(|&n| grouped(n).len()).max().unwrap_or(0);
        let any = stats.finite() > 0;
        for (i, &n) in histogram.iter().enumerate().filter(|_| any) {
            let from = short(stats.min + step * i as f64);
            writeln!(f, "{from:>11}  {:>digits$}  {}", grouped(n), bar(n, most))?;
        }
        if any {
            writeln!(f, "{:>11}", short(stats.max))?;
        }
        let (mean, std) = (short(if any { stats.mean } else { f64::NAN }), short(stats.std(1)));
        let [zeros, nan, inf] = [stats.zeros, stats.nan, stats.pos_inf + stats.neg_inf].map(grouped);
        writeln!(f, "  mean {mean}, std {std}, {zeros} zeros, {nan} NaN, {inf} Inf")
    }
}

/// A bar in eighths of a character; never nothing for something.
fn bar(n: u64, most: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if n == 0 {
        return String::new();
    }
    let eighths = ((n as f64 / most as f64 * (WIDTH * 8) as f64).round() as usize).max(1);
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}
