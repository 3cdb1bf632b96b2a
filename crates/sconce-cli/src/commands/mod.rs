//! The table of commands, from which usage and help are made.

mod convert;
mod edit;
mod output;
mod prune;
mod show;

use std::io::Write;

use clap::{ArgMatches, Command};

/// One command: its arguments and what it does.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) arguments: fn() -> Command,
    pub(crate) run: fn(&ArgMatches, &mut dyn Write) -> Result<(), Failure>,
}

/// Every command; a new one is a file and a line here.
const COMMANDS: &[Entry] = &[show::ENTRY, edit::ENTRY, convert::ENTRY, prune::ENTRY];

/// Why a command failed.
pub(crate) enum Failure {
    /// A file, selector or argument is wrong.
    Input(sconce::Error),
    /// The output could not be written.
    Output(std::io::Error),
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

/// The whole command line.
pub(crate) fn app() -> Command {
    Command::new("sconce")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Every parameter of any checkpoint")
        .after_help(
            "Without a command, the parameters of a built-in PyTorch checkpoint are shown.\n\n\
             Exit codes: 0 done; 1 the output could not be written; 2 wrong usage, or a file or selector that cannot \
             be read.",
        )
        .subcommands(COMMANDS.iter().map(|c| (c.arguments)()))
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
