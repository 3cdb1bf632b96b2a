//! From tensors to the fused kernels of optimisers: a parameter's step in one pass over its memory.
#![allow(unsafe_code)]

use sconce_kernels::{Adam, AdamTensors, Float, Sgd, SgdTensors};
use smallvec::SmallVec;

use super::address;
use crate::Result;
use crate::tensor::storage::{ReadGuard, Storage, WriteGuard};
use crate::tensor::{DType, Tensor};

/// Whether the kernels take these tensors: all float32 or all float64, row-major, of one shape, each on its own memory.
pub(crate) fn fits(tensors: &[&Tensor]) -> bool {
    let first = tensors[0];
    matches!(first.dtype(), DType::F32 | DType::F64)
        && tensors.iter().enumerate().all(|(i, t)| {
            t.dtype() == first.dtype()
                && t.is_contiguous()
                && t.shape() == first.shape()
                && !tensors[..i].iter().any(|other| other.shares_storage(t))
        })
}

#[derive(Default)]
struct Locks<'a> {
    _reads: SmallVec<[ReadGuard<'a>; 1]>,
    _writes: SmallVec<[WriteGuard<'a>; 4]>,
}

/// Locks different storages in address order: a gradient for reading, the others for writing.
fn lock<'a>(op: &str, grad: &'a Tensor, updated: &[&'a Tensor]) -> Result<Locks<'a>> {
    let mut storages: SmallVec<[(&'a Storage, bool); 5]> = SmallVec::new();
    storages.push((grad.storage(), false));
    storages.extend(updated.iter().map(|t| (t.storage(), true)));
    storages.sort_unstable_by_key(|(storage, _)| storage.id());
    let mut locks = Locks::default();
    for (storage, write) in storages {
        if write {
            locks._writes.push(storage.write(op)?);
        } else {
            locks._reads.push(storage.read(op)?);
        }
    }
    Ok(locks)
}

fn ptr<T>(t: &Tensor) -> *mut T {
    address(t).cast()
}

/// A step of stochastic gradient descent on tensors that [`fits`] approves of.
pub(crate) fn sgd(op: &str, hyper: Sgd, p: &Tensor, grad: &Tensor, momentum: Option<&Tensor>) -> Result<()> {
    fn run<T: Float>(hyper: Sgd, p: &Tensor, grad: &Tensor, momentum: Option<&Tensor>) {
        let tensors =
            SgdTensors { n: p.numel(), param: ptr::<T>(p), grad: ptr(grad), momentum: momentum.map(ptr) };
        // SAFETY: the tensors are of type `T`, row-major, of `n` elements, and do not overlap; the gradient is locked for
        // reading, the others for writing.
        unsafe { sconce_kernels::sgd(hyper, &[tensors]) };
    }
    let updated: SmallVec<[&Tensor; 2]> = [Some(p), momentum].into_iter().flatten().collect();
    let all: SmallVec<[&Tensor; 3]> = updated.iter().copied().chain([grad]).collect();
    assert!(fits(&all), "checked by the caller");
    let _locks = lock(op, grad, &updated)?;
    match p.dtype() {
        DType::F64 => run::<f64>(hyper, p, grad, momentum),
        _ => run::<f32>(hyper, p, grad, momentum),
    }
    Ok(())
}

/// What [`adam`] updates beside the parameter.
#[derive(Clone, Copy)]
pub(crate) struct Moments<'a> {
    pub(crate) exp_avg: &'a Tensor,
    pub(crate) exp_avg_sq: &'a Tensor,
    pub(crate) max_exp_avg_sq: Option<&'a Tensor>,
}

impl<'a> Moments<'a> {
    /// The parameter and these.
    pub(crate) fn with(&self, p: &'a Tensor) -> SmallVec<[&'a Tensor; 5]> {
        [Some(p), Some(self.exp_avg), Some(self.exp_avg_sq), self.max_exp_avg_sq]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// A step of Adam or AdamW on tensors that [`fits`] approves of.
pub(crate) fn adam(op: &str, hyper: Adam, p: &Tensor, grad: &Tensor, moments: Moments<'_>) -> Result<()> {
    fn run<T: Float>(hyper: Adam, p: &Tensor, grad: &Tensor, moments: Moments<'_>) {
        let tensors = AdamTensors {
            n: p.numel(),
            param: ptr::<T>(p),
            grad: ptr(grad),
            exp_avg: ptr(moments.exp_avg),
            exp_avg_sq: ptr(moments.exp_avg_sq),
            max_exp_avg_sq: moments.max_exp_avg_sq.map(ptr),
        };
        // SAFETY: as in `sgd`.
        unsafe { sconce_kernels::adam(hyper, &[tensors]) };
    }
    let updated = moments.with(p);
    let mut all = updated.clone();
    all.push(grad);
    assert!(fits(&all), "checked by the caller");
    let _locks = lock(op, grad, &updated)?;
    match p.dtype() {
        DType::F64 => run::<f64>(hyper, p, grad, moments),
        _ => run::<f32>(hyper, p, grad, moments),
    }
    Ok(())
}

/// The sum of the squares of a float32 or float64 tensor, in float64.
pub(crate) fn sum_squares(op: &str, x: &Tensor) -> Result<f64> {
    let x = x.dense()?;
    let _lock = x.storage().read(op)?;
    // SAFETY: the tensor is row-major, of the type that its dtype says, and locked for reading.
    Ok(unsafe {
        match x.dtype() {
            DType::F64 => sconce_kernels::sum_squares::<f64>(x.numel(), ptr(&x)),
            dtype => {
                assert_eq!(dtype, DType::F32, "checked by the caller");
                sconce_kernels::sum_squares::<f32>(x.numel(), ptr(&x))
            }
        }
    })
}
