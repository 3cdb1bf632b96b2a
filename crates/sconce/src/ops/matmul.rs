//! Matrix products.

use smallvec::smallvec;

use super::driver::{self, kind};
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::tensor::layout::broadcast;
use crate::tensor::scalar::Scalar;
use crate::tensor::sizes::count;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// The product of two matrices, or of two batches of them.
#[derive(Debug)]
struct Product {
    name: &'static str,
}

impl Op for Product {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::matmul(self.name, x[0], x[1])
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        Saves::input(1).when(needs[0]).and(Saves::input(0).when(needs[1]))
    }

    fn mult_adds(&self, inputs: &[Option<Dims>], output: &[usize]) -> Option<u64> {
        let inner = match inputs {
            [Some(a), _] => a.last(),
            [_, Some(b)] => b.get(b.len() - 2),
            _ => None,
        };
        inner.map(|&inner| count(output) * inner as u64)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let product = |a: &Tensor, b: &Tensor| apply(Product { name: self.name }, &[a, b]);
        let a = if saved.needs(0) { Some(product(grad, &saved.input(1)?.transpose(-2, -1)?)?) } else { None };
        let b = if saved.needs(1) { Some(product(&saved.input(0)?.transpose(-2, -1)?, grad)?) } else { None };
        Ok(smallvec![a, b])
    }
}

/// `x · weightᵀ`, and `+ bias` if there is one, of matrices.
#[derive(Debug)]
struct Linear;

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        match x {
            [x, weight] => driver::matmul_transposed("linear", x, weight),
            _ => driver::biased("linear", x[0], &x[1].t()?, x[2]),
        }
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        Saves::input(1).when(needs[0]).and(Saves::input(0).when(needs[1]))
    }

    fn mult_adds(&self, inputs: &[Option<Dims>], output: &[usize]) -> Option<u64> {
        let inner = inputs[..2].iter().flatten().next()?[1];
        Some(count(output) * inner as u64)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let x = if saved.needs(0) { Some(grad.mm(&saved.input(1)?)?) } else { None };
        let weight = if saved.needs(1) { Some(grad.t()?.mm(&saved.input(0)?)?) } else { None };
        let bias = if saved.needs(2) { Some(grad.sum(0)?) } else { None };
        Ok([x, weight, bias].into_iter().take(saved.inputs()).collect())
    }
}

fn check(op: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dtype() != b.dtype() {
        return Err(Error::dtype(format!("{op}: dtypes differ: {} and {}", a.dtype(), b.dtype())));
    }
    if a.dtype() == DType::Bool {
        return Err(Error::dtype(format!("{op}: not implemented for bool")));
    }
    kind(op, a.dtype()).map(|_| ())
}

fn check_rank(op: &str, t: &Tensor, rank: usize) -> Result<()> {
    if t.dim() == rank {
        return Ok(());
    }
    Err(Error::shape(format!("{op}: needs tensors of {rank} dimensions, found shape {:?}", t.shape())))
}

fn differ(op: &str, a: &Tensor, b: &Tensor) -> Error {
    Error::shape(format!("{op}: inner dimensions differ: {:?} @ {:?}", a.shape(), b.shape()))
}

/// The product of two matrices of matching sizes.
fn product(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Product { name: op }, &[a, b])
}

impl Tensor {
    /// The matrix product with PyTorch's broadcasting.
    ///
    /// Vectors count as a row (on the left) or a column (on the right), which the result drops; further leading
    /// dimensions are a batch and broadcast. Integers wrap; half types are summed in float32.
    ///
    /// # Errors
    ///
    /// If the inner dimensions differ, a batch does not broadcast, the dtypes differ, or are bool or only stored.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let a = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let v = Tensor::from_vec(vec![1.0f32, 10.0], [2])?;
    /// assert_eq!(a.matmul(&v)?.to_vec::<f32>()?, [21.0, 43.0]);
    /// assert_eq!(v.matmul(&v)?.item()?, 101.0);
    /// let batch = Tensor::ones([5, 1, 3, 2], DType::F32)?;
    /// assert_eq!(batch.matmul(&Tensor::ones([4, 2, 6], DType::F32)?)?.shape(), [5, 4, 3, 6]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "matmul";
        let (a, b) = (self, other);
        if a.dim() == 0 || b.dim() == 0 {
            return Err(Error::shape(format!(
                "{OP}: needs at least one dimension: {:?} @ {:?}",
                a.shape(),
                b.shape()
            )));
        }
        check(OP, a, b)?;
        let k = a.shape()[a.dim() - 1];
        if k != b.shape()[b.dim().saturating_sub(2)] {
            return Err(differ(OP, a, b));
        }
        if a.dim() == 2 && b.dim() == 2 {
            return product(OP, a, b);
        }
        // The shape of the result: the batch, then what vectors do not drop.
        let batch_of = |t: &Tensor| Dims::from_slice(&t.shape()[..t.dim().saturating_sub(2)]);
        let batch = broadcast(OP, &batch_of(a), &batch_of(b))?;
        let mut shape = batch.clone();
        shape.extend_from_slice(&a.shape()[a.dim().saturating_sub(2)..a.dim() - 1]);
        shape.extend(if b.dim() > 1 { b.shape().last().copied() } else { None });
        let b_matrix = match b.dim() {
            1 => b.unsqueeze(1)?,
            rank if rank > 2 && b.shape()[..rank - 2].iter().all(|&n| n == 1) => {
                b.reshape([k, b.shape()[rank - 1]])?
            }
            _ => b.clone(),
        };
        if b_matrix.dim() == 2 {
            // One matrix for the whole batch: its rows, all in one product.
            let rows = a.numel().checked_div(k).unwrap_or_else(|| a.shape()[..a.dim() - 1].iter().product());
            return product(OP, &a.reshape([rows, k])?, &b_matrix)?.reshape(shape.as_slice());
        }
        if a.dim() <= 2 && a.requires_grad() && matches!(a.dtype(), DType::F16 | DType::BF16) {
            // Transposed, one matrix for the whole batch: the gradient of the matrix is summed before it is rounded.
            let y = b.transpose(-2, -1)?.matmul(&a.t()?)?;
            return if a.dim() == 1 { Ok(y) } else { y.transpose(-2, -1)?.contiguous() };
        }
        let a_matrix = if a.dim() == 1 { a.unsqueeze(0)? } else { a.clone() };
        let count: usize = batch.iter().product();
        let flat = |t: &Tensor| -> Result<Tensor> {
            let (rows, cols) = (t.shape()[t.dim() - 2], t.shape()[t.dim() - 1]);
            let mut full = batch.clone();
            full.extend_from_slice(&[rows, cols]);
            t.expand(full.as_slice())?.reshape([count, rows, cols])
        };
        apply(Product { name: OP }, &[&flat(&a_matrix)?, &flat(&b_matrix)?])?.reshape(shape.as_slice())
    }

    /// The product of two matrices, without broadcasting.
    ///
    /// # Errors
    ///
    /// If one is not a matrix, or as [`matmul`](Self::matmul).
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let a = Tensor::ones([2, 3], DType::F32)?;
    /// assert_eq!(a.mm(&a.t()?)?.to_vec::<f32>()?, [3.0; 4]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn mm(&self, other: &Tensor) -> Result<Tensor> {
        check_rank("mm", self, 2)?;
        check_rank("mm", other, 2)?;
        check("mm", self, other)?;
        if self.shape()[1] != other.shape()[0] {
            return Err(differ("mm", self, other));
        }
        product("mm", self, other)
    }

    /// The products of two batches of matrices, `[b, m, k]` and `[b, k, n]`.
    ///
    /// # Errors
    ///
    /// If the shapes are not such, or as [`matmul`](Self::matmul).
    pub fn bmm(&self, other: &Tensor) -> Result<Tensor> {
        check_rank("bmm", self, 3)?;
        check_rank("bmm", other, 3)?;
        check("bmm", self, other)?;
        if self.shape()[0] != other.shape()[0] || self.shape()[2] != other.shape()[1] {
            return Err(differ("bmm", self, other));
        }
        apply(Product { name: "bmm" }, &[self, other])
    }

    /// The product of a matrix and a vector.
    ///
    /// # Errors
    ///
    /// If they are not such, or as [`matmul`](Self::matmul).
    pub fn mv(&self, vector: &Tensor) -> Result<Tensor> {
        check_rank("mv", self, 2)?;
        check_rank("mv", vector, 1)?;
        self.matmul(vector)
    }

    /// The inner product of two vectors.
    ///
    /// # Errors
    ///
    /// If they are not vectors of one length, or as [`matmul`](Self::matmul).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3], [3])?;
    /// assert_eq!(x.dot(&x)?.item_i64()?, 14);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn dot(&self, other: &Tensor) -> Result<Tensor> {
        check_rank("dot", self, 1)?;
        check_rank("dot", other, 1)?;
        self.matmul(other)
    }

    /// The outer product of two vectors.
    ///
    /// # Errors
    ///
    /// If one is not a vector, or a dtype is only stored.
    pub fn outer(&self, other: &Tensor) -> Result<Tensor> {
        check_rank("outer", self, 1)?;
        check_rank("outer", other, 1)?;
        self.unsqueeze(1)?.mul(other)
    }

    /// `beta · self + alpha · (a @ b)`; where `beta` is 0, this tensor's values do not matter.
    ///
    /// # Errors
    ///
    /// If this shape does not broadcast to the product's, or as [`mm`](Self::mm).
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([2, 3], DType::F32)?, Tensor::ones([3, 2], DType::F32)?);
    /// let bias = Tensor::from_vec(vec![1.0f32, 2.0], [2])?;
    /// assert_eq!(bias.addmm(&a, &b, 1, 2)?.to_vec::<f32>()?, [7.0, 8.0, 7.0, 8.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn addmm(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        add_scaled("addmm", self, (a, b), Tensor::mm, (beta.into(), alpha.into()))
    }

    /// `beta · self + alpha · (a @ b)` for batches of matrices.
    ///
    /// # Errors
    ///
    /// As [`addmm`](Self::addmm).
    pub fn baddbmm(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        add_scaled("baddbmm", self, (a, b), Tensor::bmm, (beta.into(), alpha.into()))
    }

    /// `beta · self + alpha · (matrix @ vector)`.
    ///
    /// # Errors
    ///
    /// As [`addmm`](Self::addmm).
    pub fn addmv(
        &self,
        matrix: &Tensor,
        vector: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        add_scaled("addmv", self, (matrix, vector), Tensor::mv, (beta.into(), alpha.into()))
    }
}

/// `beta · input + alpha · product(a, b)`; half types are computed in float32, factors of integers are integers.
pub(super) fn add_scaled(
    op: &str,
    input: &Tensor,
    (a, b): (&Tensor, &Tensor),
    product: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Copy,
    (beta, alpha): (Scalar, Scalar),
) -> Result<Tensor> {
    let dtype = input.dtype();
    if dtype != a.dtype() || dtype != b.dtype() {
        return Err(Error::dtype(format!("{op}: dtypes differ: {dtype}, {} and {}", a.dtype(), b.dtype())));
    }
    if matches!(dtype, DType::F16 | DType::BF16) {
        let [input, a, b] = [input, a, b].map(|t| t.to(DType::F32));
        return add_scaled(op, &input?, (&a?, &b?), product, (beta, alpha))?.to(dtype);
    }
    let product = product(a, b).map_err(|e| e.context(op))?;
    if broadcast(op, input.shape(), product.shape())?.as_slice() != product.shape() {
        return Err(Error::shape(format!(
            "{op}: shape {:?} does not broadcast to the product's {:?}",
            input.shape(),
            product.shape()
        )));
    }
    let scale = |t: &Tensor, factor: Scalar| {
        let factor = if dtype.is_floating_point() { factor } else { Scalar::Int(factor.to_f64() as i64) };
        if factor.to_f64() == 1.0 { Ok(t.clone()) } else { t.mul(factor) }
    };
    let product = scale(&product, alpha)?;
    if beta.to_f64() != 0.0 {
        return scale(input, beta)?.add(&product);
    }
    if !(input.requires_grad() && is_grad_enabled()) {
        return Ok(product);
    }
    // Its values do not matter, and its gradient is 0.
    input.masked_fill(&Tensor::ones(input.shape(), DType::Bool)?, 0)?.add(&product)
}

/// `input · weightᵀ + bias` for an input `[…, in]`, a weight `[out, in]` and a bias `[out]`.
///
/// # Errors
///
/// If the shapes or dtypes do not fit each other.
///
/// ```
/// use sconce::{DType, Tensor, functional};
/// let x = Tensor::ones([5, 3], DType::F32)?;
/// let (weight, bias) = (Tensor::ones([2, 3], DType::F32)?, Tensor::ones([2], DType::F32)?);
/// let y = functional::linear(&x, &weight, Some(&bias))?;
/// assert_eq!(y.to_vec::<f32>()?, [4.0; 10]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let wrong = || {
        Error::shape(format!(
            "linear: input {:?}, weight {:?} and bias {:?} do not fit […, in], [out, in] and [out]",
            input.shape(),
            weight.shape(),
            bias.map(Tensor::shape)
        ))
    };
    let (Some(&k), true) = (input.shape().last(), matches!(weight.dim(), 1 | 2)) else { return Err(wrong()) };
    let features = if weight.dim() == 2 { Some(weight.shape()[0]) } else { None };
    if weight.shape().last() != Some(&k)
        || bias.is_some_and(|b| b.dim() > 0 && b.shape() != features.as_slice())
    {
        return Err(wrong());
    }
    check("linear", input, weight)?;
    match (bias, features) {
        (Some(bias), Some(n)) if bias.dim() == 1 && bias.dtype() == input.dtype() => {
            let rows: usize = input.shape()[..input.dim() - 1].iter().product();
            let y = apply(Linear, &[&input.reshape([rows, k])?, weight, bias])?;
            if input.dim() == 2 {
                return Ok(y);
            }
            let mut shape = Dims::from_slice(&input.shape()[..input.dim() - 1]);
            shape.push(n);
            y.reshape(shape.as_slice())
        }
        (Some(bias), _) if bias.dtype() != input.dtype() => {
            Err(Error::dtype(format!("linear: dtypes differ: {} and bias {}", input.dtype(), bias.dtype())))
        }
        (None, Some(_)) if input.dim() == 2 => apply(Linear, &[input, weight]),
        (bias, _) => {
            let y = input.matmul(&weight.t()?).map_err(|e| e.context("linear"))?;
            match bias {
                Some(bias) => y.add(bias),
                None => Ok(y),
            }
        }
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(crate) static PRODUCTS: &[OpInfo] = &[
    OpInfo {
        name: "matmul",
        samples: || {
            let shapes: [(&'static [usize], &'static [usize]); 9] = [
                (&[3], &[3]),
                (&[2, 3], &[3]),
                (&[3], &[3, 4]),
                (&[2, 3], &[3, 4]),
                (&[2, 5, 3], &[3, 4]),
                (&[2, 3], &[5, 3, 4]),
                (&[2, 1, 2, 3], &[4, 3, 2]),
                (&[4, 2, 3], &[3]),
                (&[3], &[2, 3, 4]),
            ];
            shapes.map(|(a, b)| Sample::new(&[(a, D), (b, D)], |x| x[0].matmul(&x[1]))).into()
        },
    },
    OpInfo { name: "mm", samples: || vec![Sample::new(&[(&[2, 3], D), (&[3, 4], D)], |x| x[0].mm(&x[1]))] },
    OpInfo {
        name: "bmm",
        samples: || vec![Sample::new(&[(&[2, 2, 3], D), (&[2, 3, 4], D)], |x| x[0].bmm(&x[1]))],
    },
    OpInfo { name: "mv", samples: || vec![Sample::new(&[(&[2, 3], D), (&[3], D)], |x| x[0].mv(&x[1]))] },
    OpInfo { name: "dot", samples: || vec![Sample::new(&[(&[5], D), (&[5], D)], |x| x[0].dot(&x[1]))] },
    OpInfo { name: "outer", samples: || vec![Sample::new(&[(&[3], D), (&[4], D)], |x| x[0].outer(&x[1]))] },
    OpInfo {
        name: "addmm",
        samples: || {
            vec![Sample::new(&[(&[4], D), (&[2, 3], D), (&[3, 4], D)], |x| {
                x[0].addmm(&x[1], &x[2], 0.5, 2.0)
            })]
        },
    },
    OpInfo {
        name: "baddbmm",
        samples: || {
            vec![Sample::new(&[(&[2, 1], D), (&[3, 2, 3], D), (&[3, 3, 4], D)], |x| {
                x[0].baddbmm(&x[1], &x[2], 0.5, 2.0)
            })]
        },
    },
    OpInfo {
        name: "addmv",
        samples: || {
            vec![Sample::new(&[(&[2], D), (&[2, 3], D), (&[3], D)], |x| x[0].addmv(&x[1], &x[2], 0.5, 2.0))]
        },
    },
    OpInfo {
        name: "linear",
        samples: || {
            vec![
                Sample::new(&[(&[2, 5, 3], D), (&[4, 3], D), (&[4], D)], |x| {
                    linear(&x[0], &x[1], Some(&x[2]))
                }),
                Sample::new(&[(&[5, 3], D), (&[4, 3], D)], |x| linear(&x[0], &x[1], None)),
            ]
        },
    },
];
