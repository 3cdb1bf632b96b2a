//! Strided elements to row-major bytes.

use super::entry::Entry;

/// Walks the innermost rows of a strided view in row-major order.
///
/// Dimensions that continue each other are merged first, so a row is as long as the layout allows.
pub(super) struct Rows {
    /// Sizes and strides without the innermost dimension, outermost first.
    outer: Vec<(usize, usize)>,
    index: Vec<usize>,
    offset: Option<usize>,
    /// Elements in a row.
    pub(super) len: usize,
    /// Elements between two neighbours of a row.
    pub(super) stride: usize,
}

impl Rows {
    /// The rows of a checked entry; offsets are in elements and count from the storage's start.
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
        let (len, stride) = dims.pop().unwrap_or((1, 1));
        let offset = (entry.numel() > 0).then_some(entry.offset);
        Self { index: vec![0; dims.len()], outer: dims, offset, len, stride }
    }
}

impl Iterator for Rows {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let row = self.offset?;
        let mut next = row;
        self.offset = None;
        for (i, &(size, stride)) in self.index.iter_mut().zip(&self.outer).rev() {
            *i += 1;
            next += stride;
            if *i < size {
                self.offset = Some(next);
                break;
            }
            next -= stride * size;
            *i = 0;
        }
        Some(row)
    }
}

/// Copies `out.len()` bytes of a row: elements of `size` bytes, `stride` elements apart, from `first` on.
pub(super) fn copy_row(bytes: &[u8], first: usize, stride: usize, size: usize, out: &mut [u8]) {
    let start = first * size;
    if stride == 1 {
        out.copy_from_slice(&bytes[start..start + out.len()]);
        return;
    }
    let step = stride * size;
    for (i, element) in out.chunks_exact_mut(size).enumerate() {
        let at = start + i * step;
        element.copy_from_slice(&bytes[at..at + size]);
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
    fn rows_are_what_strides_mean() {
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
            (&[], &[], 5),
            (&[1, 1], &[7, 8], 5),
            (&[2, 0, 3], &[3, 3, 1], 0),
        ];
        for &(shape, strides, offset) in views {
            let entry = Entry::new("", DType::F16, shape).with_view(strides, offset);
            let rows = Rows::new(&entry);
            let (len, stride) = (rows.len, rows.stride);
            let mut out = Vec::new();
            for row in rows {
                let at = out.len();
                out.resize(at + len * 2, 0);
                copy_row(&bytes, row, stride, 2, &mut out[at..]);
            }
            assert_eq!(out, plainly(&entry, &bytes), "{shape:?} {strides:?} {offset}");
        }
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
