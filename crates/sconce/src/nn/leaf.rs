//! The leaves of a module: parameters, buffers and the mode.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use super::form::{Form, placeholder};
use super::module::{Leaf, LeafMut};
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Tensor};
use crate::{Context, Result};

/// A tensor that is trained; PyTorch's `nn.Parameter`.
///
/// It dereferences to its [`Tensor`]. A clone is the same parameter: two fields that hold clones are tied.
///
/// ```
/// use sconce::nn::Param;
/// use sconce::{DType, Tensor};
///
/// let weight = Param::new(&Tensor::zeros([2, 3], DType::F32)?)?;
/// assert!(weight.requires_grad());
/// assert!(weight.clone().is(&weight));
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// A parameter may be computed from others ([`parametrize`](super::parametrize), [`prune`](super::prune)). Then it
/// dereferences to NaN of its shape and dtype, and a forward reads it by [`value`](Self::value), as all layers here do.
#[derive(Clone)]
pub struct Param {
    tensor: Tensor,
    form: Option<Box<Form>>,
    /// Whether it was taken out and put back: it is then listed after those that never were, as in PyTorch.
    late: bool,
}

impl Param {
    /// Makes a trained parameter of a tensor's memory, without its history.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point.
    pub fn new(tensor: &Tensor) -> Result<Self> {
        tensor.detach().requires_grad_(true).map(Self::of).context(|| "Param::new")
    }

    /// Makes a parameter that is not trained until `requires_grad_(true)`; any dtype will do.
    pub fn frozen(tensor: &Tensor) -> Self {
        Self::of(tensor.detach())
    }

    /// The tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The tensor that a forward computes with: this one, or what it is computed from others as, with its history.
    ///
    /// # Errors
    ///
    /// If that computation fails.
    ///
    /// ```
    /// use sconce::nn::{Linear, prune};
    /// use sconce::Tensor;
    ///
    /// let mut layer = Linear::new(2, 1)?;
    /// prune::custom_from_mask(&mut layer, "weight", &Tensor::from_vec(vec![0.0f32, 1.0], [1, 2])?)?;
    /// assert_eq!(layer.weight.value()?.to_vec::<f32>()?[0], 0.0);
    /// assert!(layer.weight.to_vec::<f32>()?[0].is_nan());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn value(&self) -> Result<Cow<'_, Tensor>> {
        match &self.form {
            None => Ok(Cow::Borrowed(&self.tensor)),
            Some(form) => form.value().map(Cow::Owned),
        }
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            None => f.debug_tuple("Param").field(&self.tensor).finish(),
            Some(form) => f.debug_tuple("Param").field(form).finish(),
        }
    }
}

/// A tensor that belongs to a module's state but is not trained, such as a running mean.
///
/// It dereferences to its [`Tensor`].
#[derive(Clone, Debug)]
pub struct Buffer {
    tensor: Tensor,
    persistent: bool,
}

impl Buffer {
    /// Makes a buffer that is part of the state dict, of a tensor's memory, without its history.
    pub fn new(tensor: &Tensor) -> Self {
        Self { tensor: tensor.detach(), persistent: true }
    }

    /// Makes a buffer that is not part of the state dict.
    pub fn transient(tensor: &Tensor) -> Self {
        Self { tensor: tensor.detach(), persistent: false }
    }

    /// Whether the buffer is part of the state dict.
    pub fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// The tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    pub(super) fn replace(&mut self, tensor: Tensor) {
        self.tensor = tensor;
    }
}

impl Param {
    /// A parameter that is this very tensor.
    pub(super) fn of(tensor: Tensor) -> Self {
        Self { tensor, form: None, late: false }
    }

    /// A parameter that was computed from others and is a tensor again.
    pub(super) fn put_back(tensor: Tensor) -> Self {
        Self { tensor, form: None, late: true }
    }

    /// A parameter that is computed from others; `placeholder` has its shape and dtype.
    pub(super) fn computed(placeholder: Tensor, form: Form) -> Self {
        Self { tensor: placeholder, form: Some(Box::new(form)), late: false }
    }

    /// What it is computed from, if it is.
    pub(super) fn form(&self) -> Option<&Form> {
        self.form.as_deref()
    }

    pub(super) fn form_mut(&mut self) -> Option<&mut Form> {
        self.form.as_deref_mut()
    }

    /// Takes the dtype of what it is computed from.
    pub(super) fn follow(&mut self) {
        let dtype = self.form().and_then(|form| form.originals().first()).map(|original| original.dtype());
        if let Some(dtype) = dtype.filter(|dtype| *dtype != self.tensor.dtype())
            && let Ok(placeholder) = placeholder(self.tensor.shape(), dtype)
        {
            self.tensor = placeholder;
        }
    }

    /// Whether it is listed after the others of its module.
    pub(super) fn is_late(&self) -> bool {
        self.late || self.form.is_some()
    }

    /// Puts another tensor in the place of this one, which whoever still holds it can ask about.
    pub(super) fn replace(&mut self, tensor: Tensor) {
        self.tensor.set_replaced();
        self.tensor = tensor;
    }
}

/// Whether a module trains or evaluates: dropout and batch normalisation differ.
///
/// [`ModuleExt::train`](super::ModuleExt::train) and [`eval`](super::ModuleExt::eval) set every `Mode` of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Training, the mode of a new module.
    #[default]
    Train,
    /// Evaluation.
    Eval,
}

impl Mode {
    /// Whether this is [`Train`](Self::Train).
    pub fn is_train(self) -> bool {
        self == Self::Train
    }
}

macro_rules! tensor_leaf {
    ($type:ident, $self:ident => $tensor:expr) => {
        impl Deref for $type {
            type Target = Tensor;

            fn deref(&$self) -> &Tensor {
                &$tensor
            }
        }

        /// The tensor's methods of these names, which would otherwise be hidden by those of
        /// [`ModuleExt`](super::ModuleExt).
        impl $type {
            /// [`Tensor::to`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn to(&self, dtype: DType) -> Result<Tensor> {
                self.tensor().to(dtype)
            }

            /// [`Tensor::select`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn select(&self, dim: isize, index: isize) -> Result<Tensor> {
                self.tensor().select(dim, index)
            }

            /// [`Tensor::requires_grad_`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn requires_grad_(&self, requires_grad: bool) -> Result<Tensor> {
                self.tensor().requires_grad_(requires_grad)
            }

            /// [`Tensor::zero_grad`].
            pub fn zero_grad(&self) {
                self.tensor().zero_grad();
            }
        }

        impl AsRef<Tensor> for $type {
            fn as_ref(&self) -> &Tensor {
                self
            }
        }

        impl<'a> From<&'a $type> for Operand<'a> {
            fn from(leaf: &'a $type) -> Self {
                Self::Tensor(leaf)
            }
        }
    };
}

tensor_leaf!(Param, self => self.tensor);
tensor_leaf!(Buffer, self => self.tensor);

/// Implements `Module` for a leaf: it has no fields, and says what it is.
macro_rules! leaves {
    ($($type:ty, $name:expr, $self:ident => $leaf:expr, $leaf_mut:expr;)*) => {
        $(impl $crate::Module for $type {
            fn fields<'a>(&'a self, _: &mut dyn FnMut(&str, &'a dyn $crate::Module)) {}

            fn fields_mut<'a>(&'a mut self, _: &mut dyn FnMut(&str, &'a mut dyn $crate::Module)) {}

            fn leaf(&$self) -> Option<$crate::nn::Leaf<'_>> {
                Some($leaf)
            }

            fn leaf_mut(&mut $self) -> Option<$crate::nn::LeafMut<'_>> {
                $leaf_mut
            }

            fn type_name(&self) -> &'static str {
                $name
            }
        })*
    };
}

/// A size of a layer that its parameters' shapes repeat: it follows them when channels are removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

leaves! {
    Param, "Param", self => Leaf::Param(self), Some(LeafMut::Param(self));
    Buffer, "Buffer", self => Leaf::Buffer(self), Some(LeafMut::Buffer(self));
    Mode, "Mode", self => Leaf::Mode(*self), Some(LeafMut::Mode(self));
    Size, "Size", self => Leaf::Size(&self.0), Some(LeafMut::Size(&mut self.0));
}

/// Implements `Module` for types that are settings: they are shown by their `Debug`.
macro_rules! settings {
    ($($type:ty),* $(,)?) => {
        $($crate::nn::leaf::leaves! {
            $type, stringify!($type), self => $crate::nn::Leaf::Setting(self), None;
        })*
    };
}

#[rustfmt::skip]
settings!(
    bool, char, f32, f64, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize, String, &'static str, DType,
);

pub(super) use {leaves, settings};
