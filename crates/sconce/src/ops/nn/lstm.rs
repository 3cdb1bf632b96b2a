//! All steps of an LSTM in one operation.

use std::sync::OnceLock;

use smallvec::smallvec;

use crate::autograd::{self, Backward, Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::ops::driver::layers::wide;
use crate::ops::driver::lstm as steps;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::sizes::count;
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// The hidden and the cell states before the first step and after each, `[2, 1 + steps, batch, hidden]`, of what comes from
/// the input, `[steps, batch, 4 · hidden]`, the weight of the hidden state, `[4 · hidden, hidden]`, and the first states,
/// `[batch, hidden]`. Half types are computed in float32 throughout.
///
/// # Errors
///
/// If shapes or dtypes do not fit.
pub(crate) fn lstm(given: &Tensor, weight: &Tensor, h: &Tensor, c: &Tensor) -> Result<Tensor> {
    let all = [given, weight, h, c];
    let fits = match (given.shape(), h.shape()) {
        (&[_, batch, gates], &[of_h, hidden]) => {
            batch == of_h
                && gates == 4 * hidden
                && weight.shape() == [gates, hidden]
                && c.shape() == h.shape()
                && given.numel() > 0
        }
        _ => false,
    };
    if !fits || all.iter().any(|t| t.dtype() != given.dtype()) {
        let found = all.map(Tensor::describe);
        return Err(Error::shape(format!("LSTM: gates, weight and states {found:?} do not fit each other")));
    }
    let dtype = float_dtype("LSTM", given)?;
    let [given, weight, h, c] = all.map(|t| t.to(wide(dtype)));
    apply(Lstm { gates: OnceLock::new() }, &[&given?, &weight?, &h?, &c?])?.to(dtype)
}

#[derive(Debug)]
struct Lstm {
    /// The gates of all steps, once they are known.
    gates: OnceLock<Tensor>,
}

impl Op for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (given, h) = (x[0], x[2]);
        let shape = [2, 1 + given.shape()[0], h.shape()[0], h.shape()[1]];
        let (gates, states) = (given.copy()?, Tensor::empty(shape, h.dtype())?);
        for (i, first) in x[2..].iter().enumerate() {
            states.select(0, i as isize)?.select(0, 0)?.copy_(first)?;
        }
        steps::forward(self.name(), &gates, x[1], &states)?;
        let _ = self.gates.set(gates);
        Ok(states)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::BOTH
    }

    /// The products of the hidden states; those of the input were made before.
    fn mult_adds(&self, _: &[Option<Dims>], output: &[usize]) -> Option<u64> {
        let [steps, batch, hidden] = [output[1] - 1, output[2], output[3]];
        Some(count(&[steps, batch, 4 * hidden, hidden]))
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        if is_grad_enabled() {
            return self.recorded(saved, grad);
        }
        let gates = self.gates.get().ok_or_else(|| Error::autograd("lstm: backward before forward"))?;
        let (weight, states) = (saved.input(1)?, saved.output()?);
        let (given, weight, first) =
            steps::backward(self.name(), gates, &weight, &states, grad, saved.needs(1))?;
        let (h, c) = (first.select(0, 0)?, first.select(0, 1)?);
        Ok(smallvec![Some(given), weight, Some(h), Some(c)])
    }
}

impl Lstm {
    /// The gradients of the steps one by one.
    fn recorded(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        // Views, so that each input has a place of its own in the graph even where two are the same tensor.
        let view = |i: usize| saved.input(i).and_then(|x| x.view(x.shape()));
        let inputs = [view(0)?, view(1)?, view(2)?, view(3)?];
        let [given, weight, h, c] = &inputs;
        let (mut hidden, mut cells) = (vec![h.clone()], vec![c.clone()]);
        for t in 0..given.shape()[0] {
            let before = (&hidden[t], &cells[t]);
            let sums = given.select(0, t as isize)?.add(&before.0.matmul(&weight.transpose(0, 1)?)?)?;
            let (h, c) = step(&sums, before.1)?;
            hidden.push(h);
            cells.push(c);
        }
        let y = Tensor::stack(&[Tensor::stack(&hidden, 0)?, Tensor::stack(&cells, 0)?], 0)?;
        let wanted: Vec<&Tensor> = (0..4).filter(|&i| saved.needs(i)).map(|i| &inputs[i]).collect();
        let how = Backward { create_graph: true, ..Default::default() };
        let mut found = autograd::grad(&[(&y, Some(grad))], &wanted, how)?.into_iter();
        Ok((0..4).map(|i| saved.needs(i).then(|| found.next().flatten()).flatten()).collect())
    }
}

/// One step of an LSTM: the next hidden and cell states, from the sums that enter the gates.
pub(crate) fn step(sums: &Tensor, c: &Tensor) -> Result<(Tensor, Tensor)> {
    let gates = sums.chunk(4, -1)?;
    let kept = gates[1].sigmoid()?.mul(c)?;
    let c = gates[0].sigmoid()?.mul(&gates[2].tanh()?)?.add(&kept)?;
    Ok((gates[3].sigmoid()?.mul(&c.tanh()?)?, c))
}

/// For the generic tests.
pub(in crate::ops) static LSTMS: &[OpInfo] = &[OpInfo {
    name: "lstm",
    samples: || {
        let domain = (-1.0, 1.0);
        let shapes: &[(&[usize], _)] =
            &[(&[3, 2, 8], domain), (&[8, 2], domain), (&[2, 2], domain), (&[2, 2], domain)];
        vec![Sample::new(shapes, |x| lstm(&x[0], &x[1], &x[2], &x[3]))]
    },
}];
