//! Which dtype an operation on several operands computes in; PyTorch's `result_type`.

use super::dtype::Category;
use super::scalar::Operand;
use super::{DType, Tensor};

/// The smallest dtype that holds both, as PyTorch's `torch.promote_types`.
///
/// ```
/// use sconce::{DType, promote_types};
/// assert_eq!(promote_types(DType::I64, DType::F16), DType::F16);
/// assert_eq!(promote_types(DType::U8, DType::I8), DType::I16);
/// assert_eq!(promote_types(DType::F16, DType::BF16), DType::F32);
/// ```
pub fn promote_types(a: DType, b: DType) -> DType {
    use DType::*;
    if a == b {
        return a;
    }
    let (ca, cb) = (a.category(), b.category());
    match (ca, cb) {
        (Category::Complex, _) | (_, Category::Complex) => promote_complex(a, b),
        (Category::Float, Category::Float) => match (a, b) {
            (F64, _) | (_, F64) => F64,
            // Two different narrower floats meet in float32.
            _ => F32,
        },
        (Category::Float, _) => a,
        (_, Category::Float) => b,
        (Category::Bool, _) => b,
        (_, Category::Bool) => a,
        (Category::Integer, Category::Integer) => promote_integers(a, b),
    }
}

fn promote_integers(a: DType, b: DType) -> DType {
    use DType::*;
    let unsigned = |d| matches!(d, U8 | U16 | U32 | U64);
    if unsigned(a) == unsigned(b) {
        return if a.size() >= b.size() { a } else { b };
    }
    let (u, i) = if unsigned(a) { (a, b) } else { (b, a) };
    if i.size() > u.size() {
        return i;
    }
    match u {
        U8 => I16,
        U16 => I32,
        _ => I64,
    }
}

fn promote_complex(a: DType, b: DType) -> DType {
    use DType::*;
    let part = |d| match d {
        C128 => F64,
        C64 => F32,
        C32 => F16,
        real if real.is_floating_point() => real,
        _ => Bool,
    };
    match promote_types(part(a), part(b)) {
        F64 => C128,
        F16 => C32,
        _ => C64,
    }
}

/// The dtype that operands of mixed kinds meet in.
///
/// Tensors with dimensions decide; tensors without, and then plain numbers, only lift the category (bool, integer,
/// float), as in PyTorch.
pub(crate) struct Promotion {
    dimensioned: Option<DType>,
    zero_dim: Option<DType>,
    number: Option<DType>,
}

fn join(slot: &mut Option<DType>, dtype: DType) {
    *slot = Some(slot.map_or(dtype, |d| promote_types(d, dtype)));
}

impl Promotion {
    pub(crate) fn new() -> Self {
        Self { dimensioned: None, zero_dim: None, number: None }
    }

    pub(crate) fn tensor(mut self, t: &Tensor) -> Self {
        join(if t.dim() > 0 { &mut self.dimensioned } else { &mut self.zero_dim }, t.dtype());
        self
    }

    pub(crate) fn operand(mut self, o: &Operand<'_>) -> Self {
        match o {
            Operand::Tensor(t) => self.tensor(t),
            Operand::Scalar(s) => {
                join(&mut self.number, s.dtype());
                self
            }
        }
    }

    /// The dtype of two operands.
    #[inline]
    pub(crate) fn of(x: &Tensor, other: &Operand<'_>) -> DType {
        match other {
            Operand::Tensor(y) if y.dtype() == x.dtype() => x.dtype(),
            // All numbers yield to a float.
            Operand::Scalar(_) if x.dtype().category() == Category::Float => x.dtype(),
            _ => Self::new().tensor(x).operand(other).dtype(),
        }
    }

    pub(crate) fn dtype(self) -> DType {
        let combine = |high: Option<DType>, low: Option<DType>| match (high, low) {
            // A float keeps its precision beside a complex number that only lifts it.
            (Some(h), Some(l)) if h.is_floating_point() && l.category() == Category::Complex => {
                Some(promote_complex(h, h))
            }
            (Some(h), Some(l)) => Some(if l.category() > h.category() { promote_types(h, l) } else { h }),
            (h, l) => h.or(l),
        };
        combine(combine(self.dimensioned, self.zero_dim), self.number).unwrap_or(DType::F32)
    }
}

/// The dtype that an operation on two operands computes in; PyTorch's `torch.result_type`.
///
/// ```
/// use sconce::{DType, Tensor, result_type};
/// let x = Tensor::zeros([3], DType::I32)?;
/// assert_eq!(result_type(&x, 2), DType::I32);
/// assert_eq!(result_type(&x, 2.5), DType::F32);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn result_type<'a>(a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> DType {
    Promotion::new().operand(&a.into()).operand(&b.into()).dtype()
}
