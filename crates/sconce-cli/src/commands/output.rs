//! What the commands that write a file have in common.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::compress::Report;
use sconce::io::{self, Archive, Entry};
use sconce::{Error, ErrorKind, Result};
use serde_json::json;

use super::Failure;
use crate::progress::{self, Progress};
use crate::text::printable;

/// Changes that are listed one by one before only their number is.
const LISTED: usize = 40;

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The argument `--format`.
pub(super) fn format() -> Arg {
    Arg::new("format")
        .long("format")
        .value_name("NAME")
        .help("The format to write; by default the output's extension says")
}

/// The argument `--shard-size`.
pub(super) fn shard_size() -> Arg {
    Arg::new("shard-size").long("shard-size").value_name("SIZE").value_parser(bytes).help(
        "Writes safetensors files of at most this size, such as 500MB or 2GiB, and their index; an output that ends with \
         .safetensors.index.json is written so too, by 5GB",
    )
}

/// A number of bytes with a unit, as Hugging Face's libraries take it.
fn bytes(text: &str) -> std::result::Result<u64, String> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        unit => return Err(format!("unknown unit {unit}; expected B, KB, MB, GB, KiB, MiB or GiB")),
    };
    let number: u64 = digits.trim().parse().map_err(|_| "expected a whole number and a unit".to_owned())?;
    match number.checked_mul(unit) {
        None | Some(0) => Err("expected at least one byte, and fewer than 2^64".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

/// The argument `--force`.
pub(super) fn force() -> Arg {
    flag("force", "Replaces an output that exists")
}

/// The argument `--no-metadata`.
pub(super) fn no_metadata() -> Arg {
    flag("no-metadata", "Leaves out metadata, and names what is left out")
}

/// The arguments beside the input and the output.
pub(super) fn arguments(command: Command) -> Command {
    command
        .arg(format())
        .arg(shard_size())
        .arg(force())
        .arg(flag(
            "flat",
            "Writes tensors only: nested structures become names, other values are left out and named",
        ))
        .arg(no_metadata())
        .arg(flag("dry-run", "Says what would change, and writes nothing"))
        .arg(flag("json", "Writes JSON for machines"))
}

/// A path to be read.
pub(super) fn input() -> Arg {
    Arg::new("file").required(true).value_parser(value_parser!(OsString)).help("The model file")
}

/// Opens a file as `--flat` and `--no-metadata` want it, with the names of what they leave out.
pub(super) fn open(matches: &ArgMatches) -> Result<(Archive, Vec<String>)> {
    let path = matches.get_one::<OsString>("file").expect("clap requires the file");
    let mut archive = progress::open(path)?;
    let mut left_out = Vec::new();
    if matches.get_flag("flat") {
        left_out = archive.tree().map(|tree| tree.plain_values()).unwrap_or_default();
        archive.clear_tree();
    }
    if matches.get_flag("no-metadata") {
        left_out.extend(archive.metadata().iter().map(|(key, _)| format!("metadata {key}")));
        archive.clear_metadata();
    }
    Ok((archive, left_out))
}

/// Puts the old bytes back if an earlier change of the file in place was interrupted, and says so.
pub(super) fn undo_interrupted(path: &OsString) -> Result<()> {
    if sconce::compress::recover(path)? {
        // Standard output may be JSON.
        eprintln!(
            "sconce: {}: an interrupted change in place was undone",
            printable(&path.to_string_lossy())
        );
    }
    Ok(())
}

/// The argument `--in-place`.
pub(super) fn in_place() -> Arg {
    Arg::new("in-place")
        .long("in-place")
        .action(ArgAction::SetTrue)
        .conflicts_with_all(["output", "format", "shard-size", "flat", "no-metadata"])
        .help("Rewrites only the bytes touched; a crash at any point leaves the old file or the new one")
}

/// What a command that changes a file does with it.
pub(super) enum How {
    /// Writes another file.
    To(Target),
    /// Changes the file itself.
    InPlace,
    /// Nothing.
    Dry(Option<Target>),
}

impl How {
    /// What the arguments `--output`, `--in-place` and `--dry-run` say; an output that must not be replaced is an error.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self> {
        let target = match matches.get_one::<OsString>("output") {
            Some(path) => Some(Target::of(matches, path)?),
            None => None,
        };
        match target {
            target if matches.get_flag("dry-run") => Ok(Self::Dry(target)),
            Some(target) => target.check().map(|()| Self::To(target)),
            None if matches.get_flag("in-place") => Ok(Self::InPlace),
            None => Err(Error::argument(
                "name the file to write with --output, or change this one with --in-place",
            )),
        }
    }

    pub(super) fn target(&self) -> Option<&Target> {
        match self {
            Self::To(target) => Some(target),
            Self::Dry(target) => target.as_ref(),
            Self::InPlace => None,
        }
    }
}

/// Where to write, and in which format.
pub(super) struct Target {
    path: PathBuf,
    format: &'static str,
    /// The most bytes of a shard.
    shard_bytes: u64,
    force: bool,
}

/// The name of the format of several files.
const SHARDED: &str = "safetensors-sharded";

/// What Hugging Face's libraries write by default.
const SHARD_BYTES: u64 = 5_000_000_000;

impl Target {
    /// The target that arguments name; an error if the format is not known or the file exists.
    pub(super) fn of(matches: &ArgMatches, path: &OsString) -> Result<Self> {
        let path = PathBuf::from(path);
        let shown = path.display().to_string();
        let shard_bytes = matches.get_one::<u64>("shard-size").copied();
        let named = matches.get_one::<String>("format").map(String::as_str);
        if let (Some(name), Some(_)) = (named.filter(|name| *name != SHARDED), shard_bytes) {
            return Err(Error::argument(format!("--shard-size writes {SHARDED}, not {name}")));
        }
        let format = match named.or(shard_bytes.map(|_| SHARDED)) {
            Some(name) => io::FORMATS.iter().copied().find(|f| f.name() == name).ok_or_else(|| {
                let names: Vec<_> = io::FORMATS.iter().map(|f| f.name()).collect();
                Error::argument(format!("no format is named `{name}`; there are {}", names.join(", ")))
            })?,
            None => io::format_for_path(&path).ok_or_else(|| {
                Error::argument("the extension is that of no known format; name one with --format")
                    .context(shown)
            })?,
        };
        let force = matches.get_flag("force");
        Ok(Self { path, format: format.name(), shard_bytes: shard_bytes.unwrap_or(SHARD_BYTES), force })
    }

    /// The name of the format.
    pub(super) fn format(&self) -> &'static str {
        self.format
    }

    /// Fails if the file exists and must not be replaced; which files shards are is known when they are written.
    pub(super) fn check(&self) -> Result<()> {
        match !self.force && self.format != SHARDED && self.path.symlink_metadata().is_ok() {
            true => Err(exists(&self.path)),
            false => Ok(()),
        }
    }

    /// Writes the file, or the files.
    pub(super) fn save(&self, archive: &Archive) -> Result<()> {
        let _progress = Progress::of_archives(&[archive]);
        let saved = if self.format == SHARDED {
            self.save_sharded(archive)
        } else {
            archive.save(&self.path, self.format)
        };
        saved.map_err(|error| match error.kind() {
            ErrorKind::Unsupported if archive.tree().is_some_and(|t| !t.plain_values().is_empty()) => {
                error.context("--flat leaves out what is no tensor")
            }
            ErrorKind::Unsupported if !archive.metadata().is_empty() => {
                error.context("--no-metadata leaves metadata out")
            }
            _ => error,
        })
    }

    fn save_sharded(&self, archive: &Archive) -> Result<()> {
        let files = archive.sharded_files(&self.path, self.shard_bytes)?;
        match files.into_iter().find(|file| !self.force && file.symlink_metadata().is_ok()) {
            Some(file) => Err(exists(&file)),
            None => archive.save_sharded(&self.path, self.shard_bytes).map(drop),
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::argument("the file exists; --force replaces it").context(path.display().to_string())
}

/// What a command did, or would do.
pub(super) struct Done<'a> {
    pub(super) input: &'a str,
    pub(super) output: Option<&'a Target>,
    pub(super) dry_run: bool,
    pub(super) report: &'a Report,
    pub(super) left_out: &'a [String],
    /// Tensors that the written format does not keep tied, in groups.
    pub(super) untied: Vec<Vec<String>>,
    /// Bytes that were written in place.
    pub(super) written: Option<u64>,
}

impl<'a> Done<'a> {
    pub(super) fn new(
        matches: &ArgMatches,
        archive: &'a Archive,
        output: Option<&'a Target>,
        report: &'a Report,
        left_out: &'a [String],
    ) -> Self {
        let untied = match output {
            Some(target) if target.format != "pytorch" => {
                let names = |group: Vec<&Entry>| group.into_iter().map(|e| e.name().to_owned()).collect();
                archive.ties().into_iter().map(names).collect()
            }
            _ => Vec::new(),
        };
        let dry_run = matches.get_flag("dry-run");
        Self { input: archive.name(), output, dry_run, report, left_out, untied, written: None }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let changes = self.report.changes.iter();
        json!({
            "input": self.input,
            "output": self.output.map(|t| t.path.display().to_string()),
            "format": self.output.map(|t| t.format),
            "dry_run": self.dry_run,
            "changes": changes.map(|c| json!({"name": c.name, "what": c.what, "also": c.also})).collect::<Vec<_>>(),
            "left_out": self.left_out,
            "untied": self.untied,
            "bytes_written_in_place": self.written,
        })
    }

    pub(super) fn write(&self, as_json: bool, out: &mut dyn Write) -> std::result::Result<(), Failure> {
        if as_json {
            writeln!(out, "{:#}", self.json())?;
            return Ok(());
        }
        let changes = &self.report.changes;
        for change in changes.iter().take(LISTED) {
            writeln!(out, "{}", printable(&change.to_string()))?;
        }
        if changes.len() > LISTED {
            writeln!(out, "… and {} more changes", changes.len() - LISTED)?;
        }
        for name in self.left_out {
            writeln!(out, "left out: {}", printable(name))?;
        }
        for names in &self.untied {
            writeln!(out, "no longer tied: {}", printable(&names.join(", ")))?;
        }
        let many = |n: usize| match n {
            0 => String::new(),
            1 => "1 change, ".to_owned(),
            n => format!("{n} changes, "),
        };
        let file = self.output.map_or_else(|| self.input.to_owned(), |t| t.path.display().to_string());
        let end = match (self.dry_run, self.written) {
            (true, _) => "not written".to_owned(),
            (false, Some(bytes)) => format!("{bytes} bytes written in place"),
            (false, None) => "written".to_owned(),
        };
        writeln!(out, "{}: {}{end}", printable(&file), many(changes.len()))?;
        Ok(())
    }
}
