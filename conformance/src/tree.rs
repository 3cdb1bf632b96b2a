//! Modules built from a case's description.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

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
    /// One that is at several paths, with what these have in common.
    Shared(Arc<()>, Box<Node>),
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

/// What the nodes of a tree have in common while it is built.
struct Builder<'a> {
    root: &'a Json,
    inputs: &'a Inputs<'a>,
    /// The paths of modules that are at others, too.
    shared: HashMap<&'a str, Arc<()>>,
    /// Such another path, and the first.
    repeated: Vec<(String, &'a str)>,
}

impl<'a> Builder<'a> {
    fn find_shared(&mut self, json: &'a Json) {
        if let Some(source) = json["same_module"].as_str() {
            self.shared.entry(source).or_default();
        }
        for child in json["children"].as_array().into_iter().flatten() {
            self.find_shared(&child[1]);
        }
    }

    fn at(&self, path: &str) -> Option<&'a Json> {
        path.split('.').try_fold(self.root, |json, name| {
            let children = json["children"].as_array()?;
            children.iter().find(|child| child[0] == name).map(|child| &child[1])
        })
    }

    fn node(&mut self, json: &'a Json, path: &str) -> Result<Node, Stop> {
        if let Some(source) = json["same_module"].as_str() {
            let first = self.at(source).ok_or_else(|| Stop::Wrong(format!("no module {source:?}")))?;
            self.repeated.push((path.to_owned(), source));
            let identity = self.shared.get(source).cloned().unwrap_or_default();
            return Ok(Node::Shared(identity, Box::new(self.plain(first, path)?)));
        }
        let node = self.plain(json, path)?;
        Ok(match self.shared.get(path) {
            Some(identity) => Node::Shared(identity.clone(), Box::new(node)),
            None => node,
        })
    }

    fn plain(&mut self, json: &'a Json, path: &str) -> Result<Node, Stop> {
        let inputs = self.inputs;
        let class = str_of(json, "class")?;
        let forward = match class {
            "nn.Sequential" => Body::Chain,
            "Module" => Body::Program(Program::parse(&json["forward"])?),
            "nn.ModuleList" | "nn.ModuleDict" | "nn.ParameterList" | "nn.ParameterDict" => Body::None,
            "nn.TransformerEncoder" | "nn.TransformerDecoder" => {
                return layers::transformer::stack(class, json, inputs).map(Node::Library);
            }
            _ => {
                let args = inputs.args(json)?;
                let kwargs = inputs.kwargs(json, "kwargs")?;
                return Node::library(class, &args, &kwargs);
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
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                written.children.push((name.to_owned(), self.node(child, &path)?));
            }
        }
        Ok(Node::Written(written))
    }
}

impl Node {
    /// Builds the module of a node.
    pub(crate) fn build(json: &Json, inputs: &Inputs<'_>) -> Result<Self, Stop> {
        let mut builder = Builder { root: json, inputs, shared: HashMap::new(), repeated: Vec::new() };
        builder.find_shared(json);
        let mut root = builder.node(json, "")?;
        for (path, source) in builder.repeated {
            let prefix = format!("{source}.");
            let names = |all: Vec<String>| -> Vec<String> {
                all.iter().filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned)).collect()
            };
            let parameters = names(root.named_parameters().into_iter().map(|(name, _)| name).collect());
            for name in parameters {
                tie(&mut root, &format!("{path}.{name}"), &format!("{prefix}{name}"))?;
            }
            for name in names(root.named_buffers().into_iter().map(|(name, _)| name).collect()) {
                let buffer = root.get_buffer(&format!("{prefix}{name}"))?;
                let set = |leaf: LeafMut<'_>| {
                    if let LeafMut::Buffer(to) = leaf {
                        *to = buffer.clone();
                    }
                };
                set_leaf(&mut root, &format!("{path}.{name}"), &set);
            }
        }
        Ok(root)
    }

    /// Builds a module of the library.
    pub(crate) fn library(class: &str, args: &[Val], kwargs: &[(String, Val)]) -> Result<Self, Stop> {
        let Some(row) = layers::find(class) else { return unsupported(format!("no module {class}")) };
        let args = Args::bind_names(row.parameters, args, kwargs)?;
        let module = (row.build)(&args);
        match args.unused() {
            // A refusal may come before the rest of the arguments is read.
            Some(argument) if module.is_ok() => unsupported(argument),
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
            Self::Shared(_, node) => node.call(signatures, args, kwargs),
            Self::Library(module) => {
                let args = Args::bind_names(module.takes(), args, kwargs)?;
                let result = module.forward(&args);
                match args.unused() {
                    Some(argument) if result.is_ok() => unsupported(argument),
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
    let done = Cell::new(false);
    set_leaf(module, path, &|leaf| {
        if let LeafMut::Param(parameter) = leaf {
            *parameter = value.clone();
            done.set(true);
        }
    });
    done.get()
}

/// Calls a function with the leaf at a path, if there is one.
fn set_leaf(module: &mut dyn Module, path: &str, set: &dyn Fn(LeafMut<'_>)) {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    module.fields_mut(&mut |name, field| {
        if name == head {
            match (rest, field.leaf_mut()) {
                (None, Some(leaf)) => set(leaf),
                (Some(rest), None) => set_leaf(field, rest, set),
                _ => {}
            }
        }
    });
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
            let mut child = written.children.iter().find(|(name, _)| name == head).map(|(_, child)| child);
            while let Some(Node::Shared(_, inner)) = child {
                child = Some(inner);
            }
            match (child, tail) {
                (Some(child), None) => return child.call(self.signatures, args, kwargs),
                (Some(Node::Written(child)), Some(tail)) => (written, rest) = (child, tail),
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
            Self::Shared(_, node) => node.fields(f),
            Self::Library(module) => module.fields(f),
            Self::Written(written) => written.fields(f),
        }
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        match self {
            Self::Shared(_, node) => node.fields_mut(f),
            Self::Library(module) => module.fields_mut(f),
            Self::Written(written) => written.fields_mut(f),
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Shared(_, node) => node.type_name(),
            Self::Library(module) => module.type_name(),
            Self::Written(written) => written.type_name(),
        }
    }

    fn identity(&self) -> Option<usize> {
        match self {
            Self::Shared(identity, _) => Some(Arc::as_ptr(identity) as usize),
            _ => None,
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
