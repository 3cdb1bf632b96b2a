//! Which channels of which parameters belong together: a recorded forward, followed with the numbers of channels in place
//! of values.
//!
//! A layer's output starts new numbers, one per channel. Views are followed backwards with positions; what moves, joins
//! or averages elements is run again on numbers and believed if they come out whole; elementwise operations of two
//! inputs make one channel of two. A channel that enters anything else has to stay.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::numbers::{Element, MASKED, NOTHING, NOW, OTHER, Traced, live_of_zero, replayed, viewed};
use super::shrink::Site;
use crate::autograd::history;
use crate::nn::leaf::Param;
use crate::nn::module::Module;
use crate::nn::record::inputs_first;
use crate::nn::walk::each_declared;
use crate::ops::{is_elementwise, is_elementwise_of_two};
use crate::tensor::Tensor;
use crate::tensor::node::{Edge, NodeRef};
use crate::{Result, no_grad};

/// A parameter with the paths that it is declared under.
pub(super) struct Declared {
    pub(super) names: Vec<String>,
    pub(super) param: Param,
    /// How it is used, a tied one in several ways, which says what sizes of its layers follow it.
    pub(super) sites: Vec<Site>,
}

/// The elements of a parameter with one index in one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slice {
    pub(super) parameter: usize,
    pub(super) dim: usize,
    pub(super) index: usize,
}

/// What belongs to one channel.
#[derive(Debug, Default)]
pub(super) struct Class {
    pub(super) makes: Vec<Slice>,
    pub(super) reads: Vec<Slice>,
    /// Whether something that reads it may see other than 0.
    pub(super) live: bool,
    /// Why it has to stay.
    pub(super) kept: Option<String>,
}

/// A weight or a bias of an operation: a parameter behind views and a mask.
struct Operand {
    parameter: usize,
    transposed: bool,
    /// How many channels of the operand one of the parameter is.
    split: usize,
}

pub(super) struct Trace {
    pub(super) parameters: Vec<Declared>,
    by_tensor: HashMap<usize, usize>,
    /// A forest: channels of one tree are one.
    parents: Vec<u32>,
    slices: HashMap<Slice, u32>,
    makes: HashSet<Slice>,
    reads: HashSet<Slice>,
    /// What readers of a channel see.
    seen: Vec<(u32, u8)>,
    kept: Vec<(u32, String)>,
    /// What made something of a 0.
    revived: Vec<(u32, &'static str)>,
    /// Parameters that something unknown computes with.
    blocked: HashMap<usize, &'static str>,
    /// Of each parameter and dimension the indices that are not all 0.
    filled: HashMap<(usize, usize), Vec<bool>>,
}

impl Trace {
    /// The parameters of a module, before any output is followed.
    pub(super) fn new(module: &dyn Module) -> Self {
        let mut this = Self {
            parameters: Vec::new(),
            by_tensor: HashMap::new(),
            parents: vec![NOTHING, OTHER],
            slices: HashMap::new(),
            makes: HashSet::new(),
            reads: HashSet::new(),
            seen: Vec::new(),
            kept: Vec::new(),
            revived: Vec::new(),
            blocked: HashMap::new(),
            filled: HashMap::new(),
        };
        each_declared(module, &mut String::new(), &mut |path, param| {
            let tensor = match param.form() {
                None => param.tensor(),
                Some(form) if super::is_masked(form) => form.originals()[0].tensor(),
                Some(_) => return,
            };
            let place = *this.by_tensor.entry(tensor.id()).or_insert(this.parameters.len());
            match this.parameters.get_mut(place) {
                Some(known) => known.names.push(path.to_owned()),
                None => this.parameters.push(Declared {
                    names: vec![path.to_owned()],
                    param: param.clone(),
                    sites: Vec::new(),
                }),
            }
        });
        this
    }

    /// Follows what made an output.
    pub(super) fn follow(&mut self, output: &Tensor) -> Result<()> {
        let mut known: HashMap<usize, Option<Rc<Traced>>> = HashMap::new();
        let edge = history::edge(output);
        for node in inputs_first(&edge) {
            let inputs: Vec<Option<Rc<Traced>>> =
                node.edges().iter().map(|edge| self.input(edge, &known)).collect();
            let made = no_grad(|| self.step(&node, &inputs))?;
            if made.is_none() {
                self.keep(&node, &inputs);
            }
            known.insert(node.id(), made.map(Rc::new));
        }
        if let Some(output) = self.input(&edge, &known) {
            self.keep_all(&output, "they are the output");
        }
        Ok(())
    }

    /// What is known of an operation's input; a vector of parameters is a channel each.
    fn input(&mut self, edge: &Edge, known: &HashMap<usize, Option<Rc<Traced>>>) -> Option<Rc<Traced>> {
        match edge {
            Edge::None => None,
            Edge::Node(node, _) => known.get(&node.id()).cloned().flatten(),
            Edge::Leaf(leaf) => {
                let parameter = *self.by_tensor.get(&leaf.id())?;
                let &[count] = leaf.shape() else { return None };
                let filled = self.filled(parameter, 0).ok()?;
                let elements = (0..count).map(|index| Element {
                    channel: self.slice(Slice { parameter, dim: 0, index }, NOTHING, true),
                    live: if filled[index] { NOW } else { 0 },
                });
                Some(Rc::new(Traced { shape: vec![count], elements: elements.collect() }))
            }
        }
    }

    /// What an operation makes of its inputs, if it is one that can be followed.
    fn step(&mut self, node: &NodeRef, inputs: &[Option<Rc<Traced>>]) -> Result<Option<Traced>> {
        let edges = node.edges();
        let first = inputs.first().cloned().flatten();
        match node.name() {
            "linear" | "matmul" | "mm" if edges.len() >= 2 => self.linear(node, first.as_deref()),
            "conv2d" if edges.len() >= 2 => self.convolution(node, first.as_deref()),
            "conv_transpose2d" if edges.len() >= 2 => self.transposed(node, first.as_deref()),
            "batch_norm" => self.batch_norm(node, first.as_deref()),
            "embedding" => self.embedding(node),
            "view" | "permute" | "slice" | "as_strided" => first.map_or(Ok(None), |x| viewed(node, &x)),
            "expand" => Ok(first.and_then(|x| x.expand(&node.outputs()[0].shape))),
            name if is_elementwise(name) => Ok(first.and_then(|x| self.elementwise(node, &x))),
            "where" if edges.len() == 3 => Ok(self.pair(node, &inputs[1], &inputs[2])),
            name if is_elementwise_of_two(name) && edges.len() == 2 => {
                Ok(self.pair(node, &inputs[0], &inputs[1]))
            }
            _ => Ok(replayed(node, inputs)),
        }
    }

    /// `x · weightᵀ + bias`.
    fn linear(&mut self, node: &NodeRef, x: Option<&Traced>) -> Result<Option<Traced>> {
        let edges = node.edges();
        let Some(weight) = self.operand(&edges[1]) else { return Ok(None) };
        let product = node.name() != "linear";
        if weight.split != 1 || weight.transposed != product || self.rank(&weight) != 2 {
            return Ok(None);
        }
        let axis = node.outputs()[0].shape.len() - 1;
        if !self.read(&weight, 1, x.map(|x| (x, axis))) {
            return Ok(None);
        }
        self.make(node, &weight, 0, edges.get(2), axis, Site::Weight)
    }

    fn convolution(&mut self, node: &NodeRef, x: Option<&Traced>) -> Result<Option<Traced>> {
        let edges = node.edges();
        let Some(weight) = self.operand(&edges[1]) else { return Ok(None) };
        let channels = match x {
            Some(x) => Some(x.shape[1]),
            None => node.saved(0).map(|x| x.shape()[1]),
        };
        let own = self.shape(&weight)[1] * weight.split;
        if channels == Some(own) && !weight.transposed {
            if !self.read(&weight, 1, x.map(|x| (x, 1))) {
                return Ok(None);
            }
            return self.make(node, &weight, 0, edges.get(2), 1, Site::Weight);
        }
        match x {
            Some(x) if own == 1 && channels == Some(node.outputs()[0].shape[1]) => {
                self.per_channel(node, x, &weight, edges.get(2), Site::Depthwise)
            }
            _ => Ok(None),
        }
    }

    fn transposed(&mut self, node: &NodeRef, x: Option<&Traced>) -> Result<Option<Traced>> {
        let Some(weight) = self.operand(&node.edges()[1]) else { return Ok(None) };
        let outputs = node.outputs()[0].shape[1];
        let one_group = weight.split == 1 && self.shape(&weight)[1] == outputs;
        if !one_group || weight.transposed || !self.read(&weight, 0, x.map(|x| (x, 1))) {
            return Ok(None);
        }
        self.make(node, &weight, 1, None, 1, Site::Transposed)
    }

    fn batch_norm(&mut self, node: &NodeRef, x: Option<&Traced>) -> Result<Option<Traced>> {
        let edges = node.edges();
        let (Some(x), Some(weight)) = (x, edges.get(1).and_then(|edge| self.operand(edge))) else {
            return Ok(None);
        };
        self.per_channel(node, x, &weight, edges.get(2), Site::Norm)
    }

    fn embedding(&mut self, node: &NodeRef) -> Result<Option<Traced>> {
        let Some(weight) = self.operand(&node.edges()[0]) else { return Ok(None) };
        let axis = node.outputs()[0].shape.len() - 1;
        self.make(node, &weight, 1, None, axis, Site::Table)
    }

    /// A scale, or a kernel, and a bias for each channel of an input.
    fn per_channel(
        &mut self,
        node: &NodeRef,
        x: &Traced,
        weight: &Operand,
        bias: Option<&Edge>,
        site: Site,
    ) -> Result<Option<Traced>> {
        let Some(channels) = self.channels(x, 1) else { return Ok(None) };
        let Some(bias) = self.bias(bias) else { return Ok(None) };
        let filled = self.filled(weight.parameter, 0)?;
        let biases = bias.map(|bias| Ok::<_, crate::Error>((bias, self.filled(bias, 0)?))).transpose()?;
        self.used(weight.parameter, site);
        let made = channels.iter().enumerate().map(|(index, channel)| {
            let mut id =
                self.slice(Slice { parameter: weight.parameter, dim: 0, index }, channel.channel, true);
            // Batch normalisation moves a 0 by its running mean; a kernel does not.
            let through = site == Site::Norm || channel.live & NOW != 0;
            let mut live = filled[index] && through;
            if let Some((bias, filled)) = &biases {
                id = self.slice(Slice { parameter: *bias, dim: 0, index }, id, true);
                live |= filled[index];
            }
            Element { channel: id, live: if live { NOW } else { 0 } }
        });
        let made: Vec<Element> = made.collect();
        Ok(Some(Traced::along(&node.outputs()[0].shape, 1, &made)))
    }

    /// Notes that a weight reads the channels of an input along an axis; whether each is one channel.
    fn read(&mut self, weight: &Operand, dim: usize, x: Option<(&Traced, usize)>) -> bool {
        let Some((x, axis)) = x else { return true };
        let Some(channels) = self.channels(x, axis) else { return false };
        for (j, element) in channels.into_iter().enumerate() {
            if element.channel > OTHER {
                let slice = Slice { parameter: weight.parameter, dim, index: j / weight.split };
                let channel = self.slice(slice, element.channel, false);
                self.seen.push((channel, element.live));
            }
        }
        true
    }

    /// New channels along an axis, made by slices of a weight and elements of a bias.
    fn make(
        &mut self,
        node: &NodeRef,
        weight: &Operand,
        dim: usize,
        bias: Option<&Edge>,
        axis: usize,
        site: Site,
    ) -> Result<Option<Traced>> {
        let Some(bias) = self.bias(bias) else { return Ok(None) };
        let parameter = weight.parameter;
        let mut filled = self.filled(parameter, dim)?;
        self.used(parameter, site);
        if let Some(bias) = bias {
            let biases = self.filled(bias, 0)?;
            filled.iter_mut().zip(biases).for_each(|(filled, bias)| *filled |= bias);
        }
        let made = filled.iter().enumerate().map(|(index, &filled)| {
            let mut channel = self.slice(Slice { parameter, dim, index }, NOTHING, true);
            if let Some(bias) = bias {
                channel = self.slice(Slice { parameter: bias, dim: 0, index }, channel, true);
            }
            Element { channel, live: if filled { NOW } else { 0 } }
        });
        let made: Vec<Element> = made.collect();
        Ok(Some(Traced::along(&node.outputs()[0].shape, axis, &made)))
    }

    /// Notes how a parameter is used.
    fn used(&mut self, parameter: usize, site: Site) {
        let sites = &mut self.parameters[parameter].sites;
        if !sites.contains(&site) {
            sites.push(site);
        }
    }

    /// The parameter of a bias, or that there is none; nothing if it cannot be told.
    fn bias(&self, edge: Option<&Edge>) -> Option<Option<usize>> {
        match edge {
            None | Some(Edge::None) => Some(None),
            Some(edge) => self.operand(edge).map(|bias| Some(bias.parameter)),
        }
    }

    /// An operation of one input, element by element.
    fn elementwise(&mut self, node: &NodeRef, x: &Traced) -> Option<Traced> {
        let live = live_of_zero(node, 1)?;
        let elements = x.elements.iter().map(|&e| Element { live: e.live | live, ..e }.settled());
        if live != 0 {
            self.revive(x, node.name());
        }
        Some(Traced { shape: x.shape.clone(), elements: elements.collect() })
    }

    /// An operation of two inputs, element by element: what meets is one channel.
    fn pair(&mut self, node: &NodeRef, a: &Option<Rc<Traced>>, b: &Option<Rc<Traced>>) -> Option<Traced> {
        let shape = &node.outputs()[0].shape;
        let product = matches!(node.name(), "mul" | "div");
        let of_zeros = if node.name() == "div" { 0 } else { live_of_zero(node, node.edges().len())? };
        let all = NOW | MASKED;
        if let (Some(a), Some(b)) = (a, b) {
            let (a, b) = (a.expand(shape)?, b.expand(shape)?);
            let channels = self.met(node.name(), &a, &b)?;
            let elements = a.elements.iter().zip(&b.elements).zip(channels).map(|((a, b), channel)| {
                let live = match node.name() {
                    "mul" => a.live & b.live,
                    "div" => a.live,
                    _ => a.live | b.live | of_zeros,
                };
                Element { channel, live }.settled()
            });
            return Some(Traced { shape: shape.to_vec(), elements: elements.collect() });
        }
        let (x, at) = match (a, b) {
            (Some(a), None) => (a.expand(shape)?, 0),
            (None, Some(b)) => (b.expand(shape)?, 1),
            _ => return None,
        };
        let keeps_zero = product && (node.name() == "mul" || at == 0);
        if !keeps_zero {
            self.revive(&x, node.name());
        }
        // What a product is taken with is saved for the gradient.
        let other = node.saved(1 - at).filter(|_| node.name() == "mul");
        let zeros = other.and_then(|t| t.expand(shape.as_slice()).ok()?.ne(0).ok()?.to_vec::<bool>().ok());
        let elements = x.elements.iter().enumerate().map(|(i, &element)| {
            let live = match &zeros {
                Some(filled) if !filled[i] => 0,
                _ if keeps_zero => element.live,
                _ => all,
            };
            Element { live, ..element }.settled()
        });
        Some(Traced { shape: x.shape.clone(), elements: elements.collect() })
    }

    /// What becomes of the channels of two inputs where they meet: one, or that of the other input where one channel is
    /// spread over several; none if several meet several.
    fn met(&mut self, op: &str, a: &Traced, b: &Traced) -> Option<Vec<u32>> {
        let pairs: Vec<(u32, u32)> = a
            .elements
            .iter()
            .zip(&b.elements)
            .map(|(a, b)| (self.root(a.channel), self.root(b.channel)))
            .collect();
        let mut spread: HashSet<u32> = HashSet::new();
        let mut partners: HashMap<u32, u32> = HashMap::new();
        for &(a, b) in pairs.iter().filter(|(a, b)| *a > OTHER && *b > OTHER) {
            for (one, other) in [(a, b), (b, a)] {
                if *partners.entry(one).or_insert(other) != other {
                    spread.insert(one);
                }
            }
        }
        if pairs.iter().any(|(a, b)| spread.contains(a) && spread.contains(b)) {
            return None;
        }
        let why = format!("`{op}` spreads it over others");
        self.kept.extend(spread.iter().map(|&channel| (channel, why.clone())));
        let met = |(a, b): (u32, u32)| match (spread.contains(&a), spread.contains(&b)) {
            (true, _) => b,
            (_, true) => a,
            _ => self.join(a, b),
        };
        Some(pairs.into_iter().map(met).collect())
    }

    /// The channel at each index of an axis; none if one index is several channels.
    fn channels(&mut self, x: &Traced, axis: usize) -> Option<Vec<Element>> {
        let count = *x.shape.get(axis)?;
        let inner: usize = x.shape[axis + 1..].iter().product();
        let mut found = vec![Element::default(); count];
        for (i, element) in x.elements.iter().enumerate() {
            let at = &mut found[i / inner.max(1) % count.max(1)];
            let channel = self.root(element.channel);
            if element.channel != NOTHING && at.channel != NOTHING && at.channel != channel {
                return None;
            }
            at.channel = at.channel.max(channel);
            at.live |= element.live;
        }
        Some(found)
    }

    /// Notes that a slice belongs to a channel, or to a new one; returns the channel.
    fn slice(&mut self, slice: Slice, channel: u32, makes: bool) -> u32 {
        if makes { &mut self.makes } else { &mut self.reads }.insert(slice);
        let own = match self.slices.get(&slice) {
            Some(&own) => own,
            None if channel > OTHER => channel,
            None => {
                self.parents.push(self.parents.len() as u32);
                self.parents.len() as u32 - 1
            }
        };
        self.slices.insert(slice, own);
        self.join(own, channel)
    }

    fn join(&mut self, a: u32, b: u32) -> u32 {
        let (a, b) = (self.root(a), self.root(b));
        if a > OTHER && b > OTHER {
            self.parents[a.max(b) as usize] = a.min(b);
            return a.min(b);
        }
        a.max(b)
    }

    fn root(&mut self, mut channel: u32) -> u32 {
        while self.parents[channel as usize] != channel {
            let above = self.parents[self.parents[channel as usize] as usize];
            self.parents[channel as usize] = above;
            channel = above;
        }
        channel
    }

    /// The parameter behind an operand.
    fn operand(&self, edge: &Edge) -> Option<Operand> {
        let mut found = Operand { parameter: 0, transposed: false, split: 1 };
        let mut edge = edge.clone();
        loop {
            edge = match &edge {
                Edge::None => return None,
                Edge::Leaf(leaf) => {
                    found.parameter = *self.by_tensor.get(&leaf.id())?;
                    return Some(found);
                }
                Edge::Node(node, _) => {
                    let (to, from) = (&node.outputs()[0].shape, node.edges().first()?.shape()?);
                    match node.name() {
                        "permute" if from.len() == 2 => found.transposed ^= true,
                        "view" if from.len() == 1 && to.iter().product::<usize>() == from[0] => {}
                        "view" if to.len() > 1 && from.len() > 1 && to[0] == from[0] => {
                            if from[1] == 0 || to[1] % from[1] != 0 {
                                return None;
                            }
                            found.split *= to[1] / from[1];
                        }
                        "mul" if self.is_mask(node) => {}
                        _ => return None,
                    }
                    node.edges()[0].clone()
                }
            };
        }
    }

    /// Whether a product is that of a pruned parameter and its mask.
    fn is_mask(&self, node: &NodeRef) -> bool {
        match node.edges() {
            [Edge::Leaf(leaf), Edge::None] => {
                let parameter = self.by_tensor.get(&leaf.id());
                parameter.is_some_and(|&p| self.parameters[p].param.form().is_some())
            }
            _ => false,
        }
    }

    fn shape(&self, operand: &Operand) -> &[usize] {
        self.parameters[operand.parameter].param.shape()
    }

    fn rank(&self, operand: &Operand) -> usize {
        self.shape(operand).len()
    }

    /// Of each index along a dimension of a parameter whether an element is not 0.
    fn filled(&mut self, parameter: usize, dim: usize) -> Result<Vec<bool>> {
        if let Some(known) = self.filled.get(&(parameter, dim)) {
            return Ok(known.clone());
        }
        let value = self.parameters[parameter].param.value()?.detach().ne(0)?;
        let rows = value.transpose(0, dim as isize)?.reshape([value.shape()[dim] as isize, -1])?;
        let filled = rows.any(1)?.to_vec::<bool>()?;
        self.filled.insert((parameter, dim), filled.clone());
        Ok(filled)
    }

    /// Notes that what enters an unknown operation has to stay, channels and parameters.
    fn keep(&mut self, node: &NodeRef, inputs: &[Option<Rc<Traced>>]) {
        let passes_parameter = matches!(node.name(), "view" | "permute") || self.is_mask(node);
        if passes_parameter && inputs.iter().all(Option::is_none) {
            return;
        }
        for input in inputs.iter().flatten() {
            self.keep_all(input, &format!("`{}` mixes them or is not followed", node.name()));
        }
        for edge in node.edges() {
            if let Some(operand) = self.operand(edge) {
                self.blocked.insert(operand.parameter, node.name());
            }
        }
    }

    fn keep_all(&mut self, x: &Traced, why: &str) {
        let channels: HashSet<u32> = x.elements.iter().map(|e| e.channel).filter(|c| *c > OTHER).collect();
        self.kept.extend(channels.into_iter().map(|channel| (channel, why.to_owned())));
    }

    fn revive(&mut self, x: &Traced, name: &'static str) {
        let channels: HashSet<u32> = x.elements.iter().map(|e| e.channel).filter(|c| *c > OTHER).collect();
        self.revived.extend(channels.into_iter().map(|channel| (channel, name)));
    }

    /// The channels, in the order of the slices that make them.
    pub(super) fn classes(mut self) -> (Vec<Declared>, Vec<Class>) {
        let mut classes: HashMap<u32, Class> = HashMap::new();
        let mut all: Vec<(Slice, u32)> = self.slices.iter().map(|(slice, id)| (*slice, *id)).collect();
        all.sort_unstable();
        let mut order = Vec::new();
        for (slice, id) in all {
            let root = self.root(id);
            let class = classes.entry(root).or_insert_with(|| {
                order.push(root);
                Class::default()
            });
            if self.makes.contains(&slice) {
                class.makes.push(slice);
            }
            if self.reads.contains(&slice) {
                class.reads.push(slice);
            }
            if let Some(op) = self.blocked.get(&slice.parameter) {
                class.kept.get_or_insert_with(|| format!("`{op}` computes with a parameter of theirs"));
            }
        }
        for (channel, why) in std::mem::take(&mut self.kept) {
            let root = self.root(channel);
            if let Some(class) = classes.get_mut(&root) {
                class.kept.get_or_insert(why);
            }
        }
        let mut revived: HashMap<u32, &str> = HashMap::new();
        for (channel, op) in std::mem::take(&mut self.revived) {
            revived.entry(self.root(channel)).or_insert(op);
        }
        for (channel, live) in std::mem::take(&mut self.seen) {
            let root = self.root(channel);
            if let Some(class) = classes.get_mut(&root) {
                class.live |= live & NOW != 0;
                if live & MASKED != 0 {
                    let op = revived.get(&root).unwrap_or(&"an operation");
                    class.kept.get_or_insert_with(|| format!("`{op}` makes something else of their zeros"));
                }
            }
        }
        let mut list: Vec<Class> = order.into_iter().filter_map(|root| classes.remove(&root)).collect();
        for class in list.iter_mut().filter(|class| class.kept.is_none()) {
            if class.makes.is_empty() {
                class.kept = Some("no parameter makes them".into());
            } else if class.reads.is_empty() {
                class.kept = Some("no parameter reads them".into());
            }
        }
        (self.parameters, list)
    }
}
