//! Elements by their rank: k-th, median, most frequent, quantiles, and searching in what is sorted.

use std::cmp::Ordering;

use smallvec::smallvec;

use super::axes::Axes;
use super::driver::{self, Kind, kind};
use super::registry::{OpInfo, Sample};
use super::scan::along;
use super::selection::{self, first_places, ranked};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::layout::wrap_dim;
use crate::tensor::promote::promote_types;
use crate::tensor::scalar::Operand;
use crate::tensor::sizes::DimsArg;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// How [`Tensor::quantile`] finds a value between two elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// On the line between them.
    #[default]
    Linear,
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
    /// Halfway between them.
    Midpoint,
    /// The nearer one, the one of even rank of equally near ones.
    Nearest,
}

/// Order in which NaN is the greatest.
fn ascending(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Which place of each line a function picks; an index tensor with the dimension kept.
fn pick(
    op: &str,
    x: &Tensor,
    dim: usize,
    float: impl Fn(&[f64]) -> usize,
    int: impl Fn(&[i64]) -> usize,
) -> Result<Tensor> {
    let places = match kind(op, x.dtype())? {
        Kind::I64 => along(op, x, dim, |x: &[i64], y: &mut [i64]| {
            if let Some(first) = y.first_mut() {
                *first = int(x) as i64;
            }
        })?,
        _ => along(op, x, dim, |x: &[f64], y: &mut [i64]| {
            if let Some(first) = y.first_mut() {
                *first = float(x) as i64;
            }
        })?,
    };
    if x.dim() == 0 { Ok(places) } else { places.narrow(dim as isize, 0, 1)?.copy() }
}

/// The place of the element of rank `k` of a line.
fn select<T: Copy>(x: &[T], k: usize, compare: impl Fn(T, T) -> Ordering) -> usize {
    let mut places: Vec<usize> = (0..x.len()).collect();
    // Of equal ones the first has the lowest rank.
    let by = |&i: &usize, &j: &usize| compare(x[i], x[j]).then(i.cmp(&j));
    *places.select_nth_unstable_by(k, by).1
}

/// The rows of a matrix's `k` greatest (or least) elements, where PyTorch finds them.
fn first_of_lines(x: &Tensor, k: usize, largest: bool) -> Result<Tensor> {
    const OP: &str = "topk";
    let directed = |order: Ordering| if largest { order.reverse() } else { order };
    let write = |places: Vec<usize>, y: &mut [i64]| {
        y.iter_mut().zip(places).for_each(|(y, place)| *y = place as i64);
    };
    let places = match kind(OP, x.dtype())? {
        Kind::I64 => along(OP, x, 1, |x: &[i64], y: &mut [i64]| {
            write(first_places(x, k, |a, b| directed(a.cmp(&b))), y);
        })?,
        _ => along(OP, x, 1, |x: &[f64], y: &mut [i64]| {
            write(first_places(x, k, |a, b| directed(ascending(a, b))), y);
        })?,
    };
    places.narrow(1, 0, k)
}

/// The lines with two neighbours that are equal, or both NaN: a vector of their numbers.
fn ties(op: &str, x: &Tensor, dim: usize) -> Result<Tensor> {
    let (count, d) = (x.shape().get(dim).copied().unwrap_or(1), dim as isize);
    if count < 2 {
        return Tensor::zeros([0], DType::I64);
    }
    let (here, next) = (x.narrow(d, 0, count - 1)?, x.narrow(d, 1, count - 1)?);
    let tied = here.eq(&next)?.logical_or(&here.isnan()?.logical_and(&next.isnan()?)?)?;
    driver::lines::places(op, &tied.any(d)?)
}

/// The median of all elements. As with the extremes of all, equal ones share its gradient.
#[derive(Debug)]
struct MedianOfAll {
    name: &'static str,
    ignore: bool,
}

impl Op for MedianOfAll {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (value, _) = x[0].detach().reshape([-1])?.median_along(self.name, &0, self.ignore)?;
        value.copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (x, y) = (saved.input(0)?.detach(), saved.output()?.detach());
        let same = x.eq(&y)?.logical_or(&x.isnan()?.logical_and(&y.isnan()?)?)?.to(grad.dtype())?;
        Ok(smallvec![Some(grad.div(&same.sum(())?)?.mul(&same)?)])
    }
}

/// The place of the lower median, or of the first NaN; with `ignore` NaN only counts where there is nothing else.
fn median(x: &[f64], ignore: bool) -> usize {
    let nans = x.iter().filter(|x| x.is_nan()).count();
    match x.iter().position(|x| x.is_nan()) {
        Some(first) if !ignore || nans == x.len() => first,
        _ => select(x, (x.len() - nans - 1) / 2, ascending),
    }
}

/// The place of the last of the most frequent elements of a line as sorting leaves them, the least of which counts.
fn most_frequent<T: PartialOrd + Copy>(x: &[T]) -> usize {
    let mut places: Vec<usize> = (0..x.len()).collect();
    // NaN is less than nothing here and like nothing, and may stand between others.
    selection::sort(&mut places, |i, j| x[i] < x[j]);
    let (mut best, mut most, mut run) = (0, 0, 0);
    for (at, &place) in places.iter().enumerate() {
        run += 1;
        if places.get(at + 1).is_none_or(|&next| x[place] != x[next]) {
            if run > most {
                (best, most) = (place, run);
            }
            run = 0;
        }
    }
    best
}

impl Tensor {
    /// The one dimension of an operation, and the tensor's elements there with the dimension kept or dropped.
    fn picked(
        &self,
        op: &str,
        dim: &impl DimsArg,
        places: impl FnOnce(usize, usize) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let d = match dim.dims().as_deref() {
            Some([d]) => wrap_dim(op, *d, self.dim())?,
            other => return Err(Error::argument(format!("{op}: needs one dimension, found {other:?}"))),
        };
        let size = self.shape().get(d).copied().unwrap_or(1);
        let axes = Axes::new(op, self, dim)?;
        if size == 0 {
            return Err(Error::shape(format!(
                "{op}: has no value for no elements: shape {:?}",
                self.shape()
            )));
        }
        let indices = places(d, size)?;
        let values = self.gather(d as isize, &indices)?;
        let shape = axes.result(self.shape());
        Ok((values.reshape(shape.as_slice())?, indices.reshape(shape.as_slice())?))
    }

    /// The `k`-th least element along a dimension, counted from 1, and its index; NaN is the greatest.
    ///
    /// # Errors
    ///
    /// If there is no such element, it is not one dimension, or it does not exist.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![3.0f32, 1.0, 2.0], [3])?;
    /// let (value, index) = x.kthvalue(2, 0)?;
    /// assert_eq!((value.item()?, index.item_i64()?), (2.0, 2));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn kthvalue(&self, k: usize, dim: impl DimsArg) -> Result<(Tensor, Tensor)> {
        self.picked("kthvalue", &dim, |d, size| {
            if k == 0 || k > size {
                return Err(Error::argument(format!("kthvalue: k is {k} for a dimension of size {size}")));
            }
            let by_float = |x: &[f64]| ranked(x, k - 1, ascending);
            pick("kthvalue", self, d, by_float, |x| ranked(x, k - 1, |a, b| a.cmp(&b)))
        })
    }

    /// The `k` greatest (or least) elements along a dimension, in order, and where they were; NaN is the greatest.
    ///
    /// # Errors
    ///
    /// If there are fewer than `k`, or the dimension does not exist.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![3.0f32, 1.0, 2.0], [3])?;
    /// assert_eq!(x.topk(2, 0, true)?.0.to_vec::<f32>()?, [3.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn topk(&self, k: usize, dim: isize, largest: bool) -> Result<(Tensor, Tensor)> {
        const OP: &str = "topk";
        let d = wrap_dim(OP, dim, self.dim())?;
        let size = self.shape().get(d).copied().unwrap_or(1);
        if k > size {
            return Err(Error::index(format!("{OP}: k is {k} for a dimension of size {size}")));
        }
        let k = if self.dim() == 0 { 1 } else { k };
        // Which of equal elements are found, and in what order, is up to the algorithm: in lines where two neighbours in order
        // are equal, or the first element that is left out, it is PyTorch's.
        let found = driver::lines::order(OP, self, d, (k + 1).min(size), largest)?;
        let tied = ties(OP, &self.detach().gather(dim, &found)?, d)?;
        let mut indices =
            if found.shape().get(d) > Some(&k) { found.narrow(dim, 0, k)?.copy()? } else { found };
        if tied.numel() > 0 {
            let lines = self.detach().movedim(dim, -1)?.reshape([-1, size as isize])?;
            let exact = first_of_lines(&lines.index_select(0, &tied)?, k, largest)?;
            let moved = indices.movedim(dim, -1)?;
            let all = moved.reshape([-1, k as isize])?.index_copy(0, &tied, &exact)?;
            indices = all.reshape(moved.shape())?.movedim(-1, dim)?.contiguous()?;
        }
        Ok((self.gather(dim, &indices)?, indices))
    }

    /// The median of all elements: the lower one of two, NaN where there is one, and of nothing.
    ///
    /// # Errors
    ///
    /// If the dtype is bool or only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![3.0f32, 1.0, f32::NAN, 2.0], [4])?;
    /// assert_eq!(x.narrow(0, 0, 2)?.median()?.item()?, 1.0);
    /// assert!(x.median()?.item()?.is_nan());
    /// assert_eq!(x.nanmedian()?.item()?, 2.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn median(&self) -> Result<Tensor> {
        self.median_of_all("median", false)
    }

    /// The [`median`](Self::median) of what is not NaN.
    ///
    /// # Errors
    ///
    /// As [`median`](Self::median).
    pub fn nanmedian(&self) -> Result<Tensor> {
        self.median_of_all("nanmedian", true)
    }

    fn median_of_all(&self, op: &'static str, ignore: bool) -> Result<Tensor> {
        refuse_bool(op, self)?;
        if self.numel() == 0 {
            // NaN, with a gradient of nothing.
            return self.mean(()).map_err(|e| e.context(op.to_owned()));
        }
        apply(MedianOfAll { name: op, ignore }, &[self])
    }

    /// The median along a dimension, and its index.
    ///
    /// # Errors
    ///
    /// As [`kthvalue`](Self::kthvalue).
    pub fn median_dim(&self, dim: impl DimsArg) -> Result<(Tensor, Tensor)> {
        self.median_along("median", &dim, false)
    }

    /// The [`nanmedian`](Self::nanmedian) along a dimension, and its index.
    ///
    /// # Errors
    ///
    /// As [`kthvalue`](Self::kthvalue).
    pub fn nanmedian_dim(&self, dim: impl DimsArg) -> Result<(Tensor, Tensor)> {
        self.median_along("nanmedian", &dim, true)
    }

    fn median_along(&self, op: &str, dim: &impl DimsArg, ignore: bool) -> Result<(Tensor, Tensor)> {
        refuse_bool(op, self)?;
        self.picked(op, dim, |d, _| {
            pick(op, self, d, |x| median(x, ignore), |x| select(x, (x.len() - 1) / 2, |a, b| a.cmp(&b)))
        })
    }

    /// The most frequent element along a dimension, the least of equally frequent ones, and its last index.
    ///
    /// # Errors
    ///
    /// As [`kthvalue`](Self::kthvalue).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![2i64, 1, 2, 1, 3], [5])?;
    /// let (value, index) = x.mode(0)?;
    /// assert_eq!((value.item_i64()?, index.item_i64()?), (1, 3));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn mode(&self, dim: impl DimsArg) -> Result<(Tensor, Tensor)> {
        self.picked("mode", &dim, |d, _| pick("mode", self, d, most_frequent, most_frequent))
    }

    /// The values below which parts `q` of the elements lie, along a dimension or of all for `()`.
    ///
    /// `q` is a number, or a vector for a new leading dimension; all within [0, 1]. NaN where there is one.
    ///
    /// # Errors
    ///
    /// If the dtype is neither float32 nor float64, that of `q` differs, `q` leaves [0, 1], or there are no elements.
    ///
    /// ```
    /// use sconce::{Interpolation, Tensor};
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 4.0], [3])?;
    /// assert_eq!(x.quantile(0.75, 0, Interpolation::Linear)?.item()?, 3.0);
    /// assert_eq!(x.quantile(0.75, 0, Interpolation::Lower)?.item()?, 2.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn quantile<'a>(
        &self,
        q: impl Into<Operand<'a>>,
        dim: impl DimsArg,
        interpolation: Interpolation,
    ) -> Result<Tensor> {
        self.quantile_of("quantile", q.into(), &dim, interpolation, false)
    }

    /// The [`quantile`](Self::quantile) of what is not NaN.
    ///
    /// # Errors
    ///
    /// As [`quantile`](Self::quantile).
    pub fn nanquantile<'a>(
        &self,
        q: impl Into<Operand<'a>>,
        dim: impl DimsArg,
        interpolation: Interpolation,
    ) -> Result<Tensor> {
        self.quantile_of("nanquantile", q.into(), &dim, interpolation, true)
    }

    fn quantile_of(
        &self,
        op: &str,
        q: Operand<'_>,
        dim: &impl DimsArg,
        interpolation: Interpolation,
        ignore: bool,
    ) -> Result<Tensor> {
        if !matches!(self.dtype(), DType::F32 | DType::F64) {
            return Err(Error::dtype(format!("{op}: needs float32 or float64, found {}", self.dtype())));
        }
        let q = q.tensor(self.dtype())?;
        if q.dtype() != self.dtype() || q.dim() > 1 {
            return Err(Error::argument(format!(
                "{op}: q must be a number or a vector of {}, found {} of shape {:?}",
                self.dtype(),
                q.dtype(),
                q.shape()
            )));
        }
        if q.detach().ge(0)?.logical_and(&q.detach().le(1)?)?.all(())?.item()? == 0.0 {
            return Err(Error::argument(format!("{op}: q must lie in [0, 1]")));
        }
        let axes = Axes::new(op, self, dim)?;
        axes.require_elements(op, self.shape())?;
        let (lines, _) = match dim.dims().as_deref() {
            Some([d]) if self.dim() > 0 => self.movedim(*d, -1)?,
            Some([_]) | None => self.reshape([-1])?,
            other => {
                return Err(Error::argument(format!("{op}: needs one dimension or (), found {other:?}")));
            }
        }
        .sort(-1, false)?;
        let n = lines.size(-1)?;
        let nan = lines.detach().isnan()?;
        // One row of ranks per line.
        let last = if ignore {
            let count = nan.logical_not()?.sum(crate::keepdim(-1))?;
            count.sub(1)?.clamp_min(0)?.to(self.dtype())?
        } else {
            let mut shape = Dims::from_slice(lines.shape());
            shape[lines.dim() - 1] = 1;
            Tensor::full(shape.as_slice(), n as f64 - 1.0, self.dtype())?
        };
        let ranks = last.mul(&q.reshape([-1])?)?;
        let ranks =
            if ignore { ranks } else { ranks.masked_fill(&nan.any(crate::keepdim(-1))?, n as f64 - 1.0)? };
        let ranks = match interpolation {
            Interpolation::Lower => ranks.floor()?,
            Interpolation::Higher => ranks.ceil()?,
            Interpolation::Nearest => ranks.round()?,
            _ => ranks,
        };
        let below = ranks.detach().to(DType::I64)?;
        let mut values = lines.gather(-1, &below)?;
        if matches!(interpolation, Interpolation::Linear | Interpolation::Midpoint) {
            let weights = match interpolation {
                Interpolation::Midpoint => Tensor::full(ranks.shape(), 0.5, self.dtype())?,
                _ => ranks.sub(&below)?,
            };
            let above = lines.gather(-1, &ranks.detach().ceil()?.to(DType::I64)?)?;
            values = values.lerp(&above, &weights)?;
        }
        let result = axes.result(self.shape());
        if q.dim() == 0 {
            return values.reshape(result.as_slice());
        }
        let mut shape = Dims::from_slice(q.shape());
        shape.extend_from_slice(&result);
        values.movedim(-1, 0)?.reshape(shape.as_slice())
    }

    /// Where values would be inserted into this sorted tensor to keep it sorted; int64, or int32 after conversion.
    ///
    /// This is a vector, or has the values' shape but for the last dimension. Of equal elements the place is before the
    /// first, or with `right` behind the last. With a `sorter`, indices that sort it, it need not be sorted itself.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit or a dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 3.0, 5.0], [3])?;
    /// let values = sconce::Tensor::from_vec(vec![3.0f32, 6.0], [2])?;
    /// assert_eq!(x.searchsorted(&values, false, None)?.to_vec::<i64>()?, [1, 3]);
    /// assert_eq!(x.searchsorted(&values, true, None)?.to_vec::<i64>()?, [2, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn searchsorted<'a>(
        &self,
        values: impl Into<Operand<'a>>,
        right: bool,
        sorter: Option<&Tensor>,
    ) -> Result<Tensor> {
        const OP: &str = "searchsorted";
        let values = values.into();
        let values = match values {
            Operand::Tensor(t) => t.detach(),
            number => number.tensor(self.dtype())?,
        };
        let lead = self.dim().saturating_sub(1);
        let fits = self.dim() == 1
            || self.dim() > 0 && values.dim() == self.dim() && values.shape()[..lead] == self.shape()[..lead];
        if !fits {
            return Err(Error::shape(format!(
                "{OP}: a sorted sequence of shape {:?} must be a vector or fit the values' {:?} but for the last dimension",
                self.shape(),
                values.shape()
            )));
        }
        let sequence = match sorter {
            Some(s) if s.dtype() != DType::I64 || s.shape() != self.shape() => {
                return Err(Error::argument(format!(
                    "{OP}: the sorter must be int64 of shape {:?}, found {} of {:?}",
                    self.shape(),
                    s.dtype(),
                    s.shape()
                )));
            }
            Some(s) => self.detach().gather(-1, s)?,
            None => self.detach(),
        };
        let n = sequence.size(-1)?;
        let per_line = if self.dim() == 1 { values.numel() } else { values.size(-1)? };
        fn search<T: Copy>(
            line: &[T],
            v: T,
            right: bool,
            ge: impl Fn(T, T) -> bool,
            gt: impl Fn(T, T) -> bool,
        ) -> i64 {
            line.partition_point(|&x| if right { !gt(x, v) } else { !ge(x, v) }) as i64
        }
        macro_rules! run {
            ($T:ty) => {{
                let (sequence, flat) =
                    (sequence.to(<$T as crate::Element>::DTYPE)?, values.to(<$T as crate::Element>::DTYPE)?);
                sequence.with_slice(|sequence: &[$T]| {
                    flat.with_slice(|flat: &[$T]| {
                        driver::build(OP, values.shape(), |out: &mut [i64]| {
                            for (i, (out, &v)) in out.iter_mut().zip(flat).enumerate() {
                                let line = if self.dim() == 1 { 0 } else { i / per_line.max(1) };
                                *out = search(
                                    &sequence[line * n..(line + 1) * n],
                                    v,
                                    right,
                                    |a, b| a >= b,
                                    |a, b| a > b,
                                );
                            }
                            Ok(())
                        })
                    })
                })??
            }};
        }
        match kind(OP, promote_types(self.dtype(), values.dtype()))? {
            Kind::I64 => run!(i64),
            _ => run!(f64),
        }
    }

    /// Which of the ranges between sorted `boundaries` each element lies in; int64.
    ///
    /// A boundary itself belongs to the range before it, or with `right` to the one behind.
    ///
    /// # Errors
    ///
    /// If the boundaries are no vector.
    pub fn bucketize(&self, boundaries: &Tensor, right: bool) -> Result<Tensor> {
        if boundaries.dim() != 1 {
            return Err(Error::shape(format!(
                "bucketize: the boundaries must be a vector, found shape {:?}",
                boundaries.shape()
            )));
        }
        boundaries.searchsorted(self, right, None).map_err(|e| e.context("bucketize"))
    }

    /// Where an element is among those of another tensor; bool.
    ///
    /// # Errors
    ///
    /// If a dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3], [3])?;
    /// let among = sconce::Tensor::from_vec(vec![3i64, 1], [2])?;
    /// assert_eq!(x.isin(&among)?.to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn isin<'a>(&self, among: impl Into<Operand<'a>>) -> Result<Tensor> {
        let among = among.into().tensor(self.dtype())?.detach().reshape([-1])?;
        kind("isin", among.dtype())?;
        if among.numel() == 0 {
            return Tensor::zeros(self.shape(), DType::Bool);
        }
        let (sorted, _) = among.sort(0, false)?;
        let at = sorted.searchsorted(&self.detach(), false, None)?.clamp_max(among.numel() as i64 - 1)?;
        sorted.take(&at)?.eq(&self.detach())
    }
}

fn refuse_bool(op: &str, x: &Tensor) -> Result<()> {
    if x.dtype() == DType::Bool {
        return Err(Error::dtype(format!("{op}: not implemented for bool")));
    }
    kind(op, x.dtype()).map(|_| ())
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (0.5, 2.0))], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static ORDERS: &[OpInfo] = &[
    OpInfo {
        name: "kthvalue",
        samples: || {
            vec![sample(|x| Ok(x.kthvalue(2, 1)?.0)), sample(|x| Ok(x.kthvalue(3, crate::keepdim(-1))?.0))]
        },
    },
    OpInfo { name: "median", samples: || vec![sample(Tensor::median), sample(|x| Ok(x.median_dim(1)?.0))] },
    OpInfo {
        name: "nanmedian",
        samples: || vec![sample(Tensor::nanmedian), sample(|x| Ok(x.nanmedian_dim(2)?.0))],
    },
    OpInfo { name: "mode", samples: || vec![sample(|x| Ok(x.mode(1)?.0))] },
    OpInfo { name: "topk", samples: || vec![sample(|x| Ok(x.topk(2, 1, true)?.0))] },
    OpInfo {
        name: "searchsorted",
        samples: || vec![sample(|x| x.sort(-1, false)?.0.searchsorted(x, true, None)).without_gradient()],
    },
    OpInfo {
        name: "bucketize",
        samples: || {
            vec![
                sample(|x| x.bucketize(&Tensor::from_vec(vec![0.7, 1.1, 1.5], [3])?, false))
                    .without_gradient(),
            ]
        },
    },
    OpInfo { name: "isin", samples: || vec![sample(|x| x.isin(&x.narrow(-1, 0, 1)?)).without_gradient()] },
];
