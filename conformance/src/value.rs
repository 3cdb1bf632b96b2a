//! The values of a manifest: FORMAT.md, section "Values".

use serde_json::Value as Json;

/// A value of a manifest; `T` stands for what names a tensor in a file and for the tensor itself in a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<T> {
    None,
    Bool(bool),
    /// Any integer of 64 bits, signed or unsigned.
    Int(i128),
    Float(f64),
    Complex(f64, f64),
    Str(String),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Vec<(Self, Self)>),
    Tensor(T),
    DType(String),
    /// Start, stop and step.
    Slice(Box<[Self; 3]>),
    Ellipsis,
    MemoryFormat(String),
    Layout(String),
    Device(String),
    Callable(String),
    /// An expression in `epoch`, for schedulers.
    Lambda(String),
}

/// What stands for a tensor, or for another object, before a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ref {
    /// A tensor of the case's table.
    Tensor(String),
    /// A variable of a program.
    Var(String),
    /// A parameter or buffer, relative to the module whose program it is.
    Param(String),
    /// A module of a tree, as an argument of another one's constructor.
    Module(Json),
    /// A sparse gradient.
    Sparse(Json),
}

impl Value<Ref> {
    /// Parses a value or an expression of a program.
    pub(crate) fn parse(json: &Json) -> Result<Self, String> {
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(i), _, _) => Self::Int(i.into()),
                (_, Some(u), _) => Self::Int(u.into()),
                (_, _, Some(f)) => Self::Float(f),
                _ => return Err(format!("number out of range: {n}")),
            },
            Json::String(s) => Self::Str(s.clone()),
            Json::Array(items) => Self::List(parse_all(items)?),
            Json::Object(map) => {
                if map.contains_key("class") {
                    return Ok(Self::Tensor(Ref::Module(json.clone())));
                }
                let mut entries = map.iter();
                let (Some((key, inner)), None) = (entries.next(), entries.next()) else {
                    return Err(format!("not a value: {json}"));
                };
                Self::parse_tagged(key, inner)?
            }
        })
    }

    fn parse_tagged(tag: &str, inner: &Json) -> Result<Self, String> {
        let wrong = || format!("not a value: {{{tag:?}: {inner}}}");
        let text = || inner.as_str().map(str::to_owned).ok_or_else(wrong);
        let list = || inner.as_array().ok_or_else(wrong);
        Ok(match tag {
            "tensor" => Self::Tensor(Ref::Tensor(text()?)),
            "var" => Self::Tensor(Ref::Var(text()?)),
            "param" => Self::Tensor(Ref::Param(text()?)),
            "sparse" => Self::Tensor(Ref::Sparse(inner.clone())),
            "tuple" => Self::Tuple(parse_all(list()?)?),
            "dtype" => Self::DType(text()?),
            "memory_format" => Self::MemoryFormat(text()?),
            "layout" => Self::Layout(text()?),
            "device" => Self::Device(text()?),
            "callable" => Self::Callable(text()?),
            "lambda" => Self::Lambda(text()?),
            "ellipsis" => Self::Ellipsis,
            "float" => Self::Float(match inner.as_str() {
                Some("nan") => f64::NAN,
                Some("inf") => f64::INFINITY,
                Some("-inf") => f64::NEG_INFINITY,
                _ => return Err(wrong()),
            }),
            "complex" => match list()?.as_slice() {
                [re, im] => Self::Complex(
                    Self::parse(re)?.as_f64().ok_or_else(wrong)?,
                    Self::parse(im)?.as_f64().ok_or_else(wrong)?,
                ),
                _ => return Err(wrong()),
            },
            "slice" => {
                let parts: [Self; 3] = parse_all(list()?)?.try_into().map_err(|_| wrong())?;
                Self::Slice(Box::new(parts))
            }
            "dict" => Self::Dict(
                list()?
                    .iter()
                    .map(|entry| match entry.as_array().map(Vec::as_slice) {
                        Some([key, value]) => Ok((Self::parse(key)?, Self::parse(value)?)),
                        _ => Err(wrong()),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            _ => return Err(wrong()),
        })
    }
}

fn parse_all(items: &[Json]) -> Result<Vec<Value<Ref>>, String> {
    items.iter().map(Value::parse).collect()
}

impl<T> Value<T> {
    /// The number as a float; bools and complex numbers are none.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(i) => Some(*i as f64),
            Self::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Puts the value of each reference in its place.
    pub(crate) fn resolve<U, E>(&self, f: &mut impl FnMut(&T) -> Result<Value<U>, E>) -> Result<Value<U>, E> {
        let mut all = |items: &[Self]| items.iter().map(|v| v.resolve(f)).collect::<Result<Vec<_>, E>>();
        Ok(match self {
            Self::None => Value::None,
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(i) => Value::Int(*i),
            Self::Float(x) => Value::Float(*x),
            Self::Complex(re, im) => Value::Complex(*re, *im),
            Self::Str(s) => Value::Str(s.clone()),
            Self::List(items) => Value::List(all(items)?),
            Self::Tuple(items) => Value::Tuple(all(items)?),
            Self::Dict(entries) => Value::Dict(
                entries.iter().map(|(k, v)| Ok((k.resolve(f)?, v.resolve(f)?))).collect::<Result<_, E>>()?,
            ),
            Self::Tensor(t) => f(t)?,
            Self::DType(d) => Value::DType(d.clone()),
            Self::Slice(parts) => {
                let [start, stop, step] = &**parts;
                Value::Slice(Box::new([start.resolve(f)?, stop.resolve(f)?, step.resolve(f)?]))
            }
            Self::Ellipsis => Value::Ellipsis,
            Self::MemoryFormat(s) => Value::MemoryFormat(s.clone()),
            Self::Layout(s) => Value::Layout(s.clone()),
            Self::Device(s) => Value::Device(s.clone()),
            Self::Callable(s) => Value::Callable(s.clone()),
            Self::Lambda(s) => Value::Lambda(s.clone()),
        })
    }

    /// Tensors and numbers in depth-first order.
    pub(crate) fn leaves(&self) -> Vec<&Self> {
        match self {
            Self::List(items) | Self::Tuple(items) => items.iter().flat_map(Self::leaves).collect(),
            Self::Dict(entries) => entries.iter().flat_map(|(_, v)| v.leaves()).collect(),
            leaf => vec![leaf],
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Complex(..) => "a complex number",
            Self::Str(_) => "a string",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
            Self::Tensor(_) => "a tensor",
            Self::DType(_) => "a dtype",
            Self::Slice(_) => "a slice",
            Self::Ellipsis => "an ellipsis",
            Self::MemoryFormat(_) => "a memory format",
            Self::Layout(_) => "a layout",
            Self::Device(_) => "a device",
            Self::Callable(_) => "a function",
            Self::Lambda(_) => "a lambda",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Value<Ref>, String> {
        Value::parse(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn values_of_the_format() {
        use Value::*;
        let table = [
            ("null", None),
            ("true", Bool(true)),
            ("-3", Int(-3)),
            ("18446744073709551615", Int(u64::MAX.into())),
            ("3.0", Float(3.0)),
            ("1e3", Float(1000.0)),
            (r#"{"float": "-inf"}"#, Float(f64::NEG_INFINITY)),
            (r#"{"complex": [1.5, -2]}"#, Complex(1.5, -2.0)),
            (r#""mean""#, Str("mean".into())),
            ("[1, [2]]", List(vec![Int(1), List(vec![Int(2)])])),
            (r#"{"tuple": []}"#, Tuple(vec![])),
            (r#"{"dict": [["a", 1]]}"#, Dict(vec![(Str("a".into()), Int(1))])),
            (r#"{"tensor": "a0"}"#, Tensor(Ref::Tensor("a0".into()))),
            (r#"{"dtype": "float32"}"#, DType("float32".into())),
            (r#"{"slice": [null, 2, null]}"#, Slice(Box::new([None, Int(2), None]))),
            (r#"{"ellipsis": true}"#, Ellipsis),
            (r#"{"callable": "relu"}"#, Callable("relu".into())),
        ];
        for (text, value) in table {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
        assert!(matches!(parse(r#"{"float": "nan"}"#), Ok(Float(x)) if x.is_nan()));
        for text in [r#"{"float": "x"}"#, r#"{"slice": [1]}"#, r#"{"what": 1}"#, "{}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn leaves_are_depth_first() {
        let value = parse(r#"[1, {"tuple": [2, [3]]}, 4]"#).unwrap();
        let found: Vec<_> = value.leaves().into_iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(found, [1.0, 2.0, 3.0, 4.0]);
    }
}
