//! Tensors in memory that take the values of tensors in a file, without another copy in between.
//!
//! Whatever can fail comes first: values that must be converted are read, checksums are verified, storages are locked.
//! Then the rest is read to where it belongs. All of it is cut into parts that several threads take in turn.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sconce_kernels::copy_past_caches;

use super::archive::Archive;
use super::encoding::Encoding;
use super::entry::Entry;
use super::pages::Pages;
use super::source::ReadAt;
use super::tensors::Tensors;
use crate::error::{Context, Result};
use crate::tensor::Tensor;
use crate::tensor::storage::WriteGuard;

/// Bytes that a thread reads at once, which its caches hold.
const PART_BYTES: usize = 1 << 18;

/// More threads would only wait for the memory.
const MOST_THREADS: usize = 8;

/// Less work than this is not worth a second thread.
const BYTES_PER_THREAD: u64 = 1 << 20;

/// A tensor of a file and one in memory that is to have its values.
pub(crate) type Pair<'a> = (&'a Entry, &'a Tensor);

impl Archive {
    /// Fills tensors with values of the file, each of the same shape. Returns the values of those, by their place, that
    /// the file does not hold byte for byte, or that overlap others: they are for the caller to copy.
    ///
    /// # Errors
    ///
    /// Fails as [`tensor`](Self::tensor) does, and when another thread holds a tensor. Nothing is changed then, unless the
    /// system fails to read bytes that are there.
    pub(crate) fn fill_tensors(&self, pairs: &[Pair<'_>]) -> Result<Vec<(usize, Tensor)>> {
        let (direct, others) = self.split(pairs);
        let mut tensors = Tensors::new(self);
        let others =
            others.into_iter().map(|i| Ok((i, tensors.read(pairs[i].0)?))).collect::<Result<Vec<_>>>()?;
        self.verify_storages(direct.iter().map(|place| pairs[place.pair].0))?;

        // In the order of their addresses, so that two loads do not wait for each other.
        let mut guards: Vec<(WriteGuard<'_>, &[Place])> = Vec::new();
        for places in direct.chunk_by(|a, b| a.storage == b.storage) {
            guards.push((pairs[places[0].pair].1.storage().write("load")?, places));
        }
        let mut parts = Vec::new();
        for (guard, places) in &mut guards {
            let (mut rest, mut at) = (guard.bytes_mut(pairs[places[0].pair].1.dtype()), 0);
            for Place { pair, bytes, .. } in *places {
                let (out, behind) = rest[bytes.start - at..].split_at_mut(bytes.len());
                (rest, at) = (behind, bytes.end);
                let entry = pairs[*pair].0;
                let storage = self.readable(entry)?;
                let starts = (Self::span(entry).0..).step_by(PART_BYTES);
                let outs = starts.zip(out.chunks_mut(PART_BYTES));
                parts.extend(outs.map(|(start, out)| (entry, storage, start, out)));
            }
        }
        let bytes = direct.iter().map(|place| place.bytes.len() as u64).sum();
        on_threads(bytes, parts, |pages, (entry, storage, start, out)| {
            let read = pages.read(&**storage, start, out.len());
            copy_past_caches(out, read.context(|| self.place(entry))?);
            Ok(())
        })?;
        Ok(others)
    }

    /// Where the bytes of the file go, in the order of addresses, and the pairs for which they would not serve. Of pairs
    /// that fill the same bytes the last one counts.
    fn split(&self, pairs: &[Pair<'_>]) -> (Vec<Place>, Vec<usize>) {
        let mut places: Vec<Place> = Vec::with_capacity(pairs.len());
        for (pair, (_, to)) in pairs.iter().enumerate().filter(|(_, (_, to))| to.numel() > 0) {
            let (layout, size) = (to.layout(), to.dtype().size());
            let bytes = layout.offset * size..layout.end() * size;
            places.push(Place { storage: to.storage().id(), bytes, pair });
        }
        places.sort_by_key(|place| (place.storage, place.bytes.start, place.pair));
        let (mut direct, mut others) = (Vec::new(), Vec::new());
        let mut first = 0;
        while first < places.len() {
            let (storage, mut end) = (places[first].storage, places[first].bytes.end);
            let mut next = first + 1;
            while next < places.len() && places[next].storage == storage && places[next].bytes.start < end {
                end = end.max(places[next].bytes.end);
                next += 1;
            }
            let together = &places[first..next];
            let last = &together[together.len() - 1];
            if together.iter().all(|p| p.bytes == last.bytes) && self.is_stored_as(pairs[last.pair]) {
                direct.push(last.clone());
            } else {
                others.extend(together.iter().map(|place| place.pair));
            }
            first = next;
        }
        others.sort_unstable();
        (direct, others)
    }

    /// Whether the file holds the tensor byte for byte.
    fn is_stored_as(&self, (entry, to): Pair<'_>) -> bool {
        let in_file = |storage: &Arc<dyn ReadAt>| storage.checked_position().is_some();
        entry.encoding() == Encoding::Plain(to.dtype())
            && to.storage().takes_any_bytes(to.dtype())
            && entry.shape() == to.shape()
            && entry.is_contiguous()
            && to.is_contiguous()
            && !entry.is_lazy()
            && entry.quantizer().is_none()
            && self.is_big_endian() == cfg!(target_endian = "big")
            && self.readable(entry).is_ok_and(in_file)
    }

    /// Reads the storages of entries that have a checksum, unless it is known to be right.
    fn verify_storages<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Result<()> {
        let (mut seen, mut parts, mut bytes) = (HashSet::new(), Vec::new(), 0);
        for entry in entries {
            let storage = self.readable(entry)?;
            if storage.unverified() && seen.insert(entry.storage) {
                let size = storage.size();
                bytes += size;
                parts.extend((0..size).step_by(PART_BYTES).map(|at| (entry, storage, at)));
            }
        }
        on_threads(bytes, parts, |pages, (entry, storage, at)| {
            let size = (storage.size() - at).min(PART_BYTES as u64) as usize;
            pages.read(&**storage, at, size).map(drop).context(|| self.place(entry))
        })
    }
}

/// Bytes of a storage in memory, for the pair of that index.
#[derive(Clone)]
struct Place {
    storage: usize,
    bytes: Range<usize>,
    pair: usize,
}

/// Does all jobs, which read so many bytes together, on several threads; none after the first error, which is returned.
fn on_threads<J: Send>(
    bytes: u64,
    jobs: Vec<J>,
    work: impl Fn(&mut Pages, J) -> Result<()> + Sync,
) -> Result<()> {
    let most = usize::try_from(bytes / BYTES_PER_THREAD).unwrap_or(usize::MAX).max(1);
    let threads = sconce_kernels::threads().min(MOST_THREADS).min(most);
    let (jobs, failed) = (Mutex::new(jobs.into_iter()), Mutex::new(None));
    let run = || {
        let mut pages = Pages::default();
        let next = || lock(&jobs).next();
        while let Some(job) = next() {
            if let Err(error) = work(&mut pages, job) {
                lock(&jobs).by_ref().for_each(drop);
                lock(&failed).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// A job that panics ends all of them, so what the locks guard is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    /// A file that is gone afterwards.
    struct Model(std::path::PathBuf);

    impl Model {
        fn new(extension: &str, tensors: &[(&str, &Tensor)]) -> Result<Self> {
            let name = format!("sconce-fill-{}-{}.{extension}", std::process::id(), tensors.len());
            let path = std::env::temp_dir().join(name);
            super::super::save(&path, tensors.iter().copied())?;
            Ok(Self(path))
        }
    }

    impl Drop for Model {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn range(n: usize) -> Result<Tensor> {
        Tensor::from_vec((0..n).map(|i| i as f32).collect(), [n])
    }

    #[test]
    fn values_go_where_they_belong() -> Result<()> {
        let (large, small) = (range(1_000_003)?, range(12)?);
        let turned = small.view([3, 4])?.t()?;
        let (half, truths) = (small.to(DType::F16)?, small.to(DType::Bool)?);
        let empty = range(0)?;
        let given = [
            ("large", &large),
            ("turned", &turned),
            ("half", &half),
            ("truths", &truths),
            ("empty", &empty),
            ("small", &small),
            ("mine", &small),
        ];
        for (extension, converted) in [("safetensors", vec![2, 3, 6]), ("pt", vec![1, 2, 3, 6])] {
            let model = Model::new(extension, &given)?;
            let archive = super::super::open(&model.0)?;
            let flat = Tensor::zeros([1_000_100], DType::F32)?;
            let targets = [
                flat.narrow(0, 50, 1_000_003)?,
                flat.narrow(0, 20, 12)?.view([4, 3])?,
                Tensor::zeros([12], DType::F32)?,
                Tensor::zeros([12], DType::Bool)?,
                flat.narrow(0, 3, 0)?,
                flat.narrow(0, 5, 12)?,
                // Memory that a vector gave.
                Tensor::from_vec(vec![0.0_f32; 20], [20])?.narrow(0, 1, 12)?,
            ];
            let entry = |name: &str| archive.get(name).expect("it was saved");
            let pairs: Vec<_> = given.iter().map(|(name, _)| entry(name)).zip(&targets).collect();
            let others = archive.fill_tensors(&pairs)?;
            let places: Vec<usize> = others.iter().map(|(i, _)| *i).collect();
            assert_eq!(places, converted, "{extension}");
            for (i, value) in &others {
                targets[*i].copy_(value)?;
            }
            for ((name, value), target) in given.iter().zip(&targets) {
                assert!(value.to(target.dtype())?.equal(target)?, "{extension}: {name}");
            }
            assert_eq!(flat.narrow(0, 17, 3)?.to_vec::<f32>()?, [0.0; 3], "what lies between stays");
        }
        Ok(())
    }

    #[test]
    fn of_what_overlaps_the_last_counts() -> Result<()> {
        let (a, b) = (range(8)?, range(8)?.add(10.0)?);
        let model = Model::new("safetensors", &[("a", &a), ("b", &b)])?;
        let archive = super::super::open(&model.0)?;
        let (a, b) = (archive.get("a").expect("a"), archive.get("b").expect("b"));
        let flat = Tensor::zeros([20], DType::F32)?;
        let (same, partly) = (flat.narrow(0, 2, 8)?, flat.narrow(0, 4, 8)?);
        assert!(archive.fill_tensors(&[(b, &same), (a, &same), (b, &same)])?.is_empty());
        assert_eq!(flat.narrow(0, 1, 3)?.to_vec::<f32>()?, [0.0, 10.0, 11.0]);
        let others = archive.fill_tensors(&[(a, &same), (b, &partly)])?;
        assert_eq!(others.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 1]);
        Ok(())
    }

    #[test]
    fn a_wrong_checksum_changes_nothing() -> Result<()> {
        let (large, small) = (range(1_000_000)?, range(12)?);
        let model = Model::new("pt", &[("large", &large), ("small", &small), ("none", &range(0)?)])?;
        let mut bytes = std::fs::read(&model.0)?;
        let last = small.to_bytes()?;
        let at = bytes.windows(48).rposition(|window| window == last).expect("the small tensor");
        bytes[at + 40] ^= 1;
        std::fs::write(&model.0, bytes)?;
        let archive = super::super::open(&model.0)?;
        let targets = [Tensor::zeros([1_000_000], DType::F32)?, Tensor::zeros([12], DType::F32)?];
        let pairs: Vec<_> = archive.entries().iter().zip(&targets).collect();
        let error = archive.fill_tensors(&pairs).expect_err("a damaged file").to_string();
        assert!(error.contains("small: checksum"), "{error}");
        for target in &targets {
            assert!(target.to_vec::<f32>()?.iter().all(|x| *x == 0.0));
        }
        Ok(())
    }
}
