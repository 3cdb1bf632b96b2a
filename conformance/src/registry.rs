//! The functions of the suites, each in the library's words.
//!
//! To support a function, add one row to the table of its family in `ops/`. A function that is in no table, and an
//! argument that its row does not read, is not supported.

use std::collections::HashMap;
use std::sync::OnceLock;

use sconce::{DType, Operand, Scalar, Tensor};

use crate::args::{Args, Number};
use crate::ops;
use crate::outcome::{Stop, unsupported};
use crate::signatures::Signatures;
use crate::tensors::Val;
use crate::value::Value;

/// The arguments of a call of a function.
pub(crate) type Call = Args<Tensor>;

/// One function.
pub(crate) struct Entry {
    /// Its names in the corpus.
    pub names: &'static [&'static str],
    pub run: fn(&Call) -> Result<Val, Stop>,
}

/// Calls a function by name.
pub(crate) fn call(
    signatures: &Signatures,
    op: &str,
    args: &[Val],
    kwargs: &[(String, Val)],
) -> Result<Val, Stop> {
    let Some(entry) = find(op) else { return unsupported("no such function".into()) };
    let args = Args::bind(signatures, op, args, kwargs)?;
    let result = (entry.run)(&args);
    match args.unused() {
        // A refusal may come before the rest of the arguments is read.
        Some(argument) if result.is_ok() => unsupported(argument),
        _ => result,
    }
}

/// Whether a function is in a table.
pub(crate) fn find(op: &str) -> Option<&'static Entry> {
    static INDEX: OnceLock<HashMap<&'static str, &'static Entry>> = OnceLock::new();
    let index = || {
        let entries = ops::TABLES.iter().flat_map(|table| table.iter());
        entries.flat_map(|e| e.names.iter().map(move |n| (*n, e))).collect()
    };
    INDEX.get_or_init(index).get(op).copied()
}

impl Call {
    /// The first argument, a tensor.
    pub(crate) fn input(&self) -> Result<&Tensor, Stop> {
        self.tensor("input")
    }

    /// A tensor or a number.
    pub(crate) fn operand(&self, name: &str) -> Result<Operand<'_>, Stop> {
        match self.value(name) {
            Value::Tensor(t) => Ok(Operand::Tensor(t)),
            _ => Ok(Operand::Scalar(self.scalar(name)?)),
        }
    }

    /// Tensors: a list, or one in its place.
    pub(crate) fn tensors(&self, name: &str) -> Result<Vec<Tensor>, Stop> {
        let value = self.value(name);
        let items = match value.items() {
            // `f([x, y])` where `f(x, y)` is meant too.
            Some([inner @ (Value::List(_) | Value::Tuple(_))]) => inner.items().unwrap_or_default(),
            Some(items) => items,
            None => std::slice::from_ref(value),
        };
        let tensor = |item: &Val| match item {
            Value::Tensor(t) => Ok(t.clone()),
            other => unsupported(format!("{name} has {}, not a tensor", other.kind())),
        };
        items.iter().map(tensor).collect()
    }

    /// A number.
    pub(crate) fn scalar(&self, name: &str) -> Result<Scalar, Stop> {
        Ok(match self.number(name)? {
            Number::Bool(b) => Scalar::Bool(b),
            Number::Float(x) => Scalar::Float(x),
            Number::Int(i) => match i64::try_from(i) {
                Ok(i) => Scalar::Int(i),
                Err(_) => return unsupported(format!("{name} = {i} exceeds an i64")),
            },
        })
    }

    /// A dimension.
    pub(crate) fn dim(&self, name: &str) -> Result<isize, Stop> {
        self.int(name).map(|i| i as isize)
    }

    /// Dimensions: an int, a list of ints, or `None` for all.
    pub(crate) fn dims(&self, name: &str) -> Result<Option<Vec<i64>>, Stop> {
        self.opt(name, Self::ints)
    }

    /// The dtype asked for, else the default.
    pub(crate) fn dtype_or(&self, default: DType) -> Result<DType, Stop> {
        Ok(self.opt("dtype", Self::dtype)?.unwrap_or(default))
    }
}

impl From<Tensor> for Val {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<&Tensor> for Val {
    fn from(tensor: &Tensor) -> Self {
        Self::Tensor(tensor.clone())
    }
}

impl From<(Tensor, Tensor)> for Val {
    fn from((a, b): (Tensor, Tensor)) -> Self {
        Self::Tuple(vec![a.into(), b.into()])
    }
}

impl From<(Tensor, Tensor, Tensor)> for Val {
    fn from((a, b, c): (Tensor, Tensor, Tensor)) -> Self {
        Self::Tuple(vec![a.into(), b.into(), c.into()])
    }
}

impl From<Vec<Tensor>> for Val {
    fn from(tensors: Vec<Tensor>) -> Self {
        Self::List(tensors.into_iter().map(Self::Tensor).collect())
    }
}

impl From<bool> for Val {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_row() {
        let mut seen = HashMap::new();
        for entry in ops::TABLES.iter().flat_map(|t| t.iter()) {
            for name in entry.names {
                assert!(seen.insert(name, ()).is_none(), "{name} is in two rows");
            }
        }
    }
}
