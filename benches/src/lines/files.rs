//! Statistics of every value of a file, as `sconce show` gives them, by bytes read against bytes copied in memory.

use std::hint::black_box;
use std::path::PathBuf;

use sconce::io::{self, Archive, Entry};
use sconce::{DType, Result, stats};

use super::floors::copy_on_all_threads;
use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target;

const MIB: usize = 1 << 20;

/// The temporary file, removed on drop.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // Left behind in the system's folder for temporary files if this fails.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes tensors of 16 MiB each.
fn written(mib: usize) -> Result<File> {
    let file = File(std::env::temp_dir().join(format!("sconce-bench-{}.safetensors", std::process::id())));
    let mut archive = Archive::new();
    for i in 0..mib.div_ceil(16) {
        let n = 16 * MIB / 4;
        let bytes =
            (0..n).flat_map(|j| (((i + j) * 7919 % 1000) as f32 / 500.0 - 1.0).to_le_bytes()).collect();
        archive.push_bytes(Entry::new(format!("layers.{i}.weight"), DType::F32, [n]), bytes)?;
    }
    archive.save(&file.0, "safetensors")?;
    Ok(file)
}

fn show(options: &Options) -> Result<Call> {
    let file = written(options.file_mib)?;
    Ok(Box::new(move || {
        let archive = io::open(&file.0)?;
        for entry in archive.entries() {
            black_box(stats::of_entry(&archive, entry, 16)?);
        }
        Ok(())
    }))
}

/// Copies half as many bytes, which moves as many.
fn copy(options: &Options) -> Result<Call> {
    let bytes = options.file_mib.div_ceil(16) * 16 * MIB / 2;
    let (from, mut to) = (vec![1u8; bytes], vec![0u8; bytes]);
    Ok(Box::new(move || {
        copy_on_all_threads(&mut to, black_box(&from));
        black_box(&to);
        Ok(())
    }))
}

pub(super) fn lines() -> Vec<Line> {
    vec![Line::new("statistics of a file", show).floor(copy, 1.0).target(Target::Floor(0.5))]
}
