//! Damaged files: whatever is cut off or changed gives a result or an error of one line, never a panic.

use sconce::io::{self, Options, Source};

/// Larger tensors are not read: a changed size may well be a valid one.
const READ_BYTES: u64 = 1 << 16;

/// Opens a file and reads what it can; whether all of it could be read.
pub(crate) fn exercise(bytes: Vec<u8>) -> bool {
    match io::open_source(&Source::from_bytes("f", bytes), &Options::default()) {
        Ok(archive) => {
            let read = |e: &io::Entry| e.bytes() > READ_BYTES || archive.read(e).is_ok();
            archive.entries().iter().filter(|e| !read(e)).count() == 0
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.starts_with("f: ") && !line.contains('\n') && line.len() < 1000, "{line:?}");
            false
        }
    }
}

/// Every file that is cut off before `end` must be refused.
pub(crate) fn truncate(name: &str, whole: &[u8], end: usize) {
    assert!(exercise(whole.to_vec()), "{name}");
    for length in 0..end {
        assert!(!exercise(whole[..length].to_vec()), "{name}: {length} bytes are accepted");
    }
}

/// Changes, removes and repeats bytes, from each `step`-th on.
pub(crate) fn change(whole: &[u8], step: usize) {
    for at in (0..whole.len()).step_by(step) {
        for value in [whole[at] ^ 1, whole[at] ^ 0x80, 0xff] {
            let mut changed = whole.to_vec();
            changed[at] = value;
            exercise(changed);
        }
        let end = (at + 4).min(whole.len());
        let mut shorter = whole.to_vec();
        shorter.drain(at..end);
        exercise(shorter);
        let mut longer = whole.to_vec();
        longer.splice(at..at, whole[at..end].iter().copied());
        exercise(longer);
    }
}
