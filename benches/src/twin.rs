//! The same lines in PyTorch, run by `torch_twin.py` in a process that answers one request at a time.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use crate::measure::Clock;

/// The running script; killed on drop.
pub(crate) struct Twin {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    version: String,
}

impl Twin {
    /// Starts the script with an interpreter that has PyTorch.
    pub(crate) fn start(python: &str, file_mib: usize) -> Result<Self, Box<dyn Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("torch_twin.py");
        let mut command = Command::new(python);
        command.arg(script).arg(file_mib.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut twin = Self { child, input, output, version: String::new() };
        twin.version = twin.read()?;
        Ok(twin)
    }

    /// PyTorch's version and its number of threads.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Seconds per call of a line, over so many calls.
    pub(crate) fn sample(&mut self, line: &str, calls: usize, clock: Clock) -> Result<f64, Box<dyn Error>> {
        let clock = if clock == Clock::Thread { "thread" } else { "wall" };
        writeln!(self.input, "{calls} {clock} {line}")?;
        self.input.flush()?;
        let seconds = self.read()?.parse()?;
        self.rest()?;
        Ok(seconds)
    }

    /// Waits until its threads sleep: after a parallel loop they spin, for some milliseconds, on the processors that the
    /// next sample needs.
    fn rest(&self) -> Result<(), Box<dyn Error>> {
        const TICK: Duration = Duration::from_millis(5);
        let mut before = self.processor_time()?;
        // A second is longer than any thread spins.
        for _ in 0..200 {
            thread::sleep(TICK);
            let now = self.processor_time()?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
        Err("torch_twin.py goes on working after its answer".into())
    }

    /// Nanoseconds that its threads had a processor.
    fn processor_time(&self) -> Result<u64, Box<dyn Error>> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            sum += text.split(' ').next().ok_or("no time in schedstat")?.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// How many calls make a sample.
    pub(crate) fn calls_for(&mut self, line: &str) -> Result<usize, Box<dyn Error>> {
        let mut calls = 1;
        while self.sample(line, calls, Clock::Wall)? * (calls as f64) < 2e-3 {
            calls *= 2;
        }
        Ok(calls)
    }

    /// Drops what a line has made.
    pub(crate) fn forget(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        writeln!(self.input, "0 wall {line}")?;
        self.input.flush()?;
        self.read().map(drop)
    }

    fn read(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("torch_twin.py ended".into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // It ends by itself when its input does; an error here means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
