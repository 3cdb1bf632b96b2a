//! The table of commands, from which usage and help are made.

mod completions;
mod convert;
mod diff;
mod edit;
mod hist;
mod man;
mod merge;
mod output;
mod prune;
mod report;
mod show;
mod stats;
mod verify;
mod view;

use std::io::Write;

use clap::{ArgMatches, Command};

pub(crate) use report::word;

/// One command: its arguments and what it does.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) arguments: fn() -> Command,
    pub(crate) run: fn(&ArgMatches, &mut dyn Write) -> Result<(), Failure>,
}

/// Every command; a new one is a file and a line here.
const COMMANDS: &[Entry] = &[
    show::ENTRY,
    stats::ENTRY,
    hist::ENTRY,
    report::ENTRY,
    view::ENTRY,
    diff::ENTRY,
    verify::ENTRY,
    merge::ENTRY,
    edit::ENTRY,
    convert::ENTRY,
    prune::ENTRY,
    completions::ENTRY,
    man::ENTRY,
];

/// Why a command failed.
pub(crate) enum Failure {
    /// A file, selector or argument is wrong.
    Input(sconce::Error),
    /// The output could not be written.
    Output(std::io::Error),
    /// The command did its work, and the answer is no: files differ, a check failed. The output says so.
    Negative,
    /// Some files could not be read; each was [told of](complain) when it was met.
    Reported,
}

impl From<sconce::Error> for Failure {
    fn from(error: sconce::Error) -> Self {
        Self::Input(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done; also if the reader of the output closed it early
  1  the answer is no: files differ, a check failed
  2  wrong usage, or something that cannot be read or written: one line on the error output says why";

/// Tells of a failure on standard error, in one line.
pub(crate) fn complain(error: &sconce::Error) {
    crate::text::complain(&error.to_string());
}

/// The whole command line.
pub(crate) fn app() -> Command {
    Command::new("sconce")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Every parameter of any checkpoint")
        .after_help(format!(
            "Without a command, the parameters of a built-in PyTorch checkpoint are shown.\n\n{EXIT_CODES}"
        ))
        .subcommands(COMMANDS.iter().map(|c| {
            let command = (c.arguments)();
            let help = match command.get_after_help() {
                Some(help) => format!("{help}\n\n{EXIT_CODES}"),
                None => EXIT_CODES.to_owned(),
            };
            command.after_help(help)
        }))
}

/// Runs the command that was asked for, or `show` on the built-in checkpoint.
pub(crate) fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    match matches.subcommand() {
        Some((name, matches)) => {
            let entry =
                COMMANDS.iter().find(|c| c.name == name).expect("clap accepts only names of the table");
            (entry.run)(matches, out)
        }
        None => show::demo(out),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::app().debug_assert();
    }
}
