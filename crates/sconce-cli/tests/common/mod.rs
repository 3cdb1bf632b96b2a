//! Running the command on small files.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use sconce::DType;
use sconce::io::{Archive, Entry};

/// A folder that is removed with its content.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sconce-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Saves an archive under a name that says its format.
    pub(crate) fn save(&self, name: &str, archive: &Archive) -> String {
        let path = self.path(name);
        let format = sconce::io::format_for_path(Path::new(name)).expect("a known extension");
        archive.save(&path, format.name()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a run of the command gave.
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Output {
    /// The output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

pub(crate) fn sconce(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sconce")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Adds a tensor of single-precision numbers.
pub(crate) fn push(archive: &mut Archive, name: &str, shape: &[usize], values: &[f32]) {
    let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    archive.push_bytes(Entry::new(name, DType::F32, shape), bytes).unwrap();
}

/// Tensors of single-precision vectors.
pub(crate) fn archive(tensors: &[(&str, &[f32])]) -> Archive {
    let mut archive = Archive::new();
    for (name, values) in tensors {
        push(&mut archive, name, &[values.len()], values);
    }
    archive
}
