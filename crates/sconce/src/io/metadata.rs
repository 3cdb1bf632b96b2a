//! Values that a file keeps beside its tensors, with their types.

use std::fmt;

macro_rules! numbers {
    ($($(#[$doc:meta])* $variant:ident($t:ty),)*) => {
        /// A value of a file's metadata.
        ///
        /// Formats that hold texts only have [`Str`](Self::Str); GGUF has them all. The text form is the text itself
        /// or, of other values, JSON (with `NaN` and `inf`, which JSON lacks).
        ///
        /// ```
        /// use sconce::io::{MetaArray, MetaValue};
        ///
        /// assert_eq!(MetaValue::from("a b").to_string(), "a b");
        /// assert_eq!(MetaValue::U32(7).to_string(), "7");
        /// assert_eq!(MetaValue::Array(MetaArray::Str(vec!["a".into()])).to_string(), r#"["a"]"#);
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum MetaValue {
            $($(#[$doc])* $variant($t),)*
            /// A text.
            Str(String),
            /// Values of one type.
            Array(MetaArray),
        }

        /// Values of one type, in order.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum MetaArray {
            $($(#[$doc])* $variant(Vec<$t>),)*
            /// A text.
            Str(Vec<String>),
        }

        $(impl From<$t> for MetaValue {
            fn from(x: $t) -> Self {
                Self::$variant(x)
            }
        })*

        impl fmt::Display for MetaValue {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(x) => write!(f, "{x}"),)*
                    Self::Str(text) => f.write_str(text),
                    Self::Array(items) => items.fmt(f),
                }
            }
        }

        impl fmt::Display for MetaArray {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(items) => list(f, items, |f, x| write!(f, "{x}")),)*
                    Self::Str(items) => list(f, items, |f, x| write!(f, "{}", serde_json::Value::from(x.as_str()))),
                }
            }
        }
    };
}

numbers! {
    /// An integer of 8 bits.
    U8(u8),
    /// A signed integer of 8 bits.
    I8(i8),
    /// An integer of 16 bits.
    U16(u16),
    /// A signed integer of 16 bits.
    I16(i16),
    /// An integer of 32 bits.
    U32(u32),
    /// A signed integer of 32 bits.
    I32(i32),
    /// An integer of 64 bits.
    U64(u64),
    /// A signed integer of 64 bits.
    I64(i64),
    /// A number in single precision.
    F32(f32),
    /// A number in double precision.
    F64(f64),
    /// `true` or `false`.
    Bool(bool),
}

impl From<&str> for MetaValue {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for MetaValue {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    item: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str("[")?;
    for (i, x) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item(f, x)?;
    }
    f.write_str("]")
}
