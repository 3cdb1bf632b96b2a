//! Files of a model of linear layers, 16 MiB of weights each, beside PyTorch's and safetensors' own libraries.
//!
//! The page cache is warm: what is measured is the software, and for what is written, the disk that it is synced to.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use sconce::compress::{Edit, edit_in_place};
use sconce::io::{self, Archive};
use sconce::nn::{Linear, LoadOptions, ModuleExt};
use sconce::{Context, Error, Result, stats};

use super::floors::copy_on_all_threads;
use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target;

const MIB: usize = 1 << 20;

/// Inputs and outputs of a layer.
const WIDTH: usize = 2048;
const LAYER_MIB: usize = WIDTH * WIDTH * 4 / MIB;

/// Shards of the index that is listed.
const SHARDS: usize = 100;

/// A folder for files, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sconce-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind in the system's folder for temporary files if this fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn model(options: &Options) -> Result<Vec<Linear>> {
    (0..options.file_mib.div_ceil(LAYER_MIB)).map(|_| Linear::new(WIDTH, WIDTH)).collect()
}

/// A folder with the model in a file.
fn written(options: &Options, file: &str) -> Result<Folder> {
    let folder = Folder::new(file)?;
    model(options)?.save(folder.path(file))?;
    Ok(folder)
}

fn summarise(path: &Path) -> Result<()> {
    let archive = io::open(path)?;
    let entries: Vec<_> = archive.entries().iter().collect();
    stats::of_entries(&archive, &entries, 64).into_iter().try_for_each(|s| s.map(|s| drop(black_box(s))))
}

fn statistics(options: &Options, file: &'static str) -> Result<Call> {
    let folder = written(options, file)?;
    Ok(Box::new(move || summarise(&folder.path(file))))
}

/// Copies half as many bytes, which moves as many.
fn copy_in_memory(options: &Options) -> Result<Call> {
    let bytes = options.file_mib.div_ceil(LAYER_MIB) * LAYER_MIB * MIB / 2;
    let (from, mut to) = (vec![1u8; bytes], vec![0u8; bytes]);
    Ok(Box::new(move || {
        copy_on_all_threads(&mut to, black_box(&from));
        black_box(&to);
        Ok(())
    }))
}

fn zero_biases(options: &Options, file: &'static str) -> Result<Call> {
    let folder = written(options, file)?;
    let edits = [Edit::parse("fill **.bias 0")?];
    Ok(Box::new(move || edit_in_place(folder.path(file), &edits).map(drop)))
}

/// Calls `make` with a model's file and, one after another, files that do not exist: removing the one before would be
/// measured too, and takes half as long.
fn outputs(options: &Options, make: impl Fn(&Path, &Path) -> Result<()> + 'static) -> Result<Call> {
    let folder = written(options, "model.pt")?;
    let mut outputs = 0..;
    Ok(Box::new(move || {
        let to = folder.path(&format!("{}.safetensors", outputs.next().unwrap_or(0)));
        make(&folder.path("model.pt"), &to)
    }))
}

fn convert(options: &Options) -> Result<Call> {
    outputs(options, |from, to| io::open(from)?.save(to, "safetensors"))
}

/// As other programs do, which leave it to the system when the disk gets the bytes.
fn convert_unsynced(options: &Options) -> Result<Call> {
    outputs(options, |from, to| {
        let mut out = BufWriter::with_capacity(MIB, File::create(to)?);
        io::open(from)?.write_to(&mut out, "safetensors")?;
        Ok(out.flush()?)
    })
}

/// `cp` of as large a file.
fn cp(options: &Options) -> Result<Call> {
    outputs(options, run_cp)
}

/// `cp`, and the copy is synced.
fn cp_synced(options: &Options) -> Result<Call> {
    outputs(options, |from, to| {
        run_cp(from, to)?;
        Ok(File::open(to)?.sync_all()?)
    })
}

fn run_cp(from: &Path, to: &Path) -> Result<()> {
    match Command::new("cp").args([from, to]).status()?.success() {
        true => Ok(()),
        false => Err(Error::argument("cp failed")),
    }
}

fn list_shards(_: &Options) -> Result<Call> {
    let folder = Folder::new("shards")?;
    let mut archive = Archive::new();
    for i in 0..SHARDS * 10 {
        let entry = io::Entry::new(format!("model.layers.{i}.weight"), sconce::DType::F32, [16, 16]);
        archive.push_bytes(entry, vec![0; 1024])?;
    }
    let files = archive.save_sharded(folder.path("model.safetensors"), 10 * 1024)?;
    let index = files.last().cloned().unwrap_or_default();
    assert_eq!(files.len(), SHARDS + 1);
    Ok(Box::new(move || {
        let archive = io::open(&index).context(|| format!("in {}", folder.0.display()))?;
        black_box(archive.entries().len());
        Ok(())
    }))
}

fn load(options: &Options, file: &'static str) -> Result<Call> {
    let folder = written(options, file)?;
    let model = model(options)?;
    Ok(Box::new(move || model.load(folder.path(file), LoadOptions::default()).map(drop)))
}

pub(super) fn lines() -> Vec<Line> {
    vec![
        Line::new("statistics of a .pt file", |o| statistics(o, "model.pt"))
            .torch()
            .floor(copy_in_memory, 1.0)
            .target(Target::Torch(10.0)),
        Line::new("statistics of a .safetensors file", |o| statistics(o, "model.safetensors"))
            .torch()
            .floor(copy_in_memory, 1.0)
            .target(Target::Torch(10.0)),
        Line::new("zero biases in place, .pt", |o| zero_biases(o, "model.pt"))
            .writes()
            .torch()
            .target(Target::Torch(100.0)),
        Line::new("zero biases in place, .safetensors", |o| zero_biases(o, "model.safetensors"))
            .writes()
            .torch()
            .target(Target::Torch(100.0)),
        Line::new("convert .pt to .safetensors", convert)
            .writes()
            .torch()
            .floor(cp_synced, 2.0)
            .target(Target::Floor(1.0)),
        Line::new("convert, left to the system to sync", convert_unsynced)
            .writes()
            .floor(cp, 2.0)
            .target(Target::Floor(1.0)),
        Line::new("list an index of 100 shards", list_shards).torch().target(Target::Seconds(0.05)),
        Line::new("load into a model, .pt", |o| load(o, "model.pt")).torch().target(Target::Torch(1.0)),
        Line::new("load into a model, .safetensors", |o| load(o, "model.safetensors"))
            .torch()
            .target(Target::Torch(1.0)),
    ]
}
