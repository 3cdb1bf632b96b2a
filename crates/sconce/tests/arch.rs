//! The architecture's invariants, checked by reading the sources. What may break one is listed here, with its reason.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may name whom inside the library: a module's own path, then those that it must not name.
const LAYERS: &[(&str, &[&str])] = &[
    ("tensor", &["autograd", "ops", "random", "nn", "optim", "io", "select", "compress", "checkpoint"]),
    ("autograd", &["ops", "random", "nn", "optim", "io", "select", "compress", "checkpoint"]),
    ("ops", &["nn", "optim", "io", "select", "compress", "checkpoint"]),
    ("select", &["ops", "optim", "io", "compress", "checkpoint"]),
    ("io", &["autograd", "nn", "optim", "select", "compress", "checkpoint"]),
    ("stats", &["autograd", "ops", "nn", "optim", "select", "compress", "checkpoint"]),
    ("compress", &["nn", "optim", "checkpoint"]),
    ("nn", &["optim", "checkpoint"]),
    ("compare", &["autograd", "ops", "nn", "optim", "compress", "checkpoint"]),
    ("merge", &["autograd", "ops", "nn", "optim", "compress", "checkpoint"]),
    ("verify", &["autograd", "ops", "nn", "optim", "compress", "checkpoint"]),
    ("anomaly", &["autograd", "ops", "nn", "optim", "compress", "checkpoint"]),
];

/// Edges against the rule above: the file, what it may name, and why.
const EDGES: &[(&str, &str, &str)] = &[
    (
        "autograd/checkpoint.rs",
        "random::{fork_rng, get_rng_state, set_rng_state}",
        "a function that runs again draws the same random numbers",
    ),
    (
        "autograd/history.rs",
        "ops::view::AsStrided",
        "a view that an edit overtook is a strided view of the edited base",
    ),
    ("autograd/inplace.rs", "ops::view::{AsStrided, Geometry}", "an edit of a view is passed on to its base"),
];

/// Where `unsafe` is allowed, beside the crate of kernels.
const UNSAFE: &[&str] =
    &["tensor/storage.rs", "tensor/storage/", "tensor/dlpack.rs", "ops/driver/", "io/map.rs"];

/// Files of operations that have no samples for the generic tests: what operations are made of.
const NOT_OPERATIONS: &[(&str, &str)] = &[
    ("axes", "the dimensions of a reduction"),
    ("compare", "results are bool and carry no gradient"),
    ("create", "new tensors"),
    ("forms", "in-place forms of operations that have samples"),
    ("names", "PyTorch's words for settings"),
    ("operators", "`+ - * /` as methods"),
    ("real", "numbers that formulas are written over"),
    ("registry", "the samples' types"),
    ("selection", "the order of equal elements, for the operations of `order`"),
    ("unique", "results carry no gradient"),
    ("view_in_place", "handles that become views that have samples of their own"),
];

const LONGEST: usize = 600;

/// Longer files that are one table.
const TABLES: &[&str] = &[];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in a folder").to_owned()
}

/// A source file without its tests: its path below `src`, its lines, and its text without comments.
struct Source {
    path: String,
    lines: usize,
    code: String,
}

fn sources(krate: &str) -> Vec<Source> {
    let root = crates().join(krate).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let path = entry.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                let text = fs::read_to_string(&entry).unwrap();
                let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
                let lines = text[..tests].lines().count();
                let code = text[..tests].lines().filter(|l| !l.trim_start().starts_with("//"));
                found.push(Source { path, lines, code: code.collect::<Vec<_>>().join("\n") });
            }
        }
    }
    assert!(!found.is_empty(), "{}", root.display());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn all_sources() -> Vec<(String, Source)> {
    let names = fs::read_dir(crates()).unwrap().map(|e| e.unwrap());
    let mut names: Vec<String> = names.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names.into_iter().flat_map(|name| sources(&name).into_iter().map(move |s| (name.clone(), s))).collect()
}

/// Everything that code names after `crate::`, once per name: `a::b`, or `a::{b, c}` as it stands.
fn named(code: &str) -> Vec<&str> {
    code.match_indices("crate::")
        .filter(|(i, _)| !code[..*i].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$'))
        .map(|(i, prefix)| {
            let rest = &code[i + prefix.len()..];
            let mut end =
                rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            if rest[end..].starts_with('{') {
                end = rest.find('}').map_or(rest.len(), |close| close + 1);
            }
            &rest[..end]
        })
        .collect()
}

/// The modules at the top that a name after `crate::` leads to.
fn modules(name: &str) -> Vec<&str> {
    match name.strip_prefix('{') {
        Some(list) => list.trim_end_matches('}').split(',').map(|item| modules(item.trim())[0]).collect(),
        None => vec![name.split("::").next().unwrap_or(name)],
    }
}

#[test]
fn modules_name_only_what_lies_below_them() {
    let mut used = vec![false; EDGES.len()];
    let mut wrong = Vec::new();
    for source in sources("sconce") {
        let below = |module: &str| {
            source.path.split('/').next() == Some(module) || source.path == format!("{module}.rs")
        };
        let Some((_, forbidden)) = LAYERS.iter().find(|(module, _)| below(module)) else { continue };
        for name in named(&source.code) {
            if !modules(name).iter().any(|module| forbidden.contains(module)) {
                continue;
            }
            match EDGES.iter().position(|(path, edge, _)| *path == source.path && *edge == name) {
                Some(edge) => used[edge] = true,
                None => wrong.push(format!("{} names crate::{name}", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (edge, used) in EDGES.iter().zip(used) {
        assert!(used, "this edge is gone, take it from the list: {edge:?}");
    }
}

#[test]
fn only_the_history_of_in_place_edits_lives_in_one_file() {
    for source in sources("sconce") {
        let knows = source.code.contains("CopySlices") || source.code.contains("replace_node(");
        let may = ["autograd/inplace.rs", "autograd/history.rs"].contains(&source.path.as_str());
        assert!(!knows || may, "{} rebuilds history", source.path);
    }
}

#[test]
fn kernels_know_no_tensor() {
    for source in sources("sconce-kernels") {
        for word in ["Tensor", "Autograd", "sconce::"] {
            let defines = ["struct ", "enum ", "trait ", "type "].iter().any(|kind| {
                source.code.match_indices(&format!("{kind}{word}")).any(|(i, found)| {
                    !source.code[i + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                })
            });
            assert!(!defines && !source.code.contains("use sconce::"), "{} has a {word}", source.path);
        }
    }
}

#[test]
fn unsafe_code_is_where_it_is_reviewed() {
    for (krate, source) in all_sources() {
        if krate == "sconce-kernels"
            || (krate == "sconce" && UNSAFE.iter().any(|f| source.path.starts_with(f)))
        {
            continue;
        }
        let words = source.code.split(|c: char| !c.is_alphanumeric() && !"_-".contains(c));
        assert!(!words.clone().any(|w| w == "unsafe"), "{krate}/src/{}", source.path);
        assert!(!source.code.contains("allow(unsafe_code)"), "{krate}/src/{}", source.path);
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let manifest = fs::read_to_string(crates().join("../Cargo.toml")).unwrap();
    let kernels = fs::read_to_string(crates().join("sconce-kernels/Cargo.toml")).unwrap();
    for text in [manifest, kernels] {
        assert!(
            text.contains("undocumented_unsafe_blocks = \"deny\"")
                && text.contains("missing_docs = \"deny\"")
        );
    }
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = all_sources()
        .iter()
        .map(|(krate, source)| (format!("{krate}/src/{}", source.path), source.lines))
        .filter(|(path, lines)| *lines > LONGEST && !TABLES.contains(&path.as_str()))
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_unfinished_is_left() {
    for (krate, source) in all_sources() {
        for word in ["todo!", "dbg!", "unimplemented!", ".unwrap()", "TODO", "FIXME", "#[ignore"] {
            assert!(!source.code.contains(word), "{krate}/src/{} has {word}", source.path);
        }
    }
}

/// Where a fast sine gives up it is NaN, and computed again only for a formula that says so.
#[test]
fn formulas_with_sines_are_periodic() {
    let mut found = 0;
    for source in sources("sconce").iter().filter(|s| s.path.starts_with("ops/")) {
        for row in source.code.split(" forward: |").skip(1) {
            if [".sin()", ".cos()", ".tan()"].iter().any(|call| row.contains(call)) {
                let name = row.lines().next().unwrap_or_default();
                assert!(row.contains("periodic: true,"), "{}: the formula `{name}`", source.path);
                found += 1;
            }
        }
    }
    assert!(found >= 4, "the check reads {found} formulas");
}

#[test]
fn every_file_of_operations_gives_samples() {
    // A folder counts as one file.
    let sources = sources("sconce");
    let mut files: Vec<&str> = sources
        .iter()
        .filter_map(|s| s.path.strip_prefix("ops/")?.split('/').next())
        .map(|name| name.trim_end_matches(".rs"))
        .filter(|name| *name != "mod" && *name != "driver")
        .collect();
    files.dedup();
    let list = fs::read_to_string(crates().join("sconce/src/ops/mod.rs")).unwrap();
    let (_, list) = list.split_once("&[registry::OpInfo]] =").expect("the list of operations");
    for file in &files {
        let helper = NOT_OPERATIONS.iter().any(|(name, _)| name == file);
        let listed = list.contains(&format!(" {file}::"));
        assert!(
            helper != listed,
            "ops/{file}: {}",
            if helper { "has samples" } else { "gives no samples to OPS" }
        );
    }
    for (name, _) in NOT_OPERATIONS {
        assert!(files.contains(name), "ops/{name} is gone, take it from the list");
    }
}
