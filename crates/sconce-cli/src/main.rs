//! The `sconce` command: every parameter of any checkpoint.
//!
//! Exit codes: 0 done; 1 the answer is no (files differ, a check failed); 2 wrong usage, or something that cannot be
//! read or written.

mod browser;
mod commands;
mod html;
mod input;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod progress;
mod screen;
mod table;
mod text;

use std::io::{ErrorKind, Write};
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
    let result = commands::run(&matches, &mut out);
    let result = out.flush().map_err(commands::Failure::Output).and(result);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` does.
        Err(commands::Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(commands::Failure::Output(error)) => {
            text::complain(&format!("writing the output: {error}"));
            ExitCode::from(2)
        }
        Err(commands::Failure::Negative) => ExitCode::from(1),
        Err(commands::Failure::Reported) => ExitCode::from(2),
        Err(commands::Failure::Input(error)) => {
            commands::complain(&error);
            ExitCode::from(2)
        }
    }
}
