//! `sconce prune`: zeros where they matter least.

use std::ffi::OsString;
use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::compress::{Amount, Layout, Method, Prune, Report, Sparsity, prune_archive, prune_in_place};
use sconce::{Error, Result, io};
use serde_json::json;

use super::output::{self, Done, How};
use super::{Entry, Failure};
use crate::table::{Cell, Table};
use crate::text::printable;

pub(super) const ENTRY: Entry = Entry { name: "prune", arguments, run };

fn arguments() -> Command {
    let value = |name: &'static str, shown: &'static str| Arg::new(name).long(name).value_name(shown);
    let command = Command::new("prune")
        .about("Sets the least elements of tensors to zero, as torch.nn.utils.prune chooses them")
        .arg(output::input())
        .arg(Arg::new("selector").default_value("** & ndim>=2").help("Which tensors"))
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(OsString))
                .help("The file to write"),
        )
        .arg(value("method", "METHOD").default_value("l1_unstructured").help(
            "l1_unstructured, random_unstructured, ln_structured, random_structured, or N:M such as 2:4",
        ))
        .arg(
            value("amount", "AMOUNT")
                .help("How much: a share such as 0.3 or 30%, or a number of elements or slices"),
        )
        .arg(
            value("dim", "DIM")
                .value_parser(value_parser!(isize))
                .allow_negative_numbers(true)
                .help("The dimension of slices (0 by default) or of N:M (1 by default)"),
        )
        .arg(
            value("n", "N")
                .value_parser(value_parser!(f64))
                .allow_negative_numbers(true)
                .default_value("2")
                .help("The norm of slices; inf is allowed"),
        )
        .arg(
            value("seed", "SEED")
                .value_parser(value_parser!(u64))
                .default_value("0")
                .help("The seed of random methods"),
        )
        .arg(
            Arg::new("global")
                .long("global")
                .action(ArgAction::SetTrue)
                .help("Compares the elements of all selected tensors with each other"),
        )
        .arg(
            value("layout", "LAYOUT")
                .value_parser(["zeros", "mask"])
                .default_value("zeros")
                .help("Writes zeros, or PyTorch's weight_orig and weight_mask"),
        );
    output::arguments(command.arg(output::in_place()))
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let prune = prune(matches)?;
    let path = matches.get_one::<OsString>("file").expect("clap requires the file");
    let how = How::of(matches)?;
    if let How::InPlace = how {
        output::undo_interrupted(path)?;
    }
    let (archive, left_out) = output::open(matches)?;
    let report = Report::default();
    let (pruned, written);
    let rows = if let How::InPlace = how {
        drop(archive);
        let (rows, bytes) = prune_in_place(path, &prune)?;
        (pruned, written) = (io::open(path)?, Some(bytes));
        rows
    } else {
        let (archive, rows) = prune_archive(&archive, &prune).map_err(|e| e.context(archive.name()))?;
        if let How::To(target) = &how {
            target.save(&archive)?;
        }
        (pruned, written) = (archive, None);
        rows
    };
    let mut done = Done::new(matches, &pruned, how.target(), &report, &left_out);
    done.written = written;
    let numel: u64 = rows.iter().map(Sparsity::numel).sum();
    let (cut, zeros) = rows.iter().fold((0, 0), |(p, z), row| (p + row.pruned, z + row.zeros));
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    if matches.get_flag("json") {
        let row = |row: &Sparsity| {
            json!({
                "name": row.name,
                "shape": row.shape,
                "count": row.numel(),
                "pruned": row.pruned,
                "zeros": row.zeros,
                "sparsity": row.sparsity(),
                "also": row.also,
            })
        };
        let mut document = done.json();
        if let Some(object) = document.as_object_mut() {
            object.remove("changes");
            object.insert("tensors".into(), rows.iter().map(row).collect());
            let totals =
                json!({"count": numel, "pruned": cut, "zeros": zeros, "sparsity": share(zeros, numel)});
            object.insert("totals".into(), totals);
        }
        writeln!(out, "{document:#}")?;
        return Ok(());
    }
    let mut table = Table::new(&[
        ("name", false),
        ("shape", false),
        ("count", true),
        ("pruned", true),
        ("zeros", true),
        ("sparsity", true),
    ]);
    let percent = |x: f64| format!("{:.2}%", 100.0 * x);
    let mut push = |name: String, shape: String, numbers: [u64; 3]| {
        let mut cells = vec![name, shape];
        cells.extend(numbers.map(|n| n.to_string()));
        cells.push(percent(share(numbers[2], numbers[0])));
        table.push(cells.into_iter().map(Cell::plain).collect());
    };
    for row in &rows {
        let name = match row.also.as_slice() {
            [] => printable(&row.name),
            also => printable(&format!("{} (and so {})", row.name, also.join(", "))),
        };
        push(name, format!("{:?}", row.shape), [row.numel(), row.pruned, row.zeros]);
    }
    push("all".to_owned(), String::new(), [numel, cut, zeros]);
    table.write(out)?;
    done.write(false, out)
}

fn prune(matches: &ArgMatches) -> Result<Prune> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let dim = |default: isize| matches.get_one::<isize>("dim").copied().unwrap_or(default);
    let seed = matches.get_one::<u64>("seed").copied().unwrap_or(0);
    let n = matches.get_one::<f64>("n").copied().unwrap_or(2.0);
    let name = text("method").unwrap_or_default();
    let method = match name {
        "l1_unstructured" | "l1" => Method::L1Unstructured,
        "random_unstructured" | "random" => Method::RandomUnstructured { seed },
        "ln_structured" => Method::LnStructured { n, dim: dim(0) },
        "random_structured" => Method::RandomStructured { dim: dim(0), seed },
        _ => match name.split_once(':').map(|(n, m)| (n.parse(), m.parse())) {
            Some((Ok(keep), Ok(of))) => Method::NOfM { keep, of, dim: dim(1) },
            _ => {
                return Err(Error::argument(format!(
                    "no method is named `{name}`; `prune --help` lists them"
                )));
            }
        },
    };
    let amount = match (text("amount"), method) {
        (Some(amount), _) => self::amount(amount)?,
        (None, Method::NOfM { .. }) => Amount::Count(0),
        (None, _) => return Err(Error::argument("say how much with --amount, e.g. 0.3")),
    };
    let layout = if text("layout") == Some("mask") { Layout::Mask } else { Layout::Zeros };
    let prune = Prune::new(text("selector").unwrap_or("**"), method, amount)?.with_layout(layout);
    if matches.get_flag("global") { prune.global() } else { Ok(prune) }
}

/// As in PyTorch, `1` is one element and `1.0` all.
fn amount(text: &str) -> Result<Amount> {
    let wrong = || Error::argument(format!("expected a share or a number, found `{text}`"));
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse::<f64>().map(|x| Amount::Fraction(x / 100.0)).map_err(|_| wrong());
    }
    text.parse().map(Amount::Count).or_else(|_| text.parse().map(Amount::Fraction).map_err(|_| wrong()))
}
