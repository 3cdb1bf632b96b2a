//! Runs a suite: one line of the manifest after the other, each on its own.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use crate::case::Case;
use crate::outcome::Stop;
use crate::report::{Suite, Verdict};
use crate::signatures::Signatures;
use crate::store::Store;

/// What a suite's cases share.
pub(crate) struct Context {
    pub signatures: Signatures,
    /// The suite's folder.
    pub folder: PathBuf,
}

/// A suite's name, how it runs a case, and the group it counts the case in.
pub(crate) struct Driver {
    pub name: &'static str,
    pub run: fn(&Context, &Case) -> Result<(), Stop>,
    pub group: fn(&Case) -> String,
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics off the terminal: a case that panics reports it as its failure.
pub(crate) fn silence_panics() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let place = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        PANIC.with(|p| p.replace(format!("{message}{place}")));
    }));
}

/// Runs the cases whose id contains `filter`; `None` where the corpus has no such suite.
pub(crate) fn run_suite(corpus: &Path, driver: &Driver, filter: &str) -> Result<Option<Suite>, String> {
    let folder = corpus.join(driver.name);
    let path = folder.join("manifest.jsonl");
    if !path.exists() {
        return Ok(None);
    }
    let manifest = fs::File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut store = Store::new(&folder);
    let context = Context { signatures: Signatures::read(corpus)?, folder };
    let mut suite = Suite::default();
    for (number, line) in BufReader::new(manifest).lines().enumerate() {
        let at = |e: String| format!("{}:{}: {e}", path.display(), number + 1);
        let line = line.map_err(|e| at(e.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let case = Case::parse(&line, &mut store).map_err(at)?;
        if case.id.contains(filter) {
            suite.add(&case.id, &(driver.group)(&case), verdict(|| (driver.run)(&context, &case)));
        }
    }
    Ok(Some(suite))
}

fn verdict(run: impl FnOnce() -> Result<(), Stop>) -> Verdict {
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(Stop::Unsupported(what))) => Verdict::Unsupported(what),
        Ok(Err(stop)) => Verdict::Failed(stop.to_string()),
        Err(_) => Verdict::Failed(format!("panic: {}", PANIC.with(|p| p.take()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_verdict() {
        silence_panics();
        assert_eq!(verdict(|| Ok(())), Verdict::Passed);
        assert_eq!(verdict(|| Err(Stop::Unsupported("x".into()))), Verdict::Unsupported("x".into()));
        assert_eq!(verdict(|| Err(Stop::Wrong("x".into()))), Verdict::Failed("x".into()));
        let error = sconce::Error::shape("x");
        assert_eq!(verdict(|| Err(Stop::Refused(error))), Verdict::Failed("error: x".into()));
        let panicked = verdict(|| panic!("boom {}", 1));
        assert!(matches!(panicked, Verdict::Failed(text) if text.starts_with("panic: boom 1 at ")));
        drop(panic::take_hook());
    }
}
