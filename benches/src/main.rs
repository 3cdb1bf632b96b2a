//! Measures sconce against PyTorch and against what the machine can do: the bandwidth of a plain copy, the speed of
//! faer's matrix product.
//!
//! ```text
//! cargo run --release -p benches -- [FILTER] [--python PYTHON] [--rounds N] [--file-mib N] [--instructions] [--every-op]
//! ```
//!
//! Every line is run in turn with PyTorch's and with its floor, several times over; printed are the medians, and the
//! median of the ratios of neighbours. Lines of one thread are measured by that thread's processor time, so that a busy machine does not
//! distort them; the others need a quiet one. `--python` names an interpreter with PyTorch and safetensors, which runs `torch_twin.py`; without it those columns
//! stay empty. `--instructions` counts the instructions of one call with valgrind instead of measuring time.
//! `--every-op` times every registered operation on small inputs instead.

mod every;
mod lines;
mod measure;
mod table;
mod twin;

use std::error::Error;
use std::process::Command;

use lines::{Line, Options};
use measure::{Clock, calls_for, median, sample};
use twin::Twin;

/// What the command line says.
struct Arguments {
    filter: String,
    python: Option<String>,
    rounds: usize,
    file_mib: usize,
    instructions: bool,
    every_op: bool,
    /// Only calls the line that is the filter, so often.
    call: Option<usize>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut parsed = Arguments {
        filter: String::new(),
        python: std::env::var("TORCH_PYTHON").ok(),
        rounds: 15,
        file_mib: 256,
        instructions: false,
        every_op: false,
        call: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--python" => parsed.python = Some(value()?),
            "--rounds" => parsed.rounds = value()?.parse()?,
            "--file-mib" => parsed.file_mib = value()?.parse()?,
            "--call" => parsed.call = Some(value()?.parse()?),
            "--instructions" => parsed.instructions = true,
            "--every-op" => parsed.every_op = true,
            // What `cargo bench` passes.
            "--bench" => {}
            other if other.starts_with('-') => return Err(format!("unknown option {other}").into()),
            filter => parsed.filter = filter.to_owned(),
        }
    }
    Ok(parsed)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let options = Options { file_mib: arguments.file_mib };
    if let Some(calls) = arguments.call {
        let line = lines::all().into_iter().find(|line| line.name == arguments.filter);
        let mut ours = (line.ok_or("no such line")?.ours)(&options)?;
        for _ in 0..calls {
            ours()?;
        }
        return Ok(());
    }
    if arguments.every_op {
        return Ok(every::print(&arguments.filter, arguments.rounds)?);
    }
    let chosen: Vec<Line> =
        lines::all().into_iter().filter(|line| line.name.contains(&arguments.filter)).collect();
    if arguments.instructions {
        return chosen.iter().filter(|line| line.one_thread).try_for_each(|line| {
            let count = instructions(line.name)?;
            println!("{:34} {count:8.0} instructions", line.name);
            Ok(())
        });
    }
    let mut twin =
        arguments.python.as_deref().map(|python| Twin::start(python, options.file_mib)).transpose()?;
    table::head(twin.as_ref().map(Twin::version));
    let mut missed = 0;
    for line in chosen {
        let row = measure_line(&line, &options, twin.as_mut(), arguments.rounds)?;
        missed += usize::from(row.missed());
        row.print();
    }
    println!("{missed} lines miss their target");
    Ok(())
}

fn measure_line(
    line: &Line,
    options: &Options,
    twin: Option<&mut Twin>,
    rounds: usize,
) -> Result<table::Row, Box<dyn Error>> {
    let clock = if line.one_thread { Clock::Thread } else { Clock::Wall };
    let mut ours = (line.ours)(options)?;
    let calls = calls_for(&mut ours)?;
    let mut floor =
        line.floor.map(|(make, work)| Ok::<_, sconce::Error>((make(options)?, work))).transpose()?;
    let floor_calls = floor.as_mut().map_or(Ok(0), |(call, _)| calls_for(call))?;
    let mut twin = twin.filter(|_| line.torch);
    let torch_calls = twin.as_mut().map_or(Ok(0), |twin| twin.calls_for(line.name))?;
    let (mut own, mut torch, mut least) = (Vec::new(), Vec::new(), Vec::new());
    let settle = || {
        if line.writes {
            rustix::fs::sync();
        }
    };
    for _ in 0..rounds {
        settle();
        own.push(sample(&mut ours, calls, clock)?);
        if let Some((call, work)) = &mut floor {
            settle();
            least.push(sample(call, floor_calls, clock)? * *work);
        }
        if let Some(twin) = &mut twin {
            settle();
            torch.push(twin.sample(line.name, torch_calls, clock)?);
        }
    }
    if let Some(twin) = &mut twin {
        twin.forget(line.name)?;
    }
    // The median of the ratios of neighbours: what slows one of them slows the other.
    let against = |other: Vec<f64>| {
        let ratios = own.iter().zip(&other).map(|(own, other)| other / own).collect();
        (!other.is_empty()).then(|| (median(other), median(ratios)))
    };
    let (torch, floor) = (against(torch), against(least));
    Ok(table::Row { name: line.name, target: line.target, ours: median(own), torch, floor })
}

/// The instructions of one call: the difference between two runs under valgrind, over the difference in calls.
fn instructions(line: &str) -> Result<f64, Box<dyn Error>> {
    let count = |calls: usize| -> Result<f64, Box<dyn Error>> {
        let out = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe()?)
            .args([line, "--call", &calls.to_string()])
            .output()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let found = text.lines().find_map(|l| l.split_once("Collected :"));
        Ok(found.ok_or(text.clone())?.1.trim().parse()?)
    };
    Ok((count(300)? - count(100)?) / 200.0)
}
