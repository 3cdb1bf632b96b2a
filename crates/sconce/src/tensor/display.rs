//! Tensors as text, as PyTorch prints them.

use std::fmt::{self, Write};

use half::{bf16, f16};

use super::{DType, Tensor};

/// How a tensor is printed, with the names and defaults of PyTorch's `torch.set_printoptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Digits after the point; at most 1074, which no float64 exceeds. Default: 4.
    pub precision: usize,
    /// A tensor of more elements is cut. Default: 1000.
    pub threshold: usize,
    /// How many entries a cut dimension shows at each end. Default: 3.
    pub edgeitems: usize,
    /// Characters per line. Default: 80.
    pub linewidth: usize,
    /// Whether numbers have an exponent. Default: `None`, where their magnitudes ask for one.
    pub sci_mode: Option<bool>,
}

impl Default for PrintOptions {
    fn default() -> Self {
        Self { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None }
    }
}

/// A tensor of more dimensions, or that shows more elements in spite of the cut, is printed without its elements.
const MOST: (usize, usize) = (64, 1 << 20);

/// No float64 has more digits after the point.
const MOST_DIGITS: usize = 1074;

/// What precedes the elements.
const PREFIX: &str = "tensor(";

/// PyTorch's text, for example `tensor([[1., 2.], [3., 4.]])` with a line break after each row.
///
/// Four digits after the point, or as many as the format string says (`{x:.2}`); [`display`](Tensor::display) takes other
/// options. Exponents where the magnitudes differ by more than 1000 or leave 1e-4 to 1e8; columns aligned; at most 80
/// characters per line; more than 1000 elements are cut to three at each end of a dimension. The dtype follows unless it
/// is float32, int64 or bool, and so does `requires_grad=True` or the operation that made the tensor. Elements of the
/// 8-bit floats, and those of memory that another thread keeps locked, print as `...`.
///
/// ```
/// use sconce::Tensor;
/// let x = Tensor::from_vec(vec![1.0f32, 2.5, 3.0, 4.0], [2, 2])?;
/// assert_eq!(x.to_string(), "tensor([[1.0000, 2.5000],\n        [3.0000, 4.0000]])");
/// assert_eq!(format!("{x:.1}"), "tensor([[1.0, 2.5],\n        [3.0, 4.0]])");
/// let x = Tensor::from_vec(vec![1.0f64, 2.0], [2])?.requires_grad_(true)?;
/// assert_eq!(x.to_string(), "tensor([1., 2.], dtype=torch.float64, requires_grad=True)");
/// # Ok::<(), sconce::Error>(())
/// ```
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = PrintOptions::default();
        let how = PrintOptions { precision: f.precision().unwrap_or(how.precision), ..how };
        fmt::Display::fmt(&Shown { tensor: self, how }, f)
    }
}

/// A tensor to be printed with options.
struct Shown<'a> {
    tensor: &'a Tensor,
    how: PrintOptions,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, how } = self;
        let elements = Elements::of(tensor, *how);
        let text = match &elements {
            Some(elements) => elements.text(tensor.shape()),
            None if how.edgeitems == 0 => "[...]".to_owned(),
            None => "...".to_owned(),
        };
        // PyTorch counts two more than the characters of the last line.
        let mut column = PREFIX.len() + text.len() + 2;
        if let Some(newline) = text.rfind('\n') {
            column = text.len() - newline + 1;
        }
        write!(f, "{PREFIX}{text}")?;
        for suffix in tensor.suffixes(elements.is_some()) {
            if column + suffix.len() + 2 > how.linewidth {
                write!(f, ",\n{:1$}{suffix}", "", PREFIX.len())?;
                column = PREFIX.len() + suffix.len();
            } else {
                write!(f, ", {suffix}")?;
                column += suffix.len() + 2;
            }
        }
        f.write_char(')')
    }
}

/// The same as [`Display`](fmt::Display).
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Tensor {
    /// This tensor's text with other options than the usual ones; PyTorch's `torch.set_printoptions` for one tensor.
    ///
    /// ```
    /// use sconce::{DType, PrintOptions, Tensor};
    /// let x = Tensor::arange(0, 100, 1, DType::I64)?;
    /// let short = PrintOptions { threshold: 10, edgeitems: 2, ..PrintOptions::default() };
    /// assert_eq!(x.display(short).to_string(), "tensor([ 0,  1,  ..., 98, 99])");
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn display(&self, how: PrintOptions) -> impl fmt::Display + '_ {
        Shown { tensor: self, how }
    }

    fn suffixes(&self, complete: bool) -> Vec<String> {
        let mut suffixes = Vec::new();
        let empty = self.numel() == 0;
        if !complete || (empty && self.dim() != 1) {
            let sizes: Vec<String> = self.shape().iter().map(usize::to_string).collect();
            let comma = if sizes.len() == 1 { "," } else { "" };
            suffixes.push(format!("size=({}{comma})", sizes.join(", ")));
        }
        let usual = match self.dtype() {
            DType::F32 => true,
            DType::C64 | DType::I64 | DType::Bool => !empty,
            _ => false,
        };
        if !usual {
            suffixes.push(format!("dtype=torch.{}", self.dtype()));
        }
        match self.grad_fn() {
            Some(name) => suffixes.push(format!("grad_fn=<{}Backward0>", camel_case(name))),
            None if self.requires_grad() => suffixes.push("requires_grad=True".to_owned()),
            None => {}
        }
        suffixes
    }
}

fn camel_case(name: &str) -> String {
    let capital = |word: &str| -> String {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
    };
    name.split('_').map(capital).collect()
}

/// A number as it is printed.
#[derive(Clone, Copy)]
enum Number {
    Float(f64),
    Int(i128),
    Bool(bool),
}

/// An element: one number, or the two of a complex one.
type Element = (Number, Option<Number>);

/// The elements to print, in row-major order, and how.
struct Elements {
    shown: Vec<Element>,
    how: PrintOptions,
    cut: bool,
    real: Format,
    imaginary: Option<Format>,
}

impl Elements {
    /// Reads what is to be printed; `None` if that cannot be.
    fn of(tensor: &Tensor, how: PrintOptions) -> Option<Self> {
        let how = PrintOptions { precision: how.precision.min(MOST_DIGITS), ..how };
        let cut = tensor.numel() > how.threshold;
        let edge = if cut { how.edgeitems } else { usize::MAX };
        let sizes = if tensor.numel() == 0 { &[0] } else { tensor.shape() };
        let columns: Option<Vec<Vec<usize>>> = sizes.iter().map(|&n| indices(n, edge)).collect();
        let columns = columns?;
        if cut && edge == 0 && tensor.dim() > 0 {
            return None;
        }
        let count = columns.iter().try_fold(1usize, |n, c| n.checked_mul(c.len()));
        if tensor.dim() > MOST.0 || count.is_none_or(|n| n > MOST.1) {
            return None;
        }
        let (storage, size) = (tensor.storage(), tensor.dtype().size());
        let read = |bytes: &[u8]| -> Option<Vec<Element>> {
            let mut offsets = vec![tensor.storage_offset()];
            for (column, stride) in columns.iter().zip(tensor.strides()) {
                offsets = offsets.iter().flat_map(|o| column.iter().map(move |i| o + i * stride)).collect();
            }
            offsets.iter().map(|o| decode(tensor.dtype(), &bytes[o * size..(o + 1) * size])).collect()
        };
        let shown = storage.with_elements("display", 0, storage.len(), read).ok()??;
        let parts: Option<Vec<Number>> = shown.iter().map(|e| e.1).collect();
        let imaginary = parts.filter(|p| !p.is_empty()).map(|parts| Format::of(parts.into_iter(), how));
        let real = Format::of(shown.iter().map(|e| e.0), how);
        Some(Self { shown, how, cut, real, imaginary })
    }

    fn text(&self, shape: &[usize]) -> String {
        if shape.contains(&0) {
            return "[]".to_owned();
        }
        let mut out = String::new();
        self.write(shape, PREFIX.len(), &mut self.shown.iter(), &mut out);
        out
    }

    fn write(
        &self,
        shape: &[usize],
        indent: usize,
        elements: &mut std::slice::Iter<'_, Element>,
        out: &mut String,
    ) {
        let Some((&size, rest)) = shape.split_first() else {
            return out.extend(elements.next().map(|e| self.element(e)));
        };
        let edge = self.how.edgeitems;
        let cut_at = (self.cut && size > edge.saturating_mul(2)).then_some(edge);
        let width = self.real.width + 2 + self.imaginary.as_ref().map_or(0, |f| f.width + 1);
        let per_line = (self.how.linewidth.saturating_sub(indent) / width).max(1);
        let line = |breaks: usize| format!(",{}{:2$}", "\n".repeat(breaks), "", indent + 1);
        out.push('[');
        // Entries, the mark of a cut among them.
        let entries = cut_at.map_or(size, |edge| 2 * edge + 1);
        for entry in 0..entries {
            match rest {
                _ if entry == 0 => {}
                [] if entry.is_multiple_of(per_line) => out.push_str(&line(1)),
                [] => out.push_str(", "),
                _ => out.push_str(&line(rest.len())),
            }
            match rest {
                [] if cut_at == Some(entry) => out.push_str(" ..."),
                _ if cut_at == Some(entry) => out.push_str("..."),
                _ => self.write(rest, indent + 1, elements, out),
            }
        }
        out.push(']');
    }

    fn element(&self, (real, imaginary): &Element) -> String {
        let real = self.real.text(*real);
        let (Some(imaginary), Some(format)) = (imaginary, &self.imaginary) else { return real };
        let imaginary = format.text(*imaginary);
        let imaginary = imaginary.trim_start();
        let plus = if imaginary.starts_with(['+', '-']) { "" } else { "+" };
        format!("{real}{plus}{imaginary}j")
    }
}

/// The indices of a dimension that are shown: `edge` at each end; `None` if they are too many to print.
fn indices(size: usize, edge: usize) -> Option<Vec<usize>> {
    let shown = size.min(edge.saturating_mul(2));
    if shown > MOST.1 {
        return None;
    }
    Some(if shown == size { (0..size).collect() } else { (0..edge).chain(size - edge..size).collect() })
}

/// How the numbers of a tensor are printed, all alike.
struct Format {
    precision: usize,
    /// Floats that are all whole are printed without digits after the point.
    whole: bool,
    /// With an exponent.
    scientific: bool,
    width: usize,
}

impl Format {
    fn of(numbers: impl Iterator<Item = Number>, how: PrintOptions) -> Self {
        let mut format = Self { precision: how.precision, whole: true, scientific: false, width: 1 };
        let mut floats = Vec::new();
        for number in numbers {
            match number {
                Number::Float(x) if x.is_finite() && x != 0.0 => floats.push(x),
                Number::Float(_) => {}
                _ => format.width = format.width.max(format.bare(number).len()),
            }
        }
        if floats.is_empty() {
            return format;
        }
        format.whole = floats.iter().all(|x| x.fract() == 0.0);
        let most = floats.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let least = floats.iter().fold(f64::INFINITY, |m, x| m.min(x.abs()));
        format.scientific = how.sci_mode.unwrap_or(most / least > 1000.0 || most > 1e8 || least < 1e-4);
        let widest = floats.iter().map(|&x| format.bare(Number::Float(x)).len()).max();
        format.width = widest.unwrap_or(1);
        format
    }

    fn bare(&self, number: Number) -> String {
        match number {
            Number::Bool(true) => "True".to_owned(),
            Number::Bool(false) => "False".to_owned(),
            Number::Int(i) => i.to_string(),
            Number::Float(x) if x.is_nan() => "nan".to_owned(),
            Number::Float(x) if x.is_infinite() => if x > 0.0 { "inf" } else { "-inf" }.to_owned(),
            Number::Float(x) if self.scientific => scientific(x, self.precision),
            Number::Float(x) if self.whole => format!("{x:.0}."),
            Number::Float(x) => format!("{x:.*}", self.precision),
        }
    }

    fn text(&self, number: Number) -> String {
        format!("{:>1$}", self.bare(number), self.width)
    }
}

/// C's `%.*e`: a sign and at least two digits in the exponent.
fn scientific(x: f64, precision: usize) -> String {
    let text = format!("{x:.precision$e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

/// The number that an element's bytes stand for; `None` for dtypes whose elements are not printed.
fn decode(dtype: DType, bytes: &[u8]) -> Option<Element> {
    macro_rules! read {
        ($t:ty, $bytes:expr) => {
            <$t>::from_ne_bytes($bytes.try_into().ok()?)
        };
    }
    let halves = bytes.split_at(bytes.len() / 2);
    let number = match dtype {
        DType::F64 => Number::Float(read!(f64, bytes)),
        DType::F32 => Number::Float(read!(f32, bytes).into()),
        DType::F16 => Number::Float(read!(f16, bytes).into()),
        DType::BF16 => Number::Float(read!(bf16, bytes).into()),
        DType::I64 => Number::Int(read!(i64, bytes).into()),
        DType::I32 => Number::Int(read!(i32, bytes).into()),
        DType::I16 => Number::Int(read!(i16, bytes).into()),
        DType::I8 => Number::Int(read!(i8, bytes).into()),
        DType::U8 => Number::Int(read!(u8, bytes).into()),
        DType::U16 => Number::Int(read!(u16, bytes).into()),
        DType::U32 => Number::Int(read!(u32, bytes).into()),
        DType::U64 => Number::Int(read!(u64, bytes).into()),
        DType::Bool => Number::Bool(bytes != [0]),
        DType::C32 | DType::C64 | DType::C128 => {
            let part = match dtype {
                DType::C32 => DType::F16,
                DType::C64 => DType::F32,
                _ => DType::F64,
            };
            return Some((decode(part, halves.0)?.0, Some(decode(part, halves.1)?.0)));
        }
        DType::F8E4M3 | DType::F8E5M2 | DType::F8E4M3FNUZ | DType::F8E5M2FNUZ | DType::F8E8M0 => return None,
    };
    Some((number, None))
}
