//! The tensors of the corpus, read without the library's reader: the library is what is tested.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sconce::DType;
use serde_json::Value as Json;

/// Elements in row-major order, little-endian.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Array {
    /// A float64 array whose last dimension of 2 is (real, imaginary), as the complex array it stands for.
    pub(crate) fn into_complex(mut self) -> Result<Self, String> {
        if self.dtype != DType::F64 || self.shape.pop() != Some(2) {
            return Err("complex128 data is not float64 with a last dimension of 2".into());
        }
        self.dtype = DType::C128;
        Ok(self)
    }
}

/// A safetensors file in memory.
pub(crate) struct File {
    bytes: Vec<u8>,
    entries: HashMap<String, Json>,
    data: usize,
}

impl File {
    fn open(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(bytes).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let length = bytes.first_chunk::<8>().ok_or("no header")?;
        let data = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|n| n.checked_add(8));
        let data = data.filter(|&end| end <= bytes.len()).ok_or("header longer than the file")?;
        let entries = serde_json::from_slice(&bytes[8..data]).map_err(|e| format!("header: {e}"))?;
        Ok(Self { bytes, entries, data })
    }

    /// The array stored under a key.
    pub(crate) fn array(&self, key: &str) -> Result<Array, String> {
        let entry = self.entries.get(key).ok_or_else(|| format!("no tensor {key:?} in the file"))?;
        let wrong = || format!("tensor {key:?} has a malformed entry");
        let dtype = entry["dtype"].as_str().and_then(dtype_of_code).ok_or_else(wrong)?;
        let shape = unsigned(&entry["shape"]).ok_or_else(wrong)?;
        let offsets = unsigned(&entry["data_offsets"]).ok_or_else(wrong)?;
        let [start, end] = offsets[..] else { return Err(wrong()) };
        let size = shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d)).ok_or_else(wrong)?;
        let bytes = self.bytes[self.data..].get(start..end).filter(|b| b.len() == size).ok_or_else(wrong)?;
        Ok(Array { dtype, shape, bytes: bytes.to_vec() })
    }

    /// The format's name of a tensor's dtype.
    pub(crate) fn dtype_code(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?["dtype"].as_str()
    }
}

/// Reads each file of a suite once.
pub(crate) struct Store {
    folder: PathBuf,
    files: HashMap<String, Rc<File>>,
}

impl Store {
    /// A store of the files below a folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: HashMap::new() }
    }

    /// The file at a path relative to the folder.
    pub(crate) fn file(&mut self, path: &str) -> Result<Rc<File>, String> {
        if let Some(file) = self.files.get(path) {
            return Ok(Rc::clone(file));
        }
        let file = Rc::new(File::open(&self.folder.join(path))?);
        self.files.insert(path.to_owned(), Rc::clone(&file));
        Ok(file)
    }
}

/// An array of numbers that fit `usize`.
pub(crate) fn unsigned(json: &Json) -> Option<Vec<usize>> {
    json.as_array()?.iter().map(|n| n.as_u64()?.try_into().ok()).collect()
}

fn dtype_of_code(code: &str) -> Option<DType> {
    Some(match code {
        "F64" => DType::F64,
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        "C64" => DType::C64,
        "I64" => DType::I64,
        "I32" => DType::I32,
        "I16" => DType::I16,
        "I8" => DType::I8,
        "U8" => DType::U8,
        "U16" => DType::U16,
        "U32" => DType::U32,
        "U64" => DType::U64,
        "BOOL" => DType::Bool,
        "F8_E4M3" => DType::F8E4M3,
        "F8_E5M2" => DType::F8E5M2,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Result<File, String> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        File::parse(bytes)
    }

    #[test]
    fn reads_what_the_header_says() {
        let header = r#"{"a":{"dtype":"I16","shape":[2],"data_offsets":[1,5]},"__metadata__":{}}"#;
        let file = file(header, &[9, 1, 0, 2, 0]).unwrap();
        assert_eq!(file.dtype_code("a"), Some("I16"));
        assert_eq!(file.array("a"), Ok(Array { dtype: DType::I16, shape: vec![2], bytes: vec![1, 0, 2, 0] }));
        assert!(file.array("b").is_err());
    }

    #[test]
    fn refuses_ranges_outside_the_file() {
        for range in ["[0,5]", "[2,6]", "[4,0]", "[0]"] {
            let header = format!(r#"{{"a":{{"dtype":"I16","shape":[2],"data_offsets":{range}}}}}"#);
            assert!(file(&header, &[0; 5]).unwrap().array("a").is_err(), "{range}");
        }
        assert!(File::parse(vec![255; 8]).is_err());
        assert!(File::parse(vec![0; 3]).is_err());
    }
}
