//! `sconce report`: one page of HTML about a file, which needs no network and no script.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::anomaly::{self, Anomaly, Severity};
use sconce::stats::{self, Spectrum};
use sconce::{Error, ErrorKind};
use serde_json::{Value, json};

use super::{Entry, Failure};
use crate::html::{self, Page, Row};
use crate::progress::{self, Progress};
use crate::text::{grouped, printable};
use crate::{input, output};

pub(super) const ENTRY: Entry = Entry { name: "report", arguments, run };

/// Ranges of each histogram.
const BINS: usize = 48;

/// Oddities that the terminal lists; the page has them all.
const LISTED: usize = 20;

fn arguments() -> Command {
    Command::new("report")
        .about("Writes one HTML page about a file: overview, what is odd, every tensor with its histogram")
        .arg(input::file("file"))
        .arg(input::selector())
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("PATH")
                .value_parser(value_parser!(OsString))
                .required_unless_present("json")
                .help("The page to write; it works offline"),
        )
        .arg(
            Arg::new("spectra")
                .long("spectra")
                .action(ArgAction::SetTrue)
                .help("Adds the singular values of matrices, up to a lesser side of 1024"),
        )
        .arg(input::json())
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let path = input::path(matches, "file");
    let archive = progress::open(path)?;
    let selector = input::given_selector(matches)?;
    let progress = Progress::of_archives(&[&archive]);
    let entries = input::select(&archive, selector.as_ref())?;
    let mut rows = Vec::with_capacity(entries.len());
    for (&entry, summary) in entries.iter().zip(stats::of_entries(&archive, &entries, BINS)) {
        let summary = match summary {
            Ok(summary) => Some(summary),
            Err(error) if error.kind() == ErrorKind::Unsupported => None,
            Err(error) => return Err(error.into()),
        };
        let spectrum = match matches.get_flag("spectra") {
            true => Some(match Spectrum::of_entry(&archive, entry) {
                Ok(spectrum) => Ok(spectrum),
                Err(error) if error.kind() == ErrorKind::Unsupported => Err(reason(&error, entry.name())),
                Err(error) => return Err(error.into()),
            }),
            false => None,
        };
        rows.push(Row { entry, summary, spectrum });
    }
    let known: Vec<_> = rows.iter().filter_map(|r| Some((r.entry, r.summary.as_ref()?.stats))).collect();
    let anomalies = anomaly::find(&archive, &known)?;
    drop(progress);
    let target = matches.get_one::<OsString>("output").map(Path::new);
    if let Some(target) = target {
        output::write_text(
            target,
            path,
            &html::page(&Page { archive: &archive, rows: &rows, anomalies: &anomalies }),
        )?;
    }
    if matches.get_flag("json") {
        let odd = |a: &Anomaly| {
            json!({
                "name": a.name,
                "kind": a.kind.to_string(),
                "severity": word(a.severity),
                "explanation": a.explanation,
            })
        };
        let spectrum = |row: &Row<'_>| {
            let name = row.entry.name();
            Some(match row.spectrum.as_ref()? {
                Ok(found) => json!({
                    "name": name,
                    "values": found.values,
                    "stable_rank": found.stable_rank(),
                    "effective_rank": found.effective_rank(),
                }),
                Err(why) => json!({ "name": name, "error": why }),
            })
        };
        let mut document = json!({
            "file": archive.name(),
            "format": archive.format(),
            "tensors": rows.len(),
            "anomalies": anomalies.iter().map(odd).collect::<Vec<Value>>(),
            "output": target.map(|p| p.to_string_lossy()),
        });
        if matches.get_flag("spectra") {
            document["spectra"] = rows.iter().filter_map(spectrum).collect();
        }
        writeln!(out, "{document:#}")?;
        return Ok(());
    }
    if let Some(target) = target {
        let (tensors, odd) = (grouped(rows.len() as u64), grouped(anomalies.len() as u64));
        writeln!(out, "{}: {tensors} tensors, {odd} oddities", printable(&target.to_string_lossy()))?;
    }
    for a in anomalies.iter().take(LISTED) {
        let (name, explanation) = (printable(&a.name), printable(&a.explanation));
        writeln!(out, "  {:<7}  {:<14}  {name}: {explanation}", word(a.severity), a.kind)?;
    }
    if anomalies.len() > LISTED {
        writeln!(out, "  … {} more", anomalies.len() - LISTED)?;
    }
    Ok(())
}

/// What an error says beside the name of the tensor, which stands there already.
fn reason(error: &Error, name: &str) -> String {
    let text = error.to_string();
    text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text).to_owned()
}

/// The word for a severity.
pub(crate) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
