//! `sconce verify`: a strict check of whole files, and what their pickles would do.

use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use sconce::io::{self, ContentHash, Judgement, ScannedPickle, Source};
use sconce::select::Selector;
use sconce::verify::{self, Special};
use sconce::{Error, Result};
use serde_json::{Value, json};

use super::{Entry, Failure, complain};
use crate::input;
use crate::progress::{self, Progress};
use crate::text::{grouped, printable};

pub(super) const ENTRY: Entry = Entry { name: "verify", arguments, run };

fn arguments() -> Command {
    let flag = |id: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue);
    Command::new("verify")
        .about("Checks whole files strictly: format, every byte of every tensor, checksums; hashes their content")
        .arg(input::files())
        .arg(input::select_option())
        .arg(flag("finite").help("Fails on NaN and infinities, which are always counted"))
        .arg(flag("each").help("Lists every tensor with its hash"))
        .arg(flag("allow-empty").help("Lets a file without tensors pass"))
        .arg(flag("scan").conflicts_with_all(["finite", "each", "expect", "selector"]).help(
            "Instead, lists every name that a file's pickles ask for and judges it: allowed, unknown or dangerous",
        ))
        .arg(
            Arg::new("expect").long("expect").value_name("HASH").help("Fails unless the content has this hash"),
        )
        .arg(input::json())
        .after_help(
            "The content hash (BLAKE3) covers names, types, shapes and values; it does not depend on format, order, \
             sharding, ties or metadata.\n\n\
             Checks that a readable file can fail are --finite, --expect, that there are tensors and, with --scan, that \
             all names are allowed.",
        )
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let selector = input::given_selector(matches)?;
    let checks = Checks {
        selector: selector.as_ref(),
        finite: matches.get_flag("finite"),
        empty: matches.get_flag("allow-empty"),
        expect: matches.get_one::<String>("expect").map(|h| h.trim_start_matches("blake3:").to_lowercase()),
    };
    let (scan, as_json, each) =
        (matches.get_flag("scan"), matches.get_flag("json"), matches.get_flag("each"));
    let (mut damaged, mut failed) = (false, false);
    let mut documents = Vec::new();
    for path in input::paths(matches) {
        let result = if scan { scan_file(path) } else { check_file(path, &checks, each) };
        match result {
            Ok(found) => {
                failed |= !found.ok;
                if as_json {
                    documents.push(found.json);
                } else {
                    out.write_all(found.text.as_bytes())?;
                }
            }
            Err(error) => {
                damaged = true;
                documents
                    .push(json!({ "file": path.to_string_lossy(), "ok": false, "error": error.to_string() }));
                complain(&error);
            }
        }
    }
    if as_json {
        writeln!(out, "{:#}", Value::from(documents))?;
    }
    match (damaged, failed) {
        (true, _) => Err(Failure::Reported),
        (false, true) => Err(Failure::Negative),
        (false, false) => Ok(()),
    }
}

struct Checks<'a> {
    selector: Option<&'a Selector>,
    finite: bool,
    empty: bool,
    expect: Option<String>,
}

/// What is said of a file.
struct Found {
    ok: bool,
    text: String,
    json: Value,
}

fn check_file(path: &Path, checks: &Checks<'_>, each: bool) -> Result<Found> {
    let archive = progress::open(path)?;
    let picked = input::select(&archive, checks.selector)?;
    let progress = Progress::of_archives(&[&archive]);
    let names: std::collections::HashSet<&str> = picked.iter().map(|e| e.name()).collect();
    let checked = verify::tensors(&archive, |e| names.contains(e.name()))?;
    drop(progress);
    if checked.len() != picked.len() {
        let (some, all) = (checked.len(), picked.len());
        return Err(
            Error::format(format!("only {some} of {all} tensors were checked")).context(archive.name())
        );
    }
    let hash = ContentHash::of_names(checked.iter().map(|c| (c.entry.name(), c.hash))).to_string();
    let total = checked
        .iter()
        .filter_map(|c| c.special)
        .fold(Special::default(), |sum, s| Special { nan: sum.nan + s.nan, inf: sum.inf + s.inf });
    let unknown = checked.iter().filter(|c| c.special.is_none()).count();
    let mut problems = Vec::new();
    if checked.is_empty() && !checks.empty {
        problems.push("it has no tensors".to_owned());
    }
    if checks.finite && total != Special::default() {
        problems.push("not all numbers are finite".to_owned());
    }
    if checks.finite && unknown > 0 {
        problems.push(format!("whether {unknown} tensors are finite is unknown"));
    }
    if checks.expect.as_ref().is_some_and(|expected| *expected != hash) {
        problems.push("the content has another hash".to_owned());
    }
    let ok = problems.is_empty();

    let format = archive.format().unwrap_or("new");
    let mut text = format!(
        "{} ({format}): {} of {} tensors checked, {} NaN, {} Inf",
        printable(archive.name()),
        grouped(checked.len() as u64),
        grouped(archive.entries().len() as u64),
        grouped(total.nan),
        grouped(total.inf),
    );
    if unknown > 0 {
        text += &format!(" ({unknown} tensors have elements that are only copied)");
    }
    text += &format!("\n  blake3:{hash}\n");
    for c in &checked {
        let special = c.special.unwrap_or_default();
        if each || special != Special::default() {
            let (name, nan, inf) = (printable(c.entry.name()), grouped(special.nan), grouped(special.inf));
            text += &format!("  {}  {name}", c.hash);
            text += &if special == Special::default() {
                "\n".to_owned()
            } else {
                format!(": {nan} NaN, {inf} Inf\n")
            };
        }
    }
    for problem in &problems {
        text += &format!("  FAILED: {problem}\n");
    }
    let tensors = checked.iter().map(|c| {
        json!({
            "name": c.entry.name(),
            "hash": c.hash.to_string(),
            "nan": c.special.map(|s| s.nan),
            "inf": c.special.map(|s| s.inf),
        })
    });
    let json = json!({
        "file": archive.name(),
        "ok": ok,
        "format": format,
        "checked": checked.len(),
        "of": archive.entries().len(),
        "hash": format!("blake3:{hash}"),
        "problems": problems,
        "tensors": tensors.collect::<Vec<Value>>(),
    });
    Ok(Found { ok, text, json })
}

fn scan_file(path: &Path) -> Result<Found> {
    let source = Source::open(path)?;
    let pickles = io::scan(&source)?;
    let all = || pickles.iter().flat_map(|p| &p.globals);
    let count = |judgement| all().filter(|g| g.judgement == judgement).count();
    let incomplete = pickles.iter().filter(|p| p.failure.is_some()).count();
    let (unknown, dangerous) = (count(Judgement::Unknown), count(Judgement::Dangerous));
    let ok = unknown == 0 && dangerous == 0 && incomplete == 0;
    let mut text = format!(
        "{}: {} pickles, {} names allowed, {unknown} unknown, {dangerous} dangerous\n",
        printable(source.name()),
        pickles.len(),
        count(Judgement::Allowed),
    );
    for ScannedPickle { place, globals, failure, .. } in &pickles {
        for global in globals {
            text += &format!("  {:<9}  {place}: {}\n", global.judgement.name(), printable(&global.name));
        }
        if let Some(error) = failure {
            text += &format!(
                "  FAILED: {place} cannot be followed to its end: {}\n",
                printable(&error.to_string())
            );
        }
    }
    let pickle = |p: &ScannedPickle| {
        let globals = p.globals.iter().map(|g| json!({ "name": g.name, "judgement": g.judgement.name() }));
        json!({
            "place": p.place,
            "globals": globals.collect::<Vec<Value>>(),
            "failure": p.failure.as_ref().map(ToString::to_string),
        })
    };
    let json = json!({
        "file": source.name(),
        "ok": ok,
        "pickles": pickles.iter().map(pickle).collect::<Vec<Value>>(),
    });
    Ok(Found { ok, text, json })
}
