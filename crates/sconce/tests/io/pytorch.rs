//! What is particular to PyTorch's files: objects, names, marks, and what cannot be written back.

use std::path::{Path, PathBuf};

use sconce::io::{self, Archive, Entry, Objects, Options, Quantizer, Source, Tree, Value};
use sconce::{DType, ErrorKind, Result};

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files").join(name)
}

fn reopen(archive: &Archive) -> Result<Archive> {
    let mut out = Vec::new();
    archive.write_to(&mut out, "pytorch")?;
    io::open_source(&Source::from_bytes("memory", out), &Options::default())
}

#[test]
fn code_is_described_and_never_run() -> Result<()> {
    let mut options = Options::default();
    options.objects = Objects::Any;
    for (file, class) in [
        ("bad/torch_code_os_system.pt", "posix.system"),
        ("bad/torch_code_eval_protocol_4.pt", "builtins.eval"),
        ("bad/torch_code_inst.pt", "os.system"),
        ("bad/torch_code_build.pt", "types.SimpleNamespace"),
    ] {
        let path = recorded(file);
        let error = io::open(&path).expect_err(class);
        assert!(
            error.to_string().contains(&format!("it asks for {class}, which is not on the list")),
            "{error}"
        );

        let archive = io::open_source(&Source::open(&path)?, &options)?;
        let tree = archive.tree().expect("a tree");
        let named = |v: &Value| matches!(v, Value::Object(object) if object.class == class);
        assert!(tree.values().iter().any(named), "{file}: {class} is not described");
        let error = reopen(&archive).expect_err("an object cannot be written");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    Ok(())
}

#[test]
fn a_module_saved_whole_lists_its_state_dict() -> Result<()> {
    let module = io::open(recorded("good/torch_module.pt"))?;
    let names: Vec<&str> = module.entries().iter().map(Entry::name).collect();
    let dict = io::open(recorded("good/torch_state_dict.pt"))?;
    assert_eq!(names, dict.entries().iter().map(Entry::name).collect::<Vec<_>>());
    assert!(module.get("conv.weight").is_some_and(|e| e.parameter() && e.requires_grad()));
    assert!(module.get("norm.running_mean").is_some_and(|e| !e.parameter()));

    let mut flat = module.clone();
    flat.clear_tree();
    let flat = reopen(&flat)?;
    for entry in module.entries() {
        let other = flat.get(entry.name()).expect("the same tensor");
        assert_eq!(module.read(entry)?, flat.read(other)?);
    }
    Ok(())
}

#[test]
fn quantised_and_sparse_tensors_say_what_they_are() -> Result<()> {
    let archive = io::open(recorded("good/torch_quantized.pt"))?;
    let q = archive.get("q").expect("q");
    assert_eq!((q.encoding().name(), q.encoding().dtype()), ("quint8", None));
    assert_eq!(q.quantizer(), Some(&Quantizer::PerTensor { scale: 0.1, zero_point: 3 }));
    assert_eq!(archive.packed().map(Entry::name).collect::<Vec<_>>(), ["q"]);
    let error = reopen(&archive).expect_err("quint8 cannot be written");
    assert_eq!(error.to_string(), "q: writing quint8");

    let archive = io::open(recorded("good/torch_sparse.pt"))?;
    let tree = archive.tree().expect("a tree");
    let csr = tree.lookup(tree.root(), "csr").map(|id| tree.value(id));
    let Some(Value::Sparse(sparse)) = csr else { panic!("{csr:?}") };
    assert_eq!((sparse.layout.as_str(), sparse.shape.as_slice()), ("sparse_csr", &[3, 3][..]));
    assert_eq!(
        sparse.parts.iter().map(|p| p.0).collect::<Vec<_>>(),
        ["crow_indices", "col_indices", "values"]
    );
    Ok(())
}

/// Written by PyTorch: `tensor([1+2j, 3-4j]).conj()` and `_neg_view(tensor([2., -4.]))` keep the bytes and set a bit.
#[test]
fn conjugated_and_negated_tensors_read_as_their_values() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/marks.pt");
    let archive = io::open(path)?;
    let floats = |archive: &Archive, name: &str| -> Result<Vec<f32>> {
        let bytes = archive.read(archive.get(name).expect(name))?;
        Ok(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect())
    };
    assert_eq!(floats(&archive, "conj")?, [1.0, -2.0, 3.0, 4.0]);
    assert_eq!(floats(&archive, "neg")?, [-2.0, 4.0]);
    let tree = archive.tree().expect("a tree");
    let meta = tree.lookup(tree.root(), "meta").map(|id| tree.value(id));
    assert!(
        matches!(meta, Some(Value::Object(o)) if o.class.ends_with("_rebuild_meta_tensor_no_storage")),
        "{meta:?}"
    );

    let mut flat = archive.clone();
    flat.clear_tree();
    let again = reopen(&flat)?;
    assert_eq!(floats(&again, "conj")?, [1.0, -2.0, 3.0, 4.0]);
    assert_eq!(floats(&again, "neg")?, [-2.0, 4.0]);
    Ok(())
}

#[test]
fn tied_tensors_share_a_storage() -> Result<()> {
    let archive = io::open(recorded("good/torch_tied.pt"))?;
    let ties = |name: &str| -> Vec<String> {
        archive.aliases(archive.get(name).expect(name)).map(|e| e.name().to_owned()).collect()
    };
    assert_eq!(ties("a.weight"), ties_of(&archive, "a.weight"));
    assert!(!ties("a.weight").is_empty());
    assert!(ties("a.weight").iter().all(|other| ties(other).contains(&"a.weight".to_owned())));
    Ok(())
}

/// The tensors with the same bytes, which is what the recorded file ties.
fn ties_of(archive: &Archive, name: &str) -> Vec<String> {
    let bytes = archive.read(archive.get(name).expect(name)).expect("bytes");
    let same = |e: &&Entry| e.name() != name && archive.read(e).expect("bytes") == bytes;
    archive.entries().iter().filter(same).map(|e| e.name().to_owned()).collect()
}

#[test]
fn paths_that_spell_one_name_are_told_apart() -> Result<()> {
    let mut archive = Archive::new();
    for i in 0..3 {
        archive.push_bytes(Entry::new(i.to_string(), DType::U8, [1]), vec![i])?;
    }
    let mut tree = Tree::new();
    let b = tree.dict([("c", Value::Tensor(1))]);
    let bc = tree.dict([("b.c", Value::Tensor(2))]);
    let a = tree.dict([("b", b)]);
    let first = tree.add(Value::Tensor(0));
    let root = tree.dict([("a.b.c", first), ("a", a), ("a.b.c ", bc)]);
    tree.set_root(root);
    archive.set_tree(tree)?;
    let read = reopen(&archive)?;
    let names: Vec<&str> = read.entries().iter().map(Entry::name).collect();
    assert_eq!(names, ["a.b.c", "a.b.c#2", "a.b.c .b.c"]);
    assert_eq!(read.read(&read.entries()[1])?, [1]);
    Ok(())
}

#[test]
fn endless_paths_to_one_tensor_are_refused() -> Result<()> {
    let mut archive = Archive::new();
    archive.push_bytes(Entry::new("w", DType::U8, [1]), vec![1])?;
    let mut tree = Tree::new();
    let mut level = tree.list([Value::Tensor(0)]);
    for _ in 0..40 {
        level = tree.list([level, level]);
    }
    tree.set_root(level);
    archive.set_tree(tree)?;
    let error = reopen(&archive).expect_err("2^40 names");
    assert!(error.to_string().contains("steps lead to all tensors"), "{error}");
    Ok(())
}

#[test]
fn what_pytorch_cannot_hold_is_refused() -> Result<()> {
    let mut archive = Archive::new();
    archive.push_bytes(Entry::new("w", DType::U8, [1]), vec![1])?;
    archive.set_metadata("format", "pt");
    let error = reopen(&archive).expect_err("metadata");
    assert_eq!(error.to_string(), "pytorch files hold no metadata (format)");
    archive.clear_metadata();
    reopen(&archive).map(drop)
}
