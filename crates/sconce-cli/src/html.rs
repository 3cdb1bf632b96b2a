//! The page of `sconce report`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use sconce::anomaly::Anomaly;
use sconce::io::{Archive, Entry};
use sconce::stats::svg::escape;
use sconce::stats::{HISTOGRAM_SAMPLE, Spectrum, Summary};

use crate::commands::word;
use crate::text::{grouped, short};

/// Characters of a metadata value that are shown.
const VALUE: usize = 400;

/// Metadata values that are shown.
const VALUES: usize = 200;

const STYLE: &str = include_str!("../data/report.css");

/// What a page is about.
pub(crate) struct Page<'a> {
    pub(crate) archive: &'a Archive,
    pub(crate) rows: &'a [Row<'a>],
    pub(crate) anomalies: &'a [Anomaly],
}

/// A tensor, and its statistics if its elements are numbers.
pub(crate) struct Row<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) summary: Option<Summary>,
    /// Its singular values, if they were asked for, or why it has none.
    pub(crate) spectrum: Option<Result<Spectrum, String>>,
}

/// The whole document. Every text of the file is escaped, and nothing on the page is executed or loaded.
pub(crate) fn page(page: &Page<'_>) -> String {
    let path = page.archive.name();
    let (name, path) = (escape(path.rsplit(['/', '\\']).next().unwrap_or(path)), escape(path));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n<p>{path}</p>\n"
    );
    overview(&mut html, page);
    let places: HashMap<&str, usize> =
        page.rows.iter().enumerate().map(|(i, r)| (r.entry.name(), i)).collect();
    odd(&mut html, page, &places);
    metadata(&mut html, page.archive);
    html.push_str("<h2>Tensors</h2>\n");
    let mut notes: HashMap<&str, Vec<&Anomaly>> = HashMap::new();
    for anomaly in page.anomalies {
        notes.entry(&anomaly.name).or_default().push(anomaly);
    }
    let empty = Vec::new();
    for (i, row) in page.rows.iter().enumerate() {
        tensor(&mut html, page.archive, i, row, notes.get(row.entry.name()).unwrap_or(&empty));
    }
    html.push_str(
        "<footer>Made by sconce. This page loads nothing and runs nothing.</footer>\n</body>\n</html>\n",
    );
    html
}

// Writing to a `String` cannot fail, so the results below are not looked at.

fn overview(html: &mut String, page: &Page<'_>) {
    let sum = |f: &dyn Fn(&Row<'_>) -> u64| page.rows.iter().map(f).sum::<u64>();
    let of_stats = |f: fn(&Summary) -> u64| sum(&|r| r.summary.as_ref().map_or(0, f));
    let facts = [
        ("format", page.archive.format().unwrap_or("new").to_owned()),
        ("tensors", grouped(page.rows.len() as u64)),
        ("elements", grouped(sum(&|r| r.entry.numel() as u64))),
        ("bytes", grouped(sum(&|r| r.entry.bytes()))),
        ("zeros", grouped(of_stats(|s| s.stats.zeros))),
        ("NaN", grouped(of_stats(|s| s.stats.nan))),
        ("Inf", grouped(of_stats(|s| s.stats.pos_inf + s.stats.neg_inf))),
    ];
    html.push_str("<dl class=\"facts\">\n");
    for (key, value) in facts {
        let _ = writeln!(html, "<div><dt>{key}</dt><dd>{value}</dd></div>");
    }
    html.push_str("</dl>\n");
    let mut types: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for Row { entry, .. } in page.rows {
        let of = types.entry(entry.encoding().name()).or_default();
        *of = (of.0 + 1, of.1 + entry.numel() as u64, of.2 + entry.bytes());
    }
    html.push_str("<table>\n<tr><th>type</th><th>tensors</th><th>elements</th><th>bytes</th></tr>\n");
    for (name, (tensors, elements, bytes)) in types {
        let [tensors, elements, bytes] = [tensors, elements, bytes].map(grouped);
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{tensors}</td><td>{elements}</td><td>{bytes}</td></tr>",
            escape(name)
        );
    }
    html.push_str("</table>\n");
}

fn odd(html: &mut String, page: &Page<'_>, places: &HashMap<&str, usize>) {
    let _ = writeln!(html, "<h2>Oddities ({})</h2>", grouped(page.anomalies.len() as u64));
    if page.anomalies.is_empty() {
        html.push_str("<p>None found.</p>\n");
        return;
    }
    html.push_str("<ol class=\"odd\">\n");
    for anomaly in page.anomalies {
        let (name, explanation) = (escape(&anomaly.name), escape(&anomaly.explanation));
        let place = places.get(anomaly.name.as_str()).copied().unwrap_or(0);
        let (severity, kind) = (word(anomaly.severity), anomaly.kind);
        let _ = writeln!(
            html,
            "<li class=\"{severity}\"><b>{kind}</b> <a href=\"#t{place}\">{name}</a>: {explanation}</li>"
        );
    }
    html.push_str("</ol>\n");
}

fn metadata(html: &mut String, archive: &Archive) {
    if archive.metadata().is_empty() {
        return;
    }
    let count = archive.metadata().len();
    let _ = writeln!(html, "<details>\n<summary>Metadata ({})</summary>\n<dl>", grouped(count as u64));
    for (key, value) in archive.metadata().iter().take(VALUES) {
        let shown: String = value.chars().take(VALUE).collect();
        let more = if shown.len() < value.len() { " …" } else { "" };
        let _ = writeln!(html, "<dt>{}</dt><dd>{}{more}</dd>", escape(key), escape(&shown));
    }
    html.push_str("</dl>\n");
    if count > VALUES {
        let _ = writeln!(html, "<p>… {} more</p>", grouped((count - VALUES) as u64));
    }
    html.push_str("</details>\n");
}

fn tensor(html: &mut String, archive: &Archive, place: usize, row: &Row<'_>, notes: &[&Anomaly]) {
    let Row { entry, summary, spectrum } = row;
    let (name, dtype) = (escape(entry.name()), escape(entry.encoding().name()));
    let count = grouped(entry.numel() as u64);
    let _ = writeln!(html, "<section id=\"t{place}\">\n<h3>{name}</h3>");
    let _ = writeln!(
        html,
        "<p>{dtype} {:?} · {count} values · {} bytes</p>",
        entry.shape(),
        grouped(entry.bytes())
    );
    for anomaly in notes {
        let (severity, kind) = (word(anomaly.severity), anomaly.kind);
        let _ = writeln!(html, "<p class=\"{severity}\"><b>{kind}</b>: {}</p>", escape(&anomaly.explanation));
    }
    let tied: Vec<String> = archive.aliases(entry).take(10).map(|e| escape(e.name())).collect();
    if !tied.is_empty() {
        let _ = writeln!(html, "<p>shares memory with {}</p>", tied.join(", "));
    }
    match summary {
        None => html.push_str("<p>Its elements are only copied, not understood.</p>\n"),
        Some(summary) => {
            let s = &summary.stats;
            if s.finite() > 0 {
                html.push_str(&chart(summary));
                let (min, max) = (short(s.min), short(s.max));
                let _ = writeln!(html, "<p class=\"axis\"><span>{min}</span><span>{max}</span></p>");
            }
            let mean = if s.finite() > 0 { s.mean } else { f64::NAN };
            let [mean, std, norm] = [mean, s.std(1), s.norm()].map(short);
            let [zeros, nan, inf] = [s.zeros, s.nan, s.pos_inf + s.neg_inf].map(grouped);
            let _ = writeln!(
                html,
                "<p>mean&nbsp;{mean} · std&nbsp;{std} · norm&nbsp;{norm} · {zeros}&nbsp;zeros · {nan}&nbsp;NaN · {inf}&nbsp;Inf</p>"
            );
            if entry.numel() as u64 > HISTOGRAM_SAMPLE {
                let _ =
                    writeln!(html, "<p>The histogram is of about {} values.</p>", grouped(HISTOGRAM_SAMPLE));
            }
        }
    }
    match spectrum {
        Some(Ok(spectrum)) => singular(html, spectrum),
        // That a vector is no matrix goes without saying.
        Some(Err(why)) if entry.shape().len() > 1 => {
            let _ = writeln!(html, "<p>{}.</p>", escape(why));
        }
        _ => {}
    }
    html.push_str("</section>\n");
}

fn singular(html: &mut String, spectrum: &Spectrum) {
    let [greatest, least] =
        [spectrum.values.first(), spectrum.values.last()].map(|x| short(x.copied().unwrap_or(0.0)));
    html.push_str(&chart_of_singular(spectrum));
    let _ = writeln!(html, "<p class=\"axis\"><span>{greatest}</span><span>{least}</span></p>");
    let [stable, effective] = [spectrum.stable_rank(), spectrum.effective_rank()].map(short);
    let count = grouped(spectrum.values.len() as u64);
    let _ = writeln!(
        html,
        "<p>{count} singular values, over 10<sup>{}</sup> · stable rank&nbsp;{stable} · effective rank&nbsp;{effective}</p>",
        spectrum.decades()
    );
}

/// A picture for a page of many: one path, as wide as its place, styled by the page.
fn chart(summary: &Summary) -> String {
    const HEIGHT: f64 = 100.0;
    let Summary { stats, histogram } = summary;
    let most = histogram.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = histogram.len() as f64 * 10.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"histogram\"><path class=\"bars\" d=\""
    );
    for (i, &n) in histogram.iter().enumerate().filter(|(_, n)| **n > 0) {
        let h = (n as f64 / most * HEIGHT).max(1.0);
        let _ = write!(svg, "M{} {HEIGHT}v-{h:.1}h9v{h:.1}z", i * 10);
    }
    svg.push_str("\"/>");
    if stats.min < 0.0 && stats.max > 0.0 {
        let x = -stats.min / (stats.max - stats.min) * width;
        let _ = write!(svg, "<path class=\"zero\" d=\"M{x:.1} 0V{HEIGHT}\"/>");
    }
    svg.push_str("</svg>\n");
    svg
}

/// A picture of singular values from the greatest to the least, in logarithms, for a page as [`chart`] is: the height is
/// the powers of ten that they span.
fn chart_of_singular(spectrum: &Spectrum) -> String {
    const HEIGHT: f64 = 100.0;
    let decades = f64::from(spectrum.decades());
    let values = &spectrum.values;
    let greatest = values.first().copied().unwrap_or(0.0);
    let width = values.len() as f64 * 10.0;
    let mut svg = format!(
        "<svg class=\"spectrum\" viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"singular values\"><path class=\"bars\" d=\"M0 {HEIGHT}"
    );
    for (i, x) in values.iter().enumerate() {
        let depth = if greatest > 0.0 { (greatest / x).log10().clamp(0.0, decades) } else { decades };
        // What is there is seen.
        let y = (depth / decades * HEIGHT).min(HEIGHT - 1.0);
        let _ = write!(svg, "V{y:.1}H{}", (i + 1) * 10);
    }
    let _ = writeln!(svg, "V{HEIGHT}z\"/></svg>");
    svg
}
