//! What every module can do.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::file::{self, LoadOptions};
use super::leaf::{Buffer, Mode, Param};
use super::load::{self, DTypes, LoadReport, Strictness};
use super::module::{Leaf, LeafMut, Module};
use super::state_dict::StateDict;
use super::summary::Summary;
use super::walk::{Identities, Item, Want, each_declared, walk, walk_mut};
use crate::select::near::did_you_mean;
use crate::select::{Candidate, IntoSelector, Kind, Selection};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result, no_grad};

/// What every module can do: list, find, freeze, load, convert.
///
/// Implemented for all modules, `dyn Module` and `dyn Layer` too. Order is PyTorch's: modules in pre-order, of each its
/// own parameters, in the order of declaration, before those of its children. A parameter that several fields share is
/// listed once, under its first name, except by [`state_dict`](Self::state_dict), which has every name.
pub trait ModuleExt: Module {
    /// Names and parameters, each parameter once.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt};
    ///
    /// let layers = vec![Linear::new(4, 3)?, Linear::new(3, 2)?];
    /// for (name, parameter) in layers.named_parameters() {
    ///     println!("{name} {:?}", parameter.shape());
    /// }
    /// assert_eq!(layers.named_parameters()[2].0, "1.weight");
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn named_parameters(&self) -> Vec<(String, Param)> {
        let mut list = Vec::new();
        let mut shared = false;
        each_parameter(self.as_module(), &mut |path, parameter| {
            // A parameter with one handle cannot be tied.
            shared |= !parameter.is_unique();
            list.push((path.to_owned(), parameter.clone()));
        });
        if shared {
            let mut seen = Identities::with_capacity_and_hasher(list.len(), Default::default());
            list.retain(|(_, parameter)| seen.insert(parameter.id()));
        }
        for (path, parameter) in &list {
            parameter.set_label(path);
        }
        list
    }

    /// The parameters, each once.
    fn parameters(&self) -> Vec<Param> {
        self.named_parameters().into_iter().map(|(_, parameter)| parameter).collect()
    }

    /// Names and buffers, each buffer once, those outside the state dict as well.
    fn named_buffers(&self) -> Vec<(String, Buffer)> {
        let mut seen = Identities::default();
        let mut list = Vec::new();
        each_leaf(self.as_module(), &mut |path, leaf| {
            if let Leaf::Buffer(buffer) = leaf
                && seen.insert(buffer.id())
            {
                list.push((path.to_owned(), buffer.clone()));
            }
        });
        list
    }

    /// The buffers, each once.
    fn buffers(&self) -> Vec<Buffer> {
        self.named_buffers().into_iter().map(|(_, buffer)| buffer).collect()
    }

    /// Paths and modules, this one first, under the empty path; one that is [`Shared`](super::Shared) by several places
    /// at the first.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt, ReLU, Sequential};
    ///
    /// let net = Sequential::new().add(Linear::new(2, 2)?).add(ReLU);
    /// let modules: Vec<_> =
    ///     net.named_modules().into_iter().map(|(path, m)| (path, m.type_name())).collect();
    /// assert_eq!(
    ///     modules,
    ///     [("".into(), "Sequential"), ("0".to_string(), "Linear"), ("1".into(), "ReLU")]
    /// );
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn named_modules(&self) -> Vec<(String, &dyn Module)> {
        let mut list = Vec::new();
        let mut seen = Identities::default();
        let mut repeated: Option<String> = None;
        walk(self.as_module(), Want::Params, &mut |path, item| {
            let Item::Module(module) = item else { return };
            let within = |top: &String| path.strip_prefix(top).is_some_and(|rest| rest.starts_with('.'));
            if repeated.as_ref().is_some_and(within) {
                return;
            }
            let first = module.identity().is_none_or(|identity| seen.insert(identity));
            repeated = (!first).then(|| path.to_owned());
            if first {
                list.push((path.to_owned(), module));
            }
        });
        list
    }

    /// Names and modules one level below this one.
    fn named_children(&self) -> Vec<(String, &dyn Module)> {
        self.named_modules().into_iter().filter(|(path, _)| !path.is_empty() && !path.contains('.')).collect()
    }

    /// Every parameter and persistent buffer under every name it has, sharing memory with this module.
    fn state_dict(&self) -> StateDict {
        let mut state = StateDict::new();
        each_leaf(self.as_module(), &mut |path, leaf| {
            if let Some(tensor) = load::saved(&leaf) {
                state.insert(path, tensor.detach());
            }
        });
        state
    }

    /// Copies the tensors of a state dict over this module's, in place: ties and optimisers stay valid.
    ///
    /// Values are converted to the dtype that is here. A parameter with several names needs only one of them, a
    /// difference from PyTorch: files of some formats hold each tensor once.
    ///
    /// # Errors
    ///
    /// As [`Strictness`] says. All faults are found before anything is changed, and the error lists them all. Loading
    /// nothing is an error too. Only if another thread holds a parameter so long that the copy gives up
    /// ([`Busy`](crate::ErrorKind::Busy)), those before it are loaded.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt, Strictness};
    ///
    /// let (a, b) = (Linear::new(4, 3)?, Linear::new(4, 3)?);
    /// let report = b.load_state_dict(&a.state_dict(), Strictness::Strict)?;
    /// assert_eq!(report.loaded, ["weight", "bias"]);
    ///
    /// let error = Linear::new(4, 2)?.load_state_dict(&a.state_dict(), Strictness::Strict).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "load_state_dict: 2 of another shape or dtype: weight (here [2, 4] float32, given [3, 4] float32), \
    ///      bias (here [2] float32, given [3] float32)"
    /// );
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn load_state_dict(&self, state: &StateDict, how: Strictness) -> Result<LoadReport> {
        load::load(self.as_module(), state, how, DTypes::Convert)
    }

    /// Copies the tensors of a file, of any format, over this module's, as [`load_state_dict`](Self::load_state_dict)
    /// does.
    ///
    /// # Errors
    ///
    /// As there, also if the file cannot be read; in one line that begins with the path. Names, shapes, dtypes and checksums
    /// are verified before anything is changed; then the values are read straight to their places, without another copy
    /// in memory. If the system fails to read the file then, a part of them is loaded.
    ///
    /// ```
    /// use sconce::nn::{Linear, LoadOptions, ModuleExt, Strictness};
    ///
    /// let path = std::env::temp_dir().join(format!("sconce-doc-module-{}.pt", std::process::id()));
    /// let trained = vec![Linear::new(4, 3)?];
    /// trained.save(&path)?;
    ///
    /// let again = vec![Linear::new(4, 3)?];
    /// assert_eq!(again.load(&path, Strictness::Strict)?.loaded, ["0.weight", "0.bias"]);
    /// let layer = Linear::new(4, 3)?;
    /// layer.load(&path, LoadOptions { prefix: "0".into(), ..LoadOptions::default() })?;
    /// assert_eq!(layer.weight.to_vec::<f32>()?, trained[0].weight.to_vec::<f32>()?);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn load(&self, path: impl AsRef<Path>, options: impl Into<LoadOptions>) -> Result<LoadReport> {
        file::load(self.as_module(), path.as_ref(), &options.into())
    }

    /// Writes the state dict to a file, in the format that the path's extension names.
    ///
    /// # Errors
    ///
    /// As [`io::save`](crate::io::save); also if there is nothing to save.
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        file::save(self.as_module(), path.as_ref())
    }

    /// The parameter of a path.
    ///
    /// # Errors
    ///
    /// If there is none; the message says which path is near.
    fn get_parameter(&self, path: &str) -> Result<Param> {
        let mut names = Vec::new();
        let mut found = None;
        each_parameter(self.as_module(), &mut |name, parameter| {
            if name == path {
                found = Some(parameter.clone());
            } else if found.is_none() {
                names.push(name.to_owned());
            }
        });
        found.ok_or_else(|| {
            let mut computed = false;
            each_declared(self.as_module(), &mut String::new(), &mut |name, parameter| {
                computed |= name == path && parameter.form().is_some();
            });
            if computed {
                Error::not_found(format!(
                    "`{path}` is computed from other parameters, since it is pruned or parametrised: list them by name"
                ))
            } else {
                unknown("parameter", path, &names)
            }
        })
    }

    /// The buffer of a path.
    ///
    /// # Errors
    ///
    /// If there is none; the message says which path is near.
    fn get_buffer(&self, path: &str) -> Result<Buffer> {
        let buffers = self.named_buffers();
        let names: Vec<String> = buffers.iter().map(|(name, _)| name.clone()).collect();
        let found = buffers.into_iter().find(|(name, _)| name == path);
        found.map(|(_, buffer)| buffer).ok_or_else(|| unknown("buffer", path, &names))
    }

    /// The module of a path; the empty path is this one.
    ///
    /// # Errors
    ///
    /// If there is none; the message says which path is near.
    fn get_submodule(&self, path: &str) -> Result<&dyn Module> {
        let modules = self.named_modules();
        match modules.iter().find(|(name, _)| name == path) {
            Some((_, module)) => Ok(*module),
            None => {
                let names: Vec<String> = modules.into_iter().map(|(name, _)| name).collect();
                Err(unknown("module", path, &names))
            }
        }
    }

    /// Asks for gradients of all parameters, or no more.
    ///
    /// # Errors
    ///
    /// If gradients are asked of a parameter that is not floating point.
    fn requires_grad_(&self, requires_grad: bool) -> Result<()> {
        for (name, parameter) in self.named_parameters() {
            parameter.tensor().requires_grad_(requires_grad).context(|| name)?;
        }
        Ok(())
    }

    /// Parameters and buffers that a selector picks, under every name they have.
    ///
    /// # Errors
    ///
    /// If the selector cannot be parsed or picks nothing.
    fn select(&self, selector: impl IntoSelector) -> Result<Selection> {
        select(self.as_module(), selector, true)
    }

    /// Names and parameters that a selector picks, each parameter once: for what takes a list of parameters, such as
    /// [`clip_grad_norm_`](crate::optim::clip_grad_norm_) or
    /// [`parameters_to_vector`](crate::optim::parameters_to_vector).
    ///
    /// # Errors
    ///
    /// If the selector cannot be parsed or picks no parameter.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt};
    /// use sconce::optim::parameters_to_vector;
    ///
    /// let layers = vec![Linear::new(4, 3)?, Linear::new(3, 2)?];
    /// assert_eq!(parameters_to_vector(layers.selected_parameters("**.bias")?)?.shape(), [5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn selected_parameters(&self, selector: impl IntoSelector) -> Result<Vec<(String, Param)>> {
        let selection = select(self.as_module(), selector, false)?;
        let picked: HashSet<&str> = selection.names().iter().map(String::as_str).collect();
        let mut seen = Identities::default();
        let mut list = Vec::new();
        each_parameter(self.as_module(), &mut |path, parameter| {
            if picked.contains(path) && seen.insert(parameter.id()) {
                list.push((path.to_owned(), parameter.clone()));
            }
        });
        Ok(list)
    }

    /// Names and tensors that a selector picks, parameters and buffers, sharing memory with this module: what
    /// [`export`](Self::export) writes, to go on with in memory.
    ///
    /// # Errors
    ///
    /// If the selector cannot be parsed or picks nothing.
    ///
    /// ```
    /// use sconce::nn::{BatchNorm1d, Linear, ModuleExt};
    ///
    /// let layers = (Linear::new(4, 3)?, BatchNorm1d::new(3)?);
    /// let running = layers.selected_state("**.running_*")?;
    /// assert_eq!(running.names().collect::<Vec<_>>(), ["1.running_mean", "1.running_var"]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ///
    /// With the feature `ndarray`, `tensor.to_ndarray::<f32>()` makes an array of each.
    fn selected_state(&self, selector: impl IntoSelector) -> Result<StateDict> {
        Ok(picked(self.as_module(), &select(self.as_module(), selector, true)?))
    }

    /// Writes what a selector picks, parameters and buffers, to a file, in the format that the path's extension names: those
    /// of [`save`](Self::save) (`.pt`, `.safetensors`, `.npz`, …; `.npy` for a single tensor), and `.csv` and `.json` for
    /// other programs.
    ///
    /// A `.csv` has a line per element with the columns `name`, `index` (one number per dimension, separated by spaces) and
    /// `value`. A `.json` is an object of names, each with `dtype`, `shape` and flat `data`, NaN and infinities as strings.
    ///
    /// # Errors
    ///
    /// If the selector cannot be parsed or picks nothing, the format cannot hold a tensor, or the system refuses; an old
    /// file then stays.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt, init};
    ///
    /// let layer = Linear::new(2, 1)?;
    /// init::constant_(&layer.weight, 0.1)?;
    /// let path = std::env::temp_dir().join(format!("sconce-doc-export-{}.csv", std::process::id()));
    /// layer.export("weight", &path)?;
    /// assert_eq!(std::fs::read_to_string(&path)?, "name,index,value\nweight,0 0,0.1\nweight,0 1,0.1\n");
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn export(&self, selector: impl IntoSelector, path: impl AsRef<Path>) -> Result<Selection> {
        let selection = select(self.as_module(), selector, true)?;
        file::export(&picked(self.as_module(), &selection), path.as_ref())?;
        Ok(selection)
    }

    /// Stops training what a selector picks; its gradients are dropped, so that no optimiser changes it.
    ///
    /// # Errors
    ///
    /// If the selector cannot be parsed or picks no parameter.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt};
    ///
    /// let layers = vec![Linear::new(4, 3)?, Linear::new(3, 2)?];
    /// let frozen = layers.freeze("0.**")?;
    /// assert_eq!(frozen.names(), ["0.weight", "0.bias"]);
    /// assert!(!layers[0].weight.requires_grad() && layers[1].weight.requires_grad());
    /// assert_eq!(
    ///     layers.freeze("0").unwrap_err().to_string(),
    ///     "selector `0` matches none of 4 names; for all below `0` write `0.**`"
    /// );
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn freeze(&self, selector: impl IntoSelector) -> Result<Selection> {
        set_trained(self.as_module(), selector, false)
    }

    /// Trains what a selector picks.
    ///
    /// # Errors
    ///
    /// As [`freeze`](Self::freeze); also if a parameter is not floating point.
    fn unfreeze(&self, selector: impl IntoSelector) -> Result<Selection> {
        set_trained(self.as_module(), selector, true)
    }

    /// Drops the gradients of all parameters.
    fn zero_grad(&self) {
        each_parameter(self.as_module(), &mut |_, parameter| parameter.tensor().zero_grad());
    }

    /// Puts this module and all below it in training mode.
    fn train(&mut self) {
        set_mode(self.as_module_mut(), Mode::Train);
    }

    /// Puts this module and all below it in evaluation mode.
    fn eval(&mut self) {
        set_mode(self.as_module_mut(), Mode::Eval);
    }

    /// Calls a function with the path and the module of everything in this tree, children before their parents, as
    /// PyTorch's `apply` does.
    ///
    /// # Errors
    ///
    /// The first that the function returns.
    ///
    /// ```
    /// use sconce::nn::{Linear, ModuleExt, init};
    ///
    /// let net = vec![Linear::new(4, 3)?, Linear::new(3, 2)?];
    /// net.apply(|_, module| match module.type_name() {
    ///     "Linear" => module.get_parameter("bias").and_then(|bias| init::zeros_(&bias)),
    ///     _ => Ok(()),
    /// })?;
    /// assert_eq!(net[0].bias.as_ref().unwrap().to_vec::<f32>()?, [0.0; 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn apply(&self, mut f: impl FnMut(&str, &dyn Module) -> Result<()>) -> Result<()> {
        let modules = self.named_modules();
        // Pre-order to post-order: a module comes when everything below it, which follows it, is done.
        let mut open: Vec<usize> = Vec::new();
        for i in 0..=modules.len() {
            let depth = modules.get(i).map_or(0, |(path, _)| depth(path));
            while let Some(&last) = open.last()
                && self::depth(&modules[last].0) >= depth
            {
                let (path, module) = &modules[last];
                f(path, *module).context(|| path.as_str())?;
                open.pop();
            }
            open.push(i);
        }
        Ok(())
    }

    /// Converts all floating point parameters, their gradients and buffers to a dtype.
    ///
    /// Other tensors, such as counters, stay. Tied parameters stay tied. Converted tensors are new ones: build
    /// optimisers afterwards (unlike PyTorch, where they go on with the converted parameters). Nothing is changed on
    /// an error.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point or only stored.
    ///
    /// ```
    /// use sconce::DType;
    /// use sconce::nn::{Linear, ModuleExt};
    ///
    /// let mut layer = Linear::new(4, 3)?;
    /// layer.to(DType::F64)?;
    /// assert_eq!(layer.weight.dtype(), DType::F64);
    /// assert!(layer.to(DType::I64).is_err());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn to(&mut self, dtype: DType) -> Result<()> {
        super::convert::to(self.as_module_mut(), dtype)
    }

    /// The number of elements of all parameters, each parameter once.
    fn num_parameters(&self) -> usize {
        self.named_parameters().iter().map(|(_, parameter)| parameter.numel()).sum()
    }

    /// A table of the modules and parameters of this tree, to print.
    fn summary(&self) -> Summary {
        Summary::new(self.as_module())
    }

    /// A [`summary`](Self::summary) that also says how many multiplications and additions a forward takes: those of
    /// convolutions and matrix products, also in LSTMs and attention (masked or not), as a pair each, where other tools
    /// count too; an operation of one's own says them by [`Op::mult_adds`](crate::autograd::Op::mult_adds).
    ///
    /// The model is evaluated once, in evaluation mode.
    ///
    /// # Errors
    ///
    /// If the forward fails.
    ///
    /// ```
    /// use sconce::nn::{Conv2d, Flatten, Layer, Linear, ModuleExt, Sequential};
    /// use sconce::{DType, Tensor};
    ///
    /// let mut net =
    ///     Sequential::new().add(Conv2d::new(1, 4, 3)?).add(Flatten::default()).add(Linear::new(144, 10)?);
    /// let x = Tensor::zeros([1, 1, 8, 8], DType::F32)?;
    /// let summary = net.summary_of(|net| net.forward(&x))?;
    /// assert_eq!(summary.mult_adds, Some(4 * 36 * 9 + 144 * 10));
    /// assert!(summary.to_string().contains("2: Linear(in_features=144, out_features=10), 1440 mult-adds"));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    fn summary_of(&mut self, forward: impl Fn(&Self) -> Result<Tensor>) -> Result<Summary> {
        let costs = super::cost::of(self, &forward)?;
        Ok(Summary::new(self.as_module()).with_costs(&costs))
    }
}

impl<M: Module + ?Sized> ModuleExt for M {}

fn depth(path: &str) -> usize {
    if path.is_empty() { 0 } else { 1 + path.bytes().filter(|&b| b == b'.').count() }
}

/// Visits parameters under every name they have.
pub(crate) fn each_parameter<'a>(module: &'a dyn Module, f: &mut dyn FnMut(&str, &'a Param)) {
    walk(module, Want::Params, &mut |path, item| {
        if let Item::Leaf(Leaf::Param(parameter)) = item {
            f(path, parameter);
        }
    });
}

pub(super) fn each_leaf<'a>(module: &'a dyn Module, f: &mut dyn FnMut(&str, Leaf<'a>)) {
    walk(module, Want::Everything, &mut |path, item| {
        if let Item::Leaf(leaf) = item {
            f(path, leaf);
        }
    });
}

/// What a function makes of the parameters and buffers, each once, by the identity of the old; of some it makes nothing.
pub(super) fn remade(
    module: &dyn Module,
    make: impl Fn(&Tensor) -> Result<Option<Tensor>>,
) -> Result<HashMap<usize, Tensor>> {
    let mut made = HashMap::new();
    let mut result = Ok(());
    each_leaf(module, &mut |_, leaf| {
        let tensor = match leaf {
            Leaf::Param(parameter) => parameter.tensor(),
            Leaf::Buffer(buffer) => buffer.tensor(),
            _ => return,
        };
        if result.is_ok() && !made.contains_key(&tensor.id()) {
            result = no_grad(|| make(tensor)).map(|new| made.extend(new.map(|new| (tensor.id(), new))));
        }
    });
    result.map(|()| made)
}

fn select(module: &dyn Module, selector: impl IntoSelector, buffers: bool) -> Result<Selection> {
    let selector = selector.into_selector()?;
    let mut list = Vec::new();
    each_leaf(module, &mut |path, leaf| match leaf {
        Leaf::Param(parameter) => list.push((path.to_owned(), Kind::Param, parameter.tensor())),
        Leaf::Buffer(buffer) if buffers => list.push((path.to_owned(), Kind::Buffer, buffer.tensor())),
        _ => {}
    });
    selector.select(list.iter().map(|(path, kind, tensor)| Candidate {
        path,
        kind: Some(*kind),
        dtype: tensor.dtype(),
        shape: tensor.shape(),
        trainable: Some(tensor.requires_grad()),
    }))
}

/// What a selection of parameters and buffers names.
fn picked(module: &dyn Module, selection: &Selection) -> StateDict {
    let names: HashSet<&str> = selection.names().iter().map(String::as_str).collect();
    let mut state = StateDict::new();
    each_leaf(module, &mut |path, leaf| {
        let tensor = match leaf {
            Leaf::Param(parameter) if names.contains(path) => parameter.detach(),
            Leaf::Buffer(buffer) if names.contains(path) => buffer.detach(),
            _ => return,
        };
        state.insert(path, tensor);
    });
    state
}

fn set_trained(module: &dyn Module, selector: impl IntoSelector, trained: bool) -> Result<Selection> {
    let selection = select(module, selector, false)?;
    let mut names = selection.names().iter().peekable();
    let mut result = Ok(());
    each_parameter(module, &mut |path, parameter| {
        // Both walks have the same order.
        if names.next_if(|name| *name == path).is_some() && result.is_ok() {
            if !trained {
                parameter.tensor().zero_grad();
            }
            result = parameter.tensor().requires_grad_(trained).map(drop).context(|| path);
        }
    });
    result.map(|()| selection)
}

fn set_mode(module: &mut dyn Module, mode: Mode) {
    walk_mut(module, &mut |leaf| {
        if let LeafMut::Mode(m) = leaf {
            *m = mode;
        }
    });
}

fn unknown(what: &str, path: &str, names: &[String]) -> Error {
    let hint = did_you_mean(path, names.iter().map(String::as_str).filter(|name| !name.is_empty()));
    Error::not_found(format!("no {what} `{path}`{hint}"))
}
