//! Automatic differentiation: recording, the backward pass, and checks of derivatives.

mod anomaly;
mod checkpoint;
mod engine;
pub mod functional;
mod gradcheck;
pub(crate) mod history;
pub(crate) mod inplace;
mod mode;
mod op;

pub use anomaly::{detect_anomaly, is_anomaly_enabled};
pub use checkpoint::checkpoint;
pub use engine::Backward;
pub use gradcheck::{GradCheck, gradcheck, gradgradcheck};
pub use inplace::apply_inplace;
pub use mode::{enable_grad, is_grad_enabled, no_grad, set_grad_enabled};
pub(crate) use op::OpNode;
pub use op::{Grads, Op, Saved, Saves, apply};

pub use crate::tensor::hooks::HookHandle;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::tensor::dtype::Category;
use crate::tensor::node::Edge;
use crate::tensor::{Auto, GradSlot, Tensor, lock};
use crate::{Error, Result};

/// Back-propagates from several outputs at once, each with its gradient (`None`: 1, for a single element), and adds
/// the results to the `.grad` of every leaf behind them. PyTorch's `torch.autograd.backward`.
///
/// # Errors
///
/// If an output does not require grad, a gradient does not fit its output, a saved tensor was modified in place or
/// freed, or an operation fails.
pub fn backward(outputs: &[(&Tensor, Option<&Tensor>)], how: Backward) -> Result<()> {
    engine::accumulate(engine::roots(outputs)?, how)
}

/// The gradients of outputs with respect to inputs, without touching any `.grad`. PyTorch's `torch.autograd.grad`.
///
/// `None` stands for an input that the outputs do not depend on.
///
/// ```
/// use sconce::autograd::{self, Backward};
/// use sconce::Tensor;
///
/// let x = Tensor::scalar(3.0f64).requires_grad_(true)?;
/// let y = x.mul(&x)?.mul(&x)?;
/// let twice = Backward { create_graph: true, ..Default::default() };
/// let first = autograd::grad(&[(&y, None)], &[&x], twice)?[0].clone().unwrap();
/// let second = autograd::grad(&[(&first, None)], &[&x], Backward::default())?[0].clone().unwrap();
/// assert_eq!(first.item()?, 27.0);
/// assert_eq!(second.item()?, 18.0);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As [`backward`]; also if an input does not require grad, or there are none.
pub fn grad(
    outputs: &[(&Tensor, Option<&Tensor>)],
    inputs: &[&Tensor],
    how: Backward,
) -> Result<Vec<Option<Tensor>>> {
    if inputs.is_empty() {
        return Err(Error::argument("grad: no inputs to differentiate with respect to"));
    }
    inputs.iter().try_for_each(|t| history::check_view("grad", t))?;
    let edges: Vec<Edge> = inputs.iter().map(|t| history::edge(t)).collect();
    if let Some(i) = edges.iter().position(|e| matches!(e, Edge::None)) {
        return Err(Error::autograd(format!(
            "grad: input {i} {} does not require grad",
            inputs[i].describe()
        )));
    }
    engine::collect(engine::roots(outputs)?, &edges, how)
}

impl Tensor {
    /// Back-propagates from this single element: adds its gradient to the `.grad` of every leaf behind it.
    ///
    /// Use [`backward_with`](Self::backward_with) for a cotangent, `retain_graph` or `create_graph`.
    ///
    /// # Errors
    ///
    /// As [`autograd::backward`](backward()).
    pub fn backward(&self) -> Result<()> {
        backward(&[(self, None)], Backward::default())
    }

    /// Back-propagates a gradient of this tensor's shape.
    ///
    /// ```
    /// use sconce::autograd::Backward;
    /// use sconce::Tensor;
    ///
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0], [2])?.requires_grad_(true)?;
    /// let keep = Backward { retain_graph: true, ..Default::default() };
    /// let y = x.mul(3.0)?;
    /// y.backward_with(Some(&Tensor::from_vec(vec![1.0f32, 10.0], [2])?), keep)?;
    /// y.backward_with(Some(&Tensor::from_vec(vec![1.0f32, 10.0], [2])?), keep)?;
    /// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [6.0, 60.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`autograd::backward`](backward()).
    pub fn backward_with(&self, gradient: Option<&Tensor>, how: Backward) -> Result<()> {
        backward(&[(self, gradient)], how)
    }

    /// The gradient that backward passes have accumulated in this leaf, if any.
    pub fn grad(&self) -> Option<Tensor> {
        let auto = self.auto();
        match retained(&auto) {
            Some(slot) => lock(slot).clone(),
            None => auto.grad.clone(),
        }
    }

    /// Replaces the gradient.
    ///
    /// # Errors
    ///
    /// If its shape or dtype is not this tensor's, or it is this tensor.
    pub fn set_grad(&self, grad: Option<Tensor>) -> Result<()> {
        if let Some(g) = &grad
            && (g.shape() != self.shape() || g.dtype() != self.dtype())
        {
            return Err(Error::shape(format!(
                "set_grad: a gradient of shape {:?} and dtype {} for a tensor of shape {:?} and dtype {}",
                g.shape(),
                g.dtype(),
                self.shape(),
                self.dtype()
            )));
        }
        if grad.as_ref().is_some_and(|g| g.is(self)) {
            return Err(Error::autograd("set_grad: a tensor cannot be its own gradient"));
        }
        drop(replace_grad(self, grad));
        Ok(())
    }

    /// Drops the gradient, so that the next backward starts afresh; PyTorch's `zero_grad(set_to_none=True)`.
    pub fn zero_grad(&self) {
        drop(replace_grad(self, None));
    }

    /// Asks for gradients of this leaf, or no more, and returns it.
    ///
    /// # Errors
    ///
    /// If the dtype is neither floating point nor complex, or the tensor was computed from others that require grad (detach it).
    pub fn requires_grad_(&self, requires_grad: bool) -> Result<Tensor> {
        if requires_grad && self.dtype().category() < Category::Float {
            return Err(Error::autograd(format!(
                "requires_grad_: only floating point and complex tensors have gradients, this one is {}",
                self.dtype()
            )));
        }
        if !self.is_leaf() {
            return if requires_grad {
                Ok(self.clone())
            } else {
                Err(Error::autograd(
                    "requires_grad_: the tensor is a result of others that require grad; detach it",
                ))
            };
        }
        self.tracked().store(requires_grad, Ordering::Release);
        Ok(self.clone())
    }

    /// Whether no recorded operation made this tensor.
    pub fn is_leaf(&self) -> bool {
        !matches!(history::edge(self), Edge::Node(..))
    }

    /// The name of the operation that made this tensor, if it was recorded.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::scalar(1.0f32).requires_grad_(true)?;
    /// assert_eq!(x.exp()?.grad_fn(), Some("exp"));
    /// assert_eq!(x.grad_fn(), None);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn grad_fn(&self) -> Option<&'static str> {
        match history::edge(self) {
            Edge::Node(node, _) => Some(node.name()),
            _ => None,
        }
    }

    /// The same memory without history: no gradient flows through the result.
    pub fn detach(&self) -> Tensor {
        self.alias(self.layout().clone(), self.dtype())
    }

    /// Cuts this tensor itself off its history: it is a leaf that does not require grad from now on.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::scalar(1.0f32).requires_grad_(true)?;
    /// let y = x.exp()?;
    /// y.detach_()?;
    /// assert!(y.is_leaf() && !y.requires_grad());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it is a view: [`detach`](Self::detach) gives one without history.
    pub fn detach_(&self) -> Result<()> {
        if let Some(base) = self.base() {
            return Err(Error::autograd(format!(
                "detach_: {} is a view of {}, whose history it follows; use detach",
                self.describe(),
                base.describe()
            )));
        }
        history::cut(self);
        Ok(())
    }

    /// Calls a function with the gradient of this tensor whenever one is computed; it may return a replacement.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::scalar(1.0f32).requires_grad_(true)?;
    /// x.register_hook(|g| g.mul(2.0).map(Some))?;
    /// x.mul(3.0)?.backward()?;
    /// assert_eq!(x.grad().unwrap().item()?, 6.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the tensor does not require grad.
    pub fn register_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Result<HookHandle> {
        match history::edge(self) {
            Edge::None => Err(Error::autograd(format!(
                "register_hook: the tensor {} does not require grad",
                self.describe()
            ))),
            Edge::Leaf(_) => Ok(self.auto().extra.get_or_insert_default().hooks.add(0, Arc::new(hook))),
            Edge::Node(node, output) => Ok(node.hooks().add(output, Arc::new(hook))),
        }
    }

    /// Calls a function with this leaf whenever a backward pass has added to its `.grad`: so an optimiser can step and drop
    /// the gradient at once, instead of all of them being kept until the end.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::scalar(1.0f32).requires_grad_(true)?;
    /// x.register_post_accumulate_grad_hook(|x| {
    ///     x.sub_(&x.grad().expect("just added").mul(0.5)?)?;
    ///     x.zero_grad();
    ///     Ok(())
    /// })?;
    /// x.mul(3.0)?.backward()?;
    /// assert_eq!(x.item()?, -0.5);
    /// assert!(x.grad().is_none());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the tensor does not require grad, or is no leaf.
    pub fn register_post_accumulate_grad_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<()> + Send + Sync + 'static,
    ) -> Result<HookHandle> {
        const NAME: &str = "register_post_accumulate_grad_hook";
        match history::edge(self) {
            Edge::None => {
                Err(Error::autograd(format!("{NAME}: the tensor {} does not require grad", self.describe())))
            }
            Edge::Leaf(_) => {
                let hook = move |leaf: &Tensor| hook(leaf).map(|()| None);
                Ok(self.auto().extra.get_or_insert_default().accumulated.add(0, Arc::new(hook)))
            }
            Edge::Node(node, _) => Err(Error::autograd(format!(
                "{NAME}: the tensor {} is no leaf: {} made it",
                self.describe(),
                node.name()
            ))),
        }
    }

    /// Keeps the gradient of a result of other tensors in its `.grad` too.
    ///
    /// # Errors
    ///
    /// If the tensor does not require grad.
    pub fn retain_grad(&self) -> Result<()> {
        match history::edge(self) {
            Edge::None => Err(Error::autograd(format!(
                "retain_grad: the tensor {} does not require grad",
                self.describe()
            ))),
            Edge::Leaf(_) => Ok(()),
            Edge::Node(node, output) => {
                let mut guard = self.auto();
                let auto = &mut *guard;
                let retained = &mut auto.extra.get_or_insert_default().retained;
                if retained.is_none() {
                    let slot = GradSlot::new(Mutex::new(auto.grad.take()));
                    *retained = Some(history::retain(slot, &node, output));
                }
                Ok(())
            }
        }
    }
}

/// Where a non-leaf keeps its gradient, if it does.
fn retained(auto: &Auto) -> Option<&GradSlot> {
    auto.extra.as_ref()?.retained.as_ref().map(|retained| &retained.slot)
}

/// Sets a tensor's gradient and returns the old one, which is dropped without the lock: it may hold a graph.
fn replace_grad(tensor: &Tensor, grad: Option<Tensor>) -> Option<Tensor> {
    let mut auto = tensor.auto();
    match retained(&auto) {
        Some(slot) => std::mem::replace(&mut *lock(slot), grad),
        None => std::mem::replace(&mut auto.grad, grad),
    }
}
