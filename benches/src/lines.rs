//! What is measured: one entry per line of the table.

mod elementwise;
mod files;
mod modules;
mod products;
mod small;
mod train;

use crate::measure::Call;
use crate::table::Floor;

/// What the command line sets.
pub(crate) struct Options {
    /// The size of the file of statistics.
    pub(crate) file_mib: usize,
}

/// Makes what is called.
pub(crate) type Make = fn(&Options) -> sconce::Result<Call>;

/// Whom a line is measured against.
#[derive(Clone, Copy)]
pub(crate) enum Peer {
    /// Code in this program.
    Rust(Make),
    /// A line of `torch_twin.py`.
    Torch(&'static str),
    /// Nobody.
    None,
}

/// A line of the table.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) ours: Make,
    pub(crate) peer: Peer,
    pub(crate) floor: Floor,
    /// How much more work a call of ours does than one of the peer.
    pub(crate) work: f64,
    /// Whether it never uses another thread: its time is the thread's, and its instructions can be counted.
    pub(crate) one_thread: bool,
}

impl Line {
    const fn new(name: &'static str, ours: Make, peer: Peer, floor: Floor) -> Self {
        Self { name, ours, peer, floor, work: 1.0, one_thread: false }
    }
}

/// All lines.
pub(crate) fn all() -> Vec<Line> {
    [
        small::lines(),
        products::lines(),
        elementwise::lines(),
        train::lines(),
        modules::lines(),
        files::lines(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
