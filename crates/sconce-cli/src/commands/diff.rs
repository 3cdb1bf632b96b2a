//! `sconce diff`: what differs between two files, whatever their formats.

use std::collections::HashSet;
use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::compare::{self, Comparison, Difference, Options, Pair, Values};
use sconce::io::{Archive, Entry as Stored};
use serde_json::{Value, json};

use super::{Entry, Failure};
use crate::input;
use crate::progress::{self, Progress};
use crate::table::{Cell, Table};
use crate::text::{grouped, number, printable, short};

pub(super) const ENTRY: Entry = Entry { name: "diff", arguments, run };

fn arguments() -> Command {
    let tolerance = |id: &'static str| {
        Arg::new(id).long(id).value_name("X").value_parser(value_parser!(f64)).conflicts_with("exact")
    };
    Command::new("diff")
        .about("Compares two files, of whatever formats: names, types, shapes, ties and values")
        .arg(input::file("a").value_name("A"))
        .arg(input::file("b").value_name("B"))
        .arg(input::selector())
        .arg(tolerance("rtol").help("Relative tolerance; PyTorch's for the types by default"))
        .arg(tolerance("atol").help("Absolute tolerance; PyTorch's for the types by default"))
        .arg(
            Arg::new("exact")
                .long("exact")
                .action(ArgAction::SetTrue)
                .help("No tolerance: every value must be equal"),
        )
        .arg(
            Arg::new("quiet")
                .short('q')
                .long("quiet")
                .action(ArgAction::SetTrue)
                .help("Writes nothing: the exit code tells"),
        )
        .arg(input::json())
        .after_help(
            "A value is within the tolerance if |a - b| <= atol + rtol·|b|; NaN equals NaN. Tensors that only one file \
             names are paired by content, to find renamed ones.",
        )
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let [a, b] = ["a", "b"].map(|id| progress::open(input::path(matches, id)));
    let (a, b) = (a?, b?);
    let selector = input::given_selector(matches)?;
    let picked = input::select_of(&[&a, &b], selector.as_ref())?;
    let names: HashSet<&str> = picked.iter().flatten().map(|e| e.name()).collect();
    let exact = matches.get_flag("exact").then_some(0.0);
    let options = Options {
        rtol: exact.or(matches.get_one("rtol").copied()),
        atol: exact.or(matches.get_one("atol").copied()),
    };
    let progress = Progress::of_archives(&[&a, &b]);
    let comparison = compare::archives(&a, &b, &options, |e| names.contains(e.name()))?;
    drop(progress);
    if matches.get_flag("quiet") {
    } else if matches.get_flag("json") {
        write_json(&a, &b, &comparison, out)?;
    } else {
        write_text(&a, &b, &comparison, out)?;
    }
    if comparison.is_same() { Ok(()) } else { Err(Failure::Negative) }
}

fn write_json(
    a: &Archive,
    b: &Archive,
    comparison: &Comparison<'_>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let file = |archive: &Archive| json!({ "file": archive.name(), "format": archive.format() });
    let side = |e: &Stored| json!({ "name": e.name(), "dtype": e.encoding().name(), "shape": e.shape() });
    let pair = |pair: &Pair<'_>| {
        let mut object = json!({
            "a": side(pair.a),
            "b": side(pair.b),
            "same": pair.is_same(),
            "renamed": pair.renamed(),
            "retyped": pair.retyped(),
            "reshaped": pair.reshaped(),
            "identical": pair.values == Values::Identical,
        });
        match &pair.values {
            Values::Compared(d) => {
                object["difference"] = json!({
                    "count": d.count,
                    "unequal": d.unequal,
                    "beyond_tolerance": d.beyond,
                    "non_finite": d.non_finite,
                    "max_abs": number(d.max_abs),
                    "max_at": d.max_at,
                    "mean_abs": number(d.mean_abs),
                    "relative_norm": number(d.relative_norm),
                    "cosine": number(d.cosine),
                });
            }
            Values::Incomparable(reason) => object["incomparable"] = json!(reason),
            _ => {}
        }
        object
    };
    let document = json!({
        "a": file(a),
        "b": file(b),
        "same": comparison.is_same(),
        "tensors": comparison.pairs.iter().map(pair).collect::<Vec<Value>>(),
        "only_a": comparison.only_a.iter().map(|e| side(e)).collect::<Vec<Value>>(),
        "only_b": comparison.only_b.iter().map(|e| side(e)).collect::<Vec<Value>>(),
        "tied_only_a": comparison.tied_a,
        "tied_only_b": comparison.tied_b,
        "metadata": comparison
            .metadata
            .iter()
            .map(|m| json!({ "key": m.key, "a": m.a, "b": m.b }))
            .collect::<Vec<Value>>(),
    });
    writeln!(out, "{document:#}")
}

fn write_text(
    a: &Archive,
    b: &Archive,
    comparison: &Comparison<'_>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let Comparison { pairs, only_a, only_b, tied_a, tied_b, metadata, .. } = comparison;
    for (sign, archive) in [("---", a), ("+++", b)] {
        writeln!(out, "{sign} {} ({})", printable(archive.name()), archive.format().unwrap_or("new"))?;
    }
    for (sign, archive, only) in [("-", a, only_a), ("+", b, only_b)] {
        if !only.is_empty() {
            writeln!(out, "\nonly in {} ({}):", printable(archive.name()), grouped(only.len() as u64))?;
        }
        for entry in only {
            let (name, dtype, shape) = (printable(entry.name()), entry.encoding(), entry.shape());
            writeln!(out, "{sign} {name}  {dtype} {shape:?}")?;
        }
    }
    let renamed: Vec<_> = pairs.iter().filter(|p| p.renamed()).collect();
    if !renamed.is_empty() {
        writeln!(out, "\nrenamed ({}):", grouped(renamed.len() as u64))?;
    }
    for pair in &renamed {
        writeln!(out, "  {} -> {}", printable(pair.a.name()), printable(pair.b.name()))?;
    }
    let changed: Vec<_> =
        pairs.iter().filter(|p| !p.renamed() && (!p.is_same() || p.values != Values::Identical)).collect();
    if !changed.is_empty() {
        writeln!(out, "\nchanged ({}):", grouped(changed.len() as u64))?;
        write_changed(&changed, out)?;
    }
    for (archive, tied) in [(a, tied_a), (b, tied_b)] {
        for names in tied {
            let names: Vec<String> = names.iter().map(|n| printable(n)).collect();
            writeln!(out, "\ntied in {} only: {}", printable(archive.name()), names.join(", "))?;
        }
    }
    if !metadata.is_empty() {
        let keys: Vec<String> = metadata.iter().map(|m| printable(&m.key)).collect();
        writeln!(out, "\nmetadata that differ (not counted): {}", keys.join(", "))?;
    }
    let count = |of: &dyn Fn(&Pair<'_>) -> bool| grouped(pairs.iter().filter(|p| of(p)).count() as u64);
    writeln!(
        out,
        "\n{} tensors in both: {} identical, {} within the tolerance, {} different, {} renamed; {} only in the first, \
         {} only in the second",
        grouped(pairs.len() as u64),
        count(&|p| p.is_same() && p.values == Values::Identical),
        count(&|p| p.is_same() && p.values != Values::Identical),
        count(&|p| !p.is_same() && !p.renamed()),
        count(&|p| p.renamed()),
        grouped(only_a.len() as u64),
        grouped(only_b.len() as u64),
    )
}

fn write_changed(pairs: &[&Pair<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("name", false),
        ("dtype", false),
        ("shape", false),
        ("verdict", false),
        ("max |a-b|", true),
        ("at", true),
        ("mean |a-b|", true),
        ("rel. norm", true),
        ("cosine", true),
        ("unequal", true),
        ("beyond", true),
    ]);
    for pair in pairs {
        let change = |a: String, b: String| if a == b { a } else { format!("{a} -> {b}") };
        let mut row = vec![
            printable(pair.a.name()),
            change(pair.a.encoding().name().to_owned(), pair.b.encoding().name().to_owned()),
            change(format!("{:?}", pair.a.shape()), format!("{:?}", pair.b.shape())),
            verdict(pair).to_owned(),
        ];
        match &pair.values {
            Values::Compared(d) => {
                let Difference { max_abs, mean_abs, relative_norm, cosine, .. } = *d;
                let at = if d.max_abs > 0.0 { index(d.max_at, pair.a.shape()) } else { "-".to_owned() };
                row.extend([short(max_abs), at]);
                row.extend([mean_abs, relative_norm].map(short));
                row.push(if cosine.is_finite() { format!("{cosine:.6}") } else { "-".to_owned() });
                row.extend([d.unequal, d.beyond].map(grouped));
            }
            _ => row.extend(std::iter::repeat_n("-".to_owned(), 7)),
        }
        table.push(row.into_iter().map(Cell::plain).collect());
    }
    table.write(out)
}

fn verdict(pair: &Pair<'_>) -> &'static str {
    match &pair.values {
        Values::Identical => "same bytes",
        Values::Compared(d) if d.unequal == 0 => "same values",
        Values::Compared(d) if d.beyond == 0 => "close",
        Values::Compared(d) if d.non_finite > 0 => "NaN or Inf",
        Values::Compared(_) => "different",
        _ => "not comparable",
    }
}

/// A row-major position as an index of each dimension.
fn index(mut at: u64, shape: &[usize]) -> String {
    let mut place: Vec<u64> = Vec::with_capacity(shape.len());
    for &size in shape.iter().rev() {
        place.push(at % (size as u64).max(1));
        at /= (size as u64).max(1);
    }
    place.reverse();
    format!("{place:?}")
}
