//! Views: other shapes and strides over the same memory.

use smallvec::{SmallVec, smallvec};

use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, OpNode, Saved, Saves, history, is_grad_enabled};
use crate::tensor::layout::{Layout, infer_shape, view_strides, wrap_dim};
use crate::tensor::node::NodeRef;
use crate::tensor::sizes::Sizes;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// Makes a view and records how its gradient flows back.
pub(super) fn view<O: Op>(x: &Tensor, layout: Layout, op: O) -> Tensor {
    let mut view = x.view_with(layout);
    let recorded = is_grad_enabled();
    let inherited = history::no_grad_version(x);
    if let Some(auto) = view.auto_mut()
        && (inherited.is_some() || !recorded)
    {
        auto.no_grad_view = true;
        auto.view_version = inherited.unwrap_or(auto.view_version);
    }
    let overtaken = inherited.is_some_and(|version| version != x.version());
    if recorded && !overtaken && x.requires_grad() {
        let node = NodeRef::new(|| OpNode::new(op, smallvec![history::edge(x)], &[], &view));
        history::set_node(&mut view, node, 0);
    }
    view
}

macro_rules! view_op {
    ($name:literal, $self:ident, $saved:ident, $grad:ident => $backward:expr) => {
        fn name(&self) -> &'static str {
            $name
        }
        fn cpu(&self, _: &[&Tensor]) -> Result<Tensor> {
            Err(Error::unsupported(concat!($name, ": views are made by their methods")))
        }
        fn saves(&self, _: &[bool]) -> Saves {
            Saves::NONE
        }
        fn backward(&$self, $saved: &Saved<'_>, $grad: &Tensor) -> Result<Grads> {
            Ok(smallvec![Some($backward?)])
        }
    };
}

/// The same elements in the same order under another shape.
#[derive(Debug)]
struct Reshape;

impl Op for Reshape {
    view_op!("view", self, saved, grad => grad.reshape(saved.shape(0)?.as_slice()));
}

#[derive(Debug)]
struct Permute {
    dims: Dims,
}

impl Op for Permute {
    view_op!("permute", self, _saved, grad => {
        let mut inverse = vec![0isize; self.dims.len()];
        for (i, &d) in self.dims.iter().enumerate() {
            inverse[d] = i as isize;
        }
        grad.permute(inverse.as_slice())
    });
}

/// The engine sums the gradient to the input's shape.
#[derive(Debug)]
struct Expand;

impl Op for Expand {
    view_op!("expand", self, _saved, grad => Ok::<_, Error>(grad.clone()));
}

/// `start`, `start + step`, … of one dimension; `select` drops it.
#[derive(Debug)]
struct Slice {
    dim: usize,
    start: usize,
    end: usize,
    step: usize,
    selects: bool,
}

impl Op for Slice {
    view_op!("slice", self, saved, grad => {
        let zeros = Tensor::zeros(saved.shape(0)?.as_slice(), grad.dtype())?;
        let part = if self.selects {
            zeros.select(self.dim as isize, self.start as isize)?
        } else {
            zeros.slice(self.dim as isize, self.start as isize, self.end as isize, self.step)?
        };
        part.copy_(grad)?;
        Ok::<_, Error>(zeros)
    });
}

/// A strided view relative to the tensor that it was taken of.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    shape: Dims,
    strides: Dims,
    offset: usize,
    base_shape: Dims,
    base_strides: Dims,
    base_offset: usize,
}

impl Geometry {
    /// How `view` lies in the memory of `base`.
    pub(crate) fn of(view: &Tensor, base: &Tensor) -> Self {
        let origin = view.storage_offset().min(base.storage_offset());
        Self {
            shape: Dims::from_slice(view.shape()),
            strides: Dims::from_slice(view.strides()),
            offset: view.storage_offset() - origin,
            base_shape: Dims::from_slice(base.shape()),
            base_strides: Dims::from_slice(base.strides()),
            base_offset: base.storage_offset() - origin,
        }
    }

    fn base(&self) -> Layout {
        Layout {
            shape: self.base_shape.clone(),
            strides: self.base_strides.clone(),
            offset: self.base_offset,
        }
    }

    fn view(&self) -> Layout {
        Layout { shape: self.shape.clone(), strides: self.strides.clone(), offset: self.offset }
    }

    /// Elements from the origin to the end of both.
    fn extent(&self) -> usize {
        self.base().end().max(self.view().end())
    }

    fn take_view(&self, memory: &Tensor) -> Result<Tensor> {
        memory.as_strided(self.shape.as_slice(), self.strides.as_slice(), self.offset)
    }

    fn take_base(&self, memory: &Tensor) -> Result<Tensor> {
        memory.as_strided(self.base_shape.as_slice(), self.base_strides.as_slice(), self.base_offset)
    }
}

/// Any strided view; also the history of a view after its base was changed in place.
#[derive(Debug)]
pub(crate) struct AsStrided {
    geometry: Geometry,
}

impl AsStrided {
    pub(crate) fn of(view: &Tensor, base: &Tensor) -> Self {
        Self { geometry: Geometry::of(view, base) }
    }

    /// The part of a base's gradient that belongs to a view.
    pub(crate) fn gradient_of_view(grad: &Tensor, geometry: &Geometry) -> Result<Tensor> {
        let memory = Tensor::zeros([geometry.extent()], grad.dtype())?;
        geometry.take_base(&memory)?.copy_(grad)?;
        geometry.take_view(&memory)
    }

    /// A base's gradient with the part that belongs to a view replaced.
    pub(crate) fn scatter(grad: &Tensor, part: &Tensor, geometry: &Geometry) -> Result<Tensor> {
        let memory = Tensor::zeros([geometry.extent()], grad.dtype())?;
        geometry.take_base(&memory)?.copy_(grad)?;
        geometry.take_view(&memory)?.copy_(part)?;
        geometry.take_base(&memory)
    }
}

impl Op for AsStrided {
    view_op!("as_strided", self, _saved, grad => {
        let g = &self.geometry;
        let memory = Tensor::zeros([g.extent()], grad.dtype())?;
        let positions = |layout: &Layout| -> Result<Tensor> {
            let all = Tensor::arange(0, g.extent() as i64, 1, DType::I64)?;
            all.as_strided(layout.shape.as_slice(), layout.strides.as_slice(), layout.offset)?.reshape([-1])
        };
        let memory = if g.view().overlaps_itself() {
            memory.index_add(0, &positions(&g.view())?, &grad.reshape([-1])?)?
        } else {
            g.take_view(&memory)?.copy_(grad)?;
            memory
        };
        if g.base().overlaps_itself() {
            // Elements that the base holds several times share their gradient, as in PyTorch.
            let ones = Tensor::ones([g.base().numel()], grad.dtype())?;
            let count = Tensor::zeros([g.extent()], grad.dtype())?.index_add(0, &positions(&g.base())?, &ones)?;
            return Ok(smallvec![Some(g.take_base(&memory.div(&count.maximum(1)?)?)?)]);
        }
        g.take_base(&memory)
    });
}

impl Tensor {
    /// Another shape over the same memory; one size may be −1.
    ///
    /// # Errors
    ///
    /// If the shape does not hold the same number of elements, or the strides do not allow it without a copy:
    /// [`reshape`](Self::reshape) copies then.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2, 6], DType::F32)?;
    /// let y = x.view([-1, 3])?;
    /// assert_eq!(y.shape(), [4, 3]);
    /// y.fill_(1)?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0; 12]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn view(&self, shape: impl Sizes) -> Result<Tensor> {
        let shape = infer_shape("view", &shape.sizes(), self.numel())?;
        match view_strides(self.layout(), &shape) {
            Some(strides) => {
                Ok(view(self, Layout { shape, strides, offset: self.storage_offset() }, Reshape))
            }
            None => Err(Error::shape(format!(
                "view: shape {:?} with strides {:?} cannot be seen as {shape:?} without a copy; use reshape",
                self.shape(),
                self.strides()
            ))),
        }
    }

    /// Another shape: a view where the strides allow it, a copy otherwise.
    ///
    /// # Errors
    ///
    /// If the shape does not hold the same number of elements.
    pub fn reshape(&self, shape: impl Sizes) -> Result<Tensor> {
        let shape = infer_shape("reshape", &shape.sizes(), self.numel())?;
        match view_strides(self.layout(), &shape) {
            Some(strides) => {
                Ok(view(self, Layout { shape, strides, offset: self.storage_offset() }, Reshape))
            }
            None => self.copy()?.view(shape.as_slice()),
        }
    }

    /// Merges the dimensions from `start` to `end`, both included; the tensor itself if that is one dimension.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist, or `start` comes after `end`.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 3, 4], DType::F32)?.flatten(1, -1)?.shape(), [2, 12]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn flatten(&self, start: isize, end: isize) -> Result<Tensor> {
        let (start, end) = (wrap_dim("flatten", start, self.dim())?, wrap_dim("flatten", end, self.dim())?);
        if start > end {
            return Err(Error::index(format!("flatten: start {start} comes after end {end}")));
        }
        if self.dim() == 0 {
            return self.reshape([1]);
        }
        if start == end {
            return Ok(self.clone());
        }
        let mut shape = Dims::from_slice(&self.shape()[..start]);
        shape.push(self.shape()[start..=end].iter().product());
        shape.extend_from_slice(&self.shape()[end + 1..]);
        self.reshape(shape.as_slice())
    }

    /// Splits one dimension into several; one size may be −1.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist or the sizes do not multiply to it.
    pub fn unflatten(&self, dim: isize, sizes: impl Sizes) -> Result<Tensor> {
        let d = wrap_dim("unflatten", dim, self.dim())?;
        let Some(&size) = self.shape().get(d) else {
            return Err(Error::shape("unflatten: a tensor without dimensions"));
        };
        let sizes = sizes.sizes();
        if sizes.is_empty() {
            return Err(Error::shape("unflatten: no sizes"));
        }
        let sizes = infer_shape("unflatten", &sizes, size)?;
        let mut shape = Dims::from_slice(&self.shape()[..d]);
        shape.extend_from_slice(&sizes);
        shape.extend_from_slice(&self.shape()[d + 1..]);
        self.view(shape.as_slice())
    }

    /// The dimensions in another order.
    ///
    /// # Errors
    ///
    /// If `dims` does not name each dimension once.
    pub fn permute(&self, dims: impl Sizes) -> Result<Tensor> {
        let asked = dims.sizes();
        let wrong = || {
            Error::index(format!("permute: {asked:?} does not name each of {} dimensions once", self.dim()))
        };
        if asked.len() != self.dim() {
            return Err(wrong());
        }
        let mut seen = SmallVec::<[bool; 6]>::from_elem(false, self.dim());
        let mut order = Dims::new();
        for &d in &asked {
            let d = wrap_dim("permute", d, self.dim())?;
            if std::mem::replace(&mut seen[d], true) {
                return Err(wrong());
            }
            order.push(d);
        }
        Ok(self.permuted(order))
    }

    /// The dimensions in an order that names each of them once.
    fn permuted(&self, order: Dims) -> Tensor {
        let layout = Layout {
            shape: order.iter().map(|&d| self.shape()[d]).collect(),
            strides: order.iter().map(|&d| self.strides()[d]).collect(),
            offset: self.storage_offset(),
        };
        view(self, layout, Permute { dims: order })
    }

    /// Two dimensions exchanged.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Tensor> {
        let (a, b) = (wrap_dim("transpose", a, self.dim())?, wrap_dim("transpose", b, self.dim())?);
        let mut order: Dims = (0..self.dim()).collect();
        if self.dim() > 0 {
            order.swap(a, b);
        }
        Ok(self.permuted(order))
    }

    /// A matrix transposed; tensors of fewer dimensions as they are.
    ///
    /// # Errors
    ///
    /// If there are more than two dimensions.
    pub fn t(&self) -> Result<Tensor> {
        match self.dim() {
            0 => self.permute([0isize; 0]),
            1 => self.permute([0]),
            2 => self.transpose(0, 1),
            n => Err(Error::shape(format!(
                "t: takes at most 2 dimensions, found {n}: shape {:?}",
                self.shape()
            ))),
        }
    }

    /// The tensor repeated, without a copy, along new leading dimensions and those of size 1; −1 keeps a size.
    ///
    /// # Errors
    ///
    /// If another size would change.
    pub fn expand(&self, shape: impl Sizes) -> Result<Tensor> {
        let asked = shape.sizes();
        let wrong =
            || Error::shape(format!("expand: shape {:?} cannot be expanded to {asked:?}", self.shape()));
        let lead = asked.len().checked_sub(self.dim()).ok_or_else(wrong)?;
        let mut layout = Layout { shape: Dims::new(), strides: Dims::new(), offset: self.storage_offset() };
        for (i, &n) in asked.iter().enumerate() {
            let old = i.checked_sub(lead).map(|d| (self.shape()[d], self.strides()[d]));
            let (size, stride) = match (n, old) {
                (-1, Some(old)) => old,
                (n, Some((size, stride))) if n == size as isize => (size, stride),
                (n, Some((1, _)) | None) if n >= 0 => (n as usize, 0),
                _ => return Err(wrong()),
            };
            layout.shape.push(size);
            layout.strides.push(stride);
        }
        crate::tensor::layout::checked_numel(&layout.shape)?;
        Ok(view(self, layout, Expand))
    }

    /// `length` elements of a dimension from `start` on; a negative start counts from the end.
    ///
    /// # Errors
    ///
    /// If the range leaves the dimension.
    pub fn narrow(&self, dim: isize, start: isize, length: usize) -> Result<Tensor> {
        let d = self.existing_dim("narrow", dim)?;
        let size = self.shape()[d];
        let first = if start < 0 { start + size as isize } else { start };
        if first < 0 || first as usize > size || length > size - first as usize {
            return Err(Error::index(format!(
                "narrow: {length} elements from {start} do not lie in dimension {dim} of shape {:?}",
                self.shape()
            )));
        }
        self.slice(dim, first, first + length as isize, 1)
    }

    /// The elements `start`, `start + step`, … before `end` of a dimension; bounds are clamped as Python's are.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist or the step is 0.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::arange(0, 10, 1, DType::I64)?;
    /// assert_eq!(x.slice(0, 1, -1, 3)?.to_vec::<i64>()?, [1, 4, 7]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn slice(&self, dim: isize, start: isize, end: isize, step: usize) -> Result<Tensor> {
        let d = self.existing_dim("slice", dim)?;
        if step == 0 {
            return Err(Error::argument("slice: the step must be positive, found 0"));
        }
        let size = self.shape()[d] as isize;
        let clamp = |i: isize| if i < 0 { i.saturating_add(size) } else { i }.clamp(0, size);
        let start = clamp(start);
        let end = clamp(end).max(start);
        let mut layout = self.layout().clone();
        layout.shape[d] = ((end - start) as usize).div_ceil(step);
        layout.offset += start as usize * layout.strides[d];
        layout.strides[d] = layout.strides[d].saturating_mul(step);
        let (start, end) = (start as usize, end as usize);
        Ok(view(self, layout, Slice { dim: d, start, end, step, selects: false }))
    }

    /// One index of a dimension, which is dropped.
    ///
    /// # Errors
    ///
    /// If the dimension or the index does not exist.
    pub fn select(&self, dim: isize, index: isize) -> Result<Tensor> {
        let d = self.existing_dim("select", dim)?;
        let size = self.shape()[d] as isize;
        if index < -size || index >= size {
            return Err(Error::index(format!(
                "select: index {index} is out of range for dimension {dim} of shape {:?}",
                self.shape()
            )));
        }
        let start = if index < 0 { index + size } else { index } as usize;
        let mut layout = self.layout().clone();
        layout.offset += start * layout.strides[d];
        layout.shape.remove(d);
        layout.strides.remove(d);
        Ok(view(self, layout, Slice { dim: d, start, end: start + 1, step: 1, selects: true }))
    }

    /// The tensor without dimensions of size 1: all of them for `()`, or those named.
    ///
    /// # Errors
    ///
    /// If a named dimension does not exist.
    pub fn squeeze(&self, dims: impl crate::tensor::sizes::DimsArg) -> Result<Tensor> {
        let mut drop = vec![true; self.dim()];
        if let Some(dims) = dims.dims() {
            drop.fill(false);
            for d in dims {
                let d = wrap_dim("squeeze", d, self.dim())?;
                if self.dim() > 0 && std::mem::replace(&mut drop[d], true) {
                    return Err(Error::index(format!("squeeze: dimension {d} is named more than once")));
                }
            }
        }
        let mut layout = Layout { shape: Dims::new(), strides: Dims::new(), offset: self.storage_offset() };
        for (d, drop) in drop.into_iter().enumerate() {
            if !drop || self.shape()[d] != 1 {
                layout.shape.push(self.shape()[d]);
                layout.strides.push(self.strides()[d]);
            }
        }
        Ok(view(self, layout, Reshape))
    }

    /// A new dimension of size 1 before `dim`.
    ///
    /// # Errors
    ///
    /// If `dim` is not within −(rank + 1) … rank.
    pub fn unsqueeze(&self, dim: isize) -> Result<Tensor> {
        let d = wrap_dim("unsqueeze", dim, self.dim() + 1)?;
        let mut layout = self.layout().clone();
        let stride = if d < self.dim() { self.strides()[d].saturating_mul(self.shape()[d]) } else { 1 };
        layout.shape.insert(d, 1);
        layout.strides.insert(d, stride);
        Ok(view(self, layout, Reshape))
    }

    /// A view of the same storage of any shape, strides and offset, all in elements.
    ///
    /// # Errors
    ///
    /// If it would leave the storage.
    pub fn as_strided(&self, shape: impl Sizes, strides: impl Sizes, offset: usize) -> Result<Tensor> {
        let (shape, strides) = (shape.sizes(), strides.sizes());
        let wrong = |why: &str| {
            Error::index(format!("as_strided: {why}: shape {shape:?}, strides {strides:?}, offset {offset}"))
        };
        if shape.len() != strides.len() {
            return Err(wrong("as many strides as sizes are needed"));
        }
        if shape.iter().chain(&strides).any(|&n| n < 0) {
            return Err(wrong("sizes and strides must not be negative"));
        }
        let elements = self.storage().len() / self.dtype().size();
        let last = shape.iter().zip(&strides).try_fold(offset, |last, (&n, &s)| {
            last.checked_add((n.max(1) as usize - 1).checked_mul(s as usize)?)
        });
        let empty = shape.contains(&0);
        if !empty && last.is_none_or(|last| last >= elements) {
            return Err(wrong(&format!("leaves the storage of {elements} elements")));
        }
        let layout = Layout {
            shape: shape.iter().map(|&n| n as usize).collect(),
            strides: strides.iter().map(|&n| n as usize).collect(),
            offset: if empty { offset.min(elements) } else { offset },
        };
        crate::tensor::layout::checked_numel(&layout.shape)?;
        let mut geometry = AsStrided::of(self, self);
        let as_view = self.alias(layout.clone(), self.dtype());
        geometry.geometry = Geometry::of(&as_view, self);
        Ok(view(self, layout, geometry))
    }

    /// The tensor in row-major order: itself if it is so already, a copy otherwise.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// The same without history where it is a copy: to be read.
    pub(crate) fn dense(&self) -> Result<Tensor> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.detach().copy() }
    }

    fn existing_dim(&self, op: &str, dim: isize) -> Result<usize> {
        if self.dim() == 0 {
            return Err(Error::index(format!("{op}: a tensor without dimensions")));
        }
        wrap_dim(op, dim, self.dim())
    }
}

/// For the generic tests.
pub(crate) static VIEWS: &[OpInfo] = &[
    OpInfo { name: "view", samples: || vec![shape(|x| x.reshape([-1, 6]))] },
    OpInfo { name: "flatten", samples: || vec![shape(|x| x.flatten(1, -1))] },
    OpInfo { name: "unflatten", samples: || vec![shape(|x| x.contiguous()?.unflatten(2, [2, -1]))] },
    OpInfo { name: "permute", samples: || vec![shape(|x| x.permute([2, 0, 1]))] },
    OpInfo { name: "transpose", samples: || vec![shape(|x| x.transpose(0, -1))] },
    OpInfo { name: "expand", samples: || vec![shape(|x| x.unsqueeze(0)?.expand([5, -1, -1, -1]))] },
    OpInfo { name: "narrow", samples: || vec![shape(|x| x.narrow(1, 1, 2))] },
    OpInfo { name: "slice", samples: || vec![shape(|x| x.slice(-1, 0, 9, 2))] },
    OpInfo { name: "select", samples: || vec![shape(|x| x.select(1, -1))] },
    OpInfo { name: "squeeze", samples: || vec![shape(|x| x.narrow(0, 0, 1)?.squeeze(()))] },
    OpInfo { name: "unsqueeze", samples: || vec![shape(|x| x.unsqueeze(1))] },
    OpInfo { name: "as_strided", samples: || vec![shape(|x| x.copy()?.as_strided([3, 4], [4, 2], 1))] },
];

fn shape(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (-3.0, 3.0))], move |x| call(&x[0]))
}
