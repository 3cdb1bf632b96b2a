//! `sconce show`: every tensor of a file with its statistics.

use std::ffi::OsString;
use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::io::{self, Archive, Entry as Stored, Source};
use sconce::select::{Candidate, Selector};
use sconce::stats::{self, Summary};
use sconce::{DType, Error, Result};
use serde_json::{Value, json};

use super::{Entry, Failure};
use crate::table::{Cell, Table};
use crate::text::{bars, grouped, printable, short};

pub(super) const ENTRY: Entry = Entry { name: "show", arguments, run };

/// A small network that PyTorch trained and saved.
const DEMO: &[u8] = include_bytes!("../../data/digits_cnn.pt");

/// Ranges of the one-line histogram.
const BINS: usize = 16;

fn arguments() -> Command {
    Command::new("show")
        .about("Lists every tensor of a file: dtype, shape and statistics of its values")
        .arg(
            Arg::new("file")
                .required(true)
                .value_parser(value_parser!(OsString))
                .help("A .safetensors or .pt file"),
        )
        .arg(
            Arg::new("selector")
                .help("Which tensors, e.g. '**.bias' or 'features.** & ndim==4'; all by default"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Writes JSON for machines"))
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let path = matches.get_one::<OsString>("file").expect("clap requires the file");
    let archive = io::open(path)?;
    let selector = matches.get_one::<String>("selector").map(String::as_str);
    show(&archive, selector, matches.get_flag("json"), out)
}

/// Shows the built-in checkpoint.
pub(super) fn demo(out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let source = Source::from_bytes("digits_cnn.pt (built in)", DEMO.to_vec());
    let archive = io::open_source(&source, &io::Options::default())?;
    show(&archive, None, false, out)
}

fn show(
    archive: &Archive,
    selector: Option<&str>,
    as_json: bool,
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    let entries = select(archive, selector)?;
    let summaries = stats::of_entries(archive, &entries, BINS);
    let mut rows = Vec::with_capacity(entries.len());
    for (entry, summary) in entries.into_iter().zip(summaries) {
        let summary = match summary {
            Ok(summary) => Some(summary),
            Err(error) if error.kind() == sconce::ErrorKind::Unsupported => None,
            Err(error) => return Err(error.into()),
        };
        rows.push((entry, summary));
    }
    if as_json { write_json(archive, &rows, out) } else { write_table(archive, &rows, out) }
}

fn select<'a>(archive: &'a Archive, selector: Option<&str>) -> Result<Vec<&'a Stored>> {
    let Some(selector) = selector else { return Ok(archive.entries().iter().collect()) };
    let candidates = archive.entries().iter().map(|e| Candidate {
        path: e.name(),
        kind: None,
        // Packed elements have no dtype; their bytes are what a selector can ask for.
        dtype: e.encoding().dtype().unwrap_or(DType::U8),
        shape: e.shape(),
        trainable: None,
    });
    let selection =
        Selector::parse(selector)?.select(candidates).map_err(|e: Error| e.context(archive.name()))?;
    Ok(archive.entries().iter().filter(|e| selection.contains(e.name())).collect())
}

fn write_json(
    archive: &Archive,
    rows: &[(&Stored, Option<Summary>)],
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    // JSON has no NaN; a statistic of nothing is null, as are those of elements that no statistics are taken of.
    let number = |x: f64| if x.is_finite() { json!(x) } else { Value::Null };
    let tensors: Vec<Value> = rows
        .iter()
        .map(|(entry, summary)| {
            let of = |f: &dyn Fn(&Summary) -> Value| summary.as_ref().map_or(Value::Null, f);
            json!({
                "name": entry.name(),
                "dtype": entry.encoding().name(),
                "shape": entry.shape(),
                "count": entry.numel(),
                "bytes": entry.bytes(),
                "min": of(&|s| number(s.stats.min)),
                "max": of(&|s| number(s.stats.max)),
                "mean": of(&|s| number(if s.stats.finite() > 0 { s.stats.mean } else { f64::NAN })),
                "std": of(&|s| number(s.stats.std(1))),
                "norm": of(&|s| number(s.stats.norm())),
                "zeros": of(&|s| json!(s.stats.zeros)),
                "nan": of(&|s| json!(s.stats.nan)),
                "inf": of(&|s| json!(s.stats.pos_inf + s.stats.neg_inf)),
                "histogram": of(&|s| json!(s.histogram)),
            })
        })
        .collect();
    let document = json!({
        "file": archive.name(),
        "format": archive.format(),
        "metadata": archive.metadata().iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
        "tensors": tensors,
        "totals": {
            "tensors": rows.len(),
            "count": rows.iter().map(|(e, _)| e.numel() as u64).sum::<u64>(),
            "bytes": rows.iter().map(|(e, _)| e.bytes()).sum::<u64>(),
            "zeros": total(rows, |s| s.stats.zeros),
            "nan": total(rows, |s| s.stats.nan),
            "inf": total(rows, |s| s.stats.pos_inf + s.stats.neg_inf),
        },
    });
    writeln!(out, "{document:#}")?;
    Ok(())
}

/// The sum over all tensors that statistics were taken of.
fn total(rows: &[(&Stored, Option<Summary>)], of: fn(&Summary) -> u64) -> u64 {
    rows.iter().filter_map(|(_, summary)| summary.as_ref()).map(of).sum()
}

fn write_table(
    archive: &Archive,
    rows: &[(&Stored, Option<Summary>)],
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    let mut table = Table::new(&[
        ("name", false),
        ("dtype", false),
        ("shape", false),
        ("count", true),
        ("min", true),
        ("max", true),
        ("mean", true),
        ("std", true),
        ("norm", true),
        ("zeros", true),
        ("NaN", true),
        ("Inf", true),
        ("histogram", false),
    ]);
    for (entry, summary) in rows {
        let mut row = vec![
            Cell::plain(printable(entry.name())),
            Cell::plain(entry.encoding().name()),
            Cell::plain(format!("{:?}", entry.shape())),
            Cell::plain(grouped(entry.numel() as u64)),
        ];
        match summary {
            Some(Summary { stats: s, histogram }) => {
                let mean = if s.finite() > 0 { s.mean } else { f64::NAN };
                row.extend([s.min, s.max, mean, s.std(1), s.norm()].map(|x| Cell::plain(short(x))));
                row.push(Cell::plain(grouped(s.zeros)));
                row.extend([s.nan, s.pos_inf + s.neg_inf].map(|n| match n {
                    0 => Cell::plain("0"),
                    n => Cell::alarm(grouped(n)),
                }));
                row.push(Cell::plain(bars(histogram)));
            }
            None => row.extend((0..9).map(|_| Cell::plain("-"))),
        }
        table.push(row);
    }
    writeln!(out, "{} ({})", printable(archive.name()), archive.format().unwrap_or("new"))?;
    writeln!(out)?;
    table.write(out)?;
    let bytes: u64 = rows.iter().map(|(e, _)| e.bytes()).sum();
    let count: u64 = rows.iter().map(|(e, _)| e.numel() as u64).sum();
    let sum = |f: fn(&Summary) -> u64| total(rows, f);
    writeln!(out)?;
    writeln!(
        out,
        "{} tensors, {} elements, {} bytes; {} zeros, {} NaN, {} Inf",
        grouped(rows.len() as u64),
        grouped(count),
        grouped(bytes),
        grouped(sum(|s| s.stats.zeros)),
        grouped(sum(|s| s.stats.nan)),
        grouped(sum(|s| s.stats.pos_inf + s.stats.neg_inf)),
    )?;
    Ok(())
}
