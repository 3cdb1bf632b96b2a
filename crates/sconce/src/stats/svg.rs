//! Histograms as pictures: SVG.

use std::fmt::Write;

use super::Summary;
use super::text::{grouped, short};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 140.0;
const MARGIN: f64 = 10.0;
const TITLE: f64 = 22.0;
const AXIS: f64 = 18.0;

/// A document of histograms, each under a title, one below the other.
///
/// ```
/// use sconce::nn::{Linear, ModuleExt};
/// use sconce::stats::{self, svg};
///
/// let model = vec![Linear::new(4, 3)?, Linear::new(3, 2)?];
/// let charts: Vec<(String, stats::Summary)> = model
///     .selected_parameters("**.weight")?
///     .into_iter()
///     .map(|(name, weight)| Ok((name, stats::of_tensor(&weight, 20)?)))
///     .collect::<sconce::Result<_>>()?;
/// let charts: Vec<_> = charts.iter().map(|(name, summary)| (name.clone(), summary)).collect();
/// let picture = svg::document(&charts);
/// assert!(picture.starts_with("<svg") && picture.contains("1.weight"));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn document(charts: &[(String, &Summary)]) -> String {
    let row = TITLE + HEIGHT + AXIS + MARGIN;
    let (width, height) = (WIDTH + 2.0 * MARGIN, row * charts.len() as f64 + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (i, (title, summary)) in charts.iter().enumerate() {
        let top = MARGIN + row * i as f64;
        let _ = writeln!(svg, "<g transform=\"translate({MARGIN},{top})\" fill=\"#1f2933\">");
        let _ = writeln!(svg, "<text y=\"13\">{}</text>", escape(title));
        let _ = write!(svg, "<g transform=\"translate(0,{TITLE})\">");
        bars(&mut svg, summary, WIDTH, HEIGHT);
        let y = HEIGHT + 14.0;
        if summary.stats.finite() > 0 {
            let _ = write!(svg, "<text y=\"{y}\">{}</text>", short(summary.stats.min));
            let _ = write!(
                svg,
                "<text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text>",
                short(summary.stats.max)
            );
        }
        svg.push_str("</g>\n</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The bars, a line where zero is, and on each bar its range and count as a tooltip.
fn bars(svg: &mut String, summary: &Summary, width: f64, height: f64) {
    let Summary { stats, histogram } = summary;
    let most = histogram.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = width / histogram.len().max(1) as f64;
    let range = (stats.max - stats.min) / histogram.len().max(1) as f64;
    for (i, &n) in histogram.iter().enumerate().filter(|(_, n)| **n > 0) {
        // What is there is seen.
        let h = (n as f64 / most * height).max(1.0);
        let (x, y, w) = (step * i as f64, height - h, (step - 0.5).max(0.5));
        let from = short(stats.min + range * i as f64);
        let to = short(stats.min + range * (i + 1) as f64);
        let _ = write!(
            svg,
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" fill=\"#3b7dd8\"><title>{from} to {to}: \
             {}</title></rect>",
            grouped(n)
        );
    }
    let _ = write!(svg, "<path d=\"M0 {height}H{width}\" stroke=\"#9aa5b1\"/>");
    if stats.min < 0.0 && stats.max > 0.0 {
        let x = -stats.min / (stats.max - stats.min) * width;
        let _ = write!(svg, "<path d=\"M{x:.2} 0V{height}\" stroke=\"#d64545\" stroke-dasharray=\"3 3\"/>");
    }
}

/// Text for XML and HTML, also inside quotes; what neither allows is shown as an escape.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        assert_eq!(escape("<a href='x\"'>&\u{0}"), "&lt;a href=&#39;x&quot;&#39;&gt;&amp;\\u{0}");
    }
}
