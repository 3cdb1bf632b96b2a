//! Gradient checkpointing: what a function saves for backward is dropped, and computed again when backward asks for it.
//!
//! While a checkpointed function runs, each node that would keep tensors gets a [`Ticket`] for a slot of the function's
//! [`Frame`] instead. The first ticket that is asked for runs the function again; the nodes that this records hand what
//! they save to the frame, in the same order, and the graph that they make is dropped. The graph of the first run is the
//! one that backward walks, so gradients reach captured parameters, and may be differentiated, as without a checkpoint.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard};

use smallvec::SmallVec;

use super::history;
use super::mode::{Observed, enable_grad, is_grad_enabled, is_observed};
use super::op::{Kept, edges};
use crate::random::{fork_rng, get_rng_state, set_rng_state};
use crate::tensor::node::{Edge, Edges};
use crate::tensor::{DType, Dims, Tensor, lock};
use crate::{Context, Error, Result};

const NAME: &str = "checkpoint";

/// Runs a function without keeping what its backward needs: that is computed again when backward gets there. PyTorch's
/// `torch.utils.checkpoint.checkpoint` with `use_reentrant=False`.
///
/// The numbers are the same as without; memory is saved for one more run of the function. It gets the inputs and may
/// capture parameters: a clone of a layer shares them. Checkpoints nest. The function draws the same random numbers both
/// times, and the generator is then where it was. What else it does, it does twice: a batch norm in training moves its
/// running statistics twice. Under [`no_grad`](super::no_grad) the function just runs.
///
/// ```
/// use sconce::nn::{Layer, Linear};
/// use sconce::{DType, Tensor, autograd};
///
/// let layer = Linear::new(4, 4)?;
/// let x = Tensor::ones([2, 4], DType::F32)?;
/// let block = layer.clone();
/// let y = autograd::checkpoint(move |x| block.forward(&x[0])?.tanh(), &[&x])?;
/// y.sum(())?.backward()?;
/// let found = layer.weight.grad().unwrap();
/// layer.weight.zero_grad();
/// layer.forward(&x)?.tanh()?.sum(())?.backward()?;
/// assert!(found.equal(&layer.weight.grad().unwrap())?);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As the function's. In backward: if an input or a parameter was changed in place since, or the second run records other
/// operations than the first.
pub fn checkpoint<R>(
    f: impl Fn(&[Tensor]) -> Result<R> + Send + Sync + 'static,
    inputs: &[&Tensor],
) -> Result<R> {
    let own = |inputs: &[&Tensor]| -> Vec<Tensor> { inputs.iter().map(|&t| t.clone()).collect() };
    if !is_grad_enabled() {
        return f(&own(inputs));
    }
    inputs.iter().try_for_each(|t| history::check_view(NAME, t))?;
    let f = Arc::new(f);
    let again = f.clone();
    let edges = edges(inputs);
    let saved = inputs.iter().zip(&edges).map(|(t, edge)| Some((linked(t, edge), t.version()))).collect();
    let frame = Arc::new(Frame {
        inputs: Store::new(NAME, Kept { inputs: saved, output: None }, &edges),
        edges,
        function: Box::new(move |x| again(x).map(drop)),
        random: get_rng_state(),
        slots: Mutex::default(),
    });
    let _active = Active::begin(frame.clone(), None);
    let result = f(&own(inputs));
    frame.slots().complete = true;
    result
}

/// The same memory, with a history.
fn linked(tensor: &Tensor, edge: &Edge) -> Tensor {
    if let Edge::Leaf(leaf) = edge {
        return leaf.clone();
    }
    let mut alias = tensor.alias(tensor.layout().clone(), tensor.dtype());
    if let Edge::Node(node, output) = edge {
        history::set_node(&mut alias, node.clone(), *output);
    }
    alias
}

/// The tensors that a node keeps for backward, or the means to get them.
#[derive(Clone)]
pub(super) enum Store {
    /// At hand.
    Here(Kept),
    /// Leaves at hand, the rest to be computed again; boxed, so that all other nodes stay small.
    Again(Box<(Kept, Arc<Ticket>)>),
    /// No more.
    Freed,
}

impl Store {
    /// Keeps tensors: all of them, unless the thread is in a checkpointed function. `edges` are those of the inputs.
    #[inline]
    pub(super) fn new(name: &'static str, kept: Kept, edges: &[Edge]) -> Self {
        if is_observed() { Self::observed(name, kept, edges) } else { Self::Here(kept) }
    }

    #[cold]
    fn observed(name: &'static str, kept: Kept, edges: &[Edge]) -> Self {
        let (leaves, rest) = split(&kept, edges);
        if rest.is_empty() {
            return Self::Here(kept);
        }
        // The first run registers, the second delivers; nothing below takes the list of frames.
        let frame = ACTIVE.with_borrow_mut(|active| {
            let Active { frame, again, .. } = active.last_mut()?;
            match again {
                Some(delivered) => {
                    delivered.push((Signature::of(name, &rest), rest));
                    None
                }
                None => Some((frame.clone(), rest)),
            }
        });
        match frame {
            Some((frame, rest)) => {
                let slot = frame.slots().register(Signature::of(name, &rest));
                Self::Again(Box::new((leaves, Arc::new(Ticket { frame, slot }))))
            }
            None => Self::Here(kept),
        }
    }

    /// What need not be computed again.
    pub(super) fn at_hand(&self) -> Option<&Kept> {
        match self {
            Self::Here(kept) => Some(kept),
            Self::Again(again) => Some(&again.0),
            Self::Freed => None,
        }
    }

    /// The tensors, each with the history that it had; `None` if they were freed.
    pub(super) fn fetch(self, edges: &[Edge]) -> Result<Option<Kept>> {
        let (mut kept, ticket) = match self {
            Self::Here(kept) => return Ok(Some(kept)),
            Self::Again(again) => *again,
            Self::Freed => return Ok(None),
        };
        let rest = ticket.take()?;
        for ((slot, found), edge) in kept.inputs.iter_mut().zip(rest.inputs).zip(edges) {
            if let Some((tensor, version)) = found {
                *slot = Some((linked(&tensor, edge), version));
            }
        }
        kept.output = rest.output;
        Ok(Some(kept))
    }
}

/// Leaves, which live anyway, and the rest, without history.
fn split(kept: &Kept, edges: &[Edge]) -> (Kept, Kept) {
    let bare = |(t, version): &(Tensor, u32)| (t.alias(t.layout().clone(), t.dtype()), *version);
    let is_leaf = |i: usize| matches!(edges.get(i), Some(Edge::Leaf(_)));
    let pick = |leaves: bool| kept.inputs.iter().enumerate().map(move |(i, t)| (is_leaf(i) == leaves, t));
    let leaves = pick(true).map(|(this, t)| t.clone().filter(|_| this)).collect();
    let rest = pick(false).map(|(this, t)| t.as_ref().filter(|_| this).map(bare)).collect();
    (Kept { inputs: leaves, output: None }, Kept { inputs: rest, output: kept.output.as_ref().map(bare) })
}

/// The right to one slot of a frame; its end frees the slot.
pub(super) struct Ticket {
    frame: Arc<Frame>,
    slot: usize,
}

impl Ticket {
    /// What the slot holds, once: left there by an earlier run, or by one now.
    fn take(&self) -> Result<Kept> {
        if let Slot::Full(kept) = self.exchange(Slot::Empty) {
            return Ok(kept);
        }
        self.frame.run_again(self.slot)
    }

    fn exchange(&self, slot: Slot) -> Slot {
        std::mem::replace(&mut self.frame.slots().states[self.slot], slot)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The tensors go after the lock.
        drop(self.exchange(Slot::Dead));
    }
}

type Function = Box<dyn Fn(&[Tensor]) -> Result<()> + Send + Sync>;

/// One run of a checkpointed function.
struct Frame {
    function: Function,
    inputs: Store,
    edges: Edges,
    /// The generator before the run.
    random: Vec<u8>,
    slots: Mutex<Slots>,
}

/// What the nodes of a frame will ask for.
#[derive(Default)]
struct Slots {
    signatures: Vec<Signature>,
    states: Vec<Slot>,
    /// Whether the first run is over.
    complete: bool,
}

enum Slot {
    Empty,
    Full(Kept),
    /// Nobody will ask for it.
    Dead,
}

impl Slots {
    fn register(&mut self, signature: Signature) -> usize {
        self.signatures.push(signature);
        self.states.push(Slot::Empty);
        self.states.len() - 1
    }
}

/// By what a node of the second run is known as that of the first: its operation and what it saves.
#[derive(PartialEq)]
struct Signature {
    name: &'static str,
    saved: SmallVec<[(Dims, DType); 2]>,
}

impl Signature {
    fn of(name: &'static str, kept: &Kept) -> Self {
        let tensors = kept.inputs.iter().chain([&kept.output]).flatten();
        Self { name, saved: tensors.map(|(t, _)| (Dims::from_slice(t.shape()), t.dtype())).collect() }
    }

    fn describe(&self) -> String {
        let saved: Vec<String> =
            self.saved.iter().map(|(shape, dtype)| format!("{dtype} {:?}", shape.as_slice())).collect();
        format!("{} of {}", self.name, saved.join(", "))
    }
}

impl Frame {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        lock(&self.slots)
    }

    /// Runs the function again, fills every slot that somebody may ask for, and returns what one of them holds.
    fn run_again(self: &Arc<Self>, wanted: usize) -> Result<Kept> {
        let inputs = self.inputs()?;
        let delivered = fork_rng(|| {
            set_rng_state(&self.random)?;
            let active = Active::begin(self.clone(), Some(Vec::new()));
            enable_grad(|| (self.function)(&inputs))?;
            Ok::<_, Error>(active.finish())
        })
        .context(|| NAME)?;
        let mut slots = self.slots();
        self.compare(&slots, &delivered)?;
        let mut found = None;
        let mut replaced = Vec::new();
        for (i, (_, kept)) in delivered.into_iter().enumerate().take(slots.states.len()) {
            if i == wanted {
                found = Some(kept);
            } else if !matches!(slots.states[i], Slot::Dead) {
                replaced.push(std::mem::replace(&mut slots.states[i], Slot::Full(kept)));
            }
        }
        drop(slots);
        found.ok_or_else(|| Error::autograd(format!("{NAME}: the second run ended before the first did")))
    }

    /// The inputs, each a tensor of its own with the history that it had.
    fn inputs(&self) -> Result<Vec<Tensor>> {
        let kept = self.inputs.clone().fetch(&self.edges)?.expect("a frame frees nothing");
        let each = kept.inputs.iter().flatten().zip(&self.edges).enumerate();
        each.map(|(i, ((tensor, version), edge))| {
            if tensor.version() != *version {
                return Err(Error::autograd(format!(
                    "{NAME}: input {i} {} was at version {version} and is now at version {}: something modified it in \
                     place, so the function cannot be run again",
                    tensor.describe(),
                    tensor.version()
                )));
            }
            Ok(linked(tensor, edge))
        })
        .collect()
    }

    /// Refuses a second run that was not like the first. A first run that is not over yet may do less.
    fn compare(&self, slots: &Slots, delivered: &[(Signature, Kept)]) -> Result<()> {
        let differ = |i: usize, first: &str, second: &str| {
            Error::autograd(format!(
                "{NAME}: the function does not do the same each time: operation {i} that saves something was {first} in the \
                 first run and is {second} in the second"
            ))
        };
        for (i, (first, (second, _))) in slots.signatures.iter().zip(delivered).enumerate() {
            if first != second {
                return Err(differ(i, &first.describe(), &second.describe()));
            }
        }
        match (slots.signatures.len(), delivered.len()) {
            (first, second) if first > second => {
                Err(differ(second, &slots.signatures[second].describe(), "none"))
            }
            (first, second) if first < second && slots.complete => {
                Err(differ(first, "none", &delivered[first].0.describe()))
            }
            _ => Ok(()),
        }
    }
}

thread_local! {
    /// The checkpointed functions that run on this thread, innermost last.
    static ACTIVE: RefCell<Vec<Active>> = const { RefCell::new(Vec::new()) };
}

/// A run of a checkpointed function.
struct Active {
    frame: Arc<Frame>,
    /// Of a second run: what its nodes saved.
    again: Option<Vec<(Signature, Kept)>>,
    _observed: Observed,
}

/// Ends a run, also when a panic unwinds.
struct Running;

impl Active {
    fn begin(frame: Arc<Frame>, again: Option<Vec<(Signature, Kept)>>) -> Running {
        let active = Self { frame, again, _observed: Observed::begin() };
        ACTIVE.with_borrow_mut(|list| list.push(active));
        Running
    }
}

impl Running {
    /// What the nodes of a second run saved.
    fn finish(self) -> Vec<(Signature, Kept)> {
        ACTIVE.with_borrow_mut(|list| list.last_mut()?.again.take()).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What a frame holds goes after the borrow.
        drop(ACTIVE.with_borrow_mut(Vec::pop));
    }
}
