//! Every command streams: a file that is far larger takes no more than 200 MB of memory, whatever is done with it.
//!
//! The tests check a few commands on a small file against a smaller bound. All commands on a file of 4 GiB, which is 20
//! times as much as 200 MB, are checked in a folder `TMPDIR` with 18 GB to spare by
//!
//! ```sh
//! cargo test --release -p sconce-cli --test memory -- --ignored --nocapture
//! ```
#![cfg(target_os = "linux")]

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Folder;

const MIB: usize = 1 << 20;

/// A model of many tensors of one size and of a large one.
struct Model {
    layers: usize,
    layer_mib: usize,
    embed_mib: usize,
}

impl Model {
    /// Writes the file: numbers of either sign and of many sizes.
    fn write(&self, path: &Path) {
        let mut tensors = Vec::new();
        let mut at = 0;
        let mut add = |name: String, rows: usize| {
            let end = at + rows * 4096 * 4;
            tensors.push(format!(
                r#""{name}":{{"dtype":"F32","shape":[{rows},4096],"data_offsets":[{at},{end}]}}"#
            ));
            at = end;
        };
        (0..self.layers).for_each(|i| add(format!("layers.{i}.weight"), self.layer_mib * 64));
        add("embed.weight".to_owned(), self.embed_mib * 64);
        add("head.bias".to_owned(), 1);
        let mut header = format!("{{{}}}", tensors.join(","));
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
        let block: Vec<u8> = (0..MIB as u32)
            .flat_map(|i| ((i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 8.0).to_le_bytes())
            .collect();
        let mut file = File::create(path).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        for _ in 0..at / block.len() {
            file.write_all(&block).unwrap();
        }
        file.write_all(&block[..at % block.len()]).unwrap();
    }
}

/// The most memory that a command was seen to take, in KiB; the system keeps the maximum.
fn peak(arguments: &[String], code: i32) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sconce"))
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("the command starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most);
        if let Some(exit) = child.try_wait().expect("a child") {
            assert_eq!(exit.code(), Some(code), "{arguments:?}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A run of the command: its arguments, separated by spaces outside of quotes; the exit code; files that are not needed
/// after it.
type Run = (&'static str, i32, &'static [&'static str]);

/// Runs commands on a model in `a.safetensors`, none of which may take more than so many bytes.
fn check(folder: &Folder, model: &Model, runs: &[Run], most: u64) {
    model.write(&folder.path("a.safetensors"));
    let mut over = Vec::new();
    for (line, code, done) in runs {
        let start = Instant::now();
        let path = |word: &str| folder.path(word).to_str().expect("a path").to_owned();
        let arguments: Vec<String> = line
            .split('\'')
            .enumerate()
            .flat_map(|(i, part)| match i % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .map(|word| if FILES.iter().any(|end| word.ends_with(end)) { path(&word) } else { word })
            .collect();
        let taken = 1024 * peak(&arguments, *code);
        let seconds = start.elapsed().as_secs_f64();
        println!("{:7.1} MB  {seconds:6.1} s  {line}", taken as f64 / 1e6);
        if taken > most {
            over.push(format!("{line}: {:.1} MB", taken as f64 / 1e6));
        }
        for file in *done {
            std::fs::remove_file(path(file)).expect("a file of the command");
        }
    }
    assert!(over.is_empty(), "more than {} MB: {over:#?}", most / 1_000_000);
}

/// How names of files end.
const FILES: &[&str] = &[".safetensors", ".pt", ".npz", ".gguf", ".json", ".html"];

#[test]
fn a_file_is_never_held() {
    let runs: &[Run] = &[
        ("show --stats a.safetensors", 0, &[]),
        ("verify a.safetensors", 0, &[]),
        ("convert a.safetensors a.pt", 0, &[]),
        ("stats a.pt", 0, &[]),
        ("edit a.pt 'fill layers.0.weight 1' --in-place", 0, &[]),
        ("diff a.pt a.safetensors", 1, &[]),
    ];
    let model = Model { layers: 8, layer_mib: 1, embed_mib: 96 };
    check(&Folder::new("memory-small"), &model, runs, 80_000_000);
}

#[test]
#[ignore = "writes 50 GB, of which 17 GB are there at once"]
fn every_command_takes_little_memory() {
    let runs: &[Run] = &[
        ("show --stats a.safetensors", 0, &[]),
        ("stats a.safetensors --bins 64 --hash", 0, &[]),
        ("hist a.safetensors", 0, &[]),
        ("report a.safetensors -o page.html", 0, &["page.html"]),
        ("verify a.safetensors", 0, &[]),
        ("convert a.safetensors a.pt", 0, &[]),
        ("show --stats a.pt", 0, &[]),
        ("verify a.pt", 0, &[]),
        ("report a.pt -o page.html", 0, &["page.html"]),
        ("edit a.pt 'scale layers.** 2' 'add embed.weight 1' --in-place", 0, &[]),
        ("convert a.pt out.npz", 0, &["out.npz", "a.pt"]),
        ("edit a.safetensors 'fill **.bias 0' --in-place", 0, &[]),
        ("edit a.safetensors 'init embed.weight normal' 'nan-to-num layers.**' --in-place", 0, &[]),
        ("prune a.safetensors --amount 30% --in-place", 0, &[]),
        ("prune a.safetensors --amount 30% --global --layout mask -o b.safetensors", 0, &["b.safetensors"]),
        (
            "prune a.safetensors 'layers.**' --method ln_structured --amount 5 -o b.safetensors",
            0,
            &["b.safetensors"],
        ),
        ("prune a.safetensors --method 2:4 -o b.safetensors", 0, &["b.safetensors"]),
        ("convert a.safetensors out.gguf --dtype Q8_0", 0, &[]),
        (
            "convert out.gguf out.safetensors --dtype float32 --no-metadata",
            0,
            &["out.gguf", "out.safetensors"],
        ),
        ("convert a.safetensors shards.safetensors.index.json --shard-size 1GB", 0, &[]),
        ("diff shards.safetensors.index.json a.safetensors", 0, &[]),
        (
            "edit a.safetensors 'scale layers.** 2' 'clamp embed.weight -1 1' 'cast **.bias float16' \
             -o b.safetensors",
            0,
            &[],
        ),
        ("diff a.safetensors b.safetensors", 1, &[]),
        ("merge a.safetensors b.safetensors -o out.safetensors", 0, &["out.safetensors"]),
        ("merge a.safetensors b.safetensors -m slerp -o out.safetensors", 0, &["out.safetensors"]),
        (
            "merge a.safetensors b.safetensors -m ties --base shards.safetensors.index.json -o out.safetensors",
            0,
            &["out.safetensors"],
        ),
    ];
    let model = Model { layers: 32, layer_mib: 64, embed_mib: 2048 };
    check(&Folder::new("memory"), &model, runs, 200_000_000);
}
