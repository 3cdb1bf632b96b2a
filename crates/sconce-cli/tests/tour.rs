//! The README's tour, as it is written there.

#![cfg(unix)]

mod common;

use std::path::Path;
use std::process::Command;

use common::Folder;

#[test]
fn every_command_of_the_tour_does_what_is_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let (_, tour) = readme.split_once("## A tour of the command").expect("the tour");
    let (_, block) = tour.split_once("```sh\n").expect("its commands");
    let (block, _) = block.split_once("```").expect("their end");
    let settings = block.lines().find(|line| line.starts_with("MODEL=")).expect("the files' names");

    let folder = Folder::new("tour");
    let outputs = folder.path("").display().to_string();
    let binary = Path::new(env!("CARGO_BIN_EXE_sconce")).parent().expect("a folder");
    let mut path = vec![binary.to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(path).expect("a path");

    let mut commands = Vec::new();
    for line in block.lines().filter(|line| line.starts_with("sconce ")) {
        let expected = match line.split_once("# exit code ") {
            Some((_, rest)) => rest[..1].parse().expect("a code"),
            None => 0,
        };
        let script = format!("{settings}\n{line}").replace("target/tour/", &outputs);
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(&root)
            .env("PATH", &path)
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(expected), "{line}: {said}");
        assert!(output.stdout.is_empty() == (expected == 2), "{line}");
        commands.extend(line.split_whitespace().nth(1).map(str::to_owned));
    }
    for name in ["show", "hist", "stats", "report", "edit", "diff", "prune", "merge", "convert", "verify"] {
        assert!(commands.iter().any(|c| c == name), "{name} is not in the tour");
    }
}
