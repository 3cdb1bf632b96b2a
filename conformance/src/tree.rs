//! Modules built from a case's description.

use sconce::Tensor;
use sconce::nn::{Buffer, LeafMut, Module, ModuleExt, Param};
use serde_json::Value as Json;

use crate::args::Args;
use crate::case::{pairs_of, str_of};
use crate::layers;
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::program::{Program, Scope};
use crate::registry::Call;
use crate::signatures::Signatures;
use crate::store::unsigned;
use crate::tensors::{Inputs, Val};

/// A module of the library, as a case calls it.
pub(crate) trait Forward: Module {
    /// The names of the forward's parameters, in the notation of `signatures.json`.
    fn takes(&self) -> &'static [&'static str] {
        &["input"]
    }

    /// Calls the forward.
    fn forward(&self, args: &Call) -> Result<Val, Stop>;
}

/// A module of a tree.
pub(crate) enum Node {
    /// One of the library's.
    Library(Box<dyn Forward>),
    /// A container, or a module of the user's.
    Written(Written),
}

/// A module that a case describes field by field.
#[derive(Default)]
pub(crate) struct Written {
    parameters: Vec<(String, Option<Param>)>,
    buffers: Vec<(String, Buffer)>,
    children: Vec<(String, Node)>,
    forward: Body,
}

/// What a written module computes.
#[derive(Default)]
enum Body {
    /// Nothing: it is a list or a dict.
    #[default]
    None,
    /// Its children, one after the other.
    Chain,
    Program(Program),
}

impl Node {
    /// Builds the module of a node.
    pub(crate) fn build(json: &Json, inputs: &Inputs<'_>) -> Result<Self, Stop> {
        if json.get("same_module").is_some() {
            return unsupported("one module at two paths".into());
        }
        let class = str_of(json, "class")?;
        let forward = match class {
            "nn.Sequential" => Body::Chain,
            "Module" => Body::Program(Program::parse(&json["forward"])?),
            "nn.ModuleList" | "nn.ModuleDict" | "nn.ParameterList" | "nn.ParameterDict" => Body::None,
            "nn.TransformerEncoder" | "nn.TransformerDecoder" => {
                return layers::transformer::stack(class, json, inputs).map(Self::Library);
            }
            _ => {
                let args = inputs.args(json)?;
                let kwargs = inputs.kwargs(json, "kwargs")?;
                return Self::library(class, &args, &kwargs);
            }
        };
        let mut written = Written { forward, ..Written::default() };
        if json.get("parameters").is_some() {
            let mut pairs = pairs_of(json, "parameters")?;
            if class == "nn.ParameterDict" {
                // It is made of a dict, whose keys PyTorch sorts.
                pairs.sort_by_key(|(name, _)| *name);
            }
            for (name, shape) in pairs {
                written
                    .parameters
                    .push((name.to_owned(), zeros(shape)?.map(|t| Param::new(&t)).transpose()?));
            }
        }
        if json.get("buffers").is_some() {
            for (name, shape) in pairs_of(json, "buffers")? {
                let Some(zeros) = zeros(shape)? else { return wrong(format!("buffer {name} has no shape")) };
                let persistent = shape["persistent"] != false;
                let buffer = if persistent { Buffer::new(&zeros) } else { Buffer::transient(&zeros) };
                written.buffers.push((name.to_owned(), buffer));
            }
        }
        if json.get("children").is_some() {
            for (name, child) in pairs_of(json, "children")? {
                written.children.push((name.to_owned(), Self::build(child, inputs)?));
            }
        }
        Ok(Self::Written(written))
    }

    /// Builds a module of the library.
    pub(crate) fn library(class: &str, args: &[Val], kwargs: &[(String, Val)]) -> Result<Self, Stop> {
        let Some(row) = layers::find(class) else { return unsupported(format!("no module {class}")) };
        let args = Args::bind_names(row.parameters, args, kwargs)?;
        let module = (row.build)(&args);
        match args.unused() {
            Some(argument) if !matches!(module, Err(Stop::Unsupported(_))) => unsupported(argument),
            _ => module.map(Self::Library),
        }
    }

    /// Calls the module.
    pub(crate) fn call(
        &self,
        signatures: &Signatures,
        args: &[Val],
        kwargs: &[(String, Val)],
    ) -> Result<Val, Stop> {
        match self {
            Self::Library(module) => {
                let args = Args::bind_names(module.takes(), args, kwargs)?;
                let result = module.forward(&args);
                match args.unused() {
                    Some(argument) if !matches!(result, Err(Stop::Unsupported(_))) => unsupported(argument),
                    _ => result,
                }
            }
            Self::Written(written) => match &written.forward {
                Body::None => wrong("a container is called".into()),
                Body::Chain => {
                    let [x] = args else { return wrong(format!("{} arguments", args.len())) };
                    written
                        .children
                        .iter()
                        .try_fold(x.clone(), |x, (name, child)| child.call(signatures, &[x], &[]).at(name))
                }
                Body::Program(program) => program.run(signatures, &Fields { written, signatures }, args),
            },
        }
    }
}

/// Makes two parameters one: the one at `path` becomes the one at `source`.
pub(crate) fn tie(root: &mut Node, path: &str, source: &str) -> Result<(), Stop> {
    let source = root.get_parameter(source)?;
    if !set_parameter(root, path, &source) {
        return wrong(format!("no parameter {path:?} to tie"));
    }
    Ok(())
}

fn set_parameter(module: &mut dyn Module, path: &str, value: &Param) -> bool {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let mut done = false;
    module.fields_mut(&mut |name, field| {
        if name == head {
            done = match (rest, field.leaf_mut()) {
                (None, Some(LeafMut::Param(p))) => {
                    *p = value.clone();
                    true
                }
                (Some(rest), None) => set_parameter(field, rest, value),
                _ => false,
            };
        }
    });
    done
}

/// The module whose forward runs.
struct Fields<'a> {
    written: &'a Written,
    signatures: &'a Signatures,
}

impl Scope for Fields<'_> {
    fn call(&self, path: &str, args: &[Val], kwargs: &[(String, Val)]) -> Result<Val, Stop> {
        let mut written = self.written;
        let mut rest = path;
        loop {
            let (head, tail) = rest.split_once('.').map_or((rest, None), |(head, tail)| (head, Some(tail)));
            match (written.children.iter().find(|(name, _)| name == head), tail) {
                (Some((_, child)), None) => return child.call(self.signatures, args, kwargs),
                (Some((_, Node::Written(child))), Some(tail)) => (written, rest) = (child, tail),
                _ => return wrong("no such child".into()),
            }
        }
    }

    fn param(&self, path: &str) -> Result<Tensor, Stop> {
        match self.written.get_parameter(path) {
            Ok(parameter) => Ok(parameter.tensor().clone()),
            Err(_) => Ok(self.written.get_buffer(path)?.tensor().clone()),
        }
    }
}

/// Zeros of a description's shape; `None` where it is null.
fn zeros(json: &Json) -> Result<Option<Tensor>, Stop> {
    if json["shape"].is_null() {
        return Ok(None);
    }
    let shape = unsigned(&json["shape"]).ok_or_else(|| Stop::Wrong("malformed shape".into()))?;
    Ok(Some(Tensor::zeros(shape, sconce::DType::F32)?))
}

impl Module for Node {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        match self {
            Self::Library(module) => module.fields(f),
            Self::Written(written) => written.fields(f),
        }
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        match self {
            Self::Library(module) => module.fields_mut(f),
            Self::Written(written) => written.fields_mut(f),
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Library(module) => module.type_name(),
            Self::Written(written) => written.type_name(),
        }
    }
}

impl Module for Written {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        self.parameters.iter().for_each(|(name, p)| f(name, p));
        self.buffers.iter().for_each(|(name, b)| f(name, b));
        self.children.iter().for_each(|(name, c)| f(name, c));
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        self.parameters.iter_mut().for_each(|(name, p)| f(name, p));
        self.buffers.iter_mut().for_each(|(name, b)| f(name, b));
        self.children.iter_mut().for_each(|(name, c)| f(name, c));
    }

    fn type_name(&self) -> &'static str {
        "Written"
    }
}
