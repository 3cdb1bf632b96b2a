//! `sconce stats`: a row for every tensor of many files, as JSON or as a Parquet file.

use std::io::{IsTerminal, Write, stdout};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::io::{Archive, ContentHash, Entry as Stored};
use sconce::select::Selector;
use sconce::stats::{self, Summary};
use sconce::{ErrorKind, Result};
use serde_json::{Value, json};

use super::{Entry, Failure, complain};
use crate::input;
use crate::progress::{self, Progress};
use crate::text::number;

pub(super) const ENTRY: Entry = Entry { name: "stats", arguments, run };

/// More ranges than anyone reads.
const MAX_BINS: i64 = 1 << 16;

/// Tensors that are summarised together, so that several threads share them, before their rows are written.
const TOGETHER: usize = 256;

fn arguments() -> Command {
    let command = Command::new("stats")
        .about("Writes statistics as rows for machines: one JSON object per line and tensor, over many files")
        .arg(input::files())
        .arg(input::select_option())
        .arg(
            Arg::new("bins")
                .long("bins")
                .value_name("N")
                .default_value("0")
                .value_parser(value_parser!(u64).range(..=MAX_BINS as u64))
                .help("Adds a histogram of N equal ranges from min to max"),
        )
        .arg(Arg::new("hash").long("hash").action(ArgAction::SetTrue).help("Adds each tensor's content hash"))
        .arg(
            Arg::new("header")
                .long("header-only")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["bins", "hash"])
                .help("Reads no values: names, types, shapes and sizes only"),
        )
        .arg(input::json().hide(true))
        .after_help(
            "A statistic of nothing is null; NaN and infinities are counted and left out of the others. A file or tensor \
             that cannot be read is reported on standard error, the rest is written, and the exit code is 2.",
        );
    #[cfg(feature = "parquet")]
    let command = command.arg(
        Arg::new("parquet")
            .long("parquet")
            .value_name("PATH")
            .value_parser(value_parser!(std::ffi::OsString))
            .conflicts_with("json")
            .help("Writes the rows to a Parquet file instead, for DuckDB, Polars or Spark"),
    );
    command
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let selector = input::given_selector(matches)?;
    let options = Options {
        selector: selector.as_ref(),
        bins: matches.get_one::<u64>("bins").copied().unwrap_or(0) as usize,
        hash: matches.get_flag("hash"),
        values: !matches.get_flag("header"),
    };
    let paths = input::paths(matches);
    #[cfg(feature = "parquet")]
    if let Some(path) = matches.get_one::<std::ffi::OsString>("parquet") {
        let (rows, reported) = crate::output::write(Path::new(path), &paths, |out| {
            let mut table = crate::parquet::Table::new(out)?;
            let reported = each_row(&paths, &options, &mut |row| table.push(row))?;
            Ok((table.finish()?, reported))
        })?;
        writeln!(out, "{}: {rows} rows", crate::text::printable(&path.to_string_lossy()))?;
        return if reported { Err(Failure::Reported) } else { Ok(()) };
    }
    let reported = each_row(&paths, &options, &mut |row| writeln!(out, "{row}"))?;
    if reported { Err(Failure::Reported) } else { Ok(()) }
}

struct Options<'a> {
    selector: Option<&'a Selector>,
    bins: usize,
    hash: bool,
    values: bool,
}

/// What takes the rows; its error ends the work.
type Sink<'a, E> = &'a mut dyn FnMut(Value) -> std::result::Result<(), E>;

/// Passes on the rows of all files; whether some could not be read, which is told at once.
fn each_row<E>(paths: &[&Path], options: &Options<'_>, sink: Sink<'_, E>) -> std::result::Result<bool, E> {
    let mut reported = false;
    for path in paths {
        match rows(path, options, sink) {
            Ok(taken) => taken?,
            Err(error) => {
                complain(&error);
                reported = true;
            }
        }
    }
    Ok(reported)
}

/// Passes on the rows of one file. The error outside is the file's, that inside the sink's.
fn rows<E>(path: &Path, options: &Options<'_>, sink: Sink<'_, E>) -> Result<std::result::Result<(), E>> {
    let archive = progress::open(path)?;
    // Rows on the same terminal show it well enough.
    let _progress = (!stdout().is_terminal()).then(|| Progress::of_archives(&[&archive]));
    for entries in input::select(&archive, options.selector)?.chunks(TOGETHER) {
        let mut summaries =
            if options.values { stats::of_entries(&archive, entries, options.bins) } else { Vec::new() }
                .into_iter();
        for entry in entries {
            let row = row(&archive, entry, summaries.next(), options)?;
            if let Err(error) = sink(row) {
                return Ok(Err(error));
            }
        }
    }
    Ok(Ok(()))
}

fn row(
    archive: &Archive,
    entry: &Stored,
    summary: Option<Result<Summary>>,
    options: &Options<'_>,
) -> Result<Value> {
    let mut row = json!({
        "file": archive.name(),
        "format": archive.format(),
        "name": entry.name(),
        "dtype": entry.encoding().name(),
        "shape": entry.shape(),
        "count": entry.numel(),
        "bytes": entry.bytes(),
    });
    match summary {
        Some(Ok(summary)) => {
            let s = summary.stats;
            let some = s.finite() > 0;
            let unless_empty = |x: f64| if some { number(x) } else { Value::Null };
            row["min"] = unless_empty(s.min);
            row["max"] = unless_empty(s.max);
            row["mean"] = unless_empty(s.mean);
            row["std"] = number(s.std(1));
            row["norm"] = number(s.norm());
            row["abs_max"] = unless_empty(s.abs_max());
            row["zeros"] = json!(s.zeros);
            row["nan"] = json!(s.nan);
            row["pos_inf"] = json!(s.pos_inf);
            row["neg_inf"] = json!(s.neg_inf);
            if options.bins > 0 {
                row["histogram"] = json!(summary.histogram);
            }
        }
        Some(Err(error)) if error.kind() == ErrorKind::Unsupported => {
            row["no_statistics"] = json!(error.to_string());
        }
        Some(Err(error)) => return Err(error),
        None => {}
    }
    if options.hash {
        row["hash"] = json!(format!("blake3:{}", ContentHash::of_tensor(archive, entry)?));
    }
    Ok(row)
}
