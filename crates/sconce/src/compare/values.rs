//! The values of two tensors, side by side.

use std::thread;

use super::Tolerance;
use crate::{Category, Error, Result};

use crate::io::{Archive, Encoding, Entry, Numbers, for_each_chunk_of};
use crate::tensor::DType;

/// Elements that are read at once.
const CHUNK: usize = 1 << 20;

/// Elements that one thread compares at once; sums are joined in the order of the pieces.
const PIECE: usize = 1 << 14;

/// How the numbers of two tensors, a and b, differ. Complex elements count as two numbers.
///
/// Pairs of which one is NaN or infinite, and the other is not the same, are beyond any tolerance; they are counted,
/// and left out of the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Pairs of numbers.
    pub count: u64,
    /// Pairs that are not equal.
    pub unequal: u64,
    /// Pairs that differ by more than the tolerance.
    pub beyond: u64,
    /// Pairs of which one is NaN or infinite, and the other is not the same.
    pub non_finite: u64,
    /// The greatest distance |a - b|.
    pub max_abs: f64,
    /// The element, in row-major order, at which it is found first.
    pub max_at: u64,
    /// The mean of all distances |a - b|.
    pub mean_abs: f64,
    /// The norm of a - b over the norm of a: 0 if both are 0, infinite if only the latter is.
    pub relative_norm: f64,
    /// The cosine of the angle between a and b: 1 if both are 0, NaN if only one of them is.
    pub cosine: f64,
}

/// Sums over pairs.
#[derive(Clone, Copy, Default)]
struct Sums {
    count: u64,
    unequal: u64,
    beyond: u64,
    non_finite: u64,
    max_abs: f64,
    max_at: u64,
    distance: f64,
    squared_distance: f64,
    aa: f64,
    bb: f64,
    ab: f64,
}

impl Sums {
    fn add(&mut self, a: f64, b: f64, distance: f64, tolerance: Tolerance) {
        let at = self.count;
        self.count += 1;
        let within = distance <= tolerance.atol + tolerance.rtol * b.abs();
        if within && distance == 0.0 {
            self.aa += a * a;
            self.bb += b * b;
            self.ab += a * b;
        } else if a.is_finite() && b.is_finite() {
            self.unequal += 1;
            self.beyond += u64::from(!within);
            if distance > self.max_abs {
                (self.max_abs, self.max_at) = (distance, at);
            }
            self.distance += distance;
            self.squared_distance += distance * distance;
            self.aa += a * a;
            self.bb += b * b;
            self.ab += a * b;
        } else if !(a == b || (a.is_nan() && b.is_nan())) {
            self.unequal += 1;
            self.beyond += 1;
            self.non_finite += 1;
        }
    }

    fn join(self, next: Self) -> Self {
        let (max_abs, max_at) = match next.max_abs > self.max_abs {
            true => (next.max_abs, self.count + next.max_at),
            false => (self.max_abs, self.max_at),
        };
        Self {
            count: self.count + next.count,
            unequal: self.unequal + next.unequal,
            beyond: self.beyond + next.beyond,
            non_finite: self.non_finite + next.non_finite,
            max_abs,
            max_at,
            distance: self.distance + next.distance,
            squared_distance: self.squared_distance + next.squared_distance,
            aa: self.aa + next.aa,
            bb: self.bb + next.bb,
            ab: self.ab + next.ab,
        }
    }
}

/// How the bytes of both sides become numbers.
enum Way {
    /// In double precision.
    Floats(Numbers, Numbers),
    /// Integers that double precision would round.
    Integers(DType, DType),
}

/// Compares two tensors of equally many elements; `None` if they are bit for bit the same.
///
/// Fails with [`crate::ErrorKind::Unsupported`] if they are not, and are no numbers.
pub(super) fn compare(
    a: (&Archive, &Entry),
    b: (&Archive, &Entry),
    tolerance: Tolerance,
) -> Result<Option<Difference>> {
    let same_type = a.1.encoding() == b.1.encoding() && a.1.quantizer() == b.1.quantizer();
    // Most tensors are equal, or differ from the start; only the latter are turned into numbers.
    if same_type && identical(a, b)? {
        return Ok(None);
    }
    let way = way(a.1, b.1)?;
    let mut sums = Sums::default();
    let blocks = [a.1, b.1].map(|e| block(e.encoding()));
    for_each_chunk_of(&[a, b], CHUNK, |chunks| {
        sums = sums.join(compare_chunk(&way, chunks[0], chunks[1], blocks, tolerance)?);
        Ok(())
    })?;
    let Sums { aa, bb, ab, .. } = sums;
    let ratio = |x: f64, y: f64| if x == 0.0 { 0.0 } else { x / y };
    let per_element = match &way {
        Way::Floats(numbers, _) => numbers.per_element() as u64,
        Way::Integers(..) => 1,
    };
    Ok(Some(Difference {
        count: sums.count,
        unequal: sums.unequal,
        beyond: sums.beyond,
        non_finite: sums.non_finite,
        max_abs: sums.max_abs,
        max_at: sums.max_at / per_element,
        mean_abs: ratio(sums.distance, sums.count as f64),
        relative_norm: ratio(sums.squared_distance.sqrt(), aa.sqrt()),
        cosine: if aa == 0.0 && bb == 0.0 { 1.0 } else { (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0) },
    }))
}

/// Whether the bytes are the same; reads no further than the first difference.
fn identical(a: (&Archive, &Entry), b: (&Archive, &Entry)) -> Result<bool> {
    let mut same = true;
    let result = for_each_chunk_of(&[a, b], CHUNK, |chunks| {
        same = chunks[0] == chunks[1];
        if same { Ok(()) } else { Err(Error::argument("the bytes differ")) }
    });
    if same { result.map(|()| true) } else { Ok(false) }
}

fn way(a: &Entry, b: &Entry) -> Result<Way> {
    let wide = |d: DType| matches!(d, DType::I64 | DType::U64);
    let integer = |d: DType| d.category() <= Category::Integer;
    if let (Some(x), Some(y)) = (a.encoding().dtype(), b.encoding().dtype())
        && (wide(x) || wide(y))
        && integer(x)
        && integer(y)
    {
        return Ok(Way::Integers(x, y));
    }
    let (x, y) = (Numbers::of(a)?, Numbers::of(b)?);
    match x.per_element() == y.per_element() {
        true => Ok(Way::Floats(x, y)),
        false => Err(Error::unsupported("complex numbers and real ones")),
    }
}

/// Elements and bytes of a block.
fn block(encoding: Encoding) -> (usize, usize) {
    match encoding {
        Encoding::Packed(packed) => (packed.elements as usize, packed.bytes as usize),
        Encoding::Plain(dtype) => (1, dtype.size()),
    }
}

fn compare_chunk(
    way: &Way,
    a: &[u8],
    b: &[u8],
    blocks: [(usize, usize); 2],
    tolerance: Tolerance,
) -> Result<Sums> {
    let [size_a, size_b] = blocks.map(|(elements, bytes)| PIECE / elements * bytes);
    let pieces: Vec<(&[u8], &[u8])> = a.chunks(size_a).zip(b.chunks(size_b)).collect();
    let compare = |pieces: &[(&[u8], &[u8])]| -> Result<Vec<Sums>> {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        pieces
            .iter()
            .map(|(a, b)| {
                let mut sums = Sums::default();
                match way {
                    Way::Floats(of_a, of_b) => {
                        x.clear();
                        y.clear();
                        of_a.decode(a, &mut x)?;
                        of_b.decode(b, &mut y)?;
                        x.iter().zip(&y).for_each(|(&a, &b)| sums.add(a, b, (a - b).abs(), tolerance));
                    }
                    Way::Integers(of_a, of_b) => {
                        for (a, b) in integers(*of_a, a).zip(integers(*of_b, b)) {
                            sums.add(a as f64, b as f64, (a - b).unsigned_abs() as f64, tolerance);
                        }
                    }
                }
                Ok(sums)
            })
            .collect()
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(pieces.len().div_ceil(4));
    let sums = if threads <= 1 {
        compare(&pieces)?
    } else {
        let share = pieces.len().div_ceil(threads);
        thread::scope(|scope| {
            let workers: Vec<_> =
                pieces.chunks(share).map(|pieces| scope.spawn(move || compare(pieces))).collect();
            let mut all = Vec::new();
            for worker in workers {
                all.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok::<_, Error>(all)
        })?
    };
    Ok(sums.into_iter().fold(Sums::default(), Sums::join))
}

/// Integers of any type, exactly.
fn integers(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = i128> + '_ {
    let size = dtype.size();
    let signed = matches!(dtype, DType::I64 | DType::I32 | DType::I16 | DType::I8);
    bytes.chunks_exact(size).map(move |number| {
        let fill = if signed && number[size - 1] & 0x80 != 0 { 0xff } else { 0 };
        let mut wide = [fill; 16];
        wide[..size].copy_from_slice(number);
        i128::from_le_bytes(wide)
    })
}
