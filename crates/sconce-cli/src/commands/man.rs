//! `sconce man`: manual pages, made from the table of commands.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use clap_mangen::Man;
use sconce::Error;

use super::{Entry, Failure, app};

pub(super) const ENTRY: Entry = Entry { name: "man", arguments, run };

fn arguments() -> Command {
    Command::new("man")
        .about("Writes a manual page, of the whole command or of one of its commands")
        .arg(Arg::new("command").help("One of the commands"))
        .after_help("For example: sconce man | man -l -")
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let mut app = app();
    app.build();
    let page = match matches.get_one::<String>("command") {
        None => app,
        Some(name) => {
            let found = app.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| Error::argument(format!("no command is named {name:?}")))?;
            found.display_name(format!("sconce-{name}"))
        }
    };
    Man::new(page).render(out)?;
    Ok(())
}
