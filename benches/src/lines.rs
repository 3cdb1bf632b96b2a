//! What is measured: one entry per line of the table.

mod elementwise;
mod files;
mod floors;
mod layers;
mod models;
mod modules;
mod movement;
mod optim;
mod products;
mod reductions;
mod small;
mod support;
mod train;

use crate::measure::Call;
use crate::table::Target;

/// What the command line sets.
pub(crate) struct Options {
    /// The size of the model in files.
    pub(crate) file_mib: usize,
}

/// Makes what is called.
pub(crate) type Make = fn(&Options) -> sconce::Result<Call>;

/// A line of the table.
pub(crate) struct Line {
    /// What is measured; `torch_twin.py` has a line of the same name where `torch` is set.
    pub(crate) name: &'static str,
    pub(crate) ours: Make,
    pub(crate) torch: bool,
    /// What takes as long as the machine needs at least, and how much more work a call of ours does.
    pub(crate) floor: Option<(Make, f64)>,
    pub(crate) target: Target,
    /// Whether it never uses another thread: its time is the thread's, and its instructions can be counted.
    pub(crate) one_thread: bool,
    /// Whether it writes files: then the disk has all that was written before, so that nobody waits for another's bytes.
    pub(crate) writes: bool,
}

impl Line {
    fn new(name: &'static str, ours: Make) -> Self {
        Self { name, ours, torch: false, floor: None, target: Target::None, one_thread: false, writes: false }
    }

    /// Measured against PyTorch too.
    fn torch(self) -> Self {
        Self { torch: true, ..self }
    }

    /// Measured against a floor, of which a call of ours does so many times the work.
    fn floor(self, floor: Make, work: f64) -> Self {
        Self { floor: Some((floor, work)), ..self }
    }

    fn target(self, target: Target) -> Self {
        Self { target, ..self }
    }

    fn one_thread(self) -> Self {
        Self { one_thread: true, ..self }
    }

    fn writes(self) -> Self {
        Self { writes: true, ..self }
    }
}

/// All lines.
pub(crate) fn all() -> Vec<Line> {
    [
        small::lines(),
        products::lines(),
        elementwise::lines(),
        reductions::lines(),
        layers::lines(),
        movement::lines(),
        train::lines(),
        models::lines(),
        optim::lines(),
        modules::lines(),
        files::lines(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
