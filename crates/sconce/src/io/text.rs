//! Tensors as text for other programs: written, never read.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;

use super::atomic::write_whole;
use crate::error::{Context, Result};
use crate::tensor::{DType, Tensor};

/// How tensors are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// A line per element: name, index in each dimension, value.
    Csv,
    /// An object of names; each has a dtype, a shape and the elements, as tensors that `serde` writes.
    Json,
}

impl Text {
    /// The kind of text that a path's extension names.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Writes tensors to a file, which appears whole or not at all.
    pub(crate) fn write<'a>(
        self,
        path: &Path,
        tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<()> {
        let fill = |out: &mut (dyn Write + Send)| {
            match self {
                Self::Csv => writeln!(out, "name,index,value")?,
                Self::Json => write!(out, "{{")?,
            }
            for (i, (name, tensor)) in tensors.enumerate() {
                if self == Self::Json {
                    let comma = if i > 0 { "," } else { "" };
                    let (name, dtype, shape) =
                        (serde_json::Value::from(name), tensor.dtype(), tensor.shape());
                    write!(
                        out,
                        "{comma}\n  {name}: {{\"dtype\": \"{dtype}\", \"shape\": {shape:?}, \"data\": ["
                    )?;
                }
                self.tensor(out, name, tensor).context(|| name)?;
            }
            if self == Self::Json {
                writeln!(out, "\n}}")?;
            }
            Ok(())
        };
        write_whole(path, fill)
    }

    fn tensor(self, out: &mut dyn Write, name: &str, tensor: &Tensor) -> Result<()> {
        let tensor = tensor.detach();
        match tensor.dtype() {
            DType::F64 => self.numbers(out, name, tensor.shape(), tensor.to_vec::<f64>()?, f64::is_finite),
            dtype if dtype.is_floating_point() => {
                let values = tensor.to(DType::F32)?.to_vec::<f32>()?;
                self.numbers(out, name, tensor.shape(), values, f32::is_finite)
            }
            DType::Bool => self.numbers(out, name, tensor.shape(), tensor.to_vec::<bool>()?, |_| true),
            _ => self.numbers(out, name, tensor.shape(), tensor.to(DType::I64)?.to_vec::<i64>()?, |_| true),
        }
    }

    /// Each value in as many digits as tell it from its neighbours.
    fn numbers<T: Copy + Display>(
        self,
        out: &mut dyn Write,
        name: &str,
        shape: &[usize],
        values: Vec<T>,
        is_finite: impl Fn(T) -> bool,
    ) -> Result<()> {
        match self {
            Self::Csv => {
                let name = if name.contains([',', '"', '\n', '\r']) {
                    format!("\"{}\"", name.replace('"', "\"\""))
                } else {
                    name.to_owned()
                };
                for (i, value) in values.into_iter().enumerate() {
                    let mut rest = i;
                    let mut index: Vec<String> = Vec::with_capacity(shape.len());
                    for size in shape.iter().rev() {
                        index.push((rest % size).to_string());
                        rest /= size;
                    }
                    index.reverse();
                    writeln!(out, "{name},{},{value}", index.join(" "))?;
                }
            }
            Self::Json => {
                for (i, &value) in values.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    if is_finite(value) {
                        write!(out, "{comma}{value}")?;
                    } else {
                        write!(out, "{comma}\"{}\"", value.to_string().to_lowercase())?;
                    }
                }
                write!(out, "]}}")?;
            }
        }
        Ok(())
    }
}
