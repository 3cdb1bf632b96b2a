//! Writing a [`Tree`] as a pickle of protocol 2, in the words that PyTorch's restricted loader knows.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::io::entry::Entry;
use crate::io::tree::{Dict, DictKind, NodeId, Tree, Value};
use crate::tensor::dtype::DType;

/// A tensor to be referred to: what it is, and the key of its storage.
pub(in crate::io) struct Tensor<'a> {
    pub(in crate::io) entry: &'a Entry,
    pub(in crate::io) key: String,
    /// Bytes of the storage.
    pub(in crate::io) bytes: u64,
}

/// The pickle of a tree. `tensors` are what [`Value::Tensor`] counts.
pub(in crate::io) fn write(tree: &Tree, tensors: &[Tensor<'_>]) -> Result<Vec<u8>> {
    let mut writer =
        Writer { tree, tensors, out: vec![0x80, 2], memo: HashMap::new(), numbered: 0, open: HashSet::new() };
    let mut work = vec![Work::Value(tree.root())];
    while let Some(next) = work.pop() {
        match next {
            Work::Value(id) => writer.value(id, &mut work)?,
            Work::Bytes(bytes) => writer.out.extend(bytes),
            Work::Close(id) => {
                writer.open.remove(&id);
                writer.remember(Key::Node(id));
            }
        }
    }
    writer.out.push(b'.');
    Ok(writer.out)
}

/// What is still to be written, the last first.
enum Work {
    Value(NodeId),
    Bytes(&'static [u8]),
    /// A value that can only be referred to once all of it is written.
    Close(NodeId),
}

/// What is written once and then referred to.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Node(NodeId),
    Tensor(usize),
    Text(String),
    Global(String),
}

struct Writer<'a> {
    tree: &'a Tree,
    tensors: &'a [Tensor<'a>],
    out: Vec<u8>,
    memo: HashMap<Key, u32>,
    numbered: u32,
    /// Tuples and sets whose items are being written.
    open: HashSet<NodeId>,
}

impl Writer<'_> {
    fn value(&mut self, id: NodeId, work: &mut Vec<Work>) -> Result<()> {
        if self.recall(&Key::Node(id)) {
            return Ok(());
        }
        match self.tree.value(id) {
            Value::None => self.out.push(b'N'),
            Value::Bool(b) => self.out.push(if *b { 0x88 } else { 0x89 }),
            Value::Int(i) => self.int(*i),
            Value::BigInt(bytes) => self.long(bytes)?,
            Value::Float(x) => self.float(*x),
            Value::Complex(re, im) => {
                self.global("__builtin__", "complex");
                self.float(*re);
                self.float(*im);
                self.out.extend([0x86, b'R']);
            }
            Value::Str(text) => self.text(text)?,
            Value::Bytes(bytes) => self.bytes(bytes)?,
            Value::ByteArray(bytes) => {
                self.global("__builtin__", "bytearray");
                self.bytes(bytes)?;
                self.out.extend([0x85, b'R']);
            }
            Value::Size(sizes) => {
                self.global("torch", "Size");
                self.ints(sizes.iter().copied());
                self.out.extend([0x85, b'R']);
            }
            Value::DType(name) => {
                check_identifier(name)?;
                self.global("torch", name);
            }
            Value::Device(name) => self.device(name)?,
            Value::Constant(name) => {
                let (module, name) = name.rsplit_once('.').unwrap_or(("builtins", name));
                module.split('.').chain([name]).try_for_each(check_identifier)?;
                self.global(module, name);
            }
            Value::List(items) => {
                self.out.push(b']');
                self.remember(Key::Node(id));
                many(work, items.iter().rev().map(|&i| Work::Value(i)), b"e");
                self.mark(items.is_empty());
            }
            Value::Tuple(items) => {
                self.open(id, work)?;
                work.push(Work::Bytes(b"t"));
                work.extend(items.iter().rev().map(|&i| Work::Value(i)));
                self.out.push(b'(');
            }
            Value::Set(items) => {
                self.global("__builtin__", "set");
                self.out.push(b']');
                self.open(id, work)?;
                work.push(Work::Bytes(b"\x85R"));
                many(work, items.iter().rev().map(|&i| Work::Value(i)), b"e");
                self.mark(items.is_empty());
            }
            Value::Dict(dict) => self.dict(id, dict, work)?,
            Value::Tensor(index) => self.tensor(*index)?,
            Value::Array(_) => return Err(Error::unsupported("writing a numpy array")),
            Value::Sparse(sparse) => {
                return Err(Error::unsupported(format!("writing a tensor of layout {}", sparse.layout)));
            }
            Value::Object(object) => {
                return Err(Error::unsupported(format!("writing an object of class {}", object.class)));
            }
        }
        Ok(())
    }

    fn open(&mut self, id: NodeId, work: &mut Vec<Work>) -> Result<()> {
        work.push(Work::Close(id));
        match self.open.insert(id) {
            true => Ok(()),
            false => Err(Error::unsupported("writing a tuple or set that contains itself")),
        }
    }

    fn dict(&mut self, id: NodeId, dict: &Dict, work: &mut Vec<Work>) -> Result<()> {
        match dict.kind {
            DictKind::Plain => self.out.push(b'}'),
            DictKind::Ordered => {
                self.global("collections", "OrderedDict");
                self.out.extend(b")R");
            }
            DictKind::Counter => {
                self.global("collections", "Counter");
                self.out.extend(b"}\x85R");
            }
            DictKind::Default => return Err(Error::unsupported("writing a collections.defaultdict")),
        }
        self.remember(Key::Node(id));
        if let Some(attributes) = dict.attributes {
            work.push(Work::Bytes(b"b"));
            work.push(Work::Value(attributes));
        }
        let items = dict.items.iter().rev().flat_map(|&(k, v)| [Work::Value(v), Work::Value(k)]);
        many(work, items, b"u");
        self.mark(dict.items.is_empty());
        Ok(())
    }

    /// Opens a group that [`many`] closes.
    fn mark(&mut self, empty: bool) {
        if !empty {
            self.out.push(b'(');
        }
    }

    fn tensor(&mut self, index: usize) -> Result<()> {
        if self.recall(&Key::Tensor(index)) {
            return Ok(());
        }
        let tensors = self.tensors;
        let tensor = tensors.get(index).ok_or_else(|| Error::argument(format!("no tensor {index}")))?;
        let entry = tensor.entry;
        let dtype = entry.encoding.dtype().filter(|_| entry.quantizer.is_none()).ok_or_else(|| {
            let name = entry.encoding.name();
            Error::unsupported(format!("writing {name}")).context(entry.name.clone())
        })?;
        if entry.parameter {
            self.global("torch._utils", "_rebuild_parameter");
        }
        let class = storage_class(dtype);
        self.global(
            "torch._utils",
            if class.is_some() { "_rebuild_tensor_v2" } else { "_rebuild_tensor_v3" },
        );
        self.out.extend(b"((");
        self.text("storage")?;
        match class {
            Some(class) => self.global("torch", class),
            None => self.global("torch.storage", "UntypedStorage"),
        }
        self.text(&tensor.key)?;
        self.text("cpu")?;
        self.int(match class {
            Some(_) => tensor.bytes as i64 / dtype.size() as i64,
            None => tensor.bytes as i64,
        });
        self.out.extend(b"tQ");
        self.int(entry.offset as i64);
        self.ints(entry.shape.iter().map(|&d| d as i64));
        self.ints(entry.strides.iter().map(|&s| s as i64));
        self.out.push(if entry.requires_grad && !entry.parameter { 0x88 } else { 0x89 });
        self.no_hooks();
        if class.is_none() {
            self.global("torch", dtype.name());
        }
        if entry.is_lazy() {
            self.out.push(b'}');
            for (name, set) in [("conj", entry.conjugate), ("neg", entry.negative)] {
                if set {
                    self.text(name)?;
                    self.out.extend(b"\x88s");
                }
            }
        }
        self.out.extend(b"tR");
        if entry.parameter {
            self.out.push(if entry.requires_grad { 0x88 } else { 0x89 });
            self.no_hooks();
            self.out.extend(b"\x87R");
        }
        self.remember(Key::Tensor(index));
        Ok(())
    }

    fn no_hooks(&mut self) {
        self.global("collections", "OrderedDict");
        self.out.extend(b")R");
    }

    fn device(&mut self, name: &str) -> Result<()> {
        let (kind, index) = name.split_once(':').map_or((name, None), |(kind, index)| (kind, Some(index)));
        self.global("torch", "device");
        self.text(kind)?;
        match index.map(str::parse::<i64>) {
            None => self.out.push(0x85),
            Some(Ok(index)) => {
                self.int(index);
                self.out.push(0x86);
            }
            Some(Err(_)) => return Err(Error::argument(format!("no device is named {name:?}"))),
        }
        self.out.push(b'R');
        Ok(())
    }

    fn int(&mut self, i: i64) {
        if let Ok(small) = u8::try_from(i) {
            self.out.extend([b'K', small]);
        } else if let Ok(medium) = u16::try_from(i) {
            self.out.push(b'M');
            self.out.extend(medium.to_le_bytes());
        } else if let Ok(large) = i32::try_from(i) {
            self.out.push(b'J');
            self.out.extend(large.to_le_bytes());
        } else {
            self.out.extend([0x8a, 8]);
            self.out.extend(i.to_le_bytes());
        }
    }

    fn ints(&mut self, items: impl Iterator<Item = i64>) {
        self.out.push(b'(');
        items.for_each(|i| self.int(i));
        self.out.push(b't');
    }

    fn long(&mut self, bytes: &[u8]) -> Result<()> {
        let size = u8::try_from(bytes.len())
            .map_err(|_| Error::unsupported(format!("writing an integer of {} bytes", bytes.len())))?;
        self.out.extend([0x8a, size]);
        self.out.extend(bytes);
        Ok(())
    }

    fn float(&mut self, x: f64) {
        self.out.push(b'G');
        self.out.extend(x.to_be_bytes());
    }

    fn text(&mut self, text: &str) -> Result<()> {
        let key = Key::Text(text.to_owned());
        if self.recall(&key) {
            return Ok(());
        }
        let size = u32::try_from(text.len()).map_err(|_| Error::unsupported("writing a string of 4 GiB"))?;
        self.out.push(b'X');
        self.out.extend(size.to_le_bytes());
        self.out.extend(text.as_bytes());
        self.remember(key);
        Ok(())
    }

    /// Bytes as Python 3 writes them in protocol 2: encoded from a string of their values.
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.global("_codecs", "encode");
        self.text(&bytes.iter().map(|&b| char::from(b)).collect::<String>())?;
        self.text("latin1")?;
        self.out.extend([0x86, b'R']);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) {
        let line = format!("c{module}\n{name}\n");
        let key = Key::Global(line);
        if self.recall(&key) {
            return;
        }
        if let Key::Global(line) = &key {
            self.out.extend(line.as_bytes());
        }
        self.remember(key);
    }

    /// Refers to what was written before, if it was.
    fn recall(&mut self, key: &Key) -> bool {
        let Some(&number) = self.memo.get(key) else { return false };
        match u8::try_from(number) {
            Ok(small) => self.out.extend([b'h', small]),
            Err(_) => {
                self.out.push(b'j');
                self.out.extend(number.to_le_bytes());
            }
        }
        true
    }

    /// Numbers what was written last.
    fn remember(&mut self, key: Key) {
        let number = self.numbered;
        self.numbered += 1;
        match u8::try_from(number) {
            Ok(small) => self.out.extend([b'q', small]),
            Err(_) => {
                self.out.push(b'r');
                self.out.extend(number.to_le_bytes());
            }
        }
        self.memo.insert(key, number);
    }
}

/// Puts the items of a group on the work list, and what closes it.
fn many(work: &mut Vec<Work>, items: impl Iterator<Item = Work>, close: &'static [u8]) {
    let before = work.len();
    work.push(Work::Bytes(close));
    work.extend(items);
    if work.len() == before + 1 {
        work.pop();
    }
}

/// The legacy storage class of a dtype; newer dtypes have none.
fn storage_class(dtype: DType) -> Option<&'static str> {
    use DType::*;
    Some(match dtype {
        F64 => "DoubleStorage",
        F32 => "FloatStorage",
        F16 => "HalfStorage",
        BF16 => "BFloat16Storage",
        I64 => "LongStorage",
        I32 => "IntStorage",
        I16 => "ShortStorage",
        I8 => "CharStorage",
        U8 => "ByteStorage",
        Bool => "BoolStorage",
        C64 => "ComplexFloatStorage",
        C128 => "ComplexDoubleStorage",
        _ => return None,
    })
}

/// A name goes into the pickle as a line, so it must not hold another one.
fn check_identifier(name: &str) -> Result<()> {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match plain {
        true => Ok(()),
        false => Err(Error::argument(format!("{name:?} is no name of Python"))),
    }
}
