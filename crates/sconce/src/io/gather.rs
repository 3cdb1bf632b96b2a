//! Strided elements to row-major bytes.

use super::entry::Entry;
use super::source::ReadAt;
use crate::error::Result;

/// Bytes of a storage that are read at once.
const RUN_BYTES: usize = 1 << 20;

/// A strided view, whose elements are wanted in row-major order.
pub(super) struct Strided {
    /// Sizes and strides, outermost first; dimensions that continue each other are one.
    dims: Vec<(usize, usize)>,
    offset: usize,
    /// Bytes of an element.
    size: usize,
}

/// A dimension of a block: its size, the step between neighbours in the storage, and that in the result.
#[derive(Clone, Copy)]
struct Axis {
    n: usize,
    from: usize,
    to: usize,
}

impl Strided {
    /// The view of a checked entry that has elements.
    pub(super) fn new(entry: &Entry) -> Self {
        let mut dims: Vec<(usize, usize)> = Vec::with_capacity(entry.shape.len());
        for (&size, &stride) in entry.shape.iter().zip(&entry.strides) {
            if size == 1 {
                continue;
            }
            match dims.last_mut() {
                Some(last) if stride.checked_mul(size) == Some(last.1) => *last = (last.0 * size, stride),
                _ => dims.push((size, stride)),
            }
        }
        Self { dims, offset: entry.offset, size: entry.encoding.block().1 as usize }
    }

    /// The same view of bytes that begin with its first element.
    pub(super) fn at_start(self) -> Self {
        Self { offset: 0, ..self }
    }

    /// Fills `out` with whole elements, from the `first` one on, in a few large blocks: memory stays small, whatever the
    /// strides are.
    pub(super) fn fill(&self, bytes: &dyn ReadAt, first: usize, out: &mut [u8]) -> Result<()> {
        let dims = &self.dims;
        // Elements of a block of the dimensions from each one on.
        let mut blocks = vec![1_usize; dims.len() + 1];
        for d in (0..dims.len()).rev() {
            blocks[d] = blocks[d + 1] * dims[d].0;
        }
        let (mut at, end) = (first, first + out.len() / self.size);
        while at < end {
            let fits = |d: &usize| at.is_multiple_of(blocks[*d]) && blocks[*d] <= end - at;
            let d = (0..dims.len()).find(fits).unwrap_or(dims.len());
            let mut block = Vec::with_capacity(dims.len() - d + 1);
            let mut count = 1;
            if let Some(outer) = d.checked_sub(1) {
                let (size, stride) = dims[outer];
                count = ((end - at) / blocks[d]).min(size - at / blocks[d] % size);
                block.push(Axis { n: count, from: stride, to: blocks[d] });
            }
            block.extend((d..dims.len()).map(|i| Axis { n: dims[i].0, from: dims[i].1, to: blocks[i + 1] }));
            let place = (0..dims.len()).map(|i| at / blocks[i + 1] % dims[i].0 * dims[i].1).sum::<usize>();
            let start = (at - first) * self.size;
            let elements = count * blocks[d];
            self.block(bytes, block, self.offset + place, &mut out[start..start + elements * self.size])?;
            at += elements;
        }
        Ok(())
    }

    /// Fills `out` with a block that begins at the storage's element `base`: what lies together is read together.
    fn block(&self, bytes: &dyn ReadAt, mut axes: Vec<Axis>, base: usize, out: &mut [u8]) -> Result<()> {
        let most = RUN_BYTES / self.size;
        axes.sort_by_key(|axis| std::cmp::Reverse(axis.from));
        // A dimension that is too long to be read at once is two.
        if let Some(&last) = axes.last()
            && last.n.saturating_mul(last.from) > most
        {
            let part = (most / last.from).max(1);
            let (whole, rest) = (last.n / part, last.n % part);
            axes.pop();
            let place = |i: usize| (base + i * part * last.from, i * part * last.to * self.size);
            for i in 0..whole + usize::from(rest > 0) {
                let n = if i < whole { part } else { rest };
                let (base, to) = place(i);
                let mut axes = axes.clone();
                axes.push(Axis { n, ..last });
                self.runs(bytes, &axes, base, &mut out[to..])?;
            }
            return Ok(());
        }
        self.runs(bytes, &axes, base, out)
    }

    /// As [`block`](Self::block), of dimensions from the farthest steps to the nearest.
    fn runs(&self, bytes: &dyn ReadAt, axes: &[Axis], base: usize, out: &mut [u8]) -> Result<()> {
        let most = RUN_BYTES / self.size;
        let (mut span, mut near) = (1, axes.len());
        while near > 0 {
            let axis = axes[near - 1];
            let longer = (axis.n - 1).saturating_mul(axis.from).saturating_add(span);
            if longer > most && near < axes.len() {
                break;
            }
            (span, near) = (longer, near - 1);
        }
        let (far, near) = axes.split_at(near);
        let mut run = vec![0; span * self.size];
        each(far, &mut |from, to| {
            bytes.read_at(((base + from) * self.size) as u64, &mut run)?;
            self.scatter(&run, near, &mut out[to * self.size..]);
            Ok(())
        })
    }

    /// Puts the elements of a run where they belong.
    fn scatter(&self, run: &[u8], axes: &[Axis], out: &mut [u8]) {
        let size = self.size;
        let Some((&last, outer)) = axes.split_last() else {
            out[..size].copy_from_slice(&run[..size]);
            return;
        };
        // The walk below cannot fail.
        let _ = each(outer, &mut |from, to| {
            if last.from == 1 && last.to == 1 {
                let bytes = last.n * size;
                out[to * size..][..bytes].copy_from_slice(&run[from * size..][..bytes]);
                return Ok(());
            }
            for i in 0..last.n {
                let (from, to) = ((from + i * last.from) * size, (to + i * last.to) * size);
                out[to..to + size].copy_from_slice(&run[from..from + size]);
            }
            Ok(())
        });
    }
}

/// Visits every index of some dimensions, as the element in the storage and that in the result.
fn each(axes: &[Axis], visit: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<()> {
    let mut index = vec![0; axes.len()];
    let (mut from, mut to) = (0, 0);
    loop {
        visit(from, to)?;
        let mut moved = false;
        for (i, axis) in index.iter_mut().zip(axes).rev() {
            *i += 1;
            (from, to) = (from + axis.from, to + axis.to);
            moved = *i < axis.n;
            if moved {
                break;
            }
            (from, to) = (from - axis.n * axis.from, to - axis.n * axis.to);
            *i = 0;
        }
        if !moved {
            return Ok(());
        }
    }
}

/// Reverses the bytes of every number.
pub(crate) fn swap_bytes(bytes: &mut [u8], number_size: usize) {
    if number_size > 1 {
        bytes.chunks_exact_mut(number_size).for_each(<[u8]>::reverse);
    }
}

/// Flips the sign bit of little-endian numbers: of every one, or of every second one (imaginary parts).
pub(super) fn flip_signs(bytes: &mut [u8], number_size: usize, imaginary_only: bool) {
    let step = if imaginary_only { 2 } else { 1 };
    for number in bytes.chunks_exact_mut(number_size).skip(step - 1).step_by(step) {
        number[number_size - 1] ^= 0x80;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::dtype::DType;

    /// Element by element, as the definition of strides says.
    fn plainly(entry: &Entry, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for flat in 0..entry.numel() {
            let (mut rest, mut at) = (flat, entry.offset);
            for (&size, &stride) in entry.shape.iter().zip(&entry.strides).rev() {
                at += rest % size * stride;
                rest /= size;
            }
            out.extend(&bytes[at * 2..at * 2 + 2]);
        }
        out
    }

    #[test]
    fn elements_are_where_strides_say() -> Result<()> {
        let bytes: Vec<u8> = (0..=255).collect();
        let views: &[(&[usize], &[usize], usize)] = &[
            (&[4, 6], &[6, 1], 3),
            (&[6, 4], &[1, 6], 0),
            (&[2, 3, 4], &[12, 4, 1], 7),
            (&[2, 3, 4], &[1, 2, 6], 7),
            (&[2, 1, 4], &[12, 99, 3], 0),
            (&[3, 5], &[0, 0], 9),
            (&[3, 2, 2], &[0, 2, 1], 1),
            (&[3, 4], &[2, 1], 1),
            (&[2, 3, 2, 2], &[1, 8, 2, 40], 2),
            (&[], &[], 5),
            (&[1, 1], &[7, 8], 5),
        ];
        for &(shape, strides, offset) in views {
            let entry = Entry::new("", DType::F16, shape).with_view(strides, offset);
            let expected = plainly(&entry, &bytes);
            let numel = entry.numel();
            let strided = Strided::new(&entry);
            for first in 0..numel {
                for count in 1..=numel - first {
                    let mut out = vec![0; count * 2];
                    strided.fill(&bytes, first, &mut out)?;
                    let wanted = &expected[first * 2..(first + count) * 2];
                    assert_eq!(out, wanted, "{shape:?} {strides:?} {offset}: {count} from {first}");
                }
            }
        }
        Ok(())
    }

    /// Runs longer than what is read at once.
    #[test]
    fn long_dimensions_are_read_in_parts() -> Result<()> {
        let n = RUN_BYTES + 4096;
        let bytes: Vec<u8> = (0..3 * n + 64).map(|i| ((i * 7919) >> 5) as u8).collect();
        let views: [(&[usize], &[usize]); 4] = [
            (&[n / 2, 3], &[1, n / 2]),
            (&[3, n / 2], &[n / 2 + 5, 1]),
            (&[n], &[1]),
            (&[n / 2 - 1, 2], &[3, 2]),
        ];
        for (shape, strides) in views {
            let entry = Entry::new("", DType::F16, shape).with_view(strides, 1);
            let mut out = vec![0; entry.numel() * 2];
            Strided::new(&entry).fill(&bytes, 0, &mut out)?;
            assert!(out == plainly(&entry, &bytes), "{shape:?} {strides:?}");
        }
        Ok(())
    }

    #[test]
    fn signs_and_byte_orders_turn() {
        let mut numbers = [1.0_f32, 2.0, 3.0, -4.0].map(f32::to_le_bytes).concat();
        flip_signs(&mut numbers, 4, true);
        assert_eq!(numbers, [1.0_f32, -2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
        flip_signs(&mut numbers, 4, false);
        assert_eq!(numbers, [-1.0_f32, 2.0, -3.0, -4.0].map(f32::to_le_bytes).concat());
        swap_bytes(&mut numbers, 4);
        assert_eq!(numbers, [-1.0_f32, 2.0, -3.0, -4.0].map(f32::to_be_bytes).concat());
    }
}
