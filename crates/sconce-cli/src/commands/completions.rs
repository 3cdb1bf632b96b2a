//! `sconce completions`: what a shell needs to complete the command line, made from the table of commands.

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::{Shell, generate};

use super::{Entry, Failure, app};

pub(super) const ENTRY: Entry = Entry { name: "completions", arguments, run };

fn arguments() -> Command {
    Command::new("completions")
        .about("Writes a completion script for a shell")
        .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)).help("The shell"))
        .after_help(
            "For example: sconce completions bash > ~/.local/share/bash-completion/completions/sconce",
        )
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let shell = *matches.get_one::<Shell>("shell").expect("clap requires the shell");
    // The generator takes any writer, but panics when it fails.
    let mut script = Vec::new();
    generate(shell, &mut app(), "sconce", &mut script);
    out.write_all(&script)?;
    Ok(())
}
