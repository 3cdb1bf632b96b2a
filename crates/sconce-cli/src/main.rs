//! The `sconce` command: every parameter of any checkpoint.
//!
//! Exit codes: 0 done, 1 the output could not be written, 2 wrong usage, or a file or selector that cannot be read.

mod commands;
mod table;

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = match commands::app().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut out = std::io::BufWriter::new(stdout().lock());
    let result = commands::run(&matches, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(commands::Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(commands::Failure::Output(error)) => {
            eprintln!("sconce: writing the output: {error}");
            ExitCode::from(1)
        }
        Err(commands::Failure::Input(error)) => {
            eprintln!("sconce: {}", error.to_string().replace('\n', " "));
            ExitCode::from(2)
        }
    }
}
