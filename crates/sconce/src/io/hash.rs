//! Hashes of what a file holds, whatever its format.

use std::fmt;

use super::archive::Archive;
use super::entry::{Entry, Quantizer};
use crate::error::Result;

const CHUNK_BYTES: usize = 1 << 20;

/// A BLAKE3 hash of 32 bytes; printed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes one tensor: the name of its type, its shape and its values, row-major and little-endian. Its own name
    /// and how the file lays it out do not matter.
    ///
    /// # Errors
    ///
    /// Fails when the tensor cannot be read.
    pub fn of_tensor(archive: &Archive, entry: &Entry) -> Result<Self> {
        Self::of_tensor_with(archive, entry, |_| Ok(()))
    }

    /// Hashes one tensor and shows its bytes to `visit` on the way, a chunk of whole elements at a time.
    ///
    /// # Errors
    ///
    /// Fails when the tensor cannot be read, and with any error of `visit`.
    pub fn of_tensor_with(
        archive: &Archive,
        entry: &Entry,
        mut visit: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"sconce tensor 1\0");
        hasher.update(entry.encoding().name().as_bytes());
        hasher.update(&[0, entry.shape().len() as u8]);
        for &size in entry.shape() {
            hasher.update(&(size as u64).to_le_bytes());
        }
        if let Some(Quantizer::PerTensor { scale, zero_point }) = entry.quantizer() {
            hasher.update(b"scale");
            hasher.update(&scale.to_le_bytes());
            hasher.update(&zero_point.to_le_bytes());
        }
        archive.for_each_chunk(entry, CHUNK_BYTES, |bytes| {
            hasher.update(bytes);
            visit(bytes)
        })?;
        Ok(Self(hasher.finalize().into()))
    }

    /// Combines the hashes of named tensors, in whatever order they come.
    ///
    /// Two files have the same hash if they hold the same names with the same types, shapes and values. Metadata,
    /// order, sharding and ties are left out, since not every format has them.
    ///
    /// ```
    /// use sconce::{DType, io::{Archive, ContentHash, Entry}};
    ///
    /// let mut archive = Archive::new();
    /// archive.push_bytes(Entry::new("a", DType::U8, [2]), vec![1, 2])?;
    /// archive.push_bytes(Entry::new("b", DType::U8, [2]), vec![1, 2])?;
    /// let [a, b] = [0, 1].map(|i| ContentHash::of_tensor(&archive, &archive.entries()[i]));
    /// let (a, b) = (a?, b?);
    /// assert_eq!(a, b);
    /// assert_eq!(ContentHash::of_names([("a", a), ("b", b)]), ContentHash::of_names([("b", b), ("a", a)]));
    /// assert_ne!(ContentHash::of_names([("a", a)]), ContentHash::of_names([("b", b)]));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn of_names<'a>(tensors: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"sconce content 1\0");
        for (name, hash) in tensors {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&hash.0);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
