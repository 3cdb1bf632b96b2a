//! Edits of named tensors: in files and live, streamed, ties kept.

use std::sync::Arc;

use sconce::compress::{Edit, cast_floats, edit_archive, edit_tensors};
use sconce::io::{Archive, Entry, Tree, Value};
use sconce::nn::{Linear, ModuleExt, Sequential};
use sconce::{DType, ErrorKind, Result, Tensor, fork_rng, manual_seed};

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn read(archive: &Archive, name: &str) -> Vec<f32> {
    let entry = archive.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    let bytes = archive.read(entry).expect("bytes");
    let x = Tensor::from_bytes(&bytes, entry.encoding().dtype().expect("a dtype"), entry.shape())
        .expect("a tensor");
    x.to(DType::F32).expect("numbers").to_vec().expect("numbers")
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.entries().iter().map(Entry::name).collect()
}

fn edits(texts: &[&str]) -> Vec<Edit> {
    texts.iter().map(|t| Edit::parse(t).unwrap_or_else(|e| panic!("{t}: {e}"))).collect()
}

/// Two layers, their weights 0, 1, 2, … and their biases 10, 11, ….
fn model() -> Archive {
    let mut archive = Archive::new();
    for layer in ["a", "b"] {
        let weight: Vec<f32> = (0..6).map(|i| i as f32).collect();
        archive
            .push_bytes(Entry::new(format!("{layer}.weight"), DType::F32, [2, 3]), f32s(&weight))
            .expect("room");
        archive
            .push_bytes(Entry::new(format!("{layer}.bias"), DType::F32, [2]), f32s(&[10.0, 11.0]))
            .expect("room");
    }
    archive
}

/// `tied.0` and `tied.1` are one matrix, `t` is its transpose, `row` its second row, `gap` its first column.
fn tied() -> Archive {
    let mut archive = Archive::new();
    let storage = archive.add_storage(Arc::new(f32s(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])));
    let entries = [
        Entry::new("tied.0", DType::F32, [2, 3]),
        Entry::new("tied.1", DType::F32, [2, 3]),
        Entry::new("t", DType::F32, [3, 2]).with_view([1, 3], 0),
        Entry::new("row", DType::F32, [3]).with_view([1], 3),
        Entry::new("gap", DType::F32, [2]).with_view([3], 0),
    ];
    for entry in entries {
        archive.push(entry, storage).expect("an entry");
    }
    archive
}

#[test]
fn values_change_as_tensors_do() -> Result<()> {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let cases: &[(&str, &[f32], &[f32])] = &[
        ("fill x 2.5", &[1.0, nan, -3.0], &[2.5, 2.5, 2.5]),
        ("scale x -2", &[1.0, 0.5, inf], &[-2.0, -1.0, -inf]),
        ("add x 1", &[1.0, -1.0, 0.25], &[2.0, 0.0, 1.25]),
        ("clamp x -1 1", &[-5.0, 0.5, 5.0], &[-1.0, 0.5, 1.0]),
        ("clamp x none 1", &[-5.0, 0.5, 5.0], &[-5.0, 0.5, 1.0]),
        ("clamp x 0 none", &[-5.0, 0.5, 5.0], &[0.0, 0.5, 5.0]),
        ("nan-to-num x", &[nan, inf, -inf], &[0.0, f32::MAX, f32::MIN]),
        ("nan-to-num x nan=3 posinf=1 neginf=-1", &[nan, inf, -inf], &[3.0, 1.0, -1.0]),
    ];
    for (text, before, after) in cases {
        let mut archive = Archive::new();
        archive.push_bytes(Entry::new("x", DType::F32, [3]), f32s(before))?;
        let (edited, report) = edit_archive(&archive, &edits(&[text]))?;
        assert_eq!(read(&edited, "x"), *after, "{text}");
        assert_eq!(report.changes.len(), 1, "{text}");
        let live = Tensor::from_slice(before, [3])?;
        edit_tensors(&[("x", &live)], &edits(&[text]))?;
        assert_eq!(live.to_vec::<f32>()?, *after, "{text}, live");
    }
    Ok(())
}

#[test]
fn dtypes_compute_as_in_pytorch() -> Result<()> {
    let mut archive = Archive::new();
    archive.push_bytes(Entry::new("i", DType::I64, [2]), [7_i64, -3].map(i64::to_le_bytes).concat())?;
    archive.push_bytes(Entry::new("u", DType::U16, [2]), vec![1, 0, 2, 0])?;
    archive.push_bytes(Entry::new("c", DType::C64, [1]), f32s(&[1.0, 2.0]))?;
    archive.push_bytes(Entry::new("e", DType::F8E4M3, [2]), vec![1, 2])?;
    let (edited, _) = edit_archive(
        &archive,
        &edits(&["scale i 3", "fill u 513", "fill c -1", "fill e 0", "cast i int32"]),
    )?;
    assert_eq!(read(&edited, "i"), [21.0, -9.0]);
    let bytes = |name: &str| edited.read(edited.get(name).expect("it"));
    assert_eq!(bytes("u")?, [1, 2, 1, 2]);
    assert_eq!(bytes("c")?, f32s(&[-1.0, 0.0]));
    assert_eq!(bytes("e")?, [0, 0]);
    for (text, kind) in [
        ("scale i 0.5", ErrorKind::DType),
        ("fill u -1", ErrorKind::DType),
        ("fill e 3", ErrorKind::DType),
        ("init i normal", ErrorKind::DType),
    ] {
        let error = edit_archive(&archive, &edits(&[text])).expect_err(text);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(&format!("edit `{text}`: ")), "{error}");
    }
    Ok(())
}

#[test]
fn an_edit_reaches_what_shares_the_memory_once() -> Result<()> {
    let archive = tied();
    let (edited, report) = edit_archive(&archive, &edits(&["scale tied.* 2", "add row 100"]))?;
    assert_eq!(read(&edited, "tied.1"), [0.0, 2.0, 4.0, 106.0, 108.0, 110.0]);
    assert_eq!(read(&edited, "t"), [0.0, 106.0, 2.0, 108.0, 4.0, 110.0]);
    assert_eq!(read(&edited, "gap"), [0.0, 106.0]);
    assert_eq!(report.changes[0].also, ["t", "row", "gap"]);
    assert_eq!(report.changes[1].also, ["tied.0", "tied.1", "t", "gap"]);
    let storages: Vec<_> = edited.entries().iter().map(Entry::storage).collect();
    assert_eq!(storages, [0; 5]);

    let refused = [
        ("scale ** 2", "it shares a part of its memory with t, which is selected too"),
        ("scale gap 2", "a view with gaps"),
        ("init t normal", "a strided view that shares memory"),
    ];
    for (text, why) in refused {
        let error = edit_archive(&archive, &edits(&[text])).expect_err(text).to_string();
        assert!(error.contains(why), "{error}");
    }

    let (edited, _) =
        edit_archive(&archive, &edits(&["untie gap | t", "scale gap 2", "copy t t", "fill tied.0 9"]))?;
    assert_eq!(read(&edited, "gap"), [0.0, 6.0]);
    assert_eq!(read(&edited, "t"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(read(&edited, "row"), [9.0; 3]);
    Ok(())
}

#[test]
fn casts_keep_ties_and_views() -> Result<()> {
    let (edited, report) = edit_archive(&tied(), &edits(&["cast tied.0 bfloat16"]))?;
    assert!(edited.entries().iter().all(|e| e.encoding().name() == "bfloat16" && e.storage() == 0));
    assert_eq!(read(&edited, "t"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(report.changes[0].also, ["tied.1", "t", "row", "gap"]);
    assert_eq!(report.changes[0].what, "cast bfloat16 from float32");

    let (edited, report) = cast_floats(&model(), "float16")?;
    assert_eq!((report.changes.len(), read(&edited, "b.bias")), (4, vec![10.0, 11.0]));
    Ok(())
}

#[test]
fn tensors_take_the_place_of_others() -> Result<()> {
    let texts =
        ["fill a.bias 7", "copy b.bias a.bias", "add a.bias 1", "tie b.weight a.weight", "scale b.weight 10"];
    let (edited, _) = edit_archive(&model(), &edits(&texts))?;
    assert_eq!((read(&edited, "a.bias"), read(&edited, "b.bias")), (vec![8.0; 2], vec![7.0; 2]));
    assert_eq!(read(&edited, "a.weight"), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
    let storage = |name: &str| edited.get(name).map(Entry::storage);
    assert_eq!(storage("a.weight"), storage("b.weight"));

    let path = std::env::temp_dir().join(format!("sconce-from-{}.safetensors", std::process::id()));
    edit_archive(&model(), &edits(&["cast ** float64", "add ** 0.5"]))?.0.save(&path, "safetensors")?;
    let from = [Edit::from_file("**.bias", &path)?];
    let (edited, _) = edit_archive(&model(), &from)?;
    assert_eq!((read(&edited, "a.bias"), read(&edited, "a.weight")[1]), (vec![10.5, 11.5], 1.0));
    let live = Tensor::from_slice(&[0_f32, 0.0], [2])?;
    edit_tensors(&[("a.bias", &live)], &from)?;
    assert_eq!(live.to_vec::<f32>()?, [10.5, 11.5]);
    std::fs::remove_file(path)?;

    for (text, why) in [
        ("copy a.bias a.weight", "a.bias: expected shape [2], found [2, 3]"),
        ("tie a.bias nothing", "no tensor is named nothing"),
        ("from ** no-such-file.pt", "no-such-file.pt: "),
    ] {
        let error = edit_archive(&model(), &edits(&[text])).expect_err(text).to_string();
        assert!(error.contains(why), "{error}");
    }
    Ok(())
}

#[test]
fn names_change_and_collide() -> Result<()> {
    let (edited, report) =
        edit_archive(&model(), &edits(&["rename a.** net.a.**", "drop b.*", "rename **.bias **.b"]))?;
    assert_eq!(names(&edited), ["net.a.weight", "net.a.b"]);
    assert_eq!(report.changes[0].to_string(), "a.weight: rename to net.a.weight");
    assert_eq!(names(&edit_archive(&model(), &edits(&["keep **.bias"]))?.0), ["a.bias", "b.bias"]);
    for (text, why) in [
        ("rename *.weight w", "w: two tensors would have this name"),
        ("rename c.* d.*", "pattern `c.*` matches none of 4 names"),
        ("drop c.*", "matches none of 4 names"),
    ] {
        let error = edit_archive(&model(), &edits(&[text])).expect_err(text).to_string();
        assert!(error.contains(why), "{error}");
    }
    Ok(())
}

/// `{"model": OrderedDict(weight, bias, again is weight), "list": [x], "epoch": 3}`.
fn nested() -> Result<Archive> {
    let mut archive = Archive::new();
    let storage = archive.add_storage(Arc::new(f32s(&[1.0, 2.0])));
    for name in ["model.weight", "model.again"] {
        archive.push(Entry::new(name, DType::F32, [2]), storage)?;
    }
    archive.push_bytes(Entry::new("model.bias", DType::F32, [1]), f32s(&[3.0]))?;
    archive.push_bytes(Entry::new("list.0", DType::F32, [1]), f32s(&[4.0]))?;
    let mut tree = Tree::new();
    let weight = tree.add(Value::Tensor(0));
    let bias = tree.add(Value::Tensor(2));
    let model = tree.ordered_dict([("weight", weight), ("bias", bias), ("again", weight)]);
    let list = tree.list([Value::Tensor(3)]);
    let epoch = tree.add(3_i64);
    let root = tree.dict([("model", model), ("list", list), ("epoch", epoch)]);
    tree.set_root(root);
    archive.set_tree(tree)?;
    Ok(archive)
}

#[test]
fn nested_structures_follow() -> Result<()> {
    let keys = |archive: &Archive| -> Vec<(String, Value)> {
        let tree = archive.tree().expect("a tree");
        let model = tree.lookup(tree.root(), "model").expect("the model");
        let Value::Dict(dict) = tree.value(model) else { panic!("no dict") };
        let text = |&(k, v): &_| (format!("{:?}", tree.value(k)), tree.value(v).clone());
        dict.items.iter().map(text).collect()
    };
    let key = |name: &str, index: usize| (format!("Str({name:?})"), Value::Tensor(index));
    let archive = nested()?;
    let edit = |texts: &[&str]| edit_archive(&archive, &edits(texts)).map(|(edited, _)| edited);
    assert_eq!(keys(&edit(&["rename **.bias **.b"])?), [key("weight", 0), key("b", 2), key("again", 0)]);
    assert_eq!(keys(&edit(&["drop model.weight"])?), [key("bias", 1), key("again", 0)]);
    assert_eq!(keys(&edit(&["untie model.again"])?), [key("weight", 0), key("bias", 2), key("again", 1)]);
    assert_eq!(keys(&edit(&["drop {model.weight,model.again}"])?), [key("bias", 0)]);
    for text in ["drop list.0", "rename list.0 list.1", "rename model.* *"] {
        let error = edit(&[text]).expect_err(text).to_string();
        assert!(error.contains("make ") && error.contains(" flat first"), "{error}");
    }
    assert_eq!(archive.tree().expect("a tree").plain_values(), ["epoch"]);
    let path = std::env::temp_dir().join(format!("sconce-nested-{}.pt", std::process::id()));
    edit(&["drop model.again", "cast model.bias float16", "rename model.bias model.b"])?
        .save(&path, "pytorch")?;
    assert_eq!(names(&sconce::io::open(&path)?), ["model.weight", "model.b", "list.0"]);
    Ok(std::fs::remove_file(path)?)
}

#[test]
fn new_values_are_those_of_a_seeded_module() -> Result<()> {
    let mut archive = Archive::new();
    archive.push_bytes(Entry::new("0.weight", DType::F32, [40, 30]), vec![0; 4800])?;
    archive.push_bytes(Entry::new("0.bias", DType::F32, [40]), vec![0; 160])?;
    archive.push_bytes(Entry::new("1.weight", DType::F32, [3, 40]), vec![0; 480])?;
    archive.push_bytes(Entry::new("1.bias", DType::F32, [3]), vec![0; 12])?;
    let mut live = Sequential::new();
    live.push(Linear::new(30, 40)?);
    live.push(Linear::new(40, 3)?);
    let state = live.state_dict();
    let named: Vec<_> = state.iter().collect();
    for text in [
        "init ** normal std=0.02 seed=7",
        "init **.weight kaiming_uniform a=2.23606797749979",
        "init **.weight xavier_normal_ seed=1",
        "init ** uniform a=-1 b=1",
        "init **.weight kaiming_normal mode=fan_out seed=3",
        "init ** exponential lambd=2",
    ] {
        let (edited, _) = edit_archive(&archive, &edits(&[text]))?;
        edit_tensors(&named, &edits(&[text]))?;
        for (name, x) in named.iter().rev() {
            if text.contains("**.weight") && name.ends_with("bias") {
                continue;
            }
            assert_eq!(read(&edited, name), x.to_vec::<f32>()?, "{text} {name}");
        }
    }
    fork_rng(|| -> Result<()> {
        manual_seed(7);
        let x = Tensor::zeros([40, 30], DType::F32)?;
        x.normal_(0.0, 0.02)?;
        let (edited, _) = edit_archive(&archive, &edits(&["init 0.weight normal std=0.02 seed=7"]))?;
        assert_eq!(read(&edited, "0.weight"), x.to_vec::<f32>()?);
        Ok(())
    })
}

#[test]
fn live_modules_keep_what_they_are_made_of() -> Result<()> {
    let x = Tensor::zeros([2], DType::F32)?;
    for text in ["cast x float16", "drop x", "rename x y", "untie x"] {
        let error = edit_tensors(&[("x", &x)], &edits(&[text])).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let leaf = Tensor::zeros([2], DType::F32)?.requires_grad_(true)?;
    let report = edit_tensors(&[("x", &leaf), ("y", &leaf)], &edits(&["add {x,y} 1"]))?;
    assert_eq!((leaf.to_vec::<f32>()?, report.changes.len()), (vec![1.0; 2], 1));
    Ok(())
}
