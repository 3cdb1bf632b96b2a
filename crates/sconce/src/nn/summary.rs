//! A table of a module, to print.

use std::fmt;

use super::cost::Costs;
use super::module::{Leaf, Module};
use super::walk::{Identities, Item, Want, is_settings, walk};
use crate::tensor::{DType, Dims, Tensor};

/// A table of the modules, parameters and buffers of a tree, like torchinfo's.
///
/// ```
/// use sconce::nn::{Linear, ModuleExt, ReLU, Sequential};
///
/// let net = Sequential::new().add(Linear::new(4, 3)?).add(ReLU);
/// net.freeze("0.bias")?;
/// let summary = net.summary();
/// assert_eq!((summary.parameters, summary.trainable, summary.bytes), (15, 12, 60));
/// assert_eq!(
///     summary.to_string(),
///     "\
/// Sequential
/// ├─ 0: Linear(in_features=4, out_features=3)
/// │  ├─ weight  [3, 4]  float32  12
/// │  └─ bias    [3]     float32   3  frozen
/// └─ 1: ReLU
/// parameters: 15 (12 trainable, 3 frozen), buffers: 0, bytes: 60
/// "
/// );
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// One row per module, parameter and buffer, in the order of the traversal.
    pub rows: Vec<SummaryRow>,
    /// Elements of all parameters, each parameter counted once.
    pub parameters: usize,
    /// Elements of the parameters that require a gradient.
    pub trainable: usize,
    /// Elements of all buffers.
    pub buffers: usize,
    /// Memory of parameters and buffers.
    pub bytes: usize,
    /// Multiplications with their additions of a forward, if they were counted: by
    /// [`summary_of`](super::ModuleExt::summary_of).
    pub mult_adds: Option<u64>,
}

/// A row of a [`Summary`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SummaryRow {
    /// The path; empty for the root.
    pub path: String,
    /// What the row is about.
    pub item: SummaryItem,
}

/// What a row of a [`Summary`] is about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SummaryItem {
    /// A module.
    Module {
        /// The name of its type.
        type_name: &'static str,
        /// Its numbers, flags and strings, as in `in_features=4, out_features=3`.
        settings: String,
        /// Multiplications with their additions that its own parameters take part in, if they were counted.
        mult_adds: u64,
    },
    /// A parameter or a buffer.
    Tensor {
        /// The size of each dimension.
        shape: Dims,
        /// The element type.
        dtype: DType,
        /// "frozen", "buffer", "tied to …" or nothing.
        note: String,
    },
}

impl Summary {
    pub(super) fn new(module: &dyn Module) -> Self {
        let mut this =
            Self { rows: Vec::new(), parameters: 0, trainable: 0, buffers: 0, bytes: 0, mult_adds: None };
        let mut seen = Identities::default();
        walk(module, Want::Everything, &mut |path, item| match item {
            Item::Module(module) => this.rows.push(SummaryRow {
                path: path.to_owned(),
                item: SummaryItem::Module {
                    type_name: module.type_name(),
                    settings: settings(module),
                    mult_adds: 0,
                },
            }),
            Item::Leaf(Leaf::Param(parameter)) => {
                parameter.set_label(path);
                let new = seen.insert(parameter.id());
                let trained = parameter.requires_grad();
                if new {
                    this.parameters += parameter.numel();
                    this.trainable += if trained { parameter.numel() } else { 0 };
                }
                let mut note = String::new();
                if !new {
                    note = format!("tied to {}", parameter.label().unwrap_or_default());
                } else if !trained {
                    note.push_str("frozen");
                }
                this.tensor(path, parameter, new, note);
            }
            Item::Leaf(Leaf::Buffer(buffer)) => {
                let new = seen.insert(buffer.id());
                this.buffers += if new { buffer.numel() } else { 0 };
                this.tensor(path, buffer, new, "buffer".into());
            }
            Item::Leaf(_) => {}
        });
        this
    }

    pub(super) fn with_costs(mut self, costs: &Costs) -> Self {
        self.mult_adds = Some(costs.values().sum());
        for row in &mut self.rows {
            if let (SummaryItem::Module { mult_adds, .. }, Some(&cost)) =
                (&mut row.item, costs.get(&row.path))
            {
                *mult_adds = cost;
            }
        }
        self
    }

    fn tensor(&mut self, path: &str, tensor: &Tensor, new: bool, note: String) {
        if new {
            self.bytes += tensor.numel() * tensor.dtype().size();
        }
        let (shape, dtype) = (tensor.shape().into(), tensor.dtype());
        self.rows
            .push(SummaryRow { path: path.to_owned(), item: SummaryItem::Tensor { shape, dtype, note } });
    }

    /// What stands before the name of each row: the branches of the tree.
    fn branches(&self) -> Vec<String> {
        let depths: Vec<usize> = self.rows.iter().map(|row| depth(&row.path)).collect();
        let mut branches = vec![String::new(); depths.len()];
        // Whether another row of a depth follows under the same parent.
        let mut follows: Vec<bool> = Vec::new();
        for (i, &depth) in depths.iter().enumerate().rev() {
            follows.resize(depth + 1, false);
            for (d, follows) in follows.iter().enumerate().skip(1) {
                branches[i].push_str(match (d == depth, *follows) {
                    (true, true) => "├─ ",
                    (true, false) => "└─ ",
                    (false, true) => "│  ",
                    (false, false) => "   ",
                });
            }
            follows[depth] = true;
        }
        branches
    }
}

fn depth(path: &str) -> usize {
    if path.is_empty() { 0 } else { 1 + path.matches('.').count() }
}

fn settings(module: &dyn Module) -> String {
    let mut list = Vec::new();
    module.fields(&mut |name, field| {
        if let Some(value) = setting(field) {
            list.push(format!("{name}={value}"));
        } else if field.leaf().is_none() && is_settings(field) {
            let mut values = Vec::new();
            field.fields(&mut |_, element| values.extend(setting(element)));
            list.push(format!("{name}=({})", values.join(", ")));
        }
    });
    list.join(", ")
}

fn setting(field: &dyn Module) -> Option<String> {
    match field.leaf()? {
        Leaf::Setting(value) => Some(format!("{value:?}")),
        Leaf::Size(size) => Some(size.to_string()),
        _ => None,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table: Vec<[String; 5]> = Vec::new();
        for (row, branch) in self.rows.iter().zip(self.branches()) {
            let name = row.path.rsplit('.').next().unwrap_or_default();
            table.push(match &row.item {
                SummaryItem::Module { type_name, settings, mult_adds } => {
                    let colon = if name.is_empty() { "" } else { ": " };
                    let settings = if settings.is_empty() { String::new() } else { format!("({settings})") };
                    let cost =
                        if *mult_adds == 0 { String::new() } else { format!(", {mult_adds} mult-adds") };
                    let first = format!("{branch}{name}{colon}{type_name}{settings}{cost}");
                    [first, String::new(), String::new(), String::new(), String::new()]
                }
                SummaryItem::Tensor { shape, dtype, note } => [
                    format!("{branch}{name}"),
                    format!("{shape:?}"),
                    dtype.to_string(),
                    shape.iter().product::<usize>().to_string(),
                    note.clone(),
                ],
            });
        }
        // Modules have one column, which may run on over those of the tensors.
        let tensors = || table.iter().filter(|row| !row[1].is_empty());
        let width = |column: usize| tensors().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        for [name, shape, dtype, count, note] in &table {
            let [w0, w1, w2, w3] = widths;
            let line = format!("{name:w0$}  {shape:w1$}  {dtype:w2$}  {count:>w3$}  {note}");
            writeln!(f, "{}", line.trim_end())?;
        }
        let frozen = self.parameters - self.trainable;
        write!(
            f,
            "parameters: {} ({} trainable, {frozen} frozen), buffers: {}, bytes: {}",
            self.parameters, self.trainable, self.buffers, self.bytes
        )?;
        match self.mult_adds {
            Some(count) => writeln!(f, ", mult-adds: {count}"),
            None => writeln!(f),
        }
    }
}
