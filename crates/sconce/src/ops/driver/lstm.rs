//! From tensors to the kernels of an LSTM.
#![allow(unsafe_code)]

use sconce_kernels::{Lstm, LstmGrads};

use super::layers::{dense, read, with_float};
use super::{Fresh, lock_reads};
use crate::Result;
use crate::tensor::{DType, Tensor};

/// The sizes of an LSTM with these states, `[2, 1 + steps, batch, hidden]`.
fn sizes(states: &[usize]) -> Lstm {
    let [2, after, batch, hidden] = *states else { panic!("states of shape {states:?}") };
    Lstm { steps: after - 1, batch, hidden }
}

/// Checks what callers have checked before.
fn check(sizes: Lstm, gates: &Tensor, weight: &Tensor) {
    let Lstm { steps, batch, hidden } = sizes;
    assert_eq!(gates.shape(), [steps, batch, 4 * hidden], "gates of an LSTM");
    assert_eq!(weight.shape(), [4 * hidden, hidden], "the weight of an LSTM");
    assert!(
        gates.dtype() == weight.dtype() && matches!(weight.dtype(), DType::F32 | DType::F64),
        "dtypes of an LSTM"
    );
}

/// All states, `[2, 1 + steps, batch, hidden]`, and the gates of all steps, from what comes from the input,
/// `[steps, batch, 4 · hidden]`, and states of which the first ones are set; both are written over.
pub(crate) fn forward(op: &str, gates: &Tensor, weight: &Tensor, states: &Tensor) -> Result<()> {
    let (sizes, dtype) = (sizes(states.shape()), weight.dtype());
    check(sizes, gates, weight);
    assert!(gates.is_contiguous() && states.is_contiguous() && states.dtype() == dtype, "layouts of an LSTM");
    let weight = dense(weight, dtype)?;
    let _weight = lock_reads(op, &[&weight])?;
    let (_gates, _states) = (gates.storage().write(op)?, states.storage().write(op)?);
    // SAFETY: the arrays are row-major, of the compute type and of these sizes; the weight is locked for reading, the others,
    // on memory of their own, for writing.
    with_float!(dtype, T => unsafe {
        let (gates, states) = (read::<T>(gates).cast_mut(), read::<T>(states).cast_mut());
        sconce_kernels::lstm::<T>(sizes, gates, read(&weight), states);
    });
    Ok(())
}

/// The gradients of what comes from the input, of the weight if it is wanted, and of the two first states, from what
/// [`forward`] wrote and the gradient of the states.
pub(crate) fn backward(
    op: &str,
    gates: &Tensor,
    weight: &Tensor,
    states: &Tensor,
    grad: &Tensor,
    wanted: bool,
) -> Result<(Tensor, Option<Tensor>, Tensor)> {
    let (sizes, dtype) = (sizes(states.shape()), weight.dtype());
    check(sizes, gates, weight);
    assert_eq!(grad.shape(), states.shape(), "a gradient has its output's shape");
    let (gates, weight) = (dense(gates, dtype)?, dense(weight, dtype)?);
    let (states, grad) = (dense(states, dtype)?, dense(grad, dtype)?);
    let of_gates = Fresh::new(op, gates.shape(), dtype)?;
    let of_weight = wanted.then(|| Fresh::new(op, weight.shape(), dtype)).transpose()?;
    let first = Fresh::new(op, &[2, sizes.batch, sizes.hidden], dtype)?;
    let locks = lock_reads(op, &[&gates, &weight, &states, &grad])?;
    // SAFETY: as in `forward`; the outputs are new.
    with_float!(dtype, T => unsafe {
        let (weight_to, first) = (of_weight.as_ref().map(Fresh::ptr), first.ptr());
        let grads = LstmGrads { gates: of_gates.ptr(), weight: weight_to, first };
        sconce_kernels::lstm_backward::<T>(sizes, read(&gates), read(&weight), read(&states), read(&grad), grads);
    });
    drop(locks);
    Ok((of_gates.tensor(), of_weight.map(Fresh::tensor), first.tensor()))
}
