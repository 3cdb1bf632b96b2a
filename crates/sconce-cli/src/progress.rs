//! How far long work is: a bar on the error output, if that is a terminal and the work takes more than a moment.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sconce::Result;
use sconce::io::{self, Archive, Options, Source};

/// Work that takes less is not worth a bar.
const PATIENCE: Duration = Duration::from_millis(700);
const TICK: Duration = Duration::from_millis(100);

/// Bytes that were read of all files.
static READ: LazyLock<Arc<AtomicU64>> = LazyLock::new(Arc::default);

/// Opens a model file whose reads move the bar.
pub(crate) fn open(path: impl AsRef<Path>) -> Result<Archive> {
    io::open_source(&Source::open(path)?.counting(Arc::clone(&READ)), &Options::default())
}

/// A bar, from its making until it is dropped.
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// A bar for work that reads about so many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        if !stderr().is_terminal() {
            return Self(None);
        }
        let (stop, stopped) = channel();
        let before = READ.load(Ordering::Relaxed);
        let draw = move || {
            let goes_on = |time| stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            if !goes_on(PATIENCE) {
                return;
            }
            let template = "{bar:30} {bytes} of about {total_bytes}, {bytes_per_sec}, {eta} left";
            let style = ProgressStyle::with_template(template).expect("a template that is tested");
            let bar =
                ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()).with_style(style);
            while goes_on(TICK) {
                let done = READ.load(Ordering::Relaxed) - before;
                bar.set_length(bytes.max(done));
                bar.set_position(done);
            }
            bar.finish_and_clear();
        };
        Self(Some((stop, thread::spawn(draw))))
    }

    /// A bar for work that reads the tensors of some archives once.
    pub(crate) fn of_archives(archives: &[&Archive]) -> Self {
        Self::of(archives.iter().flat_map(|a| a.entries()).map(|e| e.bytes()).fold(0, u64::saturating_add))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            // It only draws; if it panicked there is nothing to be done.
            let _ = thread.join();
        }
    }
}
