//! What every target checks: no panic, little memory, and what is read can be written and read again.

use sconce::io::{Archive, Objects, Options, Source, open_source};

/// Larger tensors are not read; one that is expanded may be huge and still be valid.
const READ_BYTES: u64 = 1 << 20;

/// Opens a file in memory, reads its tensors, writes it and compares.
pub fn exercise(bytes: Vec<u8>) {
    let mut options = Options::default();
    if bytes.last().is_some_and(|b| b & 1 == 1) {
        options.objects = Objects::Any;
    }
    let Ok(archive) = open_source(&Source::from_bytes("input", bytes), &options) else { return };
    let format = archive.format().expect("a file that was read has a format");
    let readable = archive.entries().iter().all(|e| e.bytes() <= READ_BYTES && archive.read(e).is_ok());
    let mut out = Vec::new();
    if !readable || archive.write_to(&mut out, format).is_err() {
        return;
    }
    let again = open_source(&Source::from_bytes("output", out), &options).expect("what was written can be read");
    compare(&archive, &again);
}

fn compare(a: &Archive, b: &Archive) {
    assert_eq!(a.entries().len(), b.entries().len());
    for x in a.entries() {
        let y = b.get(x.name()).expect("every tensor is still there");
        assert_eq!((x.encoding(), x.shape()), (y.encoding(), y.shape()));
        assert_eq!(a.read(x).expect("it was read before"), b.read(y).expect("it was just written"));
    }
}
