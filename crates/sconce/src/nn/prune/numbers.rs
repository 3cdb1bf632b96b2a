//! Tensors of the numbers of channels, and what operations make of them.

use std::rc::Rc;

use crate::tensor::node::{Edge, NodeRef};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// The number of elements that belong to no channel and are 0.
pub(super) const NOTHING: u32 = 0;
/// The number of all others that belong to none.
pub(super) const OTHER: u32 = 1;

/// May be other than 0 as the parameters are.
pub(super) const NOW: u8 = 1;
/// May be other than 0 when all that makes the channel is masked.
pub(super) const MASKED: u8 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) channel: u32,
    pub(super) live: u8,
}

/// A tensor with the channel of each element.
pub(super) struct Traced {
    pub(super) shape: Vec<usize>,
    pub(super) elements: Vec<Element>,
}

impl Element {
    /// What belongs to no channel and is not 0 is something else than nothing.
    pub(super) fn settled(self) -> Self {
        let channel = if self.channel == NOTHING && self.live != 0 { OTHER } else { self.channel };
        Self { channel, ..self }
    }
}

impl Traced {
    /// The same channels all over a tensor but along an axis.
    pub(super) fn along(shape: &[usize], axis: usize, channels: &[Element]) -> Self {
        let inner: usize = shape[axis + 1..].iter().product();
        let count: usize = shape.iter().product();
        let elements = (0..count).map(|i| channels[i / inner.max(1) % channels.len().max(1)]);
        Self { shape: shape.to_vec(), elements: elements.collect() }
    }

    /// Broadcast to a shape.
    pub(super) fn expand(&self, shape: &[usize]) -> Option<Self> {
        if self.shape == shape {
            return Some(Self { shape: self.shape.clone(), elements: self.elements.clone() });
        }
        let missing = shape.len().checked_sub(self.shape.len())?;
        let mut from = 0;
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for (d, &size) in self.shape.iter().enumerate().rev() {
            if size != 1 && size != shape[missing + d] {
                return None;
            }
            strides[missing + d] = if size == 1 { 0 } else { stride };
            stride *= size;
        }
        let mut index = vec![0; shape.len()];
        let count = shape.iter().product();
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(self.elements[from]);
            for d in (0..shape.len()).rev() {
                (index[d], from) = (index[d] + 1, from + strides[d]);
                if index[d] < shape[d] {
                    break;
                }
                from -= strides[d] * shape[d];
                index[d] = 0;
            }
        }
        Some(Self { shape: shape.to_vec(), elements })
    }

    fn tensor(&self, value: impl Fn(Element) -> f64) -> Result<Tensor> {
        Tensor::from_vec(self.elements.iter().map(|&e| value(e)).collect(), &self.shape[..])
    }
}

/// What an operation makes of zeros: nothing, or something; none if it cannot be run.
pub(super) fn live_of_zero(node: &NodeRef, inputs: usize) -> Option<u8> {
    let zero = Tensor::zeros([1], node.outputs()[0].dtype).ok()?;
    let mut list = vec![&zero; inputs];
    let mask = Tensor::ones([1], DType::Bool).ok()?;
    if node.name() == "where" {
        list[0] = &mask;
    }
    let made = node.replay(&list).ok()?.to(DType::F64).ok()?.to_vec::<f64>().ok()?;
    Some(if made.iter().all(|x| *x == 0.0) { 0 } else { NOW | MASKED })
}

/// The channels of a view: its gradient says which element went where.
pub(super) fn viewed(node: &NodeRef, x: &Traced) -> Result<Option<Traced>> {
    let shape = &node.outputs()[0].shape;
    let count: usize = shape.iter().product();
    let places = Tensor::from_vec((1..=count).map(|i| i as f64).collect(), shape.as_slice())?;
    let Ok(grads) = node.backward(node, &[Some(places)], &[true]) else { return Ok(None) };
    let Some(back) = &grads[0] else { return Ok(None) };
    let mut elements: Vec<Option<Element>> = vec![None; count];
    for (place, element) in back.contiguous()?.to_vec::<f64>()?.into_iter().zip(&x.elements) {
        match elements.get_mut((place as usize).wrapping_sub(1)) {
            Some(slot) if slot.is_none() => *slot = Some(*element),
            _ if place == 0.0 => {}
            _ => return Ok(None),
        }
    }
    let elements: Option<Vec<Element>> = elements.into_iter().collect();
    Ok(elements.map(|elements| Traced { shape: shape.to_vec(), elements }))
}

/// A second number for each channel, so that a mixture is not taken for one of them by chance.
fn scrambled(channel: u32) -> f64 {
    if channel == NOTHING { 0.0 } else { f64::from(channel.wrapping_mul(40_503) % 65_521 + 1) }
}

/// What an operation that moves, joins, averages or picks the greatest makes of numbers of channels.
///
/// Other inputs, such as indices, must have been saved for the gradient.
pub(super) fn replayed(node: &NodeRef, inputs: &[Option<Rc<Traced>>]) -> Option<Traced> {
    let constants: Vec<Option<Tensor>> = (0..inputs.len()).map(|i| node.saved(i)).collect();
    let known = |i: usize| match node.edges()[i] {
        Edge::None => constants[i].is_some(),
        _ => inputs[i].is_some(),
    };
    if inputs.iter().all(Option::is_none) || !(0..inputs.len()).all(known) {
        return None;
    }
    let run = |value: &dyn Fn(Element) -> f64| -> Result<Vec<f64>> {
        let one = |(x, constant): (&Option<Rc<Traced>>, &Option<Tensor>)| match (x, constant) {
            (Some(x), _) => x.tensor(value),
            (None, Some(constant)) => Ok(constant.clone()),
            (None, None) => Err(Error::argument("an input is not known")),
        };
        let made: Vec<Tensor> = inputs.iter().zip(&constants).map(one).collect::<Result<_>>()?;
        node.replay(&made.iter().collect::<Vec<_>>())?.to(DType::F64)?.to_vec::<f64>()
    };
    if run(&|_| 0.0).ok()?.iter().any(|x| *x != 0.0) {
        return None;
    }
    let share = run(&|e| f64::from(u8::from(e.channel != NOTHING))).ok()?;
    let numbers = run(&|e| f64::from(e.channel)).ok()?;
    let others = run(&|e| scrambled(e.channel)).ok()?;
    let now = run(&|e| f64::from(e.live & NOW)).ok()?;
    let masked = run(&|e| f64::from(e.live & MASKED)).ok()?;
    let mut elements = Vec::with_capacity(share.len());
    for i in 0..share.len() {
        let mut element = Element::default();
        if share[i] != 0.0 {
            let number = numbers[i] / share[i];
            let channel = number.round();
            if !((number - channel).abs() < 0.01 && (0.0..f64::from(u32::MAX)).contains(&channel)) {
                return None;
            }
            element.channel = channel as u32;
            if (others[i] / share[i] - scrambled(element.channel)).abs() > 0.1 {
                return None;
            }
        } else if numbers[i] != 0.0 || share[i].is_nan() {
            return None;
        }
        element.live = if now[i] != 0.0 { NOW } else { 0 } | if masked[i] != 0.0 { MASKED } else { 0 };
        elements.push(element);
    }
    let shape = node.outputs()[0].shape.to_vec();
    (shape.iter().product::<usize>() == elements.len()).then_some(Traced { shape, elements })
}
