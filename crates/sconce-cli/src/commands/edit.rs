//! `sconce edit`: changes the tensors of a file.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::Result;
use sconce::compress::{Edit, VERBS, edit_archive, edit_in_place, recover};

use super::output::{self, Done, How};
use super::{Entry, Failure};

pub(super) const ENTRY: Entry = Entry { name: "edit", arguments, run };

fn arguments() -> Command {
    let command = Command::new("edit")
        .about("Changes the tensors of a file: values, dtypes, names, ties")
        .arg(output::input())
        .arg(
            Arg::new("edits")
                .required_unless_present("recover")
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
    let recover = Arg::new("recover")
        .long("recover")
        .action(ArgAction::SetTrue)
        .help("Puts the old file back if a change in place was interrupted");
    output::arguments(command.arg(output::in_place()).arg(recover)).after_help(help())
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
    let path = matches.get_one::<OsString>("file").expect("clap requires the file");
    if matches.get_flag("recover") {
        let recovered = recover(path)?;
        writeln!(out, "{}", if recovered { "the old file is back" } else { "nothing was interrupted" })?;
        if edits.is_empty() {
            return Ok(());
        }
    }
    let how = How::of(matches)?;
    if let How::InPlace = how {
        output::undo_interrupted(path)?;
    }
    let (archive, left_out) = output::open(matches)?;
    let (edited, report) = edit_archive(&archive, &edits).map_err(|e| e.context(archive.name()))?;
    let mut done = Done::new(matches, &edited, how.target(), &report, &left_out);
    match &how {
        How::To(target) => target.save(&edited)?,
        How::InPlace => done.written = Some(edit_in_place(path, &edits)?.1),
        How::Dry(_) => {}
    }
    done.write(matches.get_flag("json"), out)
}
