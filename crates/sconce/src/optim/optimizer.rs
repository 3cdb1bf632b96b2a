//! A rule applied to groups of parameters.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::parameters::{Named, Parameters};
use super::rule::Rule;
use super::state::{GroupState, OptimizerState, Value, copied};
use crate::nn::prune::Shrunk;
use crate::nn::{Module, ModuleExt, StateDict};
use crate::select::{Candidate, IntoSelector, Kind};
use crate::tensor::Tensor;
use crate::{Context, Error, Result, no_grad};

/// A rule applied to groups of parameters; PyTorch's `Optimizer`.
///
/// A parameter without a gradient is skipped, as in PyTorch. [`step_audited`](Self::step_audited) says per name what
/// happened.
pub struct Optimizer<R: Rule> {
    pub(super) groups: Vec<Group<R>>,
    /// Whether the first group is what no selector picked.
    has_rest: bool,
    defaults: R,
    hooks: Vec<Hook<R>>,
    /// How many hooks there ever were.
    hooked: usize,
}

type HookFn<R> = Box<dyn FnMut(&mut Optimizer<R>) -> Result<()> + Send + Sync>;

/// A function that runs with every step.
struct Hook<R: Rule> {
    number: usize,
    after: bool,
    run: HookFn<R>,
}

/// What [`Optimizer::remove_step_hook`] is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepHook(usize);

/// Parameters that share options.
pub struct Group<R: Rule> {
    /// The options; they may be changed between steps.
    pub rule: R,
    pub(super) slots: Vec<Slot<R::State>>,
    /// Options of a checkpoint that the rule does not know, such as a schedule's `initial_lr`.
    others: Vec<(String, Value)>,
}

pub(super) struct Slot<S> {
    pub(super) parameter: Named,
    pub(super) state: Option<S>,
}

impl<R: Rule> Group<R> {
    fn new(rule: R, slots: Vec<Slot<R::State>>) -> Self {
        let others = R::FOREIGN.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Self { rule, slots, others }
    }

    /// An option that the rule does not know.
    pub(super) fn other(&self, name: &str) -> Option<&Value> {
        self.others.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Sets an option that the rule does not know.
    pub(super) fn set_other(&mut self, name: &str, value: Value) {
        match self.others.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.others.push((name.to_owned(), value)),
        }
    }

    /// The parameters, in order, each with its first name.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.slots.iter().map(|slot| (slot.parameter.names[0].as_str(), &slot.parameter.tensor))
    }
}

impl<R: Rule> Optimizer<R> {
    /// Makes an optimiser of all parameters of a module, or of a list, in one group.
    ///
    /// Frozen parameters are part of it, so that their numbers in a checkpoint are PyTorch's; they have no gradient
    /// and are skipped.
    ///
    /// # Errors
    ///
    /// If there is no parameter, or none that requires a gradient (PyTorch does not notice the latter); if one is
    /// given twice or is a result of others; if an option is outside its range.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt};
    /// use sconce::optim::{AdamW, Optimizer};
    ///
    /// let layer = Linear::new(4, 3)?;
    /// let optimizer = Optimizer::new(&layer, AdamW { lr: 3e-4, ..AdamW::default() })?;
    /// assert_eq!(optimizer.groups()[0].parameters().len(), 2);
    ///
    /// layer.freeze("**")?;
    /// let error = Optimizer::new(&layer, AdamW::default()).unwrap_err();
    /// assert_eq!(error.to_string(), "AdamW: all 2 parameters are frozen: unfreeze what is to be trained first");
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn new(parameters: impl Parameters, rule: R) -> Result<Self> {
        let mut this =
            Self { groups: Vec::new(), has_rest: true, defaults: rule, hooks: Vec::new(), hooked: 0 };
        let given = parameters.named();
        if !given.is_empty() && !given.iter().any(|p| p.tensor.requires_grad()) {
            return Err(Error::argument(format!(
                "{}: all {} parameters are frozen: unfreeze what is to be trained first",
                R::NAME,
                given.len()
            )));
        }
        this.push(given, this.defaults.clone())?;
        Ok(this)
    }

    /// Moves the parameters that a selector picks from the first group to one with options of its own.
    ///
    /// Groups are numbered in this order: what no selector picked (unless that is nothing), then the groups as they
    /// were made.
    ///
    /// # Errors
    ///
    /// If the selector cannot be parsed, picks nothing, or picks a parameter that another one picked; if an option is
    /// outside its range.
    ///
    /// ```
    /// use sconce::nn::Linear;
    /// use sconce::optim::{Optimizer, Sgd};
    ///
    /// let optimizer = Optimizer::new(&Linear::new(4, 3)?, Sgd::default())?
    ///     .group("bias", |rule| rule.lr = 0.5)?;
    /// assert_eq!(optimizer.groups()[1].rule.lr, 0.5);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn group(mut self, selector: impl IntoSelector, set: impl FnOnce(&mut R)) -> Result<Self> {
        let selector = selector.into_selector()?;
        let picked =
            selector.select(self.groups.iter().flat_map(|group| &group.slots).flat_map(candidates))?;
        let names: HashSet<&str> = picked.names().iter().map(String::as_str).collect();
        let is_picked =
            |slot: &Slot<R::State>| slot.parameter.names.iter().any(|n| names.contains(n.as_str()));
        let grouped = self.groups.iter().skip(usize::from(self.has_rest)).flat_map(|group| &group.slots);
        if let Some(slot) = grouped.into_iter().find(|slot| is_picked(slot)) {
            return Err(Error::selector(format!(
                "selector `{selector}` picks `{}`, which is in another group already",
                slot.name()
            )));
        }
        let mut rule = self.defaults.clone();
        set(&mut rule);
        rule.validate().context(|| format!("group `{selector}`"))?;
        let (slots, rest) = std::mem::take(&mut self.groups[0].slots).into_iter().partition(is_picked);
        self.groups[0].slots = rest;
        if self.groups[0].slots.is_empty() {
            self.groups.remove(0);
            self.has_rest = false;
        }
        self.groups.push(Group::new(rule, slots));
        Ok(self)
    }

    /// Adds parameters in a group of their own, with options that start from those given to [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If there is no parameter, one is part of the optimiser already or is a result of others; if an option is
    /// outside its range.
    pub fn add_param_group(&mut self, parameters: impl Parameters, set: impl FnOnce(&mut R)) -> Result<()> {
        let mut rule = self.defaults.clone();
        set(&mut rule);
        self.push(parameters.named(), rule)
    }

    fn push(&mut self, given: Vec<Named>, rule: R) -> Result<()> {
        rule.validate()?;
        if given.is_empty() {
            return Err(Error::argument(format!("{}: got an empty parameter list", R::NAME)));
        }
        let slots = self.groups.iter().flat_map(|group| &group.slots);
        let mut seen: HashSet<usize> = slots.map(|slot| slot.parameter.tensor.id()).collect();
        for Named { names, tensor } in &given {
            if !tensor.is_leaf() {
                return Err(Error::argument(format!(
                    "{}: `{}` is a result of other tensors, not a parameter",
                    R::NAME,
                    names[0]
                )));
            }
            if !seen.insert(tensor.id()) {
                return Err(Error::argument(format!("{}: `{}` is given twice", R::NAME, names[0])));
            }
            rule.accepts(tensor).context(|| format!("{}: `{}`", R::NAME, names[0]))?;
        }
        let slots = given.into_iter().map(|parameter| {
            let state = if R::EAGER { Some(no_grad(|| rule.init(&parameter.tensor))?) } else { None };
            Ok(Slot { parameter, state })
        });
        let slots = slots.collect::<Result<Vec<_>>>()?;
        self.groups.push(Group::new(rule, slots));
        Ok(())
    }

    /// The groups, in the order of their numbers in a checkpoint.
    pub fn groups(&self) -> &[Group<R>] {
        &self.groups
    }

    /// The groups, to change their options.
    pub fn groups_mut(&mut self) -> &mut [Group<R>] {
        &mut self.groups
    }

    /// The learning rate of the first group.
    pub fn lr(&self) -> f64 {
        self.groups[0].rule.lr()
    }

    /// Sets the learning rate of all groups.
    pub fn set_lr(&mut self, lr: f64) {
        for group in &mut self.groups {
            group.rule.set_lr(lr);
        }
    }

    /// Updates every parameter that has a gradient.
    ///
    /// Hooks run before and after it; the first error of one ends the step.
    ///
    /// # Errors
    ///
    /// If a hook fails, an option has been set outside its range, an operation fails, or a module that was converted to
    /// another dtype ([`ModuleExt::to`](crate::nn::ModuleExt::to)) holds another tensor by now; the message names the
    /// parameter.
    pub fn step(&mut self) -> Result<()> {
        if self.hooks.is_empty() {
            return self.update();
        }
        self.run_hooks(false)?;
        self.update()?;
        self.run_hooks(true)
    }

    fn update(&mut self) -> Result<()> {
        no_grad(|| {
            for Group { rule, slots, .. } in &mut self.groups {
                rule.validate()?;
                for slot in slots {
                    let named = |slot: &Slot<R::State>| format!("{}: {}", R::NAME, slot.name());
                    if let Some(grad) = slot.parameter.grad().context(|| named(slot))? {
                        slot.update(rule, &grad).context(|| named(slot))?;
                    }
                }
            }
            Ok(())
        })
    }

    fn run_hooks(&mut self, after: bool) -> Result<()> {
        // Taken out, so that hooks may change the optimiser; what they register runs from the next step on.
        let mut hooks = std::mem::take(&mut self.hooks);
        let result =
            hooks.iter_mut().filter(|hook| hook.after == after).try_for_each(|hook| (hook.run)(self));
        hooks.append(&mut self.hooks);
        self.hooks = hooks;
        result
    }

    /// Calls a function before every step, after those that were registered before; PyTorch's
    /// `register_step_pre_hook`.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt};
    /// use sconce::optim::{ClipOptions, Optimizer, Sgd, clip_grad_norm_};
    ///
    /// let layer = Linear::new(4, 3)?;
    /// let mut optimizer = Optimizer::new(&layer, Sgd { lr: 1.0, ..Sgd::default() })?;
    /// let clipped = layer.clone();
    /// let hook = optimizer.register_step_pre_hook(move |_| {
    ///     clip_grad_norm_(&clipped, 1.0, ClipOptions::default()).map(drop)
    /// });
    /// layer.weight.set_grad(Some(layer.weight.full_like(100.0)?))?;
    /// optimizer.step()?;
    /// let norm = layer.weight.grad().unwrap().norm(2.0, ())?.item()?;
    /// assert!((norm - 1.0).abs() < 1e-5);
    /// assert!(optimizer.remove_step_hook(hook));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn register_step_pre_hook(
        &mut self,
        hook: impl FnMut(&mut Self) -> Result<()> + Send + Sync + 'static,
    ) -> StepHook {
        self.register(false, Box::new(hook))
    }

    /// Calls a function after every step; PyTorch's `register_step_post_hook`. Constraints such as
    /// [`max_norm_`](super::max_norm_) have their place here.
    pub fn register_step_post_hook(
        &mut self,
        hook: impl FnMut(&mut Self) -> Result<()> + Send + Sync + 'static,
    ) -> StepHook {
        self.register(true, Box::new(hook))
    }

    fn register(&mut self, after: bool, run: HookFn<R>) -> StepHook {
        self.hooked += 1;
        self.hooks.push(Hook { number: self.hooked, after, run });
        StepHook(self.hooked)
    }

    /// Takes a hook away; whether it was there.
    pub fn remove_step_hook(&mut self, hook: StepHook) -> bool {
        let before = self.hooks.len();
        self.hooks.retain(|other| other.number != hook.0);
        self.hooks.len() < before
    }

    /// Goes on after [`prune::shrink`](crate::nn::prune::shrink()), with the smaller parameters of the model and what is left
    /// of their state.
    ///
    /// # Errors
    ///
    /// If a part of the state does not fit the smaller parameter. Nothing is changed then.
    ///
    /// ```
    /// use sconce::compress::Amount;
    /// use sconce::nn::{Layer, Linear, ReLU, Sequential, prune};
    /// use sconce::optim::{AdamW, Optimizer};
    /// use sconce::{DType, Tensor};
    ///
    /// let mut net = Sequential::new().add(Linear::new(4, 8)?).add(ReLU).add(Linear::new(8, 2)?);
    /// let x = Tensor::randn([3, 4], DType::F32)?;
    /// prune::ln_channels(&mut net, "0.weight", Amount::Count(2), 2.0, |net| net.forward(&x))?;
    /// let mut optimizer = Optimizer::new(&net, AdamW::default())?;
    /// net.forward(&x)?.sum(())?.backward()?;
    /// optimizer.step()?;
    ///
    /// let shrunk = prune::shrink(&mut net, |net| net.forward(&x))?;
    /// assert!(optimizer.step().is_err());
    /// optimizer.follow(&shrunk)?;
    /// optimizer.zero_grad();
    /// net.forward(&x)?.sum(())?.backward()?;
    /// optimizer.step()?;
    /// assert_eq!(optimizer.state_dict()?.state[0].1.get("exp_avg")?.shape()[0], 6);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn follow(&mut self, shrunk: &Shrunk) -> Result<()> {
        let mut states = Vec::new();
        for Group { rule, slots, .. } in &self.groups {
            for slot in slots {
                let old = &slot.parameter.tensor;
                let restored = match (shrunk.moved(old), &slot.state) {
                    (Some(new), Some(state)) => {
                        let state = state.state_dict().into_iter();
                        let cut = state.map(|(name, buffer)| Ok((name, new.cut(&buffer, old.shape())?)));
                        let cut = cut.collect::<Result<StateDict>>().context(|| slot.name().to_owned())?;
                        Some(rule.restore(&new.tensor, &cut).context(|| slot.name().to_owned())?)
                    }
                    _ => None,
                };
                states.push(restored);
            }
        }
        let slots = self.groups.iter_mut().flat_map(|group| &mut group.slots);
        for (slot, state) in slots.zip(states) {
            if let Some(new) = shrunk.moved(&slot.parameter.tensor) {
                slot.parameter = Named { names: new.names.clone(), tensor: new.tensor.clone() };
                slot.state = state;
            }
        }
        Ok(())
    }

    /// Drops the gradients of all parameters.
    pub fn zero_grad(&self) {
        for slot in self.groups.iter().flat_map(|group| &group.slots) {
            slot.parameter.tensor.zero_grad();
        }
    }

    /// A copy of what the optimiser remembers, in PyTorch's structure.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn state_dict(&self) -> Result<OptimizerState> {
        let mut saved = OptimizerState::default();
        let mut number = 0;
        for group in &self.groups {
            let first = number;
            for slot in &group.slots {
                let state = slot.state.as_ref().map(ModuleExt::state_dict).unwrap_or_default();
                if !state.is_empty() {
                    saved.state.push((number, copied(state)?));
                }
                number += 1;
            }
            let options = group.rule.options().into_iter().map(|(name, value)| (name.to_owned(), value));
            saved.param_groups.push(GroupState {
                options: options.chain(group.others.iter().cloned()).collect(),
                params: (first..number).collect(),
            });
        }
        Ok(saved)
    }

    /// Goes on from what another optimiser of the same parameters remembered: its options and buffers replace those
    /// here, the buffers converted to the dtype of their parameter.
    ///
    /// Options that the rule does not know are kept and written again.
    ///
    /// # Errors
    ///
    /// If groups or parameters differ in number, an option is of the wrong kind or outside its range, or a buffer
    /// does not fit its parameter. Nothing is changed then.
    pub fn load_state_dict(&mut self, saved: &OptimizerState) -> Result<()> {
        let loaded = self.read(saved).context(|| format!("load_state_dict: {}", R::NAME))?;
        for (group, (rule, others, states)) in self.groups.iter_mut().zip(loaded) {
            group.rule = rule;
            group.others = others;
            for (slot, state) in group.slots.iter_mut().zip(states) {
                slot.state = state;
            }
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "one group each: rule, other options, states")]
    fn read(&self, saved: &OptimizerState) -> Result<Vec<(R, Vec<(String, Value)>, Vec<Option<R::State>>)>> {
        if saved.param_groups.len() != self.groups.len() {
            return Err(Error::load(format!(
                "expected {} groups, found {}",
                self.groups.len(),
                saved.param_groups.len()
            )));
        }
        let buffers: HashMap<usize, &StateDict> = saved.state.iter().map(|(i, state)| (*i, state)).collect();
        let mut used = 0;
        let mut loaded = Vec::new();
        for (g, (group, from)) in self.groups.iter().zip(&saved.param_groups).enumerate() {
            if from.params.len() != group.slots.len() {
                return Err(Error::load(format!(
                    "group {g}: expected {} parameters, found {}",
                    group.slots.len(),
                    from.params.len()
                )));
            }
            let mut rule = group.rule.clone();
            let mut others = Vec::new();
            for (name, value) in &from.options {
                if !rule.set_option(name, value).context(|| format!("group {g}: {name}"))? {
                    others.push((name.clone(), value.clone()));
                }
            }
            rule.validate().context(|| format!("group {g}"))?;
            let mut states = Vec::new();
            for (slot, number) in group.slots.iter().zip(&from.params) {
                let state = buffers.get(number);
                used += usize::from(state.is_some());
                let restored = state.map(|state| rule.restore(&slot.parameter.tensor, state));
                states.push(restored.transpose().context(|| slot.name().to_owned())?);
            }
            loaded.push((rule, others, states));
        }
        if used != buffers.len() || buffers.len() != saved.state.len() {
            return Err(Error::load(format!(
                "{} states, of which {used} belong to a parameter of a group",
                saved.state.len()
            )));
        }
        Ok(loaded)
    }
}

impl<S: Module> Slot<S> {
    pub(super) fn name(&self) -> &str {
        &self.parameter.names[0]
    }

    fn update<R: Rule<State = S>>(&mut self, rule: &R, grad: &Tensor) -> Result<()> {
        let tensor = &self.parameter.tensor;
        let mut state = match self.state.take() {
            Some(state) => state,
            None => rule.init(tensor)?,
        };
        let result = rule.update(tensor, grad, &mut state);
        self.state = Some(state);
        result
    }
}

fn candidates<S>(slot: &Slot<S>) -> impl Iterator<Item = Candidate<'_>> {
    let tensor = &slot.parameter.tensor;
    slot.parameter.names.iter().map(|path| Candidate {
        path,
        kind: Some(Kind::Param),
        dtype: tensor.dtype(),
        shape: tensor.shape(),
        trainable: Some(tensor.requires_grad()),
    })
}

impl<R: Rule> fmt::Debug for Group<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.parameters().map(|(name, _)| name).collect();
        f.debug_struct("Group").field("rule", &self.rule).field("parameters", &names).finish_non_exhaustive()
    }
}

impl<R: Rule> fmt::Debug for Optimizer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Optimizer").field("groups", &self.groups).finish_non_exhaustive()
    }
}
