//! Statistics of tensors in files, by several threads.
//!
//! Each thread takes the next part, reads it into a buffer that its caches hold, and computes. Where bytes must be read
//! in order, since they are compressed, one thread reads while the others compute. Parts are merged in order, so that
//! the results do not depend on the threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sconce_kernels::{Elem, Stats, histogram};

use super::{HISTOGRAM_SAMPLE, Summary};
use crate::io::{Archive, Entry, Pages};
use crate::tensor::DType;
use crate::{Error, Result};

/// Tensors of at most so many bytes are one part, from which their histogram is taken too.
const WHOLE_BYTES: u64 = 1 << 20;

/// Bytes of a part of a larger tensor.
const PART_BYTES: u64 = 1 << 18;

/// Elements of a block of a sample.
const BLOCK: u64 = 4096;

/// Bytes of a chunk of a tensor that is not contiguous.
const CHUNK_BYTES: usize = 1 << 20;

/// More threads would only wait for the memory.
const MOST_THREADS: usize = 8;

/// Less work than this is not worth a second thread.
const BYTES_PER_THREAD: u64 = 1 << 20;

pub(super) fn summarise(archive: &Archive, entries: &[&Entry], bins: usize) -> Vec<Result<Summary>> {
    let bytes = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.bytes()));
    let most = usize::try_from(bytes / BYTES_PER_THREAD).unwrap_or(usize::MAX);
    let threads = sconce_kernels::threads().min(MOST_THREADS).min(most);
    let run = Run {
        archive,
        bins,
        entries,
        next: Mutex::new(Next { entry: 0, part: 0 }),
        results: entries.iter().map(|_| Mutex::default()).collect(),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| run.work());
        }
        run.work();
    });
    run.results.into_iter().map(|result| finished(result).outcome()).collect()
}

struct Run<'a> {
    archive: &'a Archive,
    bins: usize,
    entries: &'a [&'a Entry],
    next: Mutex<Next>,
    results: Vec<Mutex<Progress>>,
}

/// What is to be read next.
struct Next {
    entry: usize,
    part: u64,
}

/// What is known of a tensor.
#[derive(Default)]
struct Progress {
    /// Of the parts before `done`.
    stats: Stats,
    done: u64,
    /// Of parts that were finished before one in front of them.
    early: BTreeMap<u64, Stats>,
    histogram: Vec<u64>,
    error: Option<Error>,
}

impl Progress {
    fn outcome(self) -> Result<Summary> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Summary { stats: self.stats, histogram: self.histogram }),
        }
    }
}

/// Something for one thread to do.
enum Job<'a> {
    /// A part, which is in the buffer if it `is_read`.
    Part { index: usize, part: u64, elem: Elem, is_read: bool },
    /// A tensor that is not contiguous, all by itself.
    Alone { index: usize, entry: &'a Entry, elem: Elem },
    /// A tensor whose elements are decoded first.
    Decoded { index: usize, entry: &'a Entry },
}

impl<'a> Run<'a> {
    fn work(&self) {
        let mut pages = Pages::default();
        while let Some(job) = self.take(&mut pages) {
            let (index, outcome) = match job {
                Job::Part { index, part, elem, is_read } => {
                    let read = if is_read { Ok(()) } else { self.read(index, part, &mut pages) };
                    (index, read.and_then(|()| self.part(index, part, elem, &mut pages)))
                }
                Job::Alone { index, entry, elem } => (index, self.alone(index, entry, elem)),
                Job::Decoded { index, entry } => (index, self.decoded(index, entry)),
            };
            if let Err(error) = outcome {
                lock(&self.results[index]).error.get_or_insert(error);
            }
        }
    }

    /// What to do next. What must be read in order is read here, while no other thread reads.
    fn take(&self, pages: &mut Pages) -> Option<Job<'a>> {
        let mut next = lock(&self.next);
        loop {
            let index = next.entry;
            let entry = *self.entries.get(index)?;
            let fail = |error| {
                lock(&self.results[index]).error.get_or_insert(error);
            };
            let Some(elem) = entry.encoding().dtype().and_then(DType::elem) else {
                next.entry += 1;
                return Some(Job::Decoded { index, entry });
            };
            if !entry.is_contiguous() {
                next.entry += 1;
                return Some(Job::Alone { index, entry, elem });
            }
            let part = next.part;
            if part + 1 < parts(entry) {
                next.part += 1;
            } else {
                *next = Next { entry: index + 1, part: 0 };
            }
            let is_read = self.archive.storage(entry.storage()).is_some_and(|bytes| bytes.in_order());
            if is_read && let Err(error) = self.read(index, part, pages) {
                fail(error);
                *next = Next { entry: index + 1, part: 0 };
                continue;
            }
            return Some(Job::Part { index, part, elem, is_read });
        }
    }

    fn read(&self, index: usize, part: u64, pages: &mut Pages) -> Result<()> {
        let entry = self.entries[index];
        let size = part_bytes(entry);
        let start = part * size;
        let size = (entry.bytes() - start).min(size) as usize;
        self.archive.read_pages(entry, start, size, pages).map(drop)
    }

    fn part(&self, index: usize, part: u64, elem: Elem, pages: &mut Pages) -> Result<()> {
        let entry = self.entries[index];
        let stats = Stats::of(elem, pages.last());
        let stats = {
            let mut progress = lock(&self.results[index]);
            progress.early.insert(part, stats);
            while let Some(stats) = {
                let done = progress.done;
                progress.early.remove(&done)
            } {
                progress.stats = progress.stats.merge(stats);
                progress.done += 1;
            }
            if progress.done < parts(entry) {
                return Ok(());
            }
            progress.stats
        };
        let mut counts = vec![0; self.bins];
        if stats.finite() > 0 && parts(entry) == 1 {
            histogram(elem, pages.last(), stats.min, stats.max, &mut counts);
        } else if stats.finite() > 0 {
            let size = elem.size() as u64;
            for (start, elements) in sample(entry.numel() as u64, PART_BYTES / size) {
                let bytes =
                    self.archive.read_pages(entry, start * size, (elements * size) as usize, pages)?;
                histogram(elem, bytes, stats.min, stats.max, &mut counts);
            }
        }
        lock(&self.results[index]).histogram = counts;
        Ok(())
    }

    fn alone(&self, index: usize, entry: &Entry, elem: Elem) -> Result<()> {
        let mut stats = Stats::default();
        self.archive.for_each_chunk(entry, CHUNK_BYTES, |bytes| {
            stats = stats.merge(Stats::of(elem, bytes));
            Ok(())
        })?;
        let mut counts = vec![0; self.bins];
        if stats.finite() > 0 {
            // Every chunk gives the same share of its elements, from its start.
            let share = (HISTOGRAM_SAMPLE as f64 / entry.numel() as f64).min(1.0);
            self.archive.for_each_chunk(entry, CHUNK_BYTES, |bytes| {
                let elements = bytes.len() / elem.size();
                let taken = ((elements as f64 * share).ceil() as usize).min(elements);
                histogram(elem, &bytes[..taken * elem.size()], stats.min, stats.max, &mut counts);
                Ok(())
            })?;
        }
        self.finish(index, Summary { stats, histogram: counts });
        Ok(())
    }

    fn decoded(&self, index: usize, entry: &Entry) -> Result<()> {
        let summary = super::of_decoded(self.archive, entry, self.bins)?;
        self.finish(index, summary);
        Ok(())
    }

    fn finish(&self, index: usize, summary: Summary) {
        let mut progress = lock(&self.results[index]);
        progress.stats = summary.stats;
        progress.histogram = summary.histogram;
    }
}

fn part_bytes(entry: &Entry) -> u64 {
    if entry.bytes() <= WHOLE_BYTES { WHOLE_BYTES } else { PART_BYTES }
}

/// The number of parts; an empty tensor has one.
fn parts(entry: &Entry) -> u64 {
    entry.bytes().div_ceil(part_bytes(entry)).max(1)
}

/// First elements and lengths of what a histogram of `numel` elements is taken from: at most `most` at once.
fn sample(numel: u64, most: u64) -> impl Iterator<Item = (u64, u64)> {
    let all = numel <= HISTOGRAM_SAMPLE;
    let (blocks, length) =
        if all { (numel.div_ceil(most), most) } else { (HISTOGRAM_SAMPLE / BLOCK, BLOCK.min(most)) };
    (0..blocks).map(move |i| {
        let start = if all { i * length } else { (numel - length) / (blocks - 1) * i };
        (start, length.min(numel - start))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn finished<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn samples_are_spread_over_all() {
        for (numel, most) in [(10, 4), (8, 4), (HISTOGRAM_SAMPLE, 1 << 15)] {
            let blocks: Vec<_> = sample(numel, most).collect();
            assert_eq!(blocks.iter().map(|b| b.1).sum::<u64>(), numel);
            assert!(blocks.windows(2).all(|w| w[0].0 + w[0].1 == w[1].0));
        }
        let numel = 5 * HISTOGRAM_SAMPLE + 3;
        let blocks: Vec<_> = sample(numel, 1 << 15).collect();
        assert_eq!(blocks.iter().map(|b| b.1).sum::<u64>(), HISTOGRAM_SAMPLE);
        assert!(blocks.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0));
        let last = blocks[blocks.len() - 1];
        assert!(last.0 + last.1 <= numel && last.0 + last.1 > numel - 300, "{last:?} of {numel}");
    }

    #[test]
    fn parts_and_threads_do_not_change_the_result() {
        let n = 200_001;
        let values: Vec<f64> = (0..n).map(|i| ((i * 31) % 10_007) as f64 / 100.0 - 3.0).collect();
        let large = Tensor::from_vec(values, [n]).expect("a tensor");
        let small = large.narrow(0, 5, 1000).expect("a part").contiguous().expect("a copy");
        let turned = large.narrow(0, 0, 200_000).and_then(|x| x.view([200, 1000])).and_then(|x| x.t());
        let mut archive = Archive::new();
        for (name, tensor) in [
            ("large", &large),
            ("small", &small),
            ("turned", &turned.expect("a view")),
            ("empty", &Tensor::zeros([0], DType::F32).expect("nothing")),
            ("half", &large.to(DType::F16).expect("a conversion")),
        ] {
            archive.push_tensor(name, tensor).expect("it is added");
        }
        let entries: Vec<&Entry> = archive.entries().iter().collect();
        let all = || -> Vec<Summary> {
            summarise(&archive, &entries, 16).into_iter().map(|s| s.expect("a summary")).collect()
        };
        let many = all();
        sconce_kernels::set_threads(1);
        assert_eq!(many, all());
        sconce_kernels::set_threads(0);
        let tensors = archive.tensors(archive.entries()).expect("all are read");
        for ((summary, tensor), entry) in many.iter().zip(&tensors).zip(&entries) {
            let whole = super::super::of_tensor(tensor, 16).expect("a summary");
            let (a, b) = (&summary.stats, &whole.stats);
            assert_eq!(
                (a.count, a.zeros, a.min, a.max),
                (b.count, b.zeros, b.min, b.max),
                "{}",
                entry.name()
            );
            assert!(
                (a.mean - b.mean).abs() < 1e-6 && (a.std(1) / b.std(1) - 1.0).abs() < 1e-6 || a.count == 0
            );
            assert_eq!(summary.histogram, whole.histogram, "{}", entry.name());
        }
    }
}
