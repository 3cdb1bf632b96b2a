//! Products of tensors beyond the matrix product: Einstein sums, contractions, Kronecker and cross products.

use std::borrow::Borrow;

use super::registry::{OpInfo, Sample};
use crate::tensor::layout::{broadcast, wrap_dim};
use crate::tensor::scalar::Scalar;
use crate::tensor::sizes::Sizes;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// One index of an Einstein sum: a letter, or a dimension that `...` stands for, counted from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Letter(char),
    Rest(usize),
}

fn wrong(equation: &str, what: impl std::fmt::Display) -> Error {
    Error::argument(format!("einsum: {what} in {equation:?}"))
}

/// The labels of one operand's dimensions, or of the output's, where `...` stands for `rest` dimensions.
fn labels(equation: &str, term: &str, rest: usize) -> Result<Vec<Label>> {
    let mut all = Vec::new();
    let mut chars = term.chars().filter(|c| !c.is_whitespace()).peekable();
    let mut has_rest = false;
    while let Some(c) = chars.next() {
        match c {
            '.' => {
                if has_rest || chars.next() != Some('.') || chars.next() != Some('.') {
                    return Err(wrong(equation, "dots that are no single `...`"));
                }
                has_rest = true;
                all.extend((0..rest).rev().map(Label::Rest));
            }
            c if c.is_ascii_alphabetic() => all.push(Label::Letter(c)),
            c => return Err(wrong(equation, format!("{c:?}, which is no letter"))),
        }
    }
    Ok(all)
}

/// An operand with each label once, and where its dimension is.
fn without_repeats(equation: &str, x: &Tensor, labels: Vec<Label>) -> Result<(Tensor, Vec<Label>)> {
    let (mut x, mut labels) = (x.clone(), labels);
    let mut i = 0;
    while i < labels.len() {
        match labels[i + 1..].iter().position(|l| *l == labels[i]) {
            None => i += 1,
            Some(other) => {
                let j = i + 1 + other;
                if x.shape()[i] != x.shape()[j] {
                    return Err(wrong(
                        equation,
                        format!("a repeated index of sizes {} and {}", x.shape()[i], x.shape()[j]),
                    ));
                }
                // The diagonal comes last.
                x = x.diagonal(0, i as isize, j as isize)?.movedim(-1, i as isize)?;
                labels.remove(j);
            }
        }
    }
    Ok((x, labels))
}

/// The sum over `summed` of the product of two tensors whose dimensions mean the same; summed ones are of size 1 then.
fn product_sum(a: &Tensor, b: &Tensor, summed: &[usize]) -> Result<Tensor> {
    let (mut a, mut b) = (a.clone(), b.clone());
    let (mut both, mut only_a, mut only_b, mut over) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for d in 0..a.dim() {
        let (m, n) = (a.shape()[d], b.shape()[d]);
        if summed.contains(&d) {
            match (m, n) {
                (1, _) => b = b.sum(crate::keepdim(d))?.to(b.dtype())?,
                (_, 1) => a = a.sum(crate::keepdim(d))?.to(a.dtype())?,
                _ => {}
            }
            over.push(d);
        } else if m != 1 && n != 1 {
            both.push(d);
        } else if n == 1 {
            only_a.push(d);
        } else {
            only_b.push(d);
        }
    }
    let size = |t: &Tensor, dims: &[usize]| dims.iter().map(|&d| t.shape()[d]).product::<usize>();
    let order = |parts: [&[usize]; 4]| parts.concat();
    let left = a.permute(order([&both, &only_a, &over, &only_b]))?;
    let right = b.permute(order([&both, &over, &only_b, &only_a]))?;
    let (batch, m, k, n) = (size(&a, &both), size(&a, &only_a), size(&a, &over), size(&b, &only_b));
    let product = left.reshape([batch, m, k])?.bmm(&right.reshape([batch, k, n])?)?;
    let mut sizes: Vec<usize> = both.iter().chain(&only_a).map(|&d| a.shape()[d]).collect();
    sizes.extend(over.iter().map(|_| 1));
    sizes.extend(only_b.iter().map(|&d| b.shape()[d]));
    let from = order([&both, &only_a, &over, &only_b]);
    let mut back = vec![0; from.len()];
    for (i, &d) in from.iter().enumerate() {
        back[d] = i;
    }
    product.reshape(sizes)?.permute(back)
}

impl Tensor {
    /// The sum of products that an equation of index letters describes; PyTorch's `torch.einsum`.
    ///
    /// Each operand has a letter for each dimension, `...` for those that broadcast. Behind `->` are the letters that stay;
    /// without it those that occur once, in alphabetical order.
    ///
    /// # Errors
    ///
    /// If the equation is malformed, does not have the operands' dimensions, or sizes of one letter differ.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([2, 3], DType::F32)?, Tensor::ones([3, 4], DType::F32)?);
    /// assert_eq!(Tensor::einsum("ij,jk->ki", &[&a, &b])?.shape(), [4, 2]);
    /// assert_eq!(Tensor::einsum("ij->", &[&a])?.item()?, 6.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn einsum(equation: &str, operands: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        let (inputs, output) = match equation.split_once("->") {
            Some((inputs, output)) => (inputs, Some(output)),
            None => (equation, None),
        };
        let terms: Vec<&str> = inputs.split(',').collect();
        if operands.is_empty() || terms.len() != operands.len() {
            return Err(wrong(equation, format!("{} terms for {} operands", terms.len(), operands.len())));
        }
        let mut rests = 0;
        let mut parsed = Vec::new();
        for (term, x) in terms.iter().zip(operands) {
            let x: &Tensor = x.borrow();
            let letters = term.chars().filter(char::is_ascii_alphabetic).count();
            let rest = match (term.contains('.'), x.dim().checked_sub(letters)) {
                (true, Some(rest)) => rest,
                (false, Some(0)) => 0,
                _ => {
                    return Err(wrong(equation, format!("{term:?} for an operand of shape {:?}", x.shape())));
                }
            };
            rests = rests.max(rest);
            parsed.push(without_repeats(equation, x, labels(equation, term, rest)?)?);
        }
        let mut counts: Vec<(Label, usize)> = Vec::new();
        for (term, rest) in terms
            .iter()
            .zip(&parsed)
            .map(|(t, (_, l))| (t, l.iter().filter(|l| matches!(l, Label::Rest(_))).count()))
        {
            for label in labels(equation, term, rest)? {
                match counts.iter_mut().find(|(l, _)| *l == label) {
                    Some((_, n)) => *n += 1,
                    None => counts.push((label, 1)),
                }
            }
        }
        let kept = match output {
            Some(output) => labels(equation, output, rests)?,
            None => {
                let mut letters: Vec<char> = counts
                    .iter()
                    .filter_map(|(l, n)| match l {
                        Label::Letter(c) if *n == 1 => Some(*c),
                        _ => None,
                    })
                    .collect();
                letters.sort_unstable();
                (0..rests).rev().map(Label::Rest).chain(letters.into_iter().map(Label::Letter)).collect()
            }
        };
        for (i, label) in kept.iter().enumerate() {
            if kept[..i].contains(label)
                || matches!(label, Label::Letter(_)) && !counts.iter().any(|(l, _)| l == label)
            {
                return Err(wrong(equation, "an output index that is repeated or that no operand has"));
            }
        }
        let mut all = kept.clone();
        for (label, _) in &counts {
            if !all.contains(label) {
                all.push(*label);
            }
        }
        // Every operand with a dimension for every label.
        let mut aligned = Vec::new();
        let mut sizes = vec![1usize; all.len()];
        for (x, labels) in parsed {
            let order: Vec<usize> = all.iter().filter_map(|l| labels.iter().position(|m| m == l)).collect();
            let mut x = x.permute(order)?;
            for (d, label) in all.iter().enumerate() {
                if !labels.contains(label) {
                    x = x.unsqueeze(d as isize)?;
                }
                match (sizes[d], x.shape()[d]) {
                    (1, n) => sizes[d] = n,
                    (m, n) if m == n || n == 1 => {}
                    (m, n) => return Err(wrong(equation, format!("sizes {m} and {n} of one index"))),
                }
            }
            aligned.push(x);
        }
        let last_use = |d: usize| (0..aligned.len()).rev().find(|&i| aligned[i].shape()[d] != 1).unwrap_or(0);
        let over: Vec<(usize, usize)> = (kept.len()..all.len()).map(|d| (d, last_use(d))).collect();
        let mut result = aligned[0].clone();
        let done: Vec<usize> = over.iter().filter(|(_, last)| *last == 0).map(|(d, _)| *d).collect();
        if !done.is_empty() {
            let sum = result.sum(crate::keepdim(done))?;
            // As in PyTorch, the sum of one operand's integers is int64.
            result = if aligned.len() == 1 { sum } else { sum.to(result.dtype())? };
        }
        for (i, x) in aligned.iter().enumerate().skip(1) {
            let summed: Vec<usize> = over.iter().filter(|(_, last)| *last == i).map(|(d, _)| *d).collect();
            result = product_sum(&result, x, &summed).map_err(|e| e.context("einsum"))?;
        }
        let shape: Dims = sizes[..kept.len()].iter().copied().collect();
        let result = result.reshape(&result.shape()[..kept.len()])?;
        if result.shape() == shape.as_slice() { Ok(result) } else { result.expand(shape.as_slice()) }
    }

    /// The sums of products over pairs of dimensions, one of each tensor; the other dimensions stay in order.
    ///
    /// # Errors
    ///
    /// If the dimensions are not as many, do not exist, are repeated or differ in size, or the dtypes differ.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([2, 3, 4], DType::F32)?, Tensor::ones([4, 3], DType::F32)?);
    /// assert_eq!(a.tensordot(&b, [2, 1], [0, 1])?.to_vec::<f32>()?, [12.0, 12.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn tensordot(&self, other: &Tensor, dims: impl Sizes, other_dims: impl Sizes) -> Result<Tensor> {
        const OP: &str = "tensordot";
        let wrapped = |t: &Tensor, dims: &[isize]| -> Result<Vec<usize>> {
            let all = dims.iter().map(|&d| wrap_dim(OP, d, t.dim())).collect::<Result<Vec<_>>>()?;
            match all.iter().enumerate().find(|(i, d)| all[..*i].contains(d)) {
                Some((_, d)) => Err(Error::index(format!("{OP}: dimension {d} is named more than once"))),
                None => Ok(all),
            }
        };
        let (a_dims, b_dims) = (wrapped(self, &dims.sizes())?, wrapped(other, &other_dims.sizes())?);
        if a_dims.len() != b_dims.len() {
            return Err(Error::argument(format!(
                "{OP}: dimensions {a_dims:?} and {b_dims:?} are not as many"
            )));
        }
        let (mut a, mut b) = (self.clone(), other.clone());
        for (&i, &j) in a_dims.iter().zip(&b_dims) {
            match (a.shape()[i], b.shape()[j]) {
                (m, n) if m == n => {}
                (1, _) => b = b.sum(crate::keepdim(j))?.to(b.dtype())?,
                (_, 1) => a = a.sum(crate::keepdim(i))?.to(a.dtype())?,
                (m, n) => {
                    return Err(Error::shape(format!(
                        "{OP}: dimension {i} of {:?} and {j} of {:?} have sizes {m} and {n}",
                        self.shape(),
                        other.shape()
                    )));
                }
            }
        }
        let rest =
            |t: &Tensor, dims: &[usize]| (0..t.dim()).filter(|d| !dims.contains(d)).collect::<Vec<_>>();
        let (a_rest, b_rest) = (rest(&a, &a_dims), rest(&b, &b_dims));
        let size = |t: &Tensor, dims: &[usize]| dims.iter().map(|&d| t.shape()[d]).product::<usize>();
        let (m, k, n) = (size(&a, &a_rest), size(&a, &a_dims), size(&b, &b_rest));
        let left = a.permute([a_rest.as_slice(), &a_dims].concat())?.reshape([m, k])?;
        let right = b.permute([b_dims.as_slice(), &b_rest].concat())?.reshape([k, n])?;
        let shape: Dims =
            a_rest.iter().map(|&d| a.shape()[d]).chain(b_rest.iter().map(|&d| b.shape()[d])).collect();
        left.mm(&right).map_err(|e| e.context(OP))?.reshape(shape.as_slice())
    }

    /// The sums of products over the last dimensions; of a number times a tensor its multiple.
    ///
    /// # Errors
    ///
    /// If the last dimensions or the dtypes differ.
    pub fn inner(&self, other: &Tensor) -> Result<Tensor> {
        if self.dim() == 0 || other.dim() == 0 {
            return self.mul(other);
        }
        if self.shape().last() != other.shape().last() {
            return Err(Error::shape(format!(
                "inner: the last dimensions of {:?} and {:?} differ",
                self.shape(),
                other.shape()
            )));
        }
        self.tensordot(other, -1, -1).map_err(|e| e.context("inner"))
    }

    /// The sums of products over one dimension; the others broadcast.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist or has two sizes, or the dtypes differ.
    pub fn vecdot(&self, other: &Tensor, dim: isize) -> Result<Tensor> {
        const OP: &str = "vecdot";
        if self.dtype() != other.dtype() {
            return Err(Error::dtype(format!("{OP}: dtypes differ: {} and {}", self.dtype(), other.dtype())));
        }
        if self.size(dim)? != other.size(dim)? {
            return Err(Error::shape(format!(
                "{OP}: dimension {dim} of {:?} and {:?} differ",
                self.shape(),
                other.shape()
            )));
        }
        let (a, b) = (self.movedim(dim, -1)?.unsqueeze(-2)?, other.movedim(dim, -1)?.unsqueeze(-1)?);
        a.matmul(&b).map_err(|e| e.context(OP))?.squeeze(-1)?.squeeze(-1)
    }

    /// The Kronecker product: each element of this tensor times all of the other.
    ///
    /// # Errors
    ///
    /// If the result has too many elements.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::from_vec(vec![1i64, 2], [2])?;
    /// assert_eq!(x.kron(&Tensor::ones([2], DType::I64)?)?.to_vec::<i64>()?, [1, 1, 2, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn kron(&self, other: &Tensor) -> Result<Tensor> {
        let rank = self.dim().max(other.dim());
        let size = |t: &Tensor, d: usize| (d + t.dim()).checked_sub(rank).map_or(1, |i| t.shape()[i]);
        let (mut a, mut b, mut merged) = (Dims::new(), Dims::new(), Dims::new());
        for d in 0..rank {
            let (m, n) = (size(self, d), size(other, d));
            a.extend_from_slice(&[m, 1]);
            b.extend_from_slice(&[1, n]);
            merged.push(m.checked_mul(n).ok_or_else(|| {
                Error::shape(format!("kron: {:?} times {:?} is too large", self.shape(), other.shape()))
            })?);
        }
        self.reshape(a.as_slice())?.mul(&other.reshape(b.as_slice())?)?.reshape(merged.as_slice())
    }

    /// The cross products of vectors of three elements along a dimension; the others broadcast.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist or does not have three elements, or there are not as many dimensions.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let (x, y) = (Tensor::from_vec(vec![1i64, 0, 0], [3])?, Tensor::from_vec(vec![0i64, 1, 0], [3])?);
    /// assert_eq!(x.cross(&y, -1)?.to_vec::<i64>()?, [0, 0, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn cross(&self, other: &Tensor, dim: isize) -> Result<Tensor> {
        const OP: &str = "cross";
        if self.dim() != other.dim() {
            return Err(Error::shape(format!(
                "{OP}: {:?} and {:?} do not have as many dimensions",
                self.shape(),
                other.shape()
            )));
        }
        let shape = broadcast(OP, self.shape(), other.shape())?;
        let d = wrap_dim(OP, dim, self.dim())?;
        if self.shape().get(d) != Some(&3) || other.shape()[d] != 3 {
            return Err(Error::shape(format!(
                "{OP}: dimension {dim} of {:?} and {:?} must have three elements",
                self.shape(),
                other.shape()
            )));
        }
        let (a, b) = (self.expand(shape.as_slice())?, other.expand(shape.as_slice())?);
        let turned = |t: &Tensor, by: isize| t.roll(by, dim);
        turned(&a, -1)?.mul(&turned(&b, -2)?)?.sub(&turned(&a, -2)?.mul(&turned(&b, -1)?)?)
    }

    /// `beta · self + alpha · Σ a[i] @ b[i]`.
    ///
    /// # Errors
    ///
    /// As [`addmm`](Self::addmm).
    pub fn addbmm(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        let product = |a: &Tensor, b: &Tensor| a.bmm(b)?.sum(0)?.to(a.dtype());
        super::matmul::add_scaled("addbmm", self, (a, b), product, (beta.into(), alpha.into()))
    }

    /// `beta · self + alpha · (a ⊗ b)` of two vectors.
    ///
    /// # Errors
    ///
    /// As [`addmm`](Self::addmm).
    pub fn addr(
        &self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<Tensor> {
        let (beta, alpha) = (beta.into(), alpha.into());
        let dtype = crate::promote_types(self.dtype(), crate::promote_types(a.dtype(), b.dtype()));
        if dtype == DType::Bool {
            let of = |s: Scalar| s.to_f64() != 0.0;
            let outer = a.outer(b)?.logical_and(&Tensor::scalar(of(alpha)))?;
            return if of(beta) { self.logical_or(&outer) } else { Ok(outer) };
        }
        let floats = [alpha, beta].iter().any(|s| matches!(s, Scalar::Float(_)));
        if floats && !dtype.is_floating_point() {
            return Err(Error::argument(format!(
                "addr: beta {beta:?} and alpha {alpha:?} for operands of {dtype}"
            )));
        }
        let [x, a, b] = [self, a, b].map(|t| t.to(dtype));
        super::matmul::add_scaled("addr", &x?, (&a?, &b?), Tensor::outer, (beta, alpha))
    }

    /// The product of a chain of matrices, multiplied in the order that needs the fewest operations; the first and the
    /// last may be vectors.
    ///
    /// # Errors
    ///
    /// If there are fewer than two, or they do not fit.
    pub fn multi_dot(tensors: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        const OP: &str = "multi_dot";
        let mut chain: Vec<Tensor> = tensors.iter().map(|t| t.borrow().clone()).collect();
        let n = chain.len();
        if n < 2 {
            return Err(Error::argument(format!("{OP}: needs at least two tensors, found {n}")));
        }
        let (row, column) = (chain[0].dim() == 1, chain[n - 1].dim() == 1);
        if row {
            chain[0] = chain[0].unsqueeze(0)?;
        }
        if column {
            chain[n - 1] = chain[n - 1].unsqueeze(-1)?;
        }
        for (i, t) in chain.iter().enumerate() {
            if t.dim() != 2 || i > 0 && chain[i - 1].shape()[1] != t.shape()[0] {
                let shapes: Vec<&[usize]> = tensors.iter().map(|t| t.borrow().shape()).collect();
                return Err(Error::shape(format!("{OP}: the shapes {shapes:?} do not fit")));
            }
        }
        let size = |i: usize| if i == 0 { chain[0].shape()[0] } else { chain[i - 1].shape()[1] };
        // The least cost of each part of the chain, and where it is split.
        let (mut cost, mut at) = (vec![vec![0f64; n]; n], vec![vec![0usize; n]; n]);
        for len in 1..n {
            for i in 0..n - len {
                let j = i + len;
                cost[i][j] = f64::INFINITY;
                for k in i..j {
                    let c = cost[i][k] + cost[k + 1][j] + (size(i) * size(k + 1)) as f64 * size(j + 1) as f64;
                    if c < cost[i][j] {
                        (cost[i][j], at[i][j]) = (c, k);
                    }
                }
            }
        }
        // The parts in the order in which they are needed, deepest last.
        let mut pending = vec![(0, n - 1)];
        let mut parts = Vec::new();
        while let Some((i, j)) = pending.pop() {
            parts.push((i, j));
            if i < j {
                pending.extend([(i, at[i][j]), (at[i][j] + 1, j)]);
            }
        }
        let mut products: Vec<Vec<Option<Tensor>>> = vec![vec![None; n]; n];
        for &(i, j) in parts.iter().rev() {
            let product = if i == j {
                chain[i].clone()
            } else {
                let k = at[i][j];
                match (&products[i][k], &products[k + 1][j]) {
                    (Some(a), Some(b)) => a.mm(b).map_err(|e| e.context(OP))?,
                    _ => return Err(Error::argument(format!("{OP}: a chain out of order"))),
                }
            };
            products[i][j] = Some(product);
        }
        let mut product =
            products[0][n - 1].take().ok_or_else(|| Error::argument(format!("{OP}: no product")))?;
        if row {
            product = product.squeeze(0)?;
        }
        if column { product.squeeze(-1) } else { Ok(product) }
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(crate) static CONTRACTIONS: &[OpInfo] = &[
    OpInfo {
        name: "einsum",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3], D), (&[3, 4], D)], |x| Tensor::einsum("ij,jk->ki", x)),
                Sample::new(&[(&[2, 3, 3], D)], |x| Tensor::einsum("bii->b", x)),
                Sample::new(&[(&[2, 3, 4], D), (&[4, 5], D), (&[5], D)], |x| Tensor::einsum("...ij,jk,k", x)),
            ]
        },
    },
    OpInfo {
        name: "tensordot",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 4], D), (&[4, 3], D)], |x| x[0].tensordot(&x[1], [2, 1], [0, 1]))]
        },
    },
    OpInfo {
        name: "inner",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[4, 3], D)], |x| x[0].inner(&x[1]))],
    },
    OpInfo {
        name: "vecdot",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D)], |x| x[0].vecdot(&x[1], -1))],
    },
    OpInfo { name: "kron", samples: || vec![Sample::new(&[(&[2, 3], D), (&[3], D)], |x| x[0].kron(&x[1]))] },
    OpInfo {
        name: "cross",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[1, 3], D)], |x| x[0].cross(&x[1], -1))],
    },
    OpInfo {
        name: "addbmm",
        samples: || {
            vec![Sample::new(&[(&[4], D), (&[2, 2, 3], D), (&[2, 3, 4], D)], |x| {
                x[0].addbmm(&x[1], &x[2], 0.5, 2.0)
            })]
        },
    },
    OpInfo {
        name: "addr",
        samples: || {
            vec![Sample::new(&[(&[3], D), (&[2], D), (&[3], D)], |x| x[0].addr(&x[1], &x[2], 0.5, 2.0))]
        },
    },
    OpInfo {
        name: "multi_dot",
        samples: || vec![Sample::new(&[(&[2], D), (&[2, 3], D), (&[3, 4], D)], Tensor::multi_dot)],
    },
];
