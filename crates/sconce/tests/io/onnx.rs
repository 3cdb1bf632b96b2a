//! ONNX models, made field by field.

use sconce::Result;
use sconce::io::{self, Archive, MetaArray, MetaValue, Options, Source};

use crate::damage;

fn varint(mut x: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while x >= 0x80 {
        out.push(x as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
    out
}

/// A field of a number.
fn number(field: u64, x: i64) -> Vec<u8> {
    [varint(field << 3), varint(x as u64)].concat()
}

/// A field of bytes: a text, a message, or packed numbers.
fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn tensor(name: &str, kind: i64, dims: &[i64], elements: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| number(1, d)).collect();
    [dims, number(2, kind), bytes(8, name), elements.to_vec()].concat()
}

fn raw(name: &str, content: &[u8]) -> Vec<u8> {
    tensor(name, 2, &[content.len() as i64], &bytes(9, content))
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 8), bytes(2, "sconce"), bytes(7, graph.concat())].concat()
}

fn open(bytes: Vec<u8>) -> Result<Archive> {
    io::open_source(&Source::from_bytes("f", bytes), &Options::default())
}

fn initialiser(message: &[u8]) -> Vec<u8> {
    model(&[bytes(5, message)])
}

/// A type's number, a shape, the fields of the elements, the type's name and its bytes.
type Case = (i64, &'static [i64], Vec<u8>, &'static str, Vec<u8>);

#[test]
fn elements_of_every_type_and_field() -> Result<()> {
    let packed = |field, numbers: &[i64]| {
        bytes(field, numbers.iter().flat_map(|&x| varint(x as u64)).collect::<Vec<u8>>())
    };
    let singles =
        |field, numbers: &[i64]| -> Vec<u8> { numbers.iter().flat_map(|&x| number(field, x)).collect() };
    let float = |field: u64, x: f32| [varint(field << 3 | 5), x.to_le_bytes().to_vec()].concat();
    let le = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let cases: [Case; 18] = [
        (1, &[2], bytes(4, le(&[1.0, -2.0])), "float32", le(&[1.0, -2.0])),
        (1, &[2], [float(4, 1.0), float(4, 3.0)].concat(), "float32", le(&[1.0, 3.0])),
        (1, &[3], [bytes(4, le(&[1.0, 2.0])), float(4, 3.0)].concat(), "float32", le(&[1.0, 2.0, 3.0])),
        (14, &[1], bytes(4, le(&[1.0, 2.0])), "complex64", le(&[1.0, 2.0])),
        (2, &[2], packed(5, &[0, 255]), "uint8", vec![0, 255]),
        (3, &[2], singles(5, &[-128, 127]), "int8", vec![128, 127]),
        (5, &[1, 2], packed(5, &[-2, 3]), "int16", vec![254, 255, 3, 0]),
        (6, &[1], packed(5, &[-1]), "int32", vec![255; 4]),
        (
            7,
            &[2],
            [packed(7, &[-1]), singles(7, &[1 << 40])].concat(),
            "int64",
            vec![255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 1, 0, 0],
        ),
        (9, &[3], packed(5, &[1, 0, 1]), "bool", vec![1, 0, 1]),
        (10, &[2], packed(5, &[0x3c00, 0xbc00]), "float16", vec![0, 0x3c, 0, 0xbc]),
        (16, &[1], packed(5, &[0x3f80]), "bfloat16", vec![0x80, 0x3f]),
        (11, &[1], bytes(10, 1.5_f64.to_le_bytes()), "float64", 1.5_f64.to_le_bytes().to_vec()),
        (12, &[1], packed(11, &[u32::MAX.into()]), "uint32", vec![255; 4]),
        (13, &[1], packed(11, &[-1]), "uint64", vec![255; 8]),
        (17, &[1], packed(5, &[0x38]), "float8_e4m3fn", vec![0x38]),
        (22, &[4], packed(5, &[0x21, 0x43]), "int4", vec![0x21, 0x43]),
        (1, &[0, 5], Vec::new(), "float32", Vec::new()),
    ];
    for (kind, dims, elements, name, expected) in cases {
        let archive = open(initialiser(&tensor("x", kind, dims, &elements)))?;
        let entry = archive.get("x").expect("x");
        assert_eq!(entry.encoding().name(), name);
        assert_eq!(archive.read(entry)?, expected, "{name}");
        let mut chunks: Vec<u8> = Vec::new();
        archive.for_each_chunk(entry, 4, |chunk| {
            chunks.extend(chunk);
            Ok(())
        })?;
        assert_eq!(chunks, expected, "{name}");
    }
    Ok(())
}

#[test]
fn names_of_what_lies_deeper() -> Result<()> {
    let attribute =
        |name: &str, field: u64, content: &[u8]| bytes(5, [bytes(1, name), bytes(field, content)].concat());
    let node = |operation: &str, name: &str, output: &str, attributes: Vec<u8>| {
        bytes(1, [attributes, bytes(2, output), bytes(3, name), bytes(4, operation)].concat())
    };
    let branch =
        [bytes(5, raw("w", &[4])), node("Constant", "c", "k", attribute("value", 5, &raw("", &[5])))]
            .concat();
    let sparse = [bytes(1, raw("s", &[7])), bytes(2, raw("", &[8])), number(3, 2), number(3, 3)].concat();
    let graph = [
        node("Constant", "named", "given", attribute("value", 5, &raw("other", &[1]))),
        node("If", "if_1", "y", attribute("then_branch", 6, &branch)),
        node("If", "", "z", attribute("then_branch", 6, &branch)),
        node(
            "Op",
            "op",
            "",
            bytes(5, [bytes(1, "list"), bytes(10, raw("", &[2])), bytes(10, raw("", &[3]))].concat()),
        ),
        bytes(5, raw("w", &[6])),
        bytes(15, sparse),
        bytes(5, tensor("labels", 8, &[2], &[bytes(6, "a"), bytes(6, "ü")].concat())),
    ];
    let mut file = model(&graph);
    file.extend(bytes(14, [bytes(1, "key"), bytes(2, "text")].concat()));
    let constant = [attribute("value", 5, &raw("", &[9])), bytes(2, "c"), bytes(4, "Constant")].concat();
    let function = [bytes(7, constant), bytes(1, "f")].concat();
    file.extend(bytes(25, function));
    let archive = open(file)?;
    let found: Vec<(&str, u8)> =
        archive.entries().iter().map(|e| Ok((e.name(), archive.read(e)?[0]))).collect::<Result<_>>()?;
    let expected = [
        ("given", 1),
        ("if_1.then_branch.w", 4),
        ("if_1.then_branch.k", 5),
        ("z.then_branch.w", 4),
        ("z.then_branch.k", 5),
        ("op.list.0", 2),
        ("op.list.1", 3),
        ("w", 6),
        ("s.values", 7),
        ("s.indices", 8),
        ("f.c", 9),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        archive.metadata_value("labels"),
        Some(MetaValue::Array(MetaArray::Str(vec!["a".into(), "ü".into()])))
    );
    assert_eq!(archive.metadata_value("s.shape"), Some(MetaValue::from("[2, 3]")));
    assert_eq!(archive.metadata_value("key"), Some(MetaValue::from("text")));
    Ok(())
}

#[test]
fn external_data_stays_in_the_folder() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("sconce-onnx-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("inner/deep"))?;
    std::fs::write(folder.join("outside"), [9; 8])?;
    std::fs::write(folder.join("inner/deep/data"), [1, 2, 3, 4, 5])?;
    let path = folder.join("inner/model.onnx");
    let pair = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let open = |location: &str, offset: &str, length: Option<&str>| -> Result<Vec<u8>> {
        let mut elements = [number(14, 1), pair("location", location), pair("offset", offset)].concat();
        elements.extend(length.map(|length| pair("length", length)).unwrap_or_default());
        std::fs::write(&path, initialiser(&tensor("x", 2, &[3], &elements)))?;
        let archive = io::open(&path)?;
        let entry = archive.get("x").expect("x");
        let (file, at) = archive.position(entry).expect("plain bytes");
        assert_eq!((file.ends_with("deep/data"), at.to_string().as_str()), (true, offset));
        archive.read(entry)
    };
    assert_eq!(open("deep/data", "2", Some("3"))?, [3, 4, 5]);
    assert_eq!(open("./deep/data", "0", None)?, [1, 2, 3]);
    let absolute = folder.join("outside");
    let refused = [
        ("../outside", "0", None, "not a path within"),
        ("deep/../../outside", "0", None, "not a path within"),
        (absolute.to_str().expect("UTF-8"), "0", None, "not a path within"),
        ("", "0", None, "not a path within"),
        ("deep/none", "0", None, "deep/none"),
        ("deep", "0", None, "not a regular file"),
        ("deep/data", "3", None, "lie beyond the end"),
        ("deep/data", "0", Some("4"), "the shape takes 3"),
        ("deep/data", "-1", None, "no number"),
    ];
    for (location, offset, length, reason) in refused {
        let error = open(location, offset, length).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}, expected {reason:?}");
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn what_is_refused() {
    // A subgraph in an attribute of a node, again and again.
    let deep = (0..60).fold(bytes(5, raw("x", &[1])), |graph, _| bytes(1, bytes(5, bytes(6, graph))));
    let cases = [
        (number(1, 8), "without a graph"),
        (initialiser(&tensor("x", 99, &[1], &[])), "unknown tensor type 99"),
        (initialiser(&tensor("x", 1, &[-1], &[])), "negative"),
        (initialiser(&tensor("x", 1, &[1 << 40, 1 << 40], &[])), "overflows"),
        (initialiser(&tensor("x", 1, &[2], &bytes(9, [0; 4]))), "takes 8 bytes, 4 are there"),
        (initialiser(&tensor("x", 2, &[1], &number(5, 256))), "256 does not fit 1 bytes"),
        (initialiser(&tensor("x", 9, &[1], &number(5, 2))), "2 does not fit"),
        (initialiser(&tensor("x", 1, &[1], &number(5, 2))), "in field 5, expected 4"),
        (initialiser(&tensor("x", 2, &[1], &[bytes(9, [1]), number(5, 2)].concat())), "in two places"),
        (initialiser(&tensor("x", 2, &[1], &[number(7, 1), number(5, 2)].concat())), "in two fields"),
        (initialiser(&tensor("x", 2, &[1], &[bytes(3, b""), number(5, 2)].concat())), "in segments"),
        (initialiser(&tensor("x", 8, &[2], &bytes(6, "one"))), "2 texts are declared, 1 are there"),
        (initialiser(&tensor("", 2, &[0], &[])), "without a name"),
        (model(&[bytes(5, raw("x", &[1])), bytes(5, raw("x", &[1]))]), "two tensors have this name"),
        (
            initialiser(&tensor("x", 2, &[1], &[number(14, 1), bytes(13, bytes(1, "offset"))].concat())),
            "without a location",
        ),
        (initialiser(&tensor("x", 2, &[1], &[number(14, 7), bytes(9, [1])].concat())), "unknown location 7"),
        (model(&[deep]), "nested more than"),
    ];
    for (file, reason) in cases {
        let error = open(file).expect_err(reason).to_string();
        assert!(error.starts_with("f: ") && error.contains(reason), "{error}, expected {reason:?}");
    }
}

#[test]
fn damaged_files_do_no_harm() {
    let constant = [
        bytes(5, [bytes(1, "value"), bytes(5, raw("", &[3; 4]))].concat()),
        bytes(2, "k"),
        bytes(4, "Constant"),
    ]
    .concat();
    let halves = bytes(5, [varint(0x3c00), varint(0xbc00)].concat());
    let whole = model(&[
        bytes(1, constant),
        bytes(5, raw("a", &[1, 2, 3])),
        bytes(5, tensor("b", 10, &[2], &halves)),
        bytes(5, tensor("c", 7, &[1], &number(7, -1))),
    ]);
    assert_eq!(open(whole.clone()).map(|a| a.entries().len()).ok(), Some(4));
    damage::truncate("onnx", &whole, whole.len());
    damage::change(&whole, 1);
}
