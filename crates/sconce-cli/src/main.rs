//! The `sconce` command: every parameter of any checkpoint.
//!
//! Exit codes: 0 done, 1 the output could not be written, 2 wrong usage, or a file or selector that cannot be read.

mod commands;
mod table;

use std::io::{ErrorKind, Write, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = match commands::app().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    let result = commands::run(&matches, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` does.
        Err(commands::Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(commands::Failure::Output(error)) => {
            complain(&format!("writing the output: {error}"));
            ExitCode::from(1)
        }
        Err(commands::Failure::Input(error)) => {
            complain(&error.to_string());
            ExitCode::from(2)
        }
    }
}

/// One line on the error output, without characters that would steer a terminal.
fn complain(message: &str) {
    // Nobody can be told that this failed.
    let _ = writeln!(stderr(), "sconce: {}", commands::printable(message));
}
