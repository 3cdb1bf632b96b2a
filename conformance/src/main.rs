//! Runs recorded PyTorch cases against sconce.
//!
//! `conformance DIR` reads the suites of a directory in the corpus's format, runs every case and prints, per suite,
//! each failure with its reason, a table by function, and how many cases passed, failed, and are not supported. The exit code is
//! 0 when the suites ran, whatever they found; 1 when a suite passed fewer cases than `--floor` asks for; 2 when the
//! arguments or the directory cannot be read.

mod args;
mod averages;
mod case;
mod compare;
mod expression;
mod footprint;
mod layers;
mod lbfgs;
mod ops;
mod optimizers;
mod outcome;
mod program;
mod registry;
mod reparametrised;
mod report;
mod runner;
mod schedulers;
mod signatures;
mod store;
mod subset;
mod suites;
mod tensors;
mod tree;
mod value;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use serde_json::Value as Json;

use crate::suites::SUITES;

const USAGE: &str = "\
usage: conformance DIR [options]

  --suite S          run only this suite; may be given several times
  --filter TEXT      run only cases whose id contains TEXT
  --json FILE        write the counts as JSON
  --floor FILE       exit with 1 if a suite passes fewer cases than FILE (of the form of --json) says
  --max-failures N   print at most N failures per suite
  --unsupported      print why cases are not supported
  --subset OUT N     run nothing; write up to N cases of each function, module, … to the directory OUT
";

struct Options {
    corpus: PathBuf,
    suites: Vec<String>,
    filter: String,
    json: Option<PathBuf>,
    floor: Option<PathBuf>,
    max_failures: usize,
    unsupported: bool,
    subset: Option<(PathBuf, usize)>,
}

fn main() -> ExitCode {
    let run = || {
        let options = parse(env::args().skip(1))?;
        match options {
            Some(options) => run(&options),
            None => {
                print!("{USAGE}");
                Ok(true)
            }
        }
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("conformance: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    if !options.corpus.is_dir() {
        return Err(format!("{} is not a directory", options.corpus.display()));
    }
    let chosen: Vec<_> = SUITES
        .iter()
        .filter(|s| options.suites.is_empty() || options.suites.iter().any(|n| n == s.name))
        .collect();
    if let Some((out, count)) = &options.subset {
        for driver in chosen {
            println!("{}: {} cases", driver.name, subset::write(&options.corpus, driver, *count, out)?);
        }
        return Ok(true);
    }
    let floor = options.floor.as_deref().map(read_json).transpose()?;
    runner::silence_panics();
    let mut done = Vec::new();
    for driver in chosen {
        if let Some(suite) = runner::run_suite(&options.corpus, driver, &options.filter)? {
            print!("{}", suite.text(driver.name, options.max_failures, options.unsupported));
            done.push((driver.name.to_owned(), suite));
        }
    }
    if done.is_empty() {
        return Err(format!("{} has no suite to run", options.corpus.display()));
    }
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report::to_json(&done));
        fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let below = floor.map_or(Ok(Vec::new()), |floor| report::below_floor(&done, &floor))?;
    for line in &below {
        eprintln!("below the floor: {line}");
    }
    Ok(below.is_empty())
}

fn read_json(path: &Path) -> Result<Json, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Parses the command line; `None` where help is asked for.
fn parse(args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut corpus = None;
    let mut options = Options {
        corpus: PathBuf::new(),
        suites: Vec::new(),
        filter: String::new(),
        json: None,
        floor: None,
        max_failures: usize::MAX,
        unsupported: false,
        subset: None,
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--suite" => {
                let name = value()?;
                if !SUITES.iter().any(|s| s.name == name) {
                    return Err(format!("no suite {name:?}"));
                }
                options.suites.push(name);
            }
            "--filter" => options.filter = value()?,
            "--json" => options.json = Some(value()?.into()),
            "--floor" => options.floor = Some(value()?.into()),
            "--max-failures" => options.max_failures = number(&arg, &value()?)?,
            "--subset" => {
                let out = PathBuf::from(value()?);
                options.subset = Some((out, number(&arg, &value()?)?));
            }
            "--unsupported" => options.unsupported = true,
            "--help" | "-h" => return Ok(None),
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}\n{USAGE}")),
            _ if corpus.is_none() => corpus = Some(PathBuf::from(arg)),
            _ => return Err(format!("a second directory: {arg}")),
        }
    }
    options.corpus = corpus.ok_or_else(|| format!("no directory given\n{USAGE}"))?;
    Ok(Some(options))
}

fn number(option: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{option}: {text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Option<Options>, String> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn command_line() {
        let options = parse_text("dir --suite ops --suite rng --max-failures 3 --json x").unwrap().unwrap();
        assert_eq!(options.corpus, Path::new("dir"));
        assert_eq!(options.suites, ["ops", "rng"]);
        assert_eq!(options.max_failures, 3);
        assert_eq!(options.json.as_deref(), Some(Path::new("x")));
        assert!(parse_text("-h").unwrap().is_none());
        for text in ["", "a b", "a --what", "a --suite", "a --suite nothing", "a --max-failures x"] {
            assert!(parse_text(text).is_err(), "{text}");
        }
    }
}
