//! Random changes of good files of every format: a result or an error of one line, never a panic.
//!
//! A smoke run without libFuzzer, of the property that the targets in `fuzz/` check. `SCONCE_FUZZ_SECONDS` makes it
//! longer than its second, `SCONCE_FUZZ_SEED` starts elsewhere; a failure prints the seed and the step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::damage;

/// Larger files leave too few changes for a second.
const SEED_BYTES: u64 = 1 << 15;

/// Numbers that sizes go wrong at.
const ODD: &[u64] =
    &[0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 62, i64::MAX as u64, u64::MAX];

/// A generator that repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Every good file that is recorded.
fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/data/legacy", "../../conformance/corpus/files/good"];
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flat_map(|folder| folder.map(|entry| entry.expect("an entry").path()))
        .filter(|path| path.metadata().is_ok_and(|m| m.is_file() && m.len() <= SEED_BYTES))
        .collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).expect("a recorded file")).collect()
}

/// Changes a file in a few places: bits, bytes, numbers, parts that go, come twice or come from another file.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(32)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            2 => {
                let number = ODD[random.below(ODD.len())].to_le_bytes();
                let size = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&number[..size]);
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            5 => {
                let from = random.below(other.len());
                let part = &other[from..(from + random.below(64)).min(other.len())];
                bytes.splice(at..end, part.iter().copied());
            }
            _ => bytes.truncate(end.max(1)),
        }
    }
}

/// Sets the checksums of a zip archive to zero, so that changes of its records get further.
fn forget_checksums(bytes: &mut [u8]) {
    for at in 0..bytes.len().saturating_sub(20) {
        match &bytes[at..at + 4] {
            b"PK\x01\x02" => bytes[at + 16..at + 20].fill(0),
            b"PK\x03\x04" => bytes[at + 14..at + 18].fill(0),
            _ => {}
        }
    }
}

#[test]
fn random_changes_do_no_harm() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = Duration::from_secs(number("SCONCE_FUZZ_SECONDS").unwrap_or(1));
    let seed = number("SCONCE_FUZZ_SEED").unwrap_or(1);
    let mut files = seeds();
    assert!(files.len() > 40, "{} files", files.len());
    files.iter_mut().for_each(|bytes| forget_checksums(bytes));
    let (mut random, start, mut step) = (Random(seed | 1), Instant::now(), 0_u64);
    while start.elapsed() < seconds {
        let mut bytes = files[random.below(files.len())].clone();
        let other = random.below(files.len());
        change(&mut bytes, &files[other], &mut random);
        let before = Instant::now();
        let copy = bytes.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| damage::exercise(bytes)));
        if outcome.is_err() || before.elapsed() > Duration::from_secs(10) {
            let path = std::env::temp_dir().join(format!("sconce-fuzz-{seed}-{step}"));
            std::fs::write(&path, copy).expect("a file");
            panic!("seed {seed}, step {step}: panics or takes long, see {}", path.display());
        }
        step += 1;
    }
    println!("{step} files in {seconds:?}");
}
