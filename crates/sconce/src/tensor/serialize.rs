//! Small tensors in any format that `serde` knows.

use std::fmt;

use half::{bf16, f16};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use super::dtype::Element;
use super::layout::checked_numel;
use super::{DType, Tensor};

const NAME: &str = "Tensor";
const FIELDS: &[&str] = &["dtype", "shape", "data"];

/// As many elements are made room for before the first is read.
const RESERVED: usize = 1 << 12;

/// Calls a macro with the element type of a dtype, or returns an error.
macro_rules! with_element {
    ($dtype:expr, $error:path, $then:ident!($($args:tt)*)) => {
        match $dtype {
            DType::F64 => $then!(f64, $($args)*),
            DType::F32 => $then!(f32, $($args)*),
            DType::F16 => $then!(f16, $($args)*),
            DType::BF16 => $then!(bf16, $($args)*),
            DType::I64 => $then!(i64, $($args)*),
            DType::I32 => $then!(i32, $($args)*),
            DType::I16 => $then!(i16, $($args)*),
            DType::I8 => $then!(i8, $($args)*),
            DType::U8 => $then!(u8, $($args)*),
            DType::Bool => $then!(bool, $($args)*),
            other => return Err($error(format!("tensor: elements of {other} have no text"))),
        }
    };
}

/// Its dtype, shape and elements in row-major order: `{"dtype": "float32", "shape": [2], "data": [1.5, "nan"]}` in formats
/// for people, where what is no number is a string; bytes, little-endian, in others. Gradient and history are left out.
///
/// ```
/// use sconce::Tensor;
/// let x = Tensor::from_vec(vec![1.5f32, -0.1], [2, 1])?;
/// let text = serde_json::to_string(&x).unwrap();
/// assert_eq!(text, r#"{"dtype":"float32","shape":[2,1],"data":[1.5,-0.1]}"#);
/// assert!(serde_json::from_str::<Tensor>(&text).unwrap().equal(&x)?);
/// # Ok::<(), sconce::Error>(())
/// ```
impl Serialize for Tensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let for_people = serializer.is_human_readable();
        let mut out = serializer.serialize_struct(NAME, FIELDS.len())?;
        out.serialize_field(FIELDS[0], self.dtype().name())?;
        out.serialize_field(FIELDS[1], self.shape())?;
        if for_people {
            macro_rules! write {
                ($t:ty,) => {{
                    let elements = self.to_vec::<$t>().map_err(ser::Error::custom)?;
                    let each: Vec<Text<$t>> = elements.into_iter().map(Text).collect();
                    out.serialize_field(FIELDS[2], &each)?;
                }};
            }
            with_element!(self.dtype(), ser::Error::custom, write!());
        } else {
            let bytes = self.to_bytes().map_err(ser::Error::custom)?;
            out.serialize_field(FIELDS[2], &Bytes(&bytes))?;
        }
        out.end()
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// An element in a format for people.
struct Text<T>(T);

macro_rules! text {
    ($($t:ty: $write:ident, |$x:ident| $convert:expr, $finite:expr;)*) => {
        $(impl Serialize for Text<$t> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $x = self.0;
                if $finite {
                    return serializer.$write($convert);
                }
                serializer.serialize_str(&f64::from($convert).to_string().to_lowercase())
            }
        })*
    };
}

text! {
    f64: serialize_f64, |x| x, x.is_finite();
    f32: serialize_f32, |x| x, x.is_finite();
    f16: serialize_f32, |x| x.to_f32(), x.is_finite();
    bf16: serialize_f32, |x| x.to_f32(), x.is_finite();
}

macro_rules! whole {
    ($($t:ty),*) => {
        $(impl Serialize for Text<$t> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        })*
    };
}

whole!(i64, i32, i16, i8, u8, bool);

/// Refuses what has not as many elements as its shape, and numbers that the dtype does not hold exactly if it is one of
/// integers.
impl<'de> Deserialize<'de> for Tensor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let for_people = deserializer.is_human_readable();
        deserializer.deserialize_struct(NAME, FIELDS, Parts { for_people })
    }
}

/// Reads the three fields, in any order.
struct Parts {
    for_people: bool,
}

impl Parts {
    fn tensor<E: de::Error>(dtype: &str, shape: Vec<u64>, data: Data) -> Result<Tensor, E> {
        let dtype = DType::from_name(dtype)
            .ok_or_else(|| E::custom(format!("tensor: there is no dtype `{}`", dtype.escape_debug())))?;
        let shape: Vec<usize> = shape
            .into_iter()
            .map(|n| usize::try_from(n).map_err(|_| E::custom(format!("tensor: size {n} is too large"))))
            .collect::<Result<_, _>>()?;
        let n = checked_numel(&shape).map_err(|e| E::custom(format!("tensor: {e}")))?;
        let numbers = match data {
            Data::Bytes(bytes) => return Tensor::from_bytes(&bytes, dtype, shape).map_err(E::custom),
            Data::Numbers(numbers) => numbers,
        };
        if numbers.len() != n {
            return Err(E::custom(format!("tensor: {} elements do not fill shape {shape:?}", numbers.len())));
        }
        macro_rules! read {
            ($t:ty,) => {{
                let each = numbers.iter().map(|x| {
                    <$t as FromNumber>::from_number(x)
                        .ok_or_else(|| E::custom(format!("tensor: {x:?} is no {}", <$t>::DTYPE)))
                });
                Tensor::from_vec(each.collect::<Result<Vec<$t>, E>>()?, shape).map_err(E::custom)
            }};
        }
        with_element!(dtype, E::custom, read!())
    }
}

impl<'de> Visitor<'de> for Parts {
    type Value = Tensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor: dtype, shape and data")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Tensor, A::Error> {
        let missing = |i| de::Error::invalid_length(i, &self);
        let dtype: String = parts.next_element()?.ok_or_else(|| missing(0))?;
        let shape = parts.next_element()?.ok_or_else(|| missing(1))?;
        let data = parts.next_element_seed(Elements { for_people: self.for_people })?;
        Self::tensor(&dtype, shape, data.ok_or_else(|| missing(2))?)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Tensor, A::Error> {
        let (mut dtype, mut shape, mut data) = (None::<String>, None, None);
        while let Some(key) = parts.next_key::<String>()? {
            let again = match key.as_str() {
                "dtype" => dtype.replace(parts.next_value()?).is_some(),
                "shape" => shape.replace(parts.next_value()?).is_some(),
                "data" => {
                    let seed = Elements { for_people: self.for_people };
                    data.replace(parts.next_value_seed(seed)?).is_some()
                }
                other => return Err(de::Error::unknown_field(other, FIELDS)),
            };
            if again {
                return Err(de::Error::custom(format!("tensor: `{key}` is there twice")));
            }
        }
        let missing = de::Error::missing_field;
        Self::tensor(
            &dtype.ok_or_else(|| missing("dtype"))?,
            shape.ok_or_else(|| missing("shape"))?,
            data.ok_or_else(|| missing("data"))?,
        )
    }
}

/// The elements before their dtype is known.
enum Data {
    Numbers(Vec<Number>),
    Bytes(Vec<u8>),
}

#[derive(Debug)]
enum Number {
    Bool(bool),
    Int(i128),
    Float(f64),
}

/// Reads the elements. Memory follows what is there, not what a length claims.
struct Elements {
    for_people: bool,
}

impl<'de> de::DeserializeSeed<'de> for Elements {
    type Value = Data;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        if self.for_people {
            deserializer.deserialize_seq(self)
        } else {
            deserializer.deserialize_byte_buf(self)
        }
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.for_people { "a list of numbers" } else { "bytes" })
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Data, E> {
        Ok(Data::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Data, E> {
        Ok(Data::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Data, A::Error> {
        let room = list.size_hint().unwrap_or(0).min(RESERVED);
        if self.for_people {
            let mut numbers = Vec::with_capacity(room);
            while let Some(number) = list.next_element()? {
                numbers.push(number);
            }
            return Ok(Data::Numbers(numbers));
        }
        let mut bytes = Vec::with_capacity(room);
        while let Some(byte) = list.next_element()? {
            bytes.push(byte);
        }
        Ok(Data::Bytes(bytes))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a bool, \"nan\", \"inf\" or \"-inf\"")
            }

            fn visit_bool<E>(self, x: bool) -> Result<Number, E> {
                Ok(Number::Bool(x))
            }

            fn visit_i64<E>(self, x: i64) -> Result<Number, E> {
                Ok(Number::Int(x.into()))
            }

            fn visit_u64<E>(self, x: u64) -> Result<Number, E> {
                Ok(Number::Int(x.into()))
            }

            fn visit_f64<E>(self, x: f64) -> Result<Number, E> {
                Ok(Number::Float(x))
            }

            fn visit_str<E: de::Error>(self, x: &str) -> Result<Number, E> {
                match x {
                    "nan" => Ok(Number::Float(f64::NAN)),
                    "inf" => Ok(Number::Float(f64::INFINITY)),
                    "-inf" => Ok(Number::Float(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(x), &self)),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// An element from a number of a format for people; `None` if it does not hold it.
trait FromNumber: Sized {
    fn from_number(x: &Number) -> Option<Self>;
}

macro_rules! float {
    ($($t:ty: |$x:ident| $convert:expr;)*) => {
        $(impl FromNumber for $t {
            fn from_number(x: &Number) -> Option<Self> {
                let $x = match *x {
                    Number::Float(x) => x,
                    Number::Int(x) => x as f64,
                    Number::Bool(_) => return None,
                };
                Some($convert)
            }
        })*
    };
}

float! {
    f64: |x| x;
    f32: |x| x as f32;
    f16: |x| f16::from_f64(x);
    bf16: |x| bf16::from_f64(x);
}

macro_rules! integer {
    ($($t:ty),*) => {
        $(impl FromNumber for $t {
            fn from_number(x: &Number) -> Option<Self> {
                if let Number::Int(x) = *x { Self::try_from(x).ok() } else { None }
            }
        })*
    };
}

integer!(i64, i32, i16, i8, u8);

impl FromNumber for bool {
    fn from_number(x: &Number) -> Option<Self> {
        if let Number::Bool(x) = *x { Some(x) } else { None }
    }
}
