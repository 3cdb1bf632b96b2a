//! `sconce show`: every tensor of a file with its statistics.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use sconce::io::{self, Archive, Entry as Stored, Source};
use sconce::stats::{self, Stats, Summary};
use sconce::{Error, ErrorKind};
use serde_json::{Value, json};

use super::{Entry, Failure};
use crate::input;
use crate::progress::{self, Progress};
use crate::table::{Cell, Table};
use crate::text::{bars, grouped, printable, short};

pub(super) const ENTRY: Entry = Entry { name: "show", arguments, run };

/// A small network that PyTorch trained and saved.
const DEMO: &[u8] = include_bytes!("../../data/digits_cnn.pt");

/// Ranges of the one-line histogram.
const BINS: usize = 16;

/// Tensors of more bytes together are listed without statistics unless those are asked for.
const SMALL_BYTES: u64 = 256 << 20;

/// What rows can be sorted by; the last ones are statistics.
const KEYS: &[&str] =
    &["file", "name", "dtype", "count", "bytes", "min", "max", "mean", "std", "norm", "zeros", "nan"];
const STATISTICS: &[&str] = &["min", "max", "mean", "std", "norm", "zeros", "nan"];

/// Levels of modules that a tree shows; deeper names keep their dots.
const MAX_DEPTH: usize = 24;

fn arguments() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("show")
        .about("Lists every tensor of a file: dtype, shape and statistics of its values")
        .arg(input::file("file"))
        .arg(input::selector())
        .arg(flag("stats", "Takes statistics of all values; without it only of 256 MiB of tensors or less"))
        .arg(flag("no-stats", "Reads no values, only what the header says").conflicts_with("stats"))
        .arg(
            Arg::new("sort")
                .long("sort")
                .value_name("KEY")
                .value_parser(PossibleValuesParser::new(KEYS))
                .default_value("file")
                .hide_default_value(true)
                .help("The order of the rows: that of the file, or from the least to the greatest of"),
        )
        .arg(flag("reverse", "Turns the order round"))
        .arg(
            flag("tree", "Shows modules with the sums of what they hold")
                .conflicts_with_all(["sort", "reverse"]),
        )
        .arg(input::json())
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let archive = progress::open(input::path(matches, "file"))?;
    let selector = input::given_selector(matches)?;
    let sort = matches.get_one::<String>("sort").map_or("file", String::as_str);
    let entries = input::select(&archive, selector.as_ref())?;
    let small = entries.iter().map(|e| e.bytes()).fold(0, u64::saturating_add) <= SMALL_BYTES;
    let wanted = matches.get_flag("stats") || STATISTICS.contains(&sort);
    if matches.get_flag("no-stats") && STATISTICS.contains(&sort) {
        return Err(Error::argument(format!("--no-stats leaves nothing to sort by {sort}")).into());
    }
    let view = View {
        stats: wanted || (small && !matches.get_flag("no-stats")),
        sort,
        reverse: matches.get_flag("reverse"),
        tree: matches.get_flag("tree"),
        json: matches.get_flag("json"),
    };
    show(&archive, entries, &view, out)
}

/// How a file is shown.
struct View<'a> {
    stats: bool,
    sort: &'a str,
    reverse: bool,
    tree: bool,
    json: bool,
}

/// Shows the built-in checkpoint.
pub(super) fn demo(out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let source = Source::from_bytes("digits_cnn.pt (built in)", DEMO.to_vec());
    let archive = io::open_source(&source, &io::Options::default())?;
    let view = View { stats: true, sort: "file", reverse: false, tree: false, json: false };
    show(&archive, archive.entries().iter().collect(), &view, out)
}

/// A tensor with its statistics, if they were wanted and there are any.
type Row<'a> = (&'a Stored, Option<Summary>);

fn show(
    archive: &Archive,
    entries: Vec<&Stored>,
    view: &View<'_>,
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(entries.len());
    if view.stats {
        let progress = Progress::of_archives(&[archive]);
        let summaries = stats::of_entries(archive, &entries, BINS);
        drop(progress);
        for (entry, summary) in entries.into_iter().zip(summaries) {
            rows.push(match summary {
                Ok(summary) => (entry, Some(summary)),
                Err(error) if error.kind() == ErrorKind::Unsupported => (entry, None),
                Err(error) => return Err(error.into()),
            });
        }
    } else {
        rows.extend(entries.into_iter().map(|entry| (entry, None)));
    }
    sort(&mut rows, view.sort);
    if view.reverse {
        rows.reverse();
    }
    match (view.json, view.tree) {
        (true, _) => write_json(archive, &rows, out),
        (false, true) => write_tree(archive, &rows, view.stats, out),
        (false, false) => write_table(archive, &rows, view.stats, out),
    }
}

/// Sorts rows; those without the number come last.
fn sort(rows: &mut [Row<'_>], key: &str) {
    let number = |row: &Row<'_>| match (&row.1, key) {
        (_, "count") => row.0.numel() as f64,
        (_, "bytes") => row.0.bytes() as f64,
        (Some(summary), _) => {
            let s = &summary.stats;
            match key {
                "min" => s.min,
                "max" => s.max,
                "mean" => mean(s),
                "std" => s.std(1),
                "norm" => s.norm(),
                "zeros" => s.zeros as f64,
                _ => s.nan as f64,
            }
        }
        (None, _) => f64::NAN,
    };
    match key {
        "file" => {}
        "name" => rows.sort_by(|a, b| a.0.name().cmp(b.0.name())),
        "dtype" => rows.sort_by(|a, b| a.0.encoding().name().cmp(b.0.encoding().name())),
        _ => rows.sort_by(|a, b| {
            let (a, b) = (number(a), number(b));
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }),
    }
}

/// Modules by the dots in names, each with the sums of all below it; tensors with their shapes.
fn write_tree(
    archive: &Archive,
    rows: &[Row<'_>],
    with_stats: bool,
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    // Every prefix of a name in the order in which it is met first, with the sums of the tensors below.
    let mut sums: HashMap<&str, (u64, u64)> = HashMap::new();
    for (entry, _) in rows {
        for (dot, _) in entry.name().match_indices('.').take(MAX_DEPTH) {
            let sum = sums.entry(&entry.name()[..dot]).or_default();
            *sum = (sum.0 + entry.numel() as u64, sum.1 + entry.bytes());
        }
    }
    let mut columns =
        vec![("name", false), ("dtype", false), ("shape", false), ("count", true), ("bytes", true)];
    if with_stats {
        columns.extend([("mean", true), ("std", true), ("histogram", false)]);
    }
    let mut table = Table::new(&columns);
    let mut shown: HashSet<&str> = HashSet::new();
    for (entry, summary) in rows {
        let name = entry.name();
        let mut start = 0;
        let mut depth = 0;
        for (dot, _) in name.match_indices('.').take(MAX_DEPTH) {
            let path = &name[..dot];
            if shown.insert(path) {
                let (count, bytes) = sums.get(path).copied().unwrap_or_default();
                let label = format!("{:indent$}{}", "", printable(&name[start..dot]), indent = 2 * depth);
                let mut row = vec![label, String::new(), String::new(), grouped(count), grouped(bytes)];
                row.resize(columns.len(), String::new());
                table.push(row.into_iter().map(Cell::plain).collect());
            }
            (start, depth) = (dot + 1, depth + 1);
        }
        let mut row = vec![
            format!("{:indent$}{}", "", printable(&name[start..]), indent = 2 * depth),
            entry.encoding().name().to_owned(),
            format!("{:?}", entry.shape()),
            grouped(entry.numel() as u64),
            grouped(entry.bytes()),
        ];
        if let Some(Summary { stats: s, histogram }) = summary {
            row.extend([mean(s), s.std(1)].map(short));
            row.push(bars(histogram));
        }
        row.resize(columns.len(), "-".to_owned());
        table.push(row.into_iter().map(Cell::plain).collect());
    }
    write_title(archive, out)?;
    table.write(out)?;
    write_totals(rows, with_stats, out)
}

fn mean(stats: &Stats) -> f64 {
    if stats.finite() > 0 { stats.mean } else { f64::NAN }
}

fn write_json(archive: &Archive, rows: &[Row<'_>], out: &mut dyn Write) -> std::result::Result<(), Failure> {
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
                "mean": of(&|s| number(mean(&s.stats))),
                "std": of(&|s| number(s.stats.std(1))),
                "norm": of(&|s| number(s.stats.norm())),
                "zeros": of(&|s| json!(s.stats.zeros)),
                "nan": of(&|s| json!(s.stats.nan)),
                "inf": of(&|s| json!(s.stats.pos_inf + s.stats.neg_inf)),
                "histogram": of(&|s| json!(s.histogram)),
            })
        })
        .collect();
    let any = rows.iter().any(|(_, summary)| summary.is_some());
    let counted = |of: fn(&Summary) -> u64| if any { json!(total(rows, of)) } else { Value::Null };
    let document = json!({
        "file": archive.name(),
        "format": archive.format(),
        "metadata": archive.metadata().iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
        "tensors": tensors,
        "totals": {
            "tensors": rows.len(),
            "count": rows.iter().map(|(e, _)| e.numel() as u64).sum::<u64>(),
            "bytes": rows.iter().map(|(e, _)| e.bytes()).sum::<u64>(),
            "zeros": counted(|s| s.stats.zeros),
            "nan": counted(|s| s.stats.nan),
            "inf": counted(|s| s.stats.pos_inf + s.stats.neg_inf),
        },
    });
    writeln!(out, "{document:#}")?;
    Ok(())
}

/// The sum over all tensors that statistics were taken of.
fn total(rows: &[Row<'_>], of: fn(&Summary) -> u64) -> u64 {
    rows.iter().filter_map(|(_, summary)| summary.as_ref()).map(of).sum()
}

fn write_table(
    archive: &Archive,
    rows: &[Row<'_>],
    with_stats: bool,
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    let mut columns = vec![("name", false), ("dtype", false), ("shape", false), ("count", true)];
    match with_stats {
        true => columns.extend([
            ("min", true),
            ("max", true),
            ("mean", true),
            ("std", true),
            ("norm", true),
            ("zeros", true),
            ("NaN", true),
            ("Inf", true),
            ("histogram", false),
        ]),
        false => columns.push(("bytes", true)),
    }
    let mut table = Table::new(&columns);
    for (entry, summary) in rows {
        let mut row = vec![
            Cell::plain(printable(entry.name())),
            Cell::plain(entry.encoding().name()),
            Cell::plain(format!("{:?}", entry.shape())),
            Cell::plain(grouped(entry.numel() as u64)),
        ];
        match summary {
            Some(Summary { stats: s, histogram }) => {
                row.extend([s.min, s.max, mean(s), s.std(1), s.norm()].map(|x| Cell::plain(short(x))));
                row.push(Cell::plain(grouped(s.zeros)));
                row.extend([s.nan, s.pos_inf + s.neg_inf].map(|n| match n {
                    0 => Cell::plain("0"),
                    n => Cell::alarm(grouped(n)),
                }));
                row.push(Cell::plain(bars(histogram)));
            }
            None if with_stats => row.extend((0..9).map(|_| Cell::plain("-"))),
            None => row.push(Cell::plain(grouped(entry.bytes()))),
        }
        table.push(row);
    }
    write_title(archive, out)?;
    table.write(out)?;
    write_totals(rows, with_stats, out)
}

fn write_title(archive: &Archive, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    writeln!(out, "{} ({})\n", printable(archive.name()), archive.format().unwrap_or("new"))?;
    Ok(())
}

fn write_totals(rows: &[Row<'_>], with_stats: bool, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let bytes: u64 = rows.iter().map(|(e, _)| e.bytes()).sum();
    let count: u64 = rows.iter().map(|(e, _)| e.numel() as u64).sum();
    let sum = |f: fn(&Summary) -> u64| grouped(total(rows, f));
    let [tensors, count, bytes] = [rows.len() as u64, count, bytes].map(grouped);
    let values = match with_stats {
        true => format!(
            "{} zeros, {} NaN, {} Inf",
            sum(|s| s.stats.zeros),
            sum(|s| s.stats.nan),
            sum(|s| s.stats.pos_inf + s.stats.neg_inf)
        ),
        false => "--stats reads the values".to_owned(),
    };
    writeln!(out, "\n{tensors} tensors, {count} elements, {bytes} bytes; {values}")?;
    Ok(())
}
