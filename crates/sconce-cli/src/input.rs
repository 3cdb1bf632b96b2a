//! Arguments that commands share: files, a selector, JSON.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use sconce::io::{Archive, Entry};
use sconce::select::{Candidate, Selector};
use sconce::{Error, Result};

/// One file.
pub(crate) fn file(id: &'static str) -> Arg {
    Arg::new(id).required(true).value_parser(value_parser!(OsString)).help("A model file of any known format")
}

/// One file or more.
pub(crate) fn files() -> Arg {
    file("files").num_args(1..).value_name("FILE").help("Model files of any known format")
}

/// A selector behind the files.
pub(crate) fn selector() -> Arg {
    Arg::new("selector")
        .help("Which tensors, e.g. '**.bias' or 'features.** & ndim==4'; all by default")
        .value_name("SELECTOR")
}

/// A selector as an option, of commands that take any number of files.
pub(crate) fn select_option() -> Arg {
    selector().short('s').long("select")
}

/// Whether to write JSON.
pub(crate) fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Writes JSON for machines")
}

/// The path of a required argument.
pub(crate) fn path<'a>(matches: &'a ArgMatches, id: &str) -> &'a Path {
    Path::new(matches.get_one::<OsString>(id).expect("clap requires the file"))
}

/// The paths of a required argument of several values.
pub(crate) fn paths(matches: &ArgMatches) -> Vec<&Path> {
    matches.get_many::<OsString>("files").into_iter().flatten().map(Path::new).collect()
}

/// The selector that was given.
pub(crate) fn given_selector(matches: &ArgMatches) -> Result<Option<Selector>> {
    matches.get_one::<String>("selector").map(|text| Selector::parse(text)).transpose()
}

/// The tensors that a selector picks, in the file's order.
pub(crate) fn select<'a>(archive: &'a Archive, selector: Option<&Selector>) -> Result<Vec<&'a Entry>> {
    select_of(&[archive], selector).map(|mut all| all.remove(0))
}

/// The tensors that a selector picks from several files; an error if it picks none from any.
pub(crate) fn select_of<'a>(
    archives: &[&'a Archive],
    selector: Option<&Selector>,
) -> Result<Vec<Vec<&'a Entry>>> {
    let Some(selector) = selector else {
        return Ok(archives.iter().map(|a| a.entries().iter().collect()).collect());
    };
    let mut picked = Vec::new();
    for archive in archives {
        let mut of_one = Vec::new();
        for entry in archive.entries() {
            if selector.matches(&Candidate::from(entry)).map_err(|e: Error| e.context(archive.name()))? {
                of_one.push(entry);
            }
        }
        picked.push(of_one);
    }
    if picked.iter().all(Vec::is_empty) {
        // Asked again for the error, which knows what is near.
        let all = archives.iter().flat_map(|a| a.entries()).map(Candidate::from);
        let names: Vec<_> = archives.iter().map(|a| a.name()).collect();
        selector.select(all).map_err(|e: Error| e.context(names.join(", ")))?;
    }
    Ok(picked)
}
