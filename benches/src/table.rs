//! The table that is printed.

/// What a line must reach.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At most so many seconds.
    Seconds(f64),
    /// At least this speed, as a multiple of PyTorch's.
    Torch(f64),
    /// At least this part of what the machine can do.
    Floor(f64),
    /// Anything.
    None,
}

/// A measured line; times in seconds.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) target: Target,
    pub(crate) ours: f64,
    /// PyTorch's time, and how much faster we are.
    pub(crate) torch: Option<(f64, f64)>,
    /// The time at the physical floor, and the part of that speed that we reach.
    pub(crate) floor: Option<(f64, f64)>,
}

/// Prints the names of the columns.
pub(crate) fn head(torch: Option<&str>) {
    println!("PyTorch: {}", torch.unwrap_or("not measured (--python PYTHON)"));
    println!(
        "{:34} {:>10} {:>10} {:>7} {:>10} {:>6}  target",
        "line", "ours", "PyTorch", "faster", "floor", "of it"
    );
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s => format!("{:.2} ms", s * 1e3),
    }
}

impl Row {
    /// Whether it was measured and misses its target.
    pub(crate) fn missed(&self) -> bool {
        let below = |measured: Option<(f64, f64)>, least| measured.is_some_and(|(_, ratio)| ratio < least);
        match self.target {
            Target::Seconds(most) => self.ours > most,
            Target::Torch(least) => below(self.torch, least),
            Target::Floor(least) => below(self.floor, least),
            Target::None => false,
        }
    }

    pub(crate) fn print(&self) {
        let shown = |measured: Option<(f64, f64)>| match measured {
            Some((seconds, ratio)) => (time(seconds), ratio),
            None => ("-".to_owned(), f64::NAN),
        };
        let ((torch, faster), (floor, part)) = (shown(self.torch), shown(self.floor));
        let faster = if faster.is_nan() { "-".to_owned() } else { format!("{faster:.2}x") };
        let part = if part.is_nan() { "-".to_owned() } else { format!("{:.0}%", part * 100.0) };
        let target = match self.target {
            Target::Seconds(most) => format!("<= {}", time(most)),
            Target::Torch(least) => format!(">= {least:.2}x PyTorch"),
            Target::Floor(least) => format!(">= {:.0}% of the floor", least * 100.0),
            Target::None => String::new(),
        };
        let verdict = if self.missed() { " MISSED" } else { "" };
        println!(
            "{:34} {:>10} {torch:>10} {faster:>7} {floor:>10} {part:>6}  {target}{verdict}",
            self.name,
            time(self.ours)
        );
    }
}
