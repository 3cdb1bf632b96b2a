//! Several stored tensors, read side by side.

use std::sync::mpsc::sync_channel;
use std::thread;

use super::archive::Archive;
use super::entry::Entry;
use crate::error::{Error, Result};

/// Every block holds a divisor of this many elements, so that the chunks of all encodings can be equally long.
const UNIT: usize = 1 << 10;

/// Tensors of no more bytes than this are read by the caller's own thread.
const SMALL_BYTES: u64 = 1 << 18;

/// Passes the bytes of several tensors of equal length to `visit`, the same elements of each at once, in row-major
/// order, about `elements` (at least 1024) elements at a time.
///
/// Each tensor is read by a thread of its own, one chunk ahead, from start to end, so that checksums are checked.
///
/// ```
/// use sconce::{DType, io::{Archive, Entry, for_each_chunk_of}};
///
/// let mut archive = Archive::new();
/// archive.push_bytes(Entry::new("a", DType::U8, [2]), vec![1, 2])?;
/// archive.push_bytes(Entry::new("b", DType::I16, [2]), vec![1, 0, 2, 0])?;
/// let both = archive.entries().iter().map(|e| (&archive, e)).collect::<Vec<_>>();
/// for_each_chunk_of(&both, 1 << 16, |chunks| {
///     assert_eq!(chunks, [&[1, 2][..], &[1, 0, 2, 0][..]]);
///     Ok(())
/// })?;
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails when the tensors have different numbers of elements, as [`Archive::for_each_chunk`] does, and with any error
/// of `visit`.
pub fn for_each_chunk_of(
    tensors: &[(&Archive, &Entry)],
    elements: usize,
    mut visit: impl FnMut(&[&[u8]]) -> Result<()>,
) -> Result<()> {
    let Some(((_, first), rest)) = tensors.split_first() else { return Ok(()) };
    if let Some((_, other)) = rest.iter().find(|(_, e)| e.numel() != first.numel()) {
        let (a, b) = (first.shape(), other.shape());
        return Err(Error::shape(format!("shapes {a:?} and {b:?} have different numbers of elements"))
            .context(super::archive::display_name(other.name())));
    }
    let chunk = elements.max(UNIT) / UNIT * UNIT;
    let bytes = |entry: &Entry| {
        let (elements, bytes) = entry.encoding().block();
        chunk / elements as usize * bytes as usize
    };
    if tensors.iter().all(|(_, e)| e.bytes() <= SMALL_BYTES) {
        let whole = tensors.iter().map(|(archive, e)| archive.read(e)).collect::<Result<Vec<_>>>()?;
        let mut parts: Vec<_> = tensors.iter().zip(&whole).map(|((_, e), b)| b.chunks(bytes(e))).collect();
        loop {
            let chunks: Vec<&[u8]> = parts.iter_mut().filter_map(Iterator::next).collect();
            match chunks.len() {
                n if n == tensors.len() => visit(&chunks)?,
                _ => return Ok(()),
            }
        }
    }
    thread::scope(|scope| {
        let mut queues = Vec::new();
        let mut readers = Vec::new();
        for &(archive, entry) in tensors {
            let (filled, full) = sync_channel::<Vec<u8>>(1);
            let (used, empty) = sync_channel::<Vec<u8>>(4);
            queues.push((full, used));
            readers.push(scope.spawn(move || {
                let mut stopped = false;
                let result = archive.for_each_chunk(entry, bytes(entry), |part| {
                    let mut buffer = empty.try_recv().unwrap_or_default();
                    buffer.clear();
                    buffer.extend_from_slice(part);
                    filled.send(buffer).map_err(|_| {
                        stopped = true;
                        Error::argument("stopped")
                    })
                });
                // Whoever stopped the reading has the reason.
                if stopped { Ok(()) } else { result }
            }));
        }
        let consumed = (|| {
            loop {
                let buffers: Vec<Vec<u8>> = queues.iter().filter_map(|(full, _)| full.recv().ok()).collect();
                if buffers.len() < queues.len() {
                    return Ok(());
                }
                visit(&buffers.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                for ((_, used), buffer) in queues.iter().zip(buffers) {
                    // A reader that is done takes no buffers back.
                    let _ = used.try_send(buffer);
                }
            }
        })();
        drop(queues);
        let mut result = consumed;
        for reader in readers {
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(read);
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::dtype::DType;

    #[test]
    fn large_tensors_arrive_whole_and_errors_stop_the_readers() {
        let n = 300_000_usize;
        let mut archive = Archive::new();
        let wide: Vec<u8> = (0..n as u32).flat_map(u32::to_le_bytes).collect();
        let narrow: Vec<u8> = (0..n).map(|i| i as u8).collect();
        archive.push_bytes(Entry::new("wide", DType::U32, [n]), wide).expect("fits");
        archive.push_bytes(Entry::new("narrow", DType::U8, [n]), narrow).expect("fits");
        archive.push_bytes(Entry::new("short", DType::U8, [1]), vec![0]).expect("fits");
        let tensors: Vec<_> = archive.entries().iter().map(|e| (&archive, e)).collect();
        let mut seen = 0;
        for_each_chunk_of(&tensors[..2], 5000, |chunks| {
            for (wide, &narrow) in chunks[0].chunks_exact(4).zip(chunks[1]) {
                assert_eq!(wide[0], narrow);
                seen += 1;
            }
            Ok(())
        })
        .expect("readable");
        assert_eq!(seen, n);
        let stop = for_each_chunk_of(&tensors[..2], 5000, |_| Err(Error::argument("enough")));
        assert_eq!(stop.expect_err("stopped").to_string(), "enough");
        assert!(for_each_chunk_of(&tensors, 5000, |_| Ok(())).is_err());
    }
}
