//! The header: a Python dict as text, of which only literals are understood.

use super::MAGIC;
use crate::error::{Context, Error, Result};
use crate::io::limits::{MAX_DIMS, MAX_NPY_HEADER_BYTES};
use crate::io::source::Source;
use crate::tensor::dtype::DType;

/// Headers of files that NumPy writes are filled with spaces to a multiple of this.
const ALIGNMENT: usize = 64;

/// What a header says.
pub(super) struct Header {
    pub(super) dtype: DType,
    pub(super) big_endian: bool,
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

/// NumPy's codes, after the byte order.
static CODES: &[(&str, DType)] = &[
    ("f8", DType::F64),
    ("f4", DType::F32),
    ("f2", DType::F16),
    ("V2", DType::BF16),
    ("i8", DType::I64),
    ("i4", DType::I32),
    ("i2", DType::I16),
    ("i1", DType::I8),
    ("u8", DType::U64),
    ("u4", DType::U32),
    ("u2", DType::U16),
    ("u1", DType::U8),
    ("b1", DType::Bool),
    ("c8", DType::C64),
    ("c16", DType::C128),
];

impl Header {
    /// Reads the header at the start of a file; also returns where it ends.
    pub(super) fn read(source: &Source) -> Result<(Self, u64)> {
        let start = source.read_vec(0, 8).context(|| "header")?;
        if start[..6] != *MAGIC {
            return Err(Error::format("no npy file"));
        }
        let (size, start) = match (start[6], start[7]) {
            (1, 0) => {
                let size = source.read_vec(8, 2).context(|| "header size")?;
                (size.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)), 10)
            }
            (2 | 3, 0) => {
                let size = source.read_vec(8, 4).context(|| "header size")?;
                (size.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)), 12)
            }
            (major, minor) => return Err(Error::unsupported(format!("version {major}.{minor} of npy"))),
        };
        if size > MAX_NPY_HEADER_BYTES {
            return Err(Error::format(format!(
                "a header of {size} bytes, at most {MAX_NPY_HEADER_BYTES} are allowed"
            )));
        }
        let bytes = source.read_vec(start, size).context(|| "header")?;
        let header = Literal(&bytes).header().context(|| "header")?;
        Ok((header, start + size))
    }
}

/// The header of an array in C order; `None` if NumPy has no such type.
pub(super) fn write(dtype: DType, shape: &[usize]) -> Option<Vec<u8>> {
    let (code, _) = CODES.iter().find(|(_, d)| *d == dtype)?;
    let order = if dtype.size() == 1 { '|' } else { '<' };
    let mut sizes: String = shape.iter().map(|d| format!("{d}, ")).collect();
    sizes.truncate(sizes.trim_end_matches([' ', ',']).len());
    if shape.len() == 1 {
        sizes.push(',');
    }
    let mut text = format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let padded = (10 + text.len() + 1).next_multiple_of(ALIGNMENT) - 10;
    text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
    text.push('\n');
    // At most 64 dimensions of 20 digits: always less than two bytes can count.
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    Some(out)
}

/// The type of NumPy's description: a byte order, which may be missing, and a code.
fn dtype(text: &str) -> Result<(DType, bool)> {
    let unknown = || Error::unsupported(format!("an array of type {text:?}"));
    let (order, code) = match text.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => text.split_at(1),
        _ => ("=", text),
    };
    let code = if code == "?" { "b1" } else { code };
    let &(_, dtype) = CODES.iter().find(|(known, _)| *known == code).ok_or_else(unknown)?;
    match (order, dtype) {
        // Two bytes without an order are only that.
        ("|" | "=", DType::BF16) => Err(unknown()),
        (">", _) => Ok((dtype, true)),
        _ => Ok((dtype, false)),
    }
}

/// The text that is still to be read.
struct Literal<'a>(&'a [u8]);

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header> {
        let (mut kind, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.next_is(b'}') {
            let key = self.text()?;
            self.expect(b':')?;
            let again = match key {
                "descr" => kind.replace(dtype(self.text().context(|| "descr")?)?).is_some(),
                "fortran_order" => fortran.replace(self.flag()?).is_some(),
                "shape" => shape.replace(self.sizes().context(|| "shape")?).is_some(),
                other => return Err(Error::format(format!("unknown key {other:?}"))),
            };
            if again {
                return Err(Error::format(format!("two values of {key:?}")));
            }
            if !self.next_is(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.space();
        if !self.0.is_empty() {
            return Err(Error::format("text follows the dict"));
        }
        let missing = |key: &str| Error::format(format!("no {key:?}"));
        let (dtype, big_endian) = kind.ok_or_else(|| missing("descr"))?;
        Ok(Header {
            dtype,
            big_endian,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    fn space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// Takes a character if it is the next one.
    fn next_is(&mut self, wanted: u8) -> bool {
        self.space();
        match self.0.split_first() {
            Some((&found, rest)) if found == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<()> {
        match self.next_is(wanted) {
            true => Ok(()),
            false => Err(Error::format(format!("expected {:?}, found {}", char::from(wanted), self.found()))),
        }
    }

    /// The next character, for errors.
    fn found(&self) -> String {
        match self.0.first() {
            Some(&b) => format!("{:?}", char::from(b)),
            None => "the end".to_owned(),
        }
    }

    fn text(&mut self) -> Result<&'a str> {
        self.space();
        let (quote, rest) = match self.0.split_first() {
            Some((&quote @ (b'\'' | b'"'), rest)) => (quote, rest),
            Some((b'[' | b'(', _)) => return Err(Error::unsupported("an array of a structured type")),
            _ => return Err(Error::format(format!("expected a text, found {}", self.found()))),
        };
        let end = rest.iter().position(|&b| b == quote).ok_or_else(|| Error::format("a text has no end"))?;
        self.0 = &rest[end + 1..];
        std::str::from_utf8(&rest[..end])
            .ok()
            .filter(|text| text.is_ascii() && !text.contains(['\\', '\n']))
            .ok_or_else(|| Error::format("a text of other than plain characters"))
    }

    fn flag(&mut self) -> Result<bool> {
        self.space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(Error::format(format!("expected True or False, found {}", self.found())))
    }

    fn sizes(&mut self) -> Result<Vec<usize>> {
        self.expect(b'(')?;
        let mut sizes = Vec::new();
        let mut comma = true;
        while !self.next_is(b')') {
            if sizes.len() == MAX_DIMS {
                return Err(Error::format(format!("more than {MAX_DIMS} dimensions")));
            }
            sizes.push(self.size()?);
            comma = self.next_is(b',');
            if !comma {
                self.expect(b')')?;
                break;
            }
        }
        if sizes.len() == 1 && !comma {
            return Err(Error::format("a number in parentheses is no tuple"));
        }
        Ok(sizes)
    }

    fn size(&mut self) -> Result<usize> {
        self.space();
        let digits = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at(digits);
        if number.is_empty() {
            return Err(Error::format(format!("expected a size, found {}", self.found())));
        }
        // Python 2 marks long integers.
        self.0 = rest.strip_prefix(b"L").unwrap_or(rest);
        let number = number
            .iter()
            .try_fold(0_usize, |n, &b| n.checked_mul(10).and_then(|n| n.checked_add(usize::from(b - b'0'))));
        number.ok_or_else(|| Error::format("a size is too large"))
    }
}
