//! `sconce edit`: changes the tensors of a file.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};
use sconce::compress::{Edit, VERBS, edit_archive};
use sconce::{Error, Result};

use super::output::{self, Done, Target};
use super::{Entry, Failure};

pub(super) const ENTRY: Entry = Entry { name: "edit", arguments, run };

fn arguments() -> Command {
    let command = Command::new("edit")
        .about("Changes the tensors of a file: values, dtypes, names, ties")
        .arg(output::input())
        .arg(
            Arg::new("edits")
                .required(true)
                .num_args(1..)
                .value_name("EDIT")
                .help("What to change, in order, e.g. 'fill **.bias 0'; listed below"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(OsString))
                .help("The file to write"),
        );
    output::arguments(command).after_help(help())
}

/// The kinds of edits.
fn help() -> String {
    let mut text = String::from("Edits:\n");
    for verb in VERBS {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {} {}\n      {}", verb.name, verb.arguments, verb.help);
    }
    text.push_str("\nTensors that share memory are edited together, once; the output names them.");
    text
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let edits: Vec<Edit> = matches
        .get_many::<String>("edits")
        .into_iter()
        .flatten()
        .map(|e| Edit::parse(e))
        .collect::<Result<_>>()?;
    let dry_run = matches.get_flag("dry-run");
    let target = match matches.get_one::<OsString>("output") {
        Some(path) => Some(Target::of(matches, path)?),
        None if dry_run => None,
        None => return Err(Error::argument("name the file to write with --output").into()),
    };
    let (archive, left_out) = output::open(matches)?;
    let (edited, report) = edit_archive(&archive, &edits).map_err(|e| e.context(archive.name()))?;
    if let Some(target) = target.as_ref().filter(|_| !dry_run) {
        target.check()?;
        target.save(&edited)?;
    }
    Done::new(matches, &edited, target.as_ref(), &report, &left_out).write(matches.get_flag("json"), out)
}
