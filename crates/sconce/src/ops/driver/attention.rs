//! From tensors to the kernels of attention.
#![allow(unsafe_code)]

use sconce_kernels::{Attention, AttentionGrads, Mask};

use super::layers::{dense, read, wide, with_float};
use super::{Fresh, lock};
use crate::Result;
use crate::tensor::layout::broadcast_strides;
use crate::tensor::{DType, Tensor};

/// The sizes of an attention of query, key and value with the same heads, none of them empty.
fn sizes([q, k, v]: [&Tensor; 3], scale: f64, causal: bool) -> Attention {
    let size = |t: &Tensor, from_end: usize| t.shape()[t.dim() - from_end];
    let heads = |t: &Tensor| t.numel() / (size(t, 1) * size(t, 2));
    let sizes = Attention {
        batch: heads(q),
        length: size(q, 2),
        source: size(k, 2),
        features: size(q, 1),
        values: size(v, 1),
        scale,
        causal,
    };
    assert!(
        heads(k) == sizes.batch
            && heads(v) == sizes.batch
            && size(k, 1) == sizes.features
            && size(v, 2) == sizes.source,
        "checked by the caller"
    );
    sizes
}

/// Where the addends of each head begin, and the distance between those of two queries.
struct Addends {
    heads: Vec<usize>,
    row: usize,
}

impl Addends {
    fn new(mask: &Tensor, query: &Tensor, source: usize) -> Self {
        let dims = query.dim() - 2;
        let mut shape = query.shape()[..=dims].to_vec();
        shape.push(source);
        let strides = broadcast_strides(mask.shape(), mask.strides(), &shape);
        let adjacent = source == 1 || strides[dims + 1] == 1;
        assert!(mask.shape().last() == Some(&source) && adjacent, "checked by the caller");
        let batch = shape[..dims].iter().product();
        let offset = |head: usize| {
            let walk = (0..dims).rev().scan(head, |rest, d| {
                let i = *rest % shape[d];
                *rest /= shape[d];
                Some(i * strides[d])
            });
            walk.sum()
        };
        Self { heads: (0..batch).map(offset).collect(), row: strides[dims] }
    }

    fn kernel<T>(&self, mask: &Tensor) -> Mask<'_, T> {
        Mask { ptr: read(mask), heads: &self.heads, row: self.row }
    }
}

fn addends(mask: Option<&Tensor>, query: &Tensor, sizes: &Attention) -> Option<Addends> {
    mask.map(|mask| {
        assert_eq!(mask.dtype(), query.dtype(), "checked by the caller");
        Addends::new(mask, query, sizes.source)
    })
}

/// Attention, and each query's greatest score and logarithm of the sum of exponentials under it, `[…, 2]`.
pub(crate) fn forward(
    op: &str,
    inputs: [&Tensor; 3],
    mask: Option<&Tensor>,
    scale: f64,
    causal: bool,
) -> Result<(Tensor, Tensor)> {
    let (dtype, sizes) = (wide(inputs[0].dtype()), sizes(inputs, scale, causal));
    let [q, k, v] = [dense(inputs[0], dtype)?, dense(inputs[1], dtype)?, dense(inputs[2], dtype)?];
    let addends = addends(mask, &q, &sizes);
    let mut shape = q.shape().to_vec();
    shape.pop();
    shape.push(2);
    let logs = Fresh::new(op, &shape, dtype)?;
    shape.pop();
    shape.push(sizes.values);
    let out = Fresh::new(op, &shape, dtype)?;
    let locked: Vec<&Tensor> = [&q, &k, &v].into_iter().chain(mask).collect();
    let locks = lock(op, &locked, None)?;
    // SAFETY: the inputs are dense, of the compute type and of these sizes, the mask's layout, broadcast to the scores, stays
    // within its storage; all are locked; the outputs are new.
    with_float!(dtype, T => unsafe {
        let mask = addends.as_ref().zip(mask).map(|(a, mask)| a.kernel::<T>(mask));
        sconce_kernels::attention::<T>(&sizes, read(&q), read(&k), read(&v), mask, out.ptr(), logs.ptr());
    });
    drop(locks);
    Ok((out.tensor(), logs.tensor()))
}

/// The gradients of query, key and value, from what [`forward`] returned and the gradient of its result.
pub(crate) fn backward(
    op: &str,
    inputs: [&Tensor; 3],
    mask: Option<&Tensor>,
    (out, logs, grad): (&Tensor, &Tensor, &Tensor),
    scale: f64,
    causal: bool,
) -> Result<[Tensor; 3]> {
    let (dtype, sizes) = (wide(inputs[0].dtype()), sizes(inputs, scale, causal));
    assert!(
        out.shape() == grad.shape()
            && logs.numel() == 2 * sizes.batch * sizes.length
            && out.numel() == sizes.batch * sizes.length * sizes.values,
        "what the forward pass returned"
    );
    let [q, k, v] = [dense(inputs[0], dtype)?, dense(inputs[1], dtype)?, dense(inputs[2], dtype)?];
    let (out, grad) = (dense(out, dtype)?, dense(grad, dtype)?);
    let addends = addends(mask, &q, &sizes);
    let [gq, gk, gv] = [
        Fresh::new(op, q.shape(), dtype)?,
        Fresh::new(op, k.shape(), dtype)?,
        Fresh::new(op, v.shape(), dtype)?,
    ];
    let locked: Vec<&Tensor> = [&q, &k, &v, &out, logs, &grad].into_iter().chain(mask).collect();
    let locks = lock(op, &locked, None)?;
    // SAFETY: as in `forward`; `out` and `grad` have the shape of the result, `logs` two elements for each query.
    with_float!(dtype, T => unsafe {
        let mask = addends.as_ref().zip(mask).map(|(a, mask)| a.kernel::<T>(mask));
        let grads = AttentionGrads { q: gq.ptr(), k: gk.ptr(), v: gv.ptr() };
        let (out, logs, grad) = (read(&out), read(logs), read(&grad));
        sconce_kernels::attention_backward::<T>(&sizes, read(&q), read(&k), read(&v), mask, out, logs, grad, grads);
    });
    drop(locks);
    Ok([gq.tensor(), gk.tensor(), gv.tensor()])
}
