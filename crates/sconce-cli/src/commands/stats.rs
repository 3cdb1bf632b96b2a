//! `sconce stats`: a row of JSON for every tensor of many files.

use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::io::{self, ContentHash};
use sconce::select::Selector;
use sconce::{ErrorKind, stats};
use serde_json::{Value, json};

use super::{Entry, Failure, complain};
use crate::input;
use crate::text::number;

pub(super) const ENTRY: Entry = Entry { name: "stats", arguments, run };

/// More ranges than anyone reads.
const MAX_BINS: i64 = 1 << 16;

fn arguments() -> Command {
    Command::new("stats")
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
        )
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let selector = input::given_selector(matches)?;
    let options = Options {
        selector: selector.as_ref(),
        bins: matches.get_one::<u64>("bins").copied().unwrap_or(0) as usize,
        hash: matches.get_flag("hash"),
        values: !matches.get_flag("header"),
    };
    let mut reported = false;
    for path in input::paths(matches) {
        match rows(path, &options, out) {
            Err(Failure::Input(error)) => {
                complain(&error);
                reported = true;
            }
            other => other?,
        }
    }
    if reported { Err(Failure::Reported) } else { Ok(()) }
}

struct Options<'a> {
    selector: Option<&'a Selector>,
    bins: usize,
    hash: bool,
    values: bool,
}

fn rows(path: &Path, options: &Options<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let archive = io::open(path)?;
    for entry in input::select(&archive, options.selector)? {
        let mut row = json!({
            "file": archive.name(),
            "format": archive.format(),
            "name": entry.name(),
            "dtype": entry.encoding().name(),
            "shape": entry.shape(),
            "count": entry.numel(),
            "bytes": entry.bytes(),
        });
        if options.values {
            match stats::of_entry(&archive, entry, options.bins) {
                Ok(summary) => {
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
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    row["no_statistics"] = json!(error.to_string())
                }
                Err(error) => return Err(error.into()),
            }
        }
        if options.hash {
            row["hash"] = json!(format!("blake3:{}", ContentHash::of_tensor(&archive, entry)?));
        }
        writeln!(out, "{row}")?;
    }
    Ok(())
}
