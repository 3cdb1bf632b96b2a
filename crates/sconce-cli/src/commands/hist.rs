//! `sconce hist`: the distribution of values, on the terminal or as a picture.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgMatches, Command, value_parser};
use sconce::ErrorKind;
use sconce::io::{Archive, Entry as Stored};
use sconce::stats::{self, HISTOGRAM_SAMPLE, Summary, svg};
use serde_json::{Value, json};

use super::{Entry, Failure};
use crate::progress::{self, Progress};
use crate::text::{grouped, number, printable};
use crate::{input, output};

pub(super) const ENTRY: Entry = Entry { name: "hist", arguments, run };

fn arguments() -> Command {
    Command::new("hist")
        .about("Draws histograms of tensors' values")
        .arg(input::file("file"))
        .arg(input::selector())
        .arg(
            Arg::new("bins")
                .long("bins")
                .value_name("N")
                .default_value("20")
                .value_parser(value_parser!(u16).range(1..=4096))
                .help("Equal ranges from the least to the greatest value"),
        )
        .arg(
            Arg::new("svg")
                .long("svg")
                .value_name("PATH")
                .value_parser(value_parser!(OsString))
                .conflicts_with("json")
                .help("Writes a picture instead"),
        )
        .arg(input::json())
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let archive = progress::open(input::path(matches, "file"))?;
    let selector = input::given_selector(matches)?;
    let bins = matches.get_one::<u16>("bins").copied().unwrap_or(20).into();
    let progress = Progress::of_archives(&[&archive]);
    let mut rows = Vec::new();
    for entry in input::select(&archive, selector.as_ref())? {
        let summary = match stats::of_entry(&archive, entry, bins) {
            Ok(summary) => Ok(summary),
            Err(error) if error.kind() == ErrorKind::Unsupported => Err(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        rows.push((entry, summary));
    }
    drop(progress);
    if matches.get_flag("json") {
        write_json(&archive, &rows, out)?;
    } else if let Some(path) = matches.get_one::<OsString>("svg") {
        let charts: Vec<_> = rows.iter().filter_map(|(e, s)| Some((title(e), s.as_ref().ok()?))).collect();
        let path = Path::new(path);
        output::write_text(path, input::path(matches, "file"), &svg::document(&charts))?;
        writeln!(out, "{}: {} histograms", printable(&path.to_string_lossy()), charts.len())?;
    } else {
        for (i, (entry, summary)) in rows.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            write_text(entry, summary, out)?;
        }
    }
    Ok(())
}

type Row<'a> = (&'a Stored, Result<Summary, String>);

fn title(entry: &Stored) -> String {
    let sampled = entry.numel() as u64 > HISTOGRAM_SAMPLE;
    let about =
        if sampled { format!(", histogram of about {}", grouped(HISTOGRAM_SAMPLE)) } else { String::new() };
    let (name, dtype, shape) = (printable(entry.name()), entry.encoding().name(), entry.shape());
    format!("{name}  {dtype} {shape:?}  {} values{about}", grouped(entry.numel() as u64))
}

fn write_text(entry: &Stored, summary: &Result<Summary, String>, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}", title(entry))?;
    match summary {
        Ok(summary) => write!(out, "{summary}"),
        Err(reason) => writeln!(out, "  {}", printable(reason)),
    }
}

fn write_json(archive: &Archive, rows: &[Row<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    let tensors = rows.iter().map(|(entry, summary)| match summary {
        Ok(Summary { stats, histogram }) => json!({
            "name": entry.name(),
            "count": entry.numel(),
            "min": number(stats.min),
            "max": number(stats.max),
            "nan": stats.nan,
            "pos_inf": stats.pos_inf,
            "neg_inf": stats.neg_inf,
            "sampled": entry.numel() as u64 > HISTOGRAM_SAMPLE,
            "histogram": histogram,
        }),
        Err(reason) => json!({ "name": entry.name(), "count": entry.numel(), "no_statistics": reason }),
    });
    let document = json!({ "file": archive.name(), "tensors": tensors.collect::<Vec<Value>>() });
    writeln!(out, "{document:#}")
}
