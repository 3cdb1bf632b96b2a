//! Binding of a call's arguments to parameter names, and typed access to them.

use std::cell::RefCell;
use std::str::FromStr;

use sconce::DType;

use crate::outcome::{At, Stop, unsupported};
use crate::signatures::{Overload, Signatures, overload_of};
use crate::value::Value;

/// A number as Python has it: the kind decides about promotion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Bool(bool),
    Int(i128),
    Float(f64),
}

impl Number {
    /// The number as a float.
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Bool(b) => f64::from(u8::from(b)),
            Self::Int(i) => i as f64,
            Self::Float(x) => x,
        }
    }
}

/// The arguments of one call by name.
///
/// An accessor that meets a value of another type ends the call as not supported: the library's typed API has no such
/// call. What no accessor has asked for is found by [`Args::unused`], so that no argument is dropped silently.
pub(crate) struct Args<T> {
    /// What is called, for the library's messages.
    op: String,
    entries: Vec<Entry<T>>,
}

/// Parameters that take the rest of the positional arguments.
const VARIADIC: &[&str] = &["tensors", "shapes", "args", "size", "shape", "dims", "repeats"];

struct Entry<T> {
    name: String,
    value: Value<T>,
    /// Given in the call, with another value than the default.
    changed: bool,
    used: RefCell<bool>,
}

impl<T: Clone> Args<T> {
    /// Binds a call by the first overload that it fits.
    pub(crate) fn bind(
        signatures: &Signatures,
        op: &str,
        args: &[Value<T>],
        kwargs: &[(String, Value<T>)],
    ) -> Result<Self, Stop> {
        let overloads = signatures.overloads(op);
        let fit = overloads.iter().find_map(|overload| Self::bind_to(op, overload, args, kwargs));
        fit.ok_or_else(|| {
            let given = args.iter().map(Value::kind).collect::<Vec<_>>().join(", ");
            let named = kwargs.iter().map(|(k, v)| format!(", {k} = {}", v.kind())).collect::<String>();
            Stop::Unsupported(format!("no overload for ({given}{named})"))
        })
    }

    /// Binds a call by parameter names in the notation of `signatures.json`.
    pub(crate) fn bind_names(
        names: &[&str],
        args: &[Value<T>],
        kwargs: &[(String, Value<T>)],
    ) -> Result<Self, Stop> {
        let fit = Self::bind_to("", &overload_of(names), args, kwargs);
        fit.ok_or_else(|| {
            Stop::Unsupported(format!("{} arguments do not fit {names:?}", args.len() + kwargs.len()))
        })
    }

    fn bind_to(
        op: &str,
        overload: &Overload,
        args: &[Value<T>],
        kwargs: &[(String, Value<T>)],
    ) -> Option<Self> {
        let positional: Vec<_> = overload.iter().filter(|p| !p.keyword_only).collect();
        let mut args = args.to_vec();
        if args.len() > positional.len() {
            // `f(*tensors)`, `sum_to_size(x, 2, 3)`.
            positional.last().filter(|p| VARIADIC.contains(&p.name.as_str()))?;
            let rest = args.split_off(positional.len() - 1);
            args.push(Value::List(rest));
        }
        let mut kwargs: Vec<_> = kwargs.iter().collect();
        let mut args = args.into_iter();
        let mut entries = Vec::with_capacity(overload.len());
        for param in overload {
            let given = if param.keyword_only { None } else { args.next() };
            let given = match kwargs.iter().position(|(name, _)| *name == param.name) {
                Some(_) if given.is_some() => return None,
                Some(i) => Some(kwargs.swap_remove(i).1.clone()),
                None => given,
            };
            let default = match &param.default {
                Some(json) => Some(Value::parse(json).ok()?),
                None => None,
            };
            let (value, changed) = match (given, default) {
                (Some(value), default) => {
                    if !admits(op, &param.name, &value) {
                        return None;
                    }
                    let changed = default.is_none_or(|d| constant::<_, ()>(&value) != constant(&d));
                    (value, changed)
                }
                (None, Some(default)) => (constant(&default)?, false),
                (None, None) => return None,
            };
            entries.push(Entry { name: param.name.clone(), value, changed, used: RefCell::new(false) });
        }
        // Parameters of every factory and of every copy that the signatures leave out.
        for (name, value) in kwargs {
            if !matches!(name.as_str(), "dtype" | "device" | "layout" | "requires_grad" | "memory_format") {
                return None;
            }
            entries.push(Entry {
                name: name.clone(),
                value: value.clone(),
                changed: true,
                used: RefCell::new(false),
            });
        }
        Some(Self { op: op.to_owned(), entries })
    }

    /// An argument that was given and that nothing has asked for.
    pub(crate) fn unused(&self) -> Option<String> {
        let unused = self.entries.iter().find(|e| e.changed && !*e.used.borrow() && !is_neutral(e))?;
        Some(format!("argument {} = {}", unused.name, unused.value.kind()))
    }

    /// Whether the overload has the parameter.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|e| e.name == name)
    }

    /// The value, `None` where the parameter does not exist.
    pub(crate) fn value(&self, name: &str) -> &Value<T> {
        match self.entries.iter().find(|e| e.name == name) {
            Some(entry) => {
                entry.used.replace(true);
                &entry.value
            }
            None => &Value::None,
        }
    }

    /// The value of a parameter that may be left out or be `None`.
    pub(crate) fn opt<U>(
        &self,
        name: &str,
        read: impl Fn(&Self, &str) -> Result<U, Stop>,
    ) -> Result<Option<U>, Stop> {
        match self.value(name) {
            Value::None => Ok(None),
            _ => read(self, name).map(Some),
        }
    }

    /// A tensor.
    pub(crate) fn tensor(&self, name: &str) -> Result<&T, Stop> {
        match self.value(name) {
            Value::Tensor(t) => Ok(t),
            value => unsupported(format!("{name} is {}, not a tensor", value.kind())),
        }
    }

    /// A tensor or `None`.
    pub(crate) fn opt_tensor(&self, name: &str) -> Result<Option<&T>, Stop> {
        match self.value(name) {
            Value::None => Ok(None),
            _ => self.tensor(name).map(Some),
        }
    }

    /// A number or bool.
    pub(crate) fn number(&self, name: &str) -> Result<Number, Stop> {
        match self.value(name) {
            Value::Bool(b) => Ok(Number::Bool(*b)),
            Value::Int(i) => Ok(Number::Int(*i)),
            Value::Float(x) => Ok(Number::Float(*x)),
            value => unsupported(format!("{name} is {}, not a number", value.kind())),
        }
    }

    /// A float; ints are widened.
    pub(crate) fn float(&self, name: &str) -> Result<f64, Stop> {
        self.number(name).map(Number::as_f64)
    }

    /// Floats, or one float in their place.
    pub(crate) fn floats(&self, name: &str) -> Result<Vec<f64>, Stop> {
        let float = |value: &Value<T>| match value {
            Value::Int(i) => Ok(*i as f64),
            Value::Float(x) => Ok(*x),
            value => unsupported(format!("{name} has {}, not a number", value.kind())),
        };
        match self.value(name).items() {
            Some(items) => items.iter().map(float).collect(),
            None => Ok(vec![float(self.value(name))?]),
        }
    }

    /// An int of 64 bits.
    pub(crate) fn int(&self, name: &str) -> Result<i64, Stop> {
        int_of(name, self.value(name))
    }

    /// An int that is not negative.
    pub(crate) fn size(&self, name: &str) -> Result<usize, Stop> {
        Ok(sconce::sizes_of::<1>(&self.what(name), self.int(name)?)?[0])
    }

    /// Ints, or one int in their place.
    pub(crate) fn ints(&self, name: &str) -> Result<Vec<i64>, Stop> {
        let value = self.value(name);
        match value.items() {
            // `f(x, (2, 3))` and `f(x, 2, 3)`.
            Some([inner @ (Value::List(_) | Value::Tuple(_))]) => {
                inner.items().unwrap_or_default().iter().map(|v| int_of(name, v)).collect()
            }
            Some(items) => items.iter().map(|v| int_of(name, v)).collect(),
            None => Ok(vec![int_of(name, value)?]),
        }
    }

    /// Ints that are not negative, or one in their place.
    pub(crate) fn sizes(&self, name: &str) -> Result<Vec<usize>, Stop> {
        Ok(sconce::sizes_from(&self.what(name), self.ints(name)?)?.to_vec())
    }

    /// Exactly `N` sizes; one size stands for all.
    pub(crate) fn sizes_of<const N: usize>(&self, name: &str) -> Result<[usize; N], Stop> {
        Ok(sconce::sizes_of(&self.what(name), self.ints(name)?)?)
    }

    /// The word of a setting that is an enum in the library.
    pub(crate) fn word<W: FromStr<Err = sconce::Error>>(&self, name: &str) -> Result<W, Stop> {
        self.str(name)?.parse().at(self.what(name))
    }

    fn what(&self, name: &str) -> String {
        format!("{}: {name}", self.op)
    }

    /// A bool.
    pub(crate) fn bool(&self, name: &str) -> Result<bool, Stop> {
        match self.value(name) {
            Value::Bool(b) => Ok(*b),
            value => unsupported(format!("{name} is {}, not a bool", value.kind())),
        }
    }

    /// A string.
    pub(crate) fn str(&self, name: &str) -> Result<&str, Stop> {
        match self.value(name) {
            Value::Str(s) => Ok(s),
            value => unsupported(format!("{name} is {}, not a string", value.kind())),
        }
    }

    /// A dtype.
    pub(crate) fn dtype(&self, name: &str) -> Result<DType, Stop> {
        match self.value(name) {
            Value::DType(d) => dtype_of(d),
            value => unsupported(format!("{name} is {}, not a dtype", value.kind())),
        }
    }
}

/// The dtype of a name.
pub(crate) fn dtype_of(name: &str) -> Result<DType, Stop> {
    DType::from_name(name).ok_or_else(|| Stop::Unsupported(format!("no dtype {name}")))
}

/// The same value where it holds no tensor.
fn constant<T, U>(value: &Value<T>) -> Option<Value<U>> {
    value.resolve(&mut |_| Err(())).ok()
}

fn int_of<T>(name: &str, value: &Value<T>) -> Result<i64, Stop> {
    match value {
        Value::Int(i) => i64::try_from(*i).or_else(|_| unsupported(format!("{name} = {i} exceeds an i64"))),
        value => unsupported(format!("{name} is {}, not an int", value.kind())),
    }
}

/// Arguments that ask for what a library without devices and memory formats does anyway.
fn is_neutral<T>(entry: &Entry<T>) -> bool {
    match (entry.name.as_str(), &entry.value) {
        ("device", Value::Device(d) | Value::Str(d)) => d == "cpu",
        ("layout", Value::Layout(l)) => l == "strided",
        ("memory_format", Value::MemoryFormat(m)) => m == "contiguous_format" || m == "preserve_format",
        ("device" | "layout" | "memory_format" | "pin_memory", Value::None) => true,
        ("non_blocking", Value::Bool(_)) => true,
        ("pin_memory" | "requires_grad", Value::Bool(b)) => !b,
        _ => false,
    }
}

/// Whether a value can be meant by a parameter: what tells overloads apart.
fn admits<T>(op: &str, name: &str, value: &Value<T>) -> bool {
    let is_tensor = matches!(value, Value::Tensor(_));
    let is_number = matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Complex(..));
    let is_int = matches!(value, Value::Int(_));
    match (op.trim_end_matches('_'), name) {
        ("max" | "min", "other") | ("to", "other") | (_, "src" | "tensor_indices_or_sections") => is_tensor,
        ("scatter", "value") => is_number,
        ("randint" | "randint_like", "low" | "high") | (_, "sections") => is_int,
        (_, "dim") => is_int || value.items().is_some() || matches!(value, Value::None | Value::Str(_)),
        (_, "size") if op.starts_with("rand") => value.items().is_some(),
        (_, "unbiased" | "keepdim" | "descending" | "copy" | "non_blocking" | "reverse") => {
            matches!(value, Value::Bool(_))
        }
        (_, "dtype" | "out_dtype") => matches!(value, Value::DType(_) | Value::None),
        ("to", "device") => matches!(value, Value::Device(_) | Value::Str(_) | Value::None),
        (_, "x") if op.ends_with("trapezoid") => is_tensor,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Ref;

    fn signatures() -> Signatures {
        let json = r#"{
            "max": [["input", "other"], ["input"], ["input", "dim", "keepdim=False"]],
            "std": [["input", "unbiased=True"], ["input", "dim", "unbiased=True", "keepdim=False"]],
            "sum_to_size": [["input", "size"]],
            "block_diag": [["tensors"]],
            "clamp": [["input", "min=None", "max=None"]],
            "sort": [["input", "dim=-1"], ["input", "*", "stable", "dim=-1"]]
        }"#;
        Signatures::parse(&serde_json::from_str(json).unwrap()).unwrap()
    }

    fn bind(op: &str, args: &str, kwargs: &[(&str, &str)]) -> Result<Args<Ref>, Stop> {
        let parse = |text: &str| Value::parse(&serde_json::from_str(text).unwrap()).unwrap();
        let Value::List(args) = parse(args) else { panic!("not a list") };
        let kwargs: Vec<_> = kwargs.iter().map(|(k, v)| ((*k).to_owned(), parse(v))).collect();
        Args::bind(&signatures(), op, &args, &kwargs)
    }

    const A: &str = r#"{"tensor": "a"}"#;

    #[test]
    fn types_choose_the_overload() {
        assert!(bind("max", &format!("[{A}, {A}]"), &[]).unwrap().has("other"));
        assert_eq!(bind("max", &format!("[{A}, 1]"), &[]).unwrap().int("dim").unwrap(), 1);
        assert!(!bind("max", &format!("[{A}]"), &[]).unwrap().has("dim"));
        assert!(!bind("std", &format!("[{A}, false]"), &[]).unwrap().has("dim"));
        assert!(bind("std", &format!("[{A}, 0]"), &[]).unwrap().has("dim"));
        assert!(bind("sort", &format!("[{A}]"), &[("stable", "true")]).unwrap().has("stable"));
    }

    #[test]
    fn variadic_calls_are_lists() {
        let args = bind("sum_to_size", &format!("[{A}, 2, 3]"), &[]).unwrap();
        assert_eq!(args.sizes("size").unwrap(), [2, 3]);
        let args = bind("sum_to_size", &format!("[{A}, [2, 3]]"), &[]).unwrap();
        assert_eq!(args.sizes("size").unwrap(), [2, 3]);
        let args = bind("block_diag", &format!("[{A}, {A}]"), &[]).unwrap();
        assert_eq!(args.value("tensors").items().map(<[_]>::len), Some(2));
    }

    #[test]
    fn unknown_and_repeated_names_do_not_bind() {
        assert!(bind("max", &format!("[{A}]"), &[("what", "1")]).is_err());
        assert!(bind("clamp", &format!("[{A}, 1]"), &[("min", "1")]).is_err());
        assert!(bind("clamp", "[]", &[]).is_err());
    }

    #[test]
    fn what_is_not_read_is_reported() {
        let args = bind("clamp", &format!("[{A}, null]"), &[("max", "2")]).unwrap();
        args.tensor("input").unwrap();
        assert!(args.unused().unwrap().contains("max"));
        assert_eq!(args.number("max").unwrap(), Number::Int(2));
        assert_eq!(args.unused(), None);
    }
}
