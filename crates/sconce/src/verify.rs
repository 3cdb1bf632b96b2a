//! Reads every byte of a file's tensors: checksums, NaN and infinities, hashes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::io::{Archive, ContentHash, Encoding, Entry, Numbers, by_storage};
use crate::tensor::DType;
use crate::{Category, Result};

const CHUNK_BYTES: u64 = 1 << 20;

/// A tensor that was read from start to end.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<'a> {
    /// The tensor.
    pub entry: &'a Entry,
    /// The hash of its type, shape and values.
    pub hash: ContentHash,
    /// Its numbers that are NaN and infinite; nothing if its elements are only copied, not understood.
    pub special: Option<Special>,
}

/// Numbers that are not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Special {
    /// How many are NaN.
    pub nan: u64,
    /// How many are infinite.
    pub inf: u64,
}

/// Reads every tensor that `pick` picks, and returns what was found, in the file's order.
///
/// Storages are read whole, so that checksums that cover them are checked even if a tensor is only a part of one.
///
/// ```
/// use sconce::{DType, io::{Archive, Entry}, verify};
///
/// let mut archive = Archive::new();
/// let values = [1.0_f32, f32::NAN, f32::INFINITY];
/// archive.push_bytes(Entry::new("w", DType::F32, [3]), values.map(f32::to_le_bytes).concat())?;
/// let checked = verify::tensors(&archive, |_| true)?;
/// assert_eq!(checked[0].special, Some(verify::Special { nan: 1, inf: 1 }));
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails at the first tensor, in the file's order, that cannot be read or whose checksum does not match.
pub fn tensors(archive: &Archive, pick: impl Fn(&Entry) -> bool) -> Result<Vec<Checked<'_>>> {
    let entries: Vec<&Entry> = archive.entries().iter().filter(|e| pick(e)).collect();
    // What is compressed is read in order, so each storage is read by one thread.
    let groups = by_storage(entries.iter().enumerate().map(|(i, entry)| (entry.storage(), i)));
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Option<Result<Checked<'_>>>>> = Mutex::new(entries.iter().map(|_| None).collect());
    let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(groups.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut whole = Some(read_whole(archive, &entries, group));
                    for &i in group {
                        let checked =
                            whole.take().unwrap_or(Ok(())).and_then(|()| check(archive, entries[i]));
                        found.lock().unwrap_or_else(|p| p.into_inner())[i] = Some(checked);
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(|p| p.into_inner());
    found.into_iter().map(|checked| checked.expect("every tensor is in a group")).collect()
}

/// Reads a storage from start to end, unless one of its tensors does.
fn read_whole(archive: &Archive, entries: &[&Entry], group: &[usize]) -> Result<()> {
    let Some(storage) = archive.storage(entries[group[0]].storage()) else { return Ok(()) };
    let covers = |e: &Entry| e.is_contiguous() && e.offset() == 0 && e.bytes() == storage.size();
    if storage.as_slice().is_some() || group.iter().any(|&i| covers(entries[i])) {
        return Ok(());
    }
    let mut buffer = vec![0; storage.size().min(CHUNK_BYTES) as usize];
    let mut at = 0;
    while at < storage.size() {
        let part = &mut buffer[..(storage.size() - at).min(CHUNK_BYTES) as usize];
        storage.read_at(at, part).map_err(|e| {
            let name = entries[group[0]].name().escape_debug().to_string();
            e.context(name).context(archive.name())
        })?;
        at += part.len() as u64;
    }
    Ok(())
}

fn check<'a>(archive: &Archive, entry: &'a Entry) -> Result<Checked<'a>> {
    let numbers = Numbers::of(entry).ok();
    let mut special = numbers.as_ref().map(|_| Special::default());
    let mut values = Vec::new();
    let hash = ContentHash::of_tensor_with(archive, entry, |bytes| {
        if let (Some(numbers), Some(special)) = (&numbers, &mut special) {
            count(entry.encoding(), numbers, bytes, &mut values, special)?;
        }
        Ok(())
    })?;
    Ok(Checked { entry, hash, special })
}

/// Counts what is not finite.
fn count(
    encoding: Encoding,
    numbers: &Numbers,
    bytes: &[u8],
    values: &mut Vec<f64>,
    special: &mut Special,
) -> Result<()> {
    use DType::*;
    // One loop that the compiler vectorises tells, nearly always, that nothing needs to be counted.
    let suspicious = match encoding {
        Encoding::Plain(d) if d.category() <= Category::Integer => false,
        Encoding::Plain(F64 | C128) => {
            any(bytes, |b| u64::from_le_bytes(b) & 0x7ff0_0000_0000_0000 == 0x7ff0_0000_0000_0000)
        }
        Encoding::Plain(F32 | C64) => any(bytes, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
        Encoding::Plain(F16 | C32) => any(bytes, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
        Encoding::Plain(BF16) => any(bytes, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        _ => true,
    };
    if !suspicious {
        return Ok(());
    }
    values.clear();
    numbers.decode(bytes, values)?;
    for x in values {
        special.nan += u64::from(x.is_nan());
        special.inf += u64::from(x.is_infinite());
    }
    Ok(())
}

fn any<const N: usize>(bytes: &[u8], is: impl Fn([u8; N]) -> bool) -> bool {
    let (numbers, _) = bytes.as_chunks();
    numbers.chunks(4096).any(|part| part.iter().fold(false, |found, &b| found | is(b)))
}
