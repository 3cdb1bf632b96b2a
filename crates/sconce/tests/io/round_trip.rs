//! What is written is what is read, in every format, and nothing is half written.

use std::path::PathBuf;
use std::sync::Arc;

use sconce::io::{self, Archive, Entry, FORMATS, ReadAt, Source, Tree, Value};
use sconce::{DType, Error, Result};

/// The formats that hold several tensors in one file, and the types that each lacks.
const WRITTEN: [(&str, &[DType]); 4] = {
    use DType::*;
    const NUMPY_LACKS: [DType; 6] = [C32, F8E4M3, F8E5M2, F8E4M3FNUZ, F8E5M2FNUZ, F8E8M0];
    const GGUF_LACKS: [DType; 13] =
        [U8, Bool, U16, U32, U64, C32, C64, C128, F8E4M3, F8E5M2, F8E4M3FNUZ, F8E5M2FNUZ, F8E8M0];
    [("safetensors", &[C32, C128]), ("pytorch", &[]), ("npz", &NUMPY_LACKS), ("gguf", &GGUF_LACKS)]
};

/// A folder of its own that goes away with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sconce-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).expect("the folder");
        files.map(|f| f.expect("a file").file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 31 + seed * 7 + 1) as u8).collect()
}

/// One tensor of every dtype, an empty one and one of no dimensions.
fn every_dtype(skip: &[DType]) -> Archive {
    let mut archive = Archive::new();
    for (i, dtype) in DType::ALL.into_iter().filter(|d| !skip.contains(d)).enumerate() {
        let entry = Entry::new(format!("t.{dtype}"), dtype, [2, 3]);
        archive.push_bytes(entry, bytes(6 * dtype.size(), i)).expect("a tensor");
    }
    archive.push_bytes(Entry::new("empty", DType::F32, [2, 0, 3]), Vec::new()).expect("an empty tensor");
    archive.push_bytes(Entry::new("scalar", DType::I64, []), bytes(8, 99)).expect("a scalar");
    archive
}

fn same_tensors(a: &Archive, b: &Archive) {
    assert_eq!(a.entries().len(), b.entries().len());
    for x in a.entries() {
        let y = b.get(x.name()).unwrap_or_else(|| panic!("{} is missing", x.name()));
        assert_eq!((x.encoding(), x.shape()), (y.encoding(), y.shape()), "{}", x.name());
        assert_eq!(a.read(x).expect("bytes"), b.read(y).expect("bytes"), "{}", x.name());
    }
}

#[test]
fn every_format_keeps_every_dtype() -> Result<()> {
    let folder = Folder::new("dtypes");
    for (format, lacking) in WRITTEN {
        let archive = every_dtype(lacking);
        let path = folder.0.join(format!("file.{format}"));
        archive.save(&path, format)?;
        let read = io::open(&path)?;
        assert_eq!(read.format(), Some(format));
        same_tensors(&archive, &read);
        let again = folder.0.join("again");
        read.save(&again, format)?;
        let bytes = [&path, &again].map(|p| std::fs::read(p).expect("a file"));
        assert_eq!(bytes[0], bytes[1], "{format}");
    }
    Ok(())
}

#[test]
fn types_that_a_format_lacks_are_refused_by_name() {
    let folder = Folder::new("refused");
    for (format, lacking) in WRITTEN {
        for &dtype in lacking {
            let mut archive = Archive::new();
            archive.push_bytes(Entry::new("z", dtype, [1]), vec![0; dtype.size()]).expect("a tensor");
            let error =
                archive.save(folder.0.join("x"), format).expect_err("a type that it lacks").to_string();
            assert!(
                error.contains("z: ") && error.ends_with(&format!(" has no type for {dtype}")),
                "{error}"
            );
            assert!(folder.names().is_empty(), "the temporary file is left: {:?}", folder.names());
        }
    }
}

fn tied() -> Result<Archive> {
    let mut archive = Archive::new();
    let storage = archive.add_storage(Arc::new(bytes(24 * 4, 3)));
    archive.push(Entry::new("a.weight", DType::F32, [4, 6]).with_parameter(true), storage)?;
    archive.push(Entry::new("b.weight", DType::F32, [4, 6]).with_parameter(true), storage)?;
    archive.push(Entry::new("transposed", DType::F32, [6, 4]).with_view([1, 6], 0), storage)?;
    archive.push(Entry::new("expanded", DType::F32, [3, 2]).with_view([0, 1], 5), storage)?;
    archive.push(Entry::new("stepped", DType::F32, [2, 2, 2]).with_view([12, 6, 3], 1), storage)?;
    archive.push_bytes(
        Entry::new("frozen", DType::BF16, [2]).with_parameter(true).with_requires_grad(false),
        bytes(4, 1),
    )?;
    Ok(archive)
}

#[test]
fn pytorch_keeps_ties_views_and_parameters() -> Result<()> {
    let folder = Folder::new("ties");
    let (archive, path) = (tied()?, folder.0.join("tied.pt"));
    archive.save(&path, "pytorch")?;
    let read = io::open(&path)?;
    same_tensors(&archive, &read);
    for (x, y) in archive.entries().iter().zip(read.entries()) {
        assert_eq!(
            (x.name(), x.strides(), x.offset(), x.parameter(), x.requires_grad()),
            (y.name(), y.strides(), y.offset(), y.parameter(), y.requires_grad())
        );
    }
    let weight = read.get("a.weight").expect("a.weight");
    let ties: Vec<&str> = read.aliases(weight).map(Entry::name).collect();
    assert_eq!(ties, ["b.weight", "transposed", "expanded", "stepped"]);
    assert_eq!(read.aliases(read.get("frozen").expect("frozen")).count(), 0);

    let converted = folder.0.join("tied.safetensors");
    let mut flat = read.clone();
    flat.clear_tree();
    flat.save(&converted, "safetensors")?;
    same_tensors(&archive, &io::open(converted)?);
    Ok(())
}

#[test]
fn pytorch_keeps_nested_structures() -> Result<()> {
    let mut archive = Archive::new();
    let w = archive.push_bytes(Entry::new("model.w", DType::F32, [2]), bytes(8, 1))?;
    let mut tree = Tree::new();
    let model = tree.ordered_dict([("w", Value::Tensor(w))]);
    let version = tree.dict([("version", 1_i64)]);
    let metadata = tree.ordered_dict([("", version)]);
    let attributes = tree.dict([("_metadata", metadata)]);
    tree.set_attributes(model, attributes);
    let wide = tree.add(Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0, 1]));
    let betas = [tree.add(0.9), tree.add(0.999)];
    let values = [
        ("none", Value::None),
        ("bool", Value::Bool(true)),
        ("epoch", Value::Int(5)),
        ("large", Value::Int(-1 << 40)),
        ("loss", Value::Float(f64::INFINITY)),
        ("z", Value::Complex(1.0, -2.0)),
        ("name", Value::Str("ключ 名".to_owned())),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("bytearray", Value::ByteArray(b"ab".to_vec())),
        ("betas", Value::Tuple(betas.to_vec())),
        ("size", Value::Size(vec![2, 3])),
        ("dtype", Value::from(DType::BF16)),
        ("device", Value::Device("cuda:1".to_owned())),
        ("layout", Value::Constant("torch.strided".to_owned())),
        ("set", Value::Set(vec![betas[0]])),
        ("empty", Value::List(Vec::new())),
    ];
    let mut items: Vec<(&str, io::NodeId)> = values.into_iter().map(|(k, v)| (k, tree.add(v))).collect();
    items.extend([("model", model), ("again", model), ("wide", wide)]);
    let root = tree.dict(items);
    tree.set_root(root);
    archive.set_tree(tree)?;

    let folder = Folder::new("nested");
    let (path, again) = (folder.0.join("nested.pt"), folder.0.join("again.pt"));
    archive.save(&path, "pytorch")?;
    let read = io::open(&path)?;
    let names: Vec<&str> = read.entries().iter().map(Entry::name).collect();
    assert_eq!(names, ["model.w", "again.w"]);
    let tree = read.tree().expect("a tree");
    let get = |key: &str| tree.lookup(tree.root(), key).map(|id| tree.value(id).clone());
    assert_eq!(get("epoch"), Some(Value::Int(5)));
    assert_eq!(get("large"), Some(Value::Int(-1 << 40)));
    assert_eq!(get("z"), Some(Value::Complex(1.0, -2.0)));
    assert_eq!(get("name"), Some(Value::Str("ключ 名".to_owned())));
    assert_eq!(get("bytes"), Some(Value::Bytes(vec![0, 255])));
    assert_eq!(get("bytearray"), Some(Value::ByteArray(b"ab".to_vec())));
    assert_eq!(get("device"), Some(Value::Device("cuda:1".to_owned())));
    assert_eq!(get("wide"), Some(Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0, 1])));
    assert_eq!(tree.lookup(tree.root(), "model"), tree.lookup(tree.root(), "again"), "one dict became two");
    read.save(&again, "pytorch")?;
    assert_eq!(std::fs::read(&path).expect("a file"), std::fs::read(&again).expect("a file"));

    let error = read.save(&again, "safetensors").expect_err("an epoch is no tensor");
    assert!(
        error.to_string().contains("safetensors holds tensors only, but none is another value"),
        "{error}"
    );
    Ok(())
}

#[test]
fn hostile_trees_are_written_or_refused_without_recursion() -> Result<()> {
    let mut tree = Tree::new();
    let mut deep = tree.list::<Value>([]);
    for _ in 0..200_000 {
        deep = tree.list([deep]);
    }
    tree.set_root(deep);
    let mut archive = Archive::new();
    archive.set_tree(tree)?;
    let folder = Folder::new("deep");
    archive.save(folder.0.join("deep.pt"), "pytorch")?;
    let read = io::open(folder.0.join("deep.pt"))?;
    assert!(read.tree().is_some() && read.entries().is_empty());

    let mut tree = Tree::new();
    let injected = tree.add(Value::DType("float32\nos\nsystem".to_owned()));
    tree.set_root(injected);
    archive.set_tree(tree)?;
    let error = archive.save(folder.0.join("x.pt"), "pytorch").expect_err("a name of two lines");
    assert!(error.to_string().contains("no name of Python"), "{error}");
    Ok(())
}

/// Bytes that cannot be read to the end.
struct Failing;

impl ReadAt for Failing {
    fn size(&self) -> u64 {
        1 << 22
    }

    fn read_at(&self, offset: u64, _: &mut [u8]) -> Result<()> {
        match offset {
            0 => Ok(()),
            _ => Err(Error::format("the disk is gone")),
        }
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_file() -> Result<()> {
    let folder = Folder::new("atomic");
    for (format, lacking) in WRITTEN {
        let path = folder.0.join(format!("model.{format}"));
        every_dtype(lacking).save(&path, format)?;
        let before = std::fs::read(&path).expect("a file");
        let count = folder.names().len();
        let mut broken = Archive::new();
        let storage = broken.add_storage(Arc::new(Failing));
        broken.push(Entry::new("w", DType::I8, [1 << 22]), storage)?;
        let error = broken.save(&path, format).expect_err("the disk is gone");
        assert!(error.to_string().starts_with(&*path.display().to_string()), "{error}");
        assert_eq!(std::fs::read(&path).expect("a file"), before, "{format}");
        assert_eq!(folder.names().len(), count, "{:?}", folder.names());
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_and_permissions_survive_and_paths_need_no_utf8() -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::new("links");
    let target = folder.0.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff.pt"));
    let link = folder.0.join("link.pt");
    every_dtype(&[]).save(&target, "pytorch")?;
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    symlink(&target, &link).expect("a link");
    tied()?.save(&link, "pytorch")?;
    assert!(link.symlink_metadata().expect("the link").is_symlink());
    assert_eq!(target.metadata().expect("the file").permissions().mode() & 0o777, 0o600);
    same_tensors(&tied()?, &io::open(&target)?);
    Ok(())
}

#[test]
fn formats_are_found_by_content() -> Result<()> {
    let folder = Folder::new("content");
    let archive = tied()?;
    let path = folder.0.join("model.safetensors");
    archive.save(&path, "pytorch")?;
    assert_eq!(io::open(&path)?.format(), Some("pytorch"));
    let memory = Source::from_bytes("memory", std::fs::read(&path).expect("a file"));
    same_tensors(&archive, &io::open_source(&memory, &io::Options::default())?);
    let error = io::open_source(&Source::from_bytes("noise", vec![7; 100]), &io::Options::default())
        .expect_err("noise");
    assert_eq!(
        error.to_string(),
        format!(
            "noise: the content is of no known format ({})",
            FORMATS.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
        )
    );
    Ok(())
}

#[test]
fn wrong_entries_are_refused() {
    let mut archive = Archive::new();
    let storage = archive.add_storage(Arc::new(vec![0_u8; 48]));
    let cases = [
        (Entry::new("w", DType::F32, [13]), "reaches beyond the storage"),
        (Entry::new("w", DType::F32, [12]).with_view([1], 1), "reaches beyond the storage"),
        (Entry::new("w", DType::F32, [2]).with_view([usize::MAX], 1), "reaches beyond the storage"),
        (Entry::new("w", DType::F32, [2, 2]).with_view([1], 0), "2 sizes but 1 strides"),
        (Entry::new("w", DType::F32, vec![1; 65]), "65 dimensions"),
        (Entry::new("w", DType::F32, [1 << 40, 1 << 40, 0]), "overflows"),
    ];
    for (entry, reason) in cases {
        let error = archive.push(entry, storage).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let huge = Entry::new("w", DType::F32, [1 << 40]).with_view([0], 3);
    archive.push(huge, storage).expect("an expanded tensor");
    let error = archive.read(&archive.entries()[0]).expect_err("too large to expand");
    assert!(error.to_string().contains("when expanded from a storage of 48 bytes"), "{error}");
}
