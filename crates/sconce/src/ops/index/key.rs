//! Indexing with brackets, as Python has it: positions, ranges, new axes, masks and tensors of positions.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use super::places::Places;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// One part of a key: what stands between two commas in Python's brackets.
///
/// [`get`](Tensor::get) reads and [`set`](Tensor::set) assigns what a key picks: one part, or a tuple of up to six. Parts
/// are made from what reads like them; only steps, new axes and the ellipsis are spelled out.
///
/// | NumPy and PyTorch | here | gives |
/// | --- | --- | --- |
/// | `x[1]`, `x[-1]` | `x.get(1)`, `x.get(-1)` | a view without that dimension |
/// | `x[0, 2]` | `x.get((0, 2))` | a view |
/// | `x[1:3]`, `x[:-1]`, `x[2:]` | `x.get(1..3)`, `x.get(..-1)`, `x.get(2..)` | a view; bounds are clamped |
/// | `x[:, 1:3]` | `x.get((.., 1..3))` | a view |
/// | `x[::2]`, `x[1:7:3]` | `Index::Slice(None, None, 2)`, `Index::Slice(Some(1), Some(7), 3)` | a view |
/// | `x[::-1]` | `x.flip(0)` | a copy; as PyTorch, `get` refuses what NumPy allows |
/// | `x[..., 0]` | `x.get((Index::Ellipsis, 0))` | a view |
/// | `x[None]`, `x[:, np.newaxis]` | `x.get(Index::NewAxis)`, `x.get((.., Index::NewAxis))` | a view |
/// | `x[True]`, `x[False]` | `x.get(true)`, `x.get(false)` | a copy with a new dimension of size 1 or 0 |
/// | `x[x > 0]` | `x.get(&x.gt(0)?)` | a copy of one dimension |
/// | `x[rows]`, `x[[0, 2]]` | `x.get(&rows)`, `x.get([0i64, 2])` | a copy |
/// | `x[rows, :, columns]` | `x.get((&rows, .., &columns))` | a copy |
/// | `x[1:] = y`, `x[:, 0] = 0` | `x.set(1.., &y)`, `x.set((.., 0), 0)` | |
/// | `x[x < 0] = 0` | `x.set(&x.lt(0)?, 0)` | |
/// | `x[rows] = y` | `x.set(&rows, &y)` | of several values for one place the last |
/// | `x[1] += y` | `x.get(1)?.add_(&y)` | |
///
/// ```
/// use sconce::{DType, Index, Tensor};
/// let x = Tensor::arange(0, 12, 1, DType::I64)?.view([3, 4])?;
/// let list = |y: Tensor| y.to_vec::<i64>();
/// assert_eq!(list(x.get(-1)?)?, [8, 9, 10, 11]);
/// assert_eq!(list(x.get((0, 2))?)?, [2]);
/// assert_eq!(list(x.get((..-1, 1..=2))?)?, [1, 2, 5, 6]);
/// assert_eq!(list(x.get((.., Index::Slice(Some(1), None, 2)))?)?, [1, 3, 5, 7, 9, 11]);
/// assert_eq!(list(x.get((Index::Ellipsis, 0))?)?, [0, 4, 8]);
/// assert_eq!(x.get((.., Index::NewAxis))?.shape(), [3, 1, 4]);
/// assert_eq!(list(x.get(&x.gt(9)?)?)?, [10, 11]);
/// assert_eq!(list(x.get(([2i64, 0], 1..3))?)?, [9, 10, 1, 2]);
/// x.get(1)?.add_(100)?;
/// x.set((0, ..2), 7)?;
/// assert_eq!(list(x.get(..2)?)?, [7, 7, 2, 3, 104, 105, 106, 107]);
/// assert!(x.get(Index::Slice(None, None, -1)).is_err());
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Index {
    /// One position, counted from the end if negative; the dimension goes.
    At(isize),
    /// A range, whose bounds are clamped and count from the end if negative, and a step; Python's `start:end:step`.
    Slice(Option<isize>, Option<isize>, isize),
    /// A new dimension of size 1; Python's `None`.
    NewAxis,
    /// As many whole dimensions as the key leaves over; Python's `...`.
    Ellipsis,
    /// Positions, or a mask over one or more dimensions.
    Tensor(Tensor),
}

/// What does not fit is beyond any size as well.
fn position<T: TryInto<isize>>(i: T) -> isize {
    i.try_into().unwrap_or(isize::MAX)
}

/// The bound after an inclusive one; after the last element there is none.
fn after<T: TryInto<isize>>(i: T) -> Option<isize> {
    let end = position(i).saturating_add(1);
    (end != 0).then_some(end)
}

macro_rules! from {
    ($($t:ty),*) => {$(
        impl From<$t> for Index {
            fn from(i: $t) -> Self {
                Self::At(position(i))
            }
        }
        impl From<Range<$t>> for Index {
            fn from(r: Range<$t>) -> Self {
                Self::Slice(Some(position(r.start)), Some(position(r.end)), 1)
            }
        }
        impl From<RangeInclusive<$t>> for Index {
            fn from(r: RangeInclusive<$t>) -> Self {
                let (start, end) = r.into_inner();
                Self::Slice(Some(position(start)), after(end), 1)
            }
        }
        impl From<RangeFrom<$t>> for Index {
            fn from(r: RangeFrom<$t>) -> Self {
                Self::Slice(Some(position(r.start)), None, 1)
            }
        }
        impl From<RangeTo<$t>> for Index {
            fn from(r: RangeTo<$t>) -> Self {
                Self::Slice(None, Some(position(r.end)), 1)
            }
        }
        impl From<RangeToInclusive<$t>> for Index {
            fn from(r: RangeToInclusive<$t>) -> Self {
                Self::Slice(None, after(r.end), 1)
            }
        }
    )*};
}

from!(i32, i64, isize, usize);

impl From<RangeFull> for Index {
    fn from(_: RangeFull) -> Self {
        Self::Slice(None, None, 1)
    }
}

impl From<bool> for Index {
    fn from(b: bool) -> Self {
        Self::Tensor(Tensor::scalar(b))
    }
}

impl From<Vec<i64>> for Index {
    fn from(positions: Vec<i64>) -> Self {
        let n = positions.len();
        Self::Tensor(Tensor::from_vec(positions, n).expect("as many elements as the shape says"))
    }
}

impl<const N: usize> From<[i64; N]> for Index {
    fn from(positions: [i64; N]) -> Self {
        positions.to_vec().into()
    }
}

impl From<&Tensor> for Index {
    fn from(t: &Tensor) -> Self {
        Self::Tensor(t.clone())
    }
}

impl From<Tensor> for Index {
    fn from(t: Tensor) -> Self {
        Self::Tensor(t)
    }
}

/// A key: one [`Index`], a tuple of what makes up to six, or a vector or slice of them.
pub trait Key {
    /// The parts in order.
    fn parts(self) -> Vec<Index>;
}

impl<I: Into<Index>> Key for I {
    fn parts(self) -> Vec<Index> {
        vec![self.into()]
    }
}

impl Key for Vec<Index> {
    fn parts(self) -> Vec<Index> {
        self
    }
}

impl Key for &[Index] {
    fn parts(self) -> Vec<Index> {
        self.to_vec()
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),+);)*) => {$(
        impl<$($t: Into<Index>),+> Key for ($($t,)+) {
            fn parts(self) -> Vec<Index> {
                vec![$(self.$i.into()),+]
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
}

/// How many of a tensor's dimensions a part takes.
fn taken(part: &Index) -> usize {
    match part {
        Index::At(_) | Index::Slice(..) => 1,
        Index::Tensor(t) if matches!(t.dtype(), DType::Bool | DType::U8) => t.dim(),
        Index::Tensor(_) => 1,
        Index::NewAxis | Index::Ellipsis => 0,
    }
}

/// The view that the ranges and positions of a key pick, and what tensors then pick of each of its dimensions.
fn resolve(op: &str, x: &Tensor, parts: &[Index]) -> Result<(Tensor, Vec<Option<Tensor>>)> {
    let total: usize = parts.iter().map(taken).sum();
    if total > x.dim() {
        return Err(Error::index(format!("{op}: a key for {total} dimensions, found shape {:?}", x.shape())));
    }
    if parts.iter().filter(|p| matches!(p, Index::Ellipsis)).count() > 1 {
        return Err(Error::index(format!("{op}: a key with more than one ellipsis")));
    }
    // A view of the whole, where nothing else makes one.
    let mut view = x.expand(x.shape())?;
    let mut tensors = Vec::new();
    // The next dimension of the view, and how many of those before it share another one's tensor: a mask has several.
    let (mut dim, mut shared) = (0usize, 0usize);
    let mut pick = |at: usize, tensor: Tensor| {
        tensors.resize(at, None);
        tensors.push(Some(tensor));
    };
    for part in parts {
        let d = dim as isize;
        match part {
            Index::At(i) => view = view.select(d, *i).map_err(|e| e.context(op.to_owned()))?,
            Index::Slice(start, end, step) => {
                let Some(step) = usize::try_from(*step).ok().filter(|&s| s > 0) else {
                    return Err(Error::argument(format!("{op}: the step must be positive, found {step}")));
                };
                view = view.slice(d, start.unwrap_or(0), end.unwrap_or(isize::MAX), step)?;
                dim += 1;
            }
            Index::NewAxis => {
                view = view.unsqueeze(d)?;
                dim += 1;
            }
            Index::Ellipsis => dim += x.dim() - total,
            Index::Tensor(t) if t.dim() == 0 && !matches!(t.dtype(), DType::Bool | DType::U8) => {
                view = view.select(d, t.item_i64()? as isize).map_err(|e| e.context(op.to_owned()))?;
            }
            Index::Tensor(t) if t.dim() == 0 => {
                view = view.unsqueeze(d)?;
                let positions: &[i64] = if t.item()? != 0.0 { &[0] } else { &[] };
                pick(dim - shared, Tensor::from_slice(positions, [positions.len()])?);
                dim += 1;
            }
            Index::Tensor(t) => {
                pick(dim - shared, t.clone());
                dim += taken(part);
                shared += taken(part) - 1;
            }
        }
    }
    Ok((view, tensors))
}

impl Tensor {
    /// The elements that a key picks: a view for positions and ranges, a copy where tensors pick.
    ///
    /// [`Index`] has a table of keys beside Python's.
    ///
    /// Tensors of integers broadcast, and their shape takes the place of the dimensions that they pick of; it comes first
    /// if these are not neighbours. A bool tensor picks where it is true.
    ///
    /// # Errors
    ///
    /// If a position does not exist, a step is not positive, the tensors do not broadcast or are neither integers nor
    /// bools, a mask does not have the sizes of its dimensions, or the key has too many parts.
    ///
    /// ```
    /// use sconce::{DType, Index, Tensor};
    /// let x = Tensor::arange(0, 6, 1, DType::I64)?.reshape([2, 3])?;
    /// assert_eq!(x.get((.., 1..3))?.to_vec::<i64>()?, [1, 2, 4, 5]);
    /// assert_eq!(x.get((Index::Ellipsis, -1))?.to_vec::<i64>()?, [2, 5]);
    /// assert_eq!(x.get(&x.gt(3)?)?.to_vec::<i64>()?, [4, 5]);
    /// let columns = Tensor::from_vec(vec![2i64, 0], [2])?;
    /// assert_eq!(x.get((.., &columns))?.to_vec::<i64>()?, [2, 0, 5, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn get(&self, key: impl Key) -> Result<Tensor> {
        let (view, tensors) = resolve("index", self, &key.parts())?;
        if tensors.is_empty() { Ok(view) } else { Places::new("index", &view, &tensors)?.take(&view) }
    }

    /// Sets the elements that a key picks to a number or to a tensor that broadcasts to them.
    ///
    /// See [`get`](Self::get). Of several values for one place the last stays.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); also if the value does not broadcast or its dtype cannot be converted, or the tensor may
    /// not be changed while recording.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3], DType::F32)?;
    /// x.set((.., 0), 1.5)?;
    /// x.set(&x.eq(0)?, &Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [4])?)?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.5, 1.0, 2.0, 1.5, 3.0, 4.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn set<'a>(&self, key: impl Key, value: impl Into<Operand<'a>>) -> Result<()> {
        const OP: &str = "index_put_";
        let (view, tensors) = resolve(OP, self, &key.parts())?;
        let value = value.into().element(OP, self.dtype())?;
        if tensors.is_empty() {
            // As in PyTorch leading dimensions of size 1 are left out.
            let mut value = value;
            while value.dim() > view.dim() && value.shape()[0] == 1 {
                value = value.squeeze(0)?;
            }
            return view.copy_(&value);
        }
        let places = Places::new(OP, &view, &tensors)?;
        view.copy_(&places.put(&view, &value.to(self.dtype())?, false)?)
    }

    /// A copy with the elements at positions set to `values`, or increased by them if `accumulate`.
    ///
    /// There is one tensor of positions, or a mask, for each dimension from the first on; `None` for all of one. See
    /// [`get`](Self::get).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); also if the values have another dtype or do not broadcast.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([3], DType::F32)?;
    /// let at = Tensor::from_vec(vec![1i64, 1], [2])?;
    /// let y = x.index_put(&[Some(at)], &Tensor::ones([2], DType::F32)?, true)?;
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0, 0.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn index_put(&self, indices: &[Option<Tensor>], values: &Tensor, accumulate: bool) -> Result<Tensor> {
        const OP: &str = "index_put";
        super::same_dtype(OP, self, values)?;
        if indices.len() > self.dim() {
            return Err(Error::index(format!(
                "{OP}: {} indices for a tensor of shape {:?}",
                indices.len(),
                self.shape()
            )));
        }
        if indices.iter().all(Option::is_none) {
            return Err(Error::argument(format!("{OP}: needs at least one index")));
        }
        Places::new(OP, self, indices)?.put(self, values, accumulate)
    }
}

const D: (f64, f64) = (-2.0, 2.0);

fn at(values: &[i64], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(values, shape)
}

/// For the generic tests.
pub(in crate::ops) static KEYS: &[OpInfo] = &[
    OpInfo {
        name: "index",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4], D)], |x| x[0].get((.., 1, 1..3))),
                Sample::new(&[(&[2, 3, 4], D)], |x| {
                    x[0].get((&at(&[1, 0, 1], &[3])?, .., &at(&[2, -1, 2], &[3])?))
                }),
                Sample::new(&[(&[2, 3, 4], D)], |x| {
                    x[0].get((.., &at(&[1, 0, 1, 2], &[2, 2])?, Index::NewAxis))
                }),
                Sample::new(&[(&[2, 3, 4], D)], |x| {
                    let mask = Tensor::from_vec(vec![true, false, true, false, false, true], [2, 3])?;
                    x[0].get(&mask)
                }),
            ]
        },
    },
    OpInfo {
        name: "index_put",
        samples: || {
            vec![
                Sample::new(&[(&[3, 4], D), (&[2], D)], |x| {
                    x[0].index_put(&[Some(at(&[1, 2], &[2])?), Some(at(&[0, 3], &[2])?)], &x[1], false)
                })
                .with_inplace(|x| {
                    x[0].index_put_(&[Some(at(&[1, 2], &[2])?), Some(at(&[0, 3], &[2])?)], &x[1], false)
                }),
                Sample::new(&[(&[3, 4], D), (&[3, 2], D)], |x| {
                    x[0].index_put(&[None, Some(at(&[3, 3], &[2])?)], &x[1], true)
                }),
            ]
        },
    },
];
