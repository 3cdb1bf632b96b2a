//! `sconce convert`: a file in another format.

use std::ffi::OsString;
use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};
use sconce::compress::{Edit, Report, cast_floats, edit_archive};

use super::output::{self, Done, Target};
use super::{Entry, Failure};
use crate::input;

pub(super) const ENTRY: Entry = Entry { name: "convert", arguments, run };

fn arguments() -> Command {
    let command = Command::new("convert")
        .about("Writes a file in another format; what that cannot hold is refused by name")
        .arg(output::input())
        .arg(
            Arg::new("output")
                .required(true)
                .value_parser(value_parser!(OsString))
                .help("The file to write; its extension says the format"),
        )
        .arg(
            Arg::new("dtype")
                .long("dtype")
                .value_name("DTYPE")
                .help("Converts every floating point tensor, and blocks, to this dtype, e.g. float16"),
        )
        .arg(input::select_option().help("Which tensors are written, e.g. 'model.**'; all by default"));
    output::arguments(command)
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> std::result::Result<(), Failure> {
    let path = matches.get_one::<OsString>("output").expect("clap requires the output");
    let target = Target::of(matches, path)?;
    if !matches.get_flag("dry-run") {
        target.check()?;
    }
    let (mut archive, left_out) = output::open(matches)?;
    let mut report = Report::default();
    if let Some(selector) = matches.get_one::<String>("selector") {
        let keep = Edit::parse(&format!("keep {selector}"))?;
        (archive, report) = edit_archive(&archive, &[keep]).map_err(|e| e.context(archive.name()))?;
    }
    if let Some(dtype) = matches.get_one::<String>("dtype") {
        let (edited, changes) = cast_floats(&archive, dtype).map_err(|e| e.context(archive.name()))?;
        archive = edited;
        report.changes.extend(changes.changes);
    }
    if !matches.get_flag("dry-run") {
        target.save(&archive)?;
    }
    Done::new(matches, &archive, Some(&target), &report, &left_out).write(matches.get_flag("json"), out)
}
