//! Every command streams: a file of 4 GiB takes no more than 200 MB of memory, whatever is done with it.
//!
//! Not part of the tests, since it writes 50 GB and more; in a folder `TMPDIR` with 32 GB to spare:
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
const MOST_KIB: u64 = 200_000_000 / 1024;

/// Tensors of 64 MiB, and one of 2 GiB.
const SMALL: usize = 32;

/// Writes the file: halves of each tensor's numbers have other signs and sizes.
fn large(path: &Path) {
    let mut tensors = Vec::new();
    let mut at = 0;
    let mut add = |name: String, rows: usize| {
        let end = at + rows * 4096 * 4;
        tensors
            .push(format!(r#""{name}":{{"dtype":"F32","shape":[{rows},4096],"data_offsets":[{at},{end}]}}"#));
        at = end;
    };
    (0..SMALL).for_each(|i| add(format!("layers.{i}.weight"), 4096));
    add("embed.weight".to_owned(), 32 * 4096);
    add("head.bias".to_owned(), 1);
    let mut header = format!("{{{}}}", tensors.join(","));
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let block: Vec<u8> = (0..16 * MIB as u32)
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

/// The most memory that a command was seen to take, in KiB; the system keeps the maximum.
fn peak(arguments: &[&str], code: i32) -> u64 {
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

#[test]
#[ignore = "writes more than 50 GB"]
fn every_command_takes_little_memory() {
    let folder = Folder::new("memory");
    let path = |name: &str| folder.path(name).to_str().expect("a path").to_owned();
    let (file, other, zip, out) = (path("a.safetensors"), path("b.safetensors"), path("a.pt"), path("out"));
    large(Path::new(&file));
    let page = path("page.html");
    let [npz, gguf, shards, merged] =
        ["out.npz", "out.gguf", "out.safetensors.index.json", "merged.safetensors"].map(path);
    let commands: &[(&[&str], i32)] = &[
        (&["show", "--stats", &file], 0),
        (&["stats", &file, "--bins", "64", "--hash"], 0),
        (&["hist", &file], 0),
        (&["report", &file, "-o", &page], 0),
        (&["verify", &file], 0),
        (&["convert", &file, &zip], 0),
        (&["show", "--stats", &zip], 0),
        (&["verify", &zip], 0),
        (&["report", &zip, "-o", &page], 0),
        (&["edit", &zip, "scale layers.* 2", "add embed.weight 1", "--in-place"], 0),
        (
            &[
                "edit",
                &file,
                "scale layers.* 2",
                "clamp embed.weight -1 1",
                "cast **.bias float16",
                "-o",
                &other,
            ],
            0,
        ),
        (&["diff", &file, &other], 1),
        (&["edit", &file, "fill **.bias 0", "--in-place"], 0),
        (&["edit", &file, "init embed.weight normal", "nan-to-num layers.**", "--in-place"], 0),
        (&["prune", &file, "--amount", "30%", "--in-place"], 0),
        (&["prune", &file, "--amount", "30%", "--global", "--layout", "mask", "-o", &other, "--force"], 0),
        (&["prune", &file, "--method", "ln_structured", "--amount", "5", "-o", &other, "--force"], 0),
        (&["prune", &file, "--method", "2:4", "-o", &other, "--force"], 0),
        (&["convert", &zip, &npz], 0),
        (&["convert", &file, &gguf, "--dtype", "Q8_0"], 0),
        (&["convert", &gguf, &out, "--format", "safetensors", "--dtype", "float32", "--no-metadata"], 0),
        (&["convert", &file, &shards, "--shard-size", "1GB"], 0),
        (&["diff", &shards, &file], 0),
        (&["merge", &file, &other, "-o", &merged], 0),
        (&["merge", &file, &other, "-m", "slerp", "-o", &merged, "--force"], 0),
        (&["merge", &file, &other, "-m", "ties", "--base", &zip, "-o", &merged, "--force"], 0),
    ];
    let mut over = Vec::new();
    for (arguments, code) in commands {
        let start = Instant::now();
        let most = peak(arguments, *code);
        let words: Vec<&str> = arguments.iter().map(|a| a.rsplit('/').next().unwrap_or(a)).collect();
        println!(
            "{:7.1} MB  {:6.1} s  {}",
            most as f64 * 1.024e-3,
            start.elapsed().as_secs_f64(),
            words.join(" ")
        );
        if most > MOST_KIB {
            over.push(words.join(" "));
        }
    }
    assert!(over.is_empty(), "more than 200 MB: {over:#?}");
}
