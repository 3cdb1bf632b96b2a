//! Edits that rewrite only the bytes they touch.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crc32fast::Hasher;

use super::apply::apply_all;
use super::draft::Draft;
use super::edit::Edit;
use super::prune::{Prune, Sparsity, prune_draft};
use super::report::Report;
use crate::io::journal::{Journal, Step, Writing};
use crate::io::{self, Checksum, Options, ReadAt, Source, checksums, range, zeroed};
use crate::{Context, Error, Result};

const CHUNK_BYTES: usize = 1 << 20;

/// Applies edits to a file in place: only the bytes that they touch are written. Returns what changed, and how many
/// bytes were written.
///
/// The edits must keep names, dtypes, shapes and ties, and the tensors must lie in the file as they are: those of
/// safetensors, GGUF, npy and ONNX files, and the stored ones of zip files, whose checksums are renewed. They may also all
/// lie in one file beside it: a shard, or the external data of an ONNX model. Then that file is written, and what is said
/// below holds for it.
///
/// A crash at any point leaves the old file or the new one: the old bytes are on the disk, in a journal beside the
/// file, before any is changed. While there is a journal the file does not open; [`recover`] puts the old bytes back,
/// and so does this function before it begins.
///
/// ```
/// use sconce::compress::{Edit, edit_in_place};
/// use sconce::{DType, io::{Archive, Entry}};
///
/// let mut file = Archive::new();
/// file.push_bytes(Entry::new("bias", DType::I8, [3]), vec![7, 8, 9])?;
/// let path = std::env::temp_dir().join(format!("sconce-doc-in-place-{}.safetensors", std::process::id()));
/// file.save(&path, "safetensors")?;
/// let (report, written) = edit_in_place(&path, &[Edit::parse("fill bias 1")?])?;
/// assert_eq!((report.changes.len(), written), (1, 3));
/// let file = sconce::io::open(&path)?;
/// assert_eq!(file.read(file.get("bias").unwrap())?, [1, 1, 1]);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails as [`edit_archive`](super::edit_archive) does; when an edit cannot be done in place; when another process
/// changes the file; and when the system refuses. The file is then as it was.
pub fn edit_in_place(path: impl AsRef<Path>, edits: &[Edit]) -> Result<(Report, u64)> {
    in_place(path.as_ref(), |draft| apply_all(draft, edits))
}

/// Prunes a file in place, writing zeros; otherwise as [`edit_in_place`].
///
/// # Errors
///
/// Fails as [`prune_archive`](super::prune_archive) and [`edit_in_place`] do.
pub fn prune_in_place(path: impl AsRef<Path>, prune: &Prune) -> Result<(Vec<Sparsity>, u64)> {
    in_place(path.as_ref(), |draft| prune_draft(draft, prune))
}

/// Puts a file's old bytes back if a change in place was interrupted; returns whether one was.
///
/// # Errors
///
/// Fails when another process is changing the file, when the journal is damaged, and when the system refuses.
pub fn recover(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let recover = || Writing::open(path)?.recover(&mut || Ok(()));
    recover().context(|| path.display().to_string())
}

fn in_place<R>(path: &Path, edit: impl Fn(&mut Draft<'_>) -> Result<R>) -> Result<(R, u64)> {
    let mut written = path.to_path_buf();
    loop {
        match in_file(path, &written, &edit)? {
            Outcome::Done(result, bytes) => return Ok((result, bytes)),
            Outcome::Beside(other) => written = other,
        }
    }
}

/// What came of writing to a file.
enum Outcome<R> {
    /// The edit's result, and the bytes written.
    Done(R, u64),
    /// Nothing was written, since all that is touched lies in this other file.
    Beside(PathBuf),
}

/// Edits the model at `path`, whose bytes that change are in the file `written`.
fn in_file<R>(
    path: &Path,
    written: &Path,
    edit: impl FnOnce(&mut Draft<'_>) -> Result<R>,
) -> Result<Outcome<R>> {
    let name = || written.display().to_string();
    let file = Writing::open(written).context(name)?;
    file.recover(&mut || Ok(())).context(name)?;
    rewrite(&file, path, CHUNK_BYTES, &mut || Ok(()), edit).map_err(|error| {
        match file.recover(&mut || Ok(())) {
            Ok(_) => error,
            Err(stuck) => error.context(format!("the old bytes are not back yet ({stuck})")).context(name()),
        }
    })
}

/// Bytes to be written.
struct Piece {
    at: u64,
    size: u64,
    bytes: Arc<dyn ReadAt>,
    /// Where they begin in `bytes`.
    from: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at + self.size
    }
}

/// Edits the file; an error leaves what a crash would.
fn rewrite<R>(
    file: &Writing,
    path: &Path,
    chunk: usize,
    step: Step<'_>,
    edit: impl FnOnce(&mut Draft<'_>) -> Result<R>,
) -> Result<Outcome<R>> {
    let source = Source::open(path)?;
    let before = Arc::new(Before {
        path: file.path().to_owned(),
        file: Arc::clone(file.source()?.bytes()),
        journal: OnceLock::new(),
    });
    let bytes: Arc<dyn ReadAt> = Arc::<Before>::clone(&before);
    let whole = std::fs::canonicalize(path)? == *file.path();
    let source = match whole {
        true => source.through(bytes),
        false => source.with_beside(file.path().to_owned(), bytes),
    };
    let archive = io::open_source(&source, &Options::default())?;
    let mut draft = Draft::new(&archive)?;
    let name = || path.display().to_string();
    let result = edit(&mut draft).context(name)?;
    let (place, mut pieces) = pieces(&draft).context(name)?;
    if let Some(place) = place.filter(|place| *place != file.path()) {
        return match whole {
            true => Ok(Outcome::Beside(place)),
            false => {
                Err(Error::unsupported("the tensors lie in several files; write a new one").context(name()))
            }
        };
    }
    pieces.sort_by_key(|piece| piece.at);
    if pieces.windows(2).any(|pair| pair[0].end() > pair[1].at) {
        return Err(
            Error::unsupported("tensors that overlap in the file cannot be edited in place").context(name())
        );
    }
    if whole && is_zip(&source)? {
        renew_checksums(&source, &mut pieces).context(name)?;
    }
    let ranges: Vec<_> = pieces.iter().map(|piece| piece.at..piece.end()).collect();
    if ranges.is_empty() {
        return Ok(Outcome::Done(result, 0));
    }
    let journal = file.begin(&ranges, chunk, step).context(name)?;
    before.journal.set(journal).map_err(|_| Error::argument("a second journal"))?;
    let mut buffer = vec![0; chunk];
    for piece in &pieces {
        let mut done = 0;
        while done < piece.size {
            let part = &mut buffer[..(piece.size - done).min(chunk as u64) as usize];
            piece.bytes.read_at(piece.from + done, part).context(name)?;
            step()?;
            file.put(piece.at + done, part).context(name)?;
            done += part.len() as u64;
        }
    }
    file.commit(step).context(name)?;
    Ok(Outcome::Done(result, pieces.iter().map(|piece| piece.size).sum()))
}

/// What a draft changes, if it can be written in place, and the one file that all of it lies in.
fn pieces(draft: &Draft<'_>) -> Result<(Option<PathBuf>, Vec<Piece>)> {
    let (mut file, mut pieces) = (None::<PathBuf>, Vec::new());
    for (base, bytes, places) in draft.touched()? {
        let Some((path, start)) = base.checked_position() else {
            return Err(Error::unsupported(
                "the tensors do not lie in the file as they are (compressed or converted); write a new one",
            ));
        };
        if *file.get_or_insert_with(|| path.to_owned()) != *path {
            return Err(Error::unsupported("the tensors lie in several files; write a new one"));
        }
        pieces.extend(places.into_iter().map(|place| Piece {
            at: start + place.start,
            size: place.end - place.start,
            bytes: Arc::clone(&bytes),
            from: place.start,
        }));
    }
    Ok((file, pieces))
}

fn is_zip(source: &Source) -> Result<bool> {
    Ok(source.size() >= 4 && source.read_vec(0, 4)?.starts_with(b"PK"))
}

/// Adds the checksums of the records that the pieces lie in.
fn renew_checksums(source: &Source, pieces: &mut Vec<Piece>) -> Result<()> {
    let touched = |data: &std::ops::Range<u64>| {
        let first = pieces.partition_point(|piece| piece.end() <= data.start);
        pieces.get(first).is_some_and(|piece| piece.at < data.end)
    };
    let mut fields: Vec<Piece> = Vec::new();
    for Checksum { data, fields: places } in checksums(source, touched)? {
        let sum = new_checksum(source, pieces, data)?.to_le_bytes().to_vec();
        let bytes: Arc<dyn ReadAt> = Arc::new(sum);
        fields.extend(places.into_iter().map(|at| Piece { at, size: 4, bytes: Arc::clone(&bytes), from: 0 }));
    }
    pieces.append(&mut fields);
    pieces.sort_by_key(|piece| piece.at);
    Ok(())
}

/// The checksum of a range of the file after the pieces, in ascending order, are written.
fn new_checksum(source: &Source, pieces: &[Piece], data: std::ops::Range<u64>) -> Result<u32> {
    let mut hasher = Hasher::new();
    let mut at = data.start;
    let mut next = pieces.partition_point(|piece| piece.end() <= data.start);
    let mut buffer = zeroed((data.end - data.start).min(CHUNK_BYTES as u64))?;
    while at < data.end {
        let piece = pieces.get(next).filter(|piece| piece.at < data.end);
        let inside = piece.filter(|piece| piece.at <= at);
        let end = inside.map(Piece::end).or(piece.map(|piece| piece.at)).unwrap_or(data.end).min(data.end);
        let part = &mut buffer[..(end - at).min(CHUNK_BYTES as u64) as usize];
        match inside {
            Some(piece) => piece.bytes.read_at(piece.from + (at - piece.at), part)?,
            None => source.read_at(at, part)?,
        }
        hasher.update(part);
        at += part.len() as u64;
        next += usize::from(inside.is_some_and(|piece| piece.end() <= at));
    }
    Ok(hasher.finalize())
}

/// A file as it was before it is written: what was overwritten comes from the journal.
struct Before {
    path: PathBuf,
    /// Read through the handle that holds the lock.
    file: Arc<dyn ReadAt>,
    journal: OnceLock<Journal>,
}

impl ReadAt for Before {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size())?;
        self.file.read_at(offset, out)?;
        self.journal.get().map_or(Ok(()), |journal| journal.restore(offset, out))
    }

    fn position(&self) -> Option<(&Path, u64)> {
        Some((&self.path, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Archive, Entry};
    use crate::tensor::DType;

    const EDITS: &[&str] = &["copy a b", "fill **.bias 7", "scale b -1", "add half 1", "init c normal"];

    fn file(name: &str, format: &str) -> Result<PathBuf> {
        let mut archive = Archive::new();
        let f32s = |n: usize| (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<u8>>();
        for (name, n) in [("a", 20), ("x.bias", 3), ("b", 20), ("c", 40), ("untouched", 50)] {
            archive.push_bytes(Entry::new(name, DType::F32, [n]), f32s(n + 1)[4..].to_vec())?;
        }
        let storage = archive.add_storage(Arc::new(f32s(8)));
        archive.push(Entry::new("half", DType::F32, [4]).with_view([1], 2), storage)?;
        let path = std::env::temp_dir().join(format!("sconce-in-place-{name}-{}", std::process::id()));
        archive.save(&path, format)?;
        Ok(path)
    }

    fn edits() -> Result<Vec<Edit>> {
        EDITS.iter().map(|text| Edit::parse(text)).collect()
    }

    fn read(path: &Path) -> Result<Vec<u8>> {
        Ok(std::fs::read(path)?)
    }

    /// Kills the process, as it were, at every change of the disk, also while it recovers.
    #[test]
    fn a_crash_leaves_the_old_file_or_the_new_one() -> Result<()> {
        for format in ["safetensors", "pytorch", "gguf"] {
            let path = file(format, format)?;
            let (old, edits) = (read(&path)?, edits()?);
            let expected = crate::compress::edit_archive(&io::open(&path)?, &edits)?.0;
            let values = |archive: &Archive| -> Result<Vec<(String, Vec<u8>)>> {
                archive.entries().iter().map(|e| Ok((e.name().to_owned(), archive.read(e)?))).collect()
            };
            let expected = values(&expected)?;
            edit_in_place(&path, &edits)?;
            let new = read(&path)?;
            assert!(new != old && new.len() == old.len());
            assert_eq!(values(&io::open(&path)?)?, expected, "{format}");

            let (mut rolled_back, mut stops) = (0, 0);
            for stop in 0.. {
                std::fs::write(&path, &old)?;
                let writing = Writing::open(&path)?;
                let mut left = stop;
                let mut crash = || match left {
                    0 => Err(Error::argument("crash")),
                    _ => {
                        left -= 1;
                        Ok(())
                    }
                };
                let result = rewrite(&writing, &path, 16, &mut crash, |draft| apply_all(draft, &edits));
                let finished = result.is_ok();
                if !finished && read(&path)? != old {
                    assert!(io::open(&path).is_err(), "a mix must not open ({format}, {stop})");
                }
                // Recovery is interrupted as well, once at each of its first steps.
                for again in 0..3 {
                    let mut left = again;
                    let mut crash = || match left {
                        0 => Err(Error::argument("crash")),
                        _ => {
                            left -= 1;
                            Ok(())
                        }
                    };
                    drop(writing.recover(&mut crash));
                }
                drop(writing);
                rolled_back += usize::from(recover(&path)?);
                let now = read(&path)?;
                assert!(now == if finished { &*new } else { &*old }, "{format}, stop {stop}");
                io::open(&path)?;
                let folder = std::fs::read_dir(std::env::temp_dir())?;
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                let left = folder.filter(|f| {
                    let file = f.as_ref().map(|f| f.file_name().to_string_lossy().into_owned());
                    file.is_ok_and(|f| f.starts_with(&name) && f != name)
                });
                assert_eq!(left.count(), 0, "{format}, stop {stop}");
                stops = stop;
                if finished {
                    break;
                }
            }
            assert!(stops > 20 && rolled_back > 10, "{format}: {stops} stops, {rolled_back} rolled back");
            std::fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// The model is an index here; of ONNX models with external data the same holds.
    #[test]
    fn a_file_beside_the_model_is_written() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("sconce-in-place-beside-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut archive = Archive::new();
        for name in ["a", "b"] {
            archive.push_bytes(Entry::new(name, DType::U8, [2]), vec![1, 2])?;
        }
        let files = archive.save_sharded(folder.join("m.safetensors"), 2)?;
        let index = &files[2];
        let old = (read(&files[0])?, read(index)?);
        assert_eq!(edit_in_place(index, &[Edit::parse("copy b a")?, Edit::parse("scale b 3")?])?.1, 2);
        let model = io::open(index)?;
        assert_eq!(model.read(model.get("b").expect("b"))?, [3, 6]);
        assert!((read(&files[0])?, read(index)?) == old);
        let error = edit_in_place(index, &[Edit::parse("fill ** 1")?]).expect_err("two files").to_string();
        assert!(error.contains("the tensors lie in several files"), "{error}");
        assert_eq!(model.read(model.get("a").expect("a"))?, [1, 2]);
        Ok(std::fs::remove_dir_all(folder)?)
    }

    #[test]
    fn what_cannot_be_done_in_place_changes_nothing() -> Result<()> {
        let path = file("refused", "safetensors")?;
        let old = read(&path)?;
        for (text, why) in [
            ("cast a float16", "a: an edit changes its dtype, shape or memory"),
            ("rename a z", "a: an edit changes its name"),
            ("drop a", "a: an edit takes it out"),
            ("tie a b", "a: an edit changes its dtype, shape or memory"),
            ("fill nothing 0", "matches none of 6 names"),
        ] {
            let error = edit_in_place(&path, &[Edit::parse(text)?]).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(read(&path)? == old, "{text}");
        }
        let writing = Writing::open(&path)?;
        let error = edit_in_place(&path, &edits()?).expect_err("locked").to_string();
        assert!(error.contains("another process is changing the file"), "{error}");
        drop(writing);
        Ok(std::fs::remove_file(path)?)
    }
}
