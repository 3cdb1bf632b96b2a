//! The table that is printed.

/// What a line must reach.
#[derive(Clone, Copy)]
pub(crate) enum Floor {
    /// At most so many seconds.
    Seconds(f64),
    /// At least this speed, as a multiple of the peer's.
    Ratio(f64),
    /// Anything.
    None,
}

/// A measured line.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) floor: Floor,
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
    pub(crate) ratio: f64,
}

/// Prints the names of the columns.
pub(crate) fn head(torch: Option<&str>) {
    println!("PyTorch: {}", torch.unwrap_or("not measured (--python PYTHON)"));
    println!("{:32} {:>12} {:>12} {:>7}  {:10}", "line", "ours", "peer", "ratio", "floor");
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s => format!("{:.2} ms", s * 1e3),
    }
}

impl Row {
    /// Whether it was measured and is below its floor.
    pub(crate) fn missed(&self) -> bool {
        match self.floor {
            Floor::Seconds(most) => self.ours > most,
            Floor::Ratio(least) => self.ratio < least,
            Floor::None => false,
        }
    }

    pub(crate) fn print(&self) {
        let peer = self.peer.map_or("-".to_owned(), time);
        let ratio = if self.ratio.is_nan() { "-".to_owned() } else { format!("{:.2}x", self.ratio) };
        let floor = match self.floor {
            Floor::Seconds(most) => format!("<= {}", time(most)),
            Floor::Ratio(least) => format!(">= {least:.2}x"),
            Floor::None => String::new(),
        };
        let verdict = if self.missed() { "MISSED" } else { "" };
        println!("{:32} {:>12} {peer:>12} {ratio:>7}  {floor:12} {verdict}", self.name, time(self.ours));
    }
}
