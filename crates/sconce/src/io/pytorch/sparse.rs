//! Sparse tensors: their parts must fit each other, and every index must lie in the shape.
//!
//! Code that trusts the indices of a sparse tensor reads and writes wherever they point, so they are read when the
//! file is opened, piece by piece; no other tensor is.

use super::build::Found;
use crate::error::{Context, Error, Result};
use crate::io::archive::Archive;
use crate::io::tree::{Sparse, Tree, Value};
use crate::tensor::dtype::DType;

const CHUNK_BYTES: usize = 1 << 16;

/// Checks every sparse tensor of a structure.
pub(super) fn check_all(archive: &Archive, tree: &Tree, tensors: &[Found]) -> Result<()> {
    for value in tree.values() {
        if let Value::Sparse(sparse) = value {
            check(archive, tree, tensors, sparse)
                .context(|| format!("a tensor of layout {}", sparse.layout))?;
        }
    }
    Ok(())
}

fn check(archive: &Archive, tree: &Tree, tensors: &[Found], sparse: &Sparse) -> Result<()> {
    let mut parts = Vec::with_capacity(sparse.parts.len());
    for &(name, node) in &sparse.parts {
        match tree.value(node) {
            Value::Tensor(index) => parts.push(&tensors[*index]),
            _ => return Err(Error::format(format!("its {name} are no tensor"))),
        }
    }
    match parts[..] {
        [indices, values] => check_coordinates(archive, &sparse.shape, indices, values),
        [compressed, plain, values] => {
            let by_column = sparse.layout.ends_with('c');
            let blocks = sparse.layout.starts_with("sparse_b");
            Compressed { archive, shape: &sparse.shape, compressed, plain, values, by_column, blocks }.check()
        }
        _ => Ok(()),
    }
}

fn differ(what: &str, found: &[usize], shape: &[usize]) -> Error {
    Error::format(format!("{what} of shape {found:?} do not fit the shape {shape:?}"))
}

/// One row of indices for each sparse dimension, one column for each value.
fn check_coordinates(archive: &Archive, shape: &[usize], indices: &Found, values: &Found) -> Result<()> {
    let (places, held) = (&indices.entry.shape, &values.entry.shape);
    let &[dims, count] = places.as_slice() else { return Err(differ("indices", places, shape)) };
    if dims > shape.len() {
        return Err(differ("indices", places, shape));
    }
    if held.first() != Some(&count) || held[1..] != shape[dims..] {
        return Err(differ("values", held, shape));
    }
    let mut at = 0;
    each(archive, indices, |index| {
        let size = shape[at / count];
        at += 1;
        check_index(index, size)
    })
}

fn check_index(index: i64, size: usize) -> Result<()> {
    match usize::try_from(index).is_ok_and(|i| i < size) {
        true => Ok(()),
        false => Err(Error::format(format!("index {index} is out of range of a dimension of size {size}"))),
    }
}

/// A tensor whose rows, or columns, say where their indices begin and end.
struct Compressed<'a> {
    archive: &'a Archive,
    shape: &'a [usize],
    compressed: &'a Found,
    plain: &'a Found,
    values: &'a Found,
    by_column: bool,
    blocks: bool,
}

impl Compressed<'_> {
    fn check(&self) -> Result<()> {
        let Self { shape, .. } = *self;
        let [compressed, plain, held] =
            [self.compressed, self.plain, self.values].map(|f| &f.entry.shape[..]);
        let (Some((&starts, batch)), Some((&count, plain_batch))) =
            (compressed.split_last(), plain.split_last())
        else {
            return Err(differ("indices", compressed, shape));
        };
        let dims = batch.len();
        if plain_batch != batch || shape.len() < dims + 2 || shape[..dims] != *batch {
            return Err(differ("indices", plain, shape));
        }
        let block = if self.blocks { 2 } else { 0 };
        let dense = &shape[dims + 2..];
        if held.len() != dims + 1 + block + dense.len()
            || held[..dims] != *batch
            || held[dims] != count
            || held[dims + 1 + block..] != *dense
        {
            return Err(differ("values", held, shape));
        }
        let size = |axis: usize| match self.blocks {
            false => Some(shape[dims + axis]),
            true => shape[dims + axis]
                .checked_div(held[dims + 1 + axis])
                .filter(|_| shape[dims + axis].is_multiple_of(held[dims + 1 + axis])),
        };
        let (Some(rows), Some(columns)) = (size(0), size(1)) else {
            return Err(differ("blocks", held, shape));
        };
        let (slow, fast) = if self.by_column { (columns, rows) } else { (rows, columns) };
        if starts != slow + 1 {
            return Err(differ("compressed indices", compressed, shape));
        }
        let (mut at, mut last) = (0, 0);
        each(self.archive, self.compressed, |start| {
            let first = at % starts == 0;
            let expected = if first { 0 } else { last };
            let end = at % starts == slow;
            at += 1;
            last = start;
            if start < expected || (first && start != 0) || (end && usize::try_from(start) != Ok(count)) {
                return Err(Error::format(format!(
                    "compressed index {start} after {expected}, of {count} values in all"
                )));
            }
            Ok(())
        })?;
        each(self.archive, self.plain, |index| check_index(index, fast))
    }
}

/// Passes the integers of a tensor to `visit`.
fn each(archive: &Archive, found: &Found, mut visit: impl FnMut(i64) -> Result<()>) -> Result<()> {
    let mut entry = found.entry.clone();
    entry.storage = found.storage;
    let wide = match entry.encoding.dtype() {
        Some(DType::I64) => true,
        Some(DType::I32) => false,
        _ => return Err(Error::format(format!("indices of {}", entry.encoding.name()))),
    };
    archive.for_each_chunk(&entry, CHUNK_BYTES, |bytes| match wide {
        true => bytes.as_chunks().0.iter().try_for_each(|b| visit(i64::from_le_bytes(*b))),
        false => bytes.as_chunks().0.iter().try_for_each(|b| visit(i32::from_le_bytes(*b).into())),
    })
}
