//! Where the reader of safetensors is strict, and what its writer puts where.

use sconce::io::{self, Archive, Encoding, Entry, Options, Source};
use sconce::{DType, Result};

fn open(header: &str, data: usize) -> Result<Archive> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    io::open_source(&Source::from_bytes("f.safetensors", bytes), &Options::default())
}

const X: &str = r#"{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;

#[test]
fn headers_that_say_one_thing_are_read() -> Result<()> {
    let cases = [
        (format!(r#"{{"x":{X}}}"#), 2, 1),
        (format!(r#"{{"x":{X}}}    "#), 2, 1),
        (format!("{{ \"x\" :\n{X} }}"), 2, 1),
        (format!(r#"{{"__metadata__":{{}},"":{X}}}"#), 2, 1),
        (r#"{"x":{"data_offsets":[0,0],"shape":[3,0],"dtype":"F64"}}"#.to_owned(), 0, 1),
        (r#"{"y":{"dtype":"U8","shape":[],"data_offsets":[2,3]},"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#.to_owned(), 3, 2),
        ("{}".to_owned(), 0, 0),
    ];
    for (header, data, count) in cases {
        let archive = open(&header, data)?;
        assert_eq!(archive.entries().len(), count, "{header}");
        assert!(archive.entries().iter().all(|e| archive.read(e).is_ok()), "{header}");
    }
    Ok(())
}

#[test]
fn headers_that_do_not_are_refused() {
    let cases = [
        (format!(r#"{{"x":{X},"x":{X}}}"#), 2, "occurs twice"),
        (format!(r#" {{"x":{X}}}"#), 2, "expected a JSON object"),
        (format!(r#"{{"x":{X}}}{{}}"#), 2, "trailing characters"),
        (format!("{{\"x\":{X}}}\0"), 2, "trailing characters"),
        (format!(r#"{{"__metadata__":null,"x":{X}}}"#), 2, "invalid type: null"),
        (format!(r#"{{"__metadata__":{{"a":"1","a":"2"}},"x":{X}}}"#), 2, "occurs twice in __metadata__"),
        (r#"{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"more":1}}"#.to_owned(), 2, "unknown field"),
        (r#"{"x":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}}"#.to_owned(), 2, "two fields"),
        (r#"{"x":{"dtype":"U8","shape":2,"data_offsets":[0,2]}}"#.to_owned(), 2, "invalid type: integer"),
        (
            r#"{"x":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#.to_owned(),
            2,
            "not a whole number of blocks",
        ),
        (
            r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,2]}}"#.to_owned(),
            2,
            "takes 4 bytes, the offsets span 2",
        ),
        (r#"{"x":{"dtype":"U8","shape":[0],"data_offsets":[9,9]}}"#.to_owned(), 2, "lie beyond the data"),
    ];
    for (header, data, reason) in cases {
        let error = open(&header, data).expect_err(&header).to_string();
        assert!(error.starts_with("f.safetensors: ") && error.contains(reason), "{header}: {error}");
    }
}

#[test]
fn types_of_less_than_a_byte_are_listed_and_copied() -> Result<()> {
    let archive = open(
        r#"{"a":{"dtype":"F4","shape":[2,2],"data_offsets":[0,2]},"b":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[2,5]}}"#,
        5,
    )?;
    let a = archive.get("a").expect("a");
    assert!(matches!(a.encoding(), Encoding::Packed(p) if p.name == "F4" && p.elements == 2));
    assert_eq!(archive.read(a)?, [7, 7]);
    let mut out = Vec::new();
    archive.write_to(&mut out, "safetensors")?;
    let again = io::open_source(&Source::from_bytes("f", out), &Options::default())?;
    assert_eq!(again.read(again.get("b").expect("b"))?, [7, 7, 7]);
    assert!(archive.write_to(&mut Vec::new(), "pytorch").is_err());
    Ok(())
}

/// The order of the format's own library: larger types first, then by name; a header of whole eights.
#[test]
fn files_are_laid_out_as_by_the_formats_own_library() -> Result<()> {
    let mut archive = Archive::new();
    archive.push_bytes(Entry::new("b", DType::F16, [1]), vec![1; 2])?;
    archive.push_bytes(Entry::new("c", DType::U8, [1]), vec![2; 1])?;
    archive.push_bytes(Entry::new("a", DType::F16, [1]), vec![3; 2])?;
    archive.push_bytes(Entry::new("z", DType::I64, [1]), vec![4; 8])?;
    archive.set_metadata("quote", "\"ü\n");
    archive.set_metadata("also", "x");
    let mut out = Vec::new();
    archive.write_to(&mut out, "safetensors")?;
    let size = u64::from_le_bytes(out[..8].try_into().expect("eight bytes")) as usize;
    let header = std::str::from_utf8(&out[8..8 + size]).expect("UTF-8");
    assert_eq!(
        header.trim_end(),
        concat!(
            r#"{"__metadata__":{"quote":"\"ü\n","also":"x"},"#,
            r#""z":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"#,
            r#""a":{"dtype":"F16","shape":[1],"data_offsets":[8,10]},"#,
            r#""b":{"dtype":"F16","shape":[1],"data_offsets":[10,12]},"#,
            r#""c":{"dtype":"U8","shape":[1],"data_offsets":[12,13]}}"#
        )
    );
    assert_eq!(size % 8, 0);
    assert_eq!(out[8 + size..], [4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 1, 1, 2]);
    Ok(())
}

#[test]
fn shards_and_their_index() -> Result<()> {
    let mut archive = Archive::new();
    for (name, size) in [("z", 4), ("a", 4), ("large", 50), ("m", 1), ("none", 0)] {
        archive.push_bytes(Entry::new(name, DType::U8, [size]), vec![size as u8; size])?;
    }
    archive.set_metadata("format", "pt");
    let folder = std::env::temp_dir().join(format!("sconce-shards-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for (limit, counts) in [(8, &[2, 1, 2][..]), (1, &[1, 1, 1, 2]), (1000, &[5])] {
        let files = archive.save_sharded(folder.join("model.safetensors.index.json"), limit)?;
        let (index, shards) = files.split_last().expect("an index");
        let held: Vec<usize> =
            shards.iter().map(|f| io::open(f).map(|a| a.entries().len())).collect::<Result<_>>()?;
        assert_eq!(held, counts);
        let name = format!("model-00001-of-{:05}.safetensors", counts.len());
        assert!(shards[0].ends_with(name) && index.ends_with("model.safetensors.index.json"));
        let again = io::open(index)?;
        assert_eq!(again.metadata(), archive.metadata());
        let names = |a: &Archive| a.entries().iter().map(|e| e.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&again), names(&archive));
        for entry in archive.entries() {
            assert_eq!(again.read(again.get(entry.name()).expect("it"))?, archive.read(entry)?);
        }
    }
    let (map, first) = (r#""z":"model-00001-of-00001.safetensors""#, "model-00001-of-00001.safetensors");
    let copy = folder.join("copy.safetensors");
    std::fs::copy(folder.join(first), &copy)?;
    for (map, reason) in [
        (map.to_owned(), "holds a, which the index does not name"),
        (
            format!(r#"{map},"a":"copy.safetensors","large":"{first}","m":"{first}","none":"{first}""#),
            "copy.safetensors holds large, which the index says is in model-00001-of-00001.safetensors",
        ),
        (format!(r#"{map},"more":"{first}""#), "does not hold it"),
        (format!(r#"{map},{map}"#), "occurs twice"),
        (r#""z":"../copy.safetensors""#.to_owned(), "is not the name of a file in the same folder"),
        (r#""z":"""#.to_owned(), "is not the name of a file"),
        (r#""z":"gone.safetensors""#.to_owned(), "gone.safetensors: "),
        (r#""z":1"#.to_owned(), "invalid type"),
    ] {
        let index = folder.join("wrong.safetensors.index.json");
        std::fs::write(&index, format!(r#"{{"weight_map":{{{map}}}}}"#))?;
        let error = io::open(index).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}, expected {reason}");
    }
    assert!(archive.save_sharded(folder.join("model.safetensors"), 0).is_err());
    assert!(archive.save_sharded(folder.join("model.bin"), 8).is_err());
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
