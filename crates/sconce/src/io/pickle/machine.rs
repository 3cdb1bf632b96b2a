//! The stack machine.

mod call;

use std::collections::HashMap;

use super::{DictObject, Object, Permission, Pickle, Ref};
use crate::error::{Context, Error, Result};
use crate::io::archive::display_name;
use crate::io::limits::{MAX_PICKLE_INT_BYTES, MAX_PICKLE_OBJECTS};
use crate::io::tree::DictKind;

/// The newest pickle protocol.
const MAX_PROTOCOL: u8 = 5;

/// Runs the pickle that `bytes` are, to the last byte, and describes what it would make.
///
/// `permission` judges every name by its full, dotted form.
pub(in crate::io) fn run(bytes: &[u8], permission: &dyn Fn(&str) -> Permission) -> Result<Pickle> {
    let (pickle, used) = run_start(bytes, permission).map_err(|failure| failure.error)?;
    match bytes.len() - used {
        0 => Ok(pickle),
        rest => Err(Error::format(format!("{rest} bytes follow the end of the pickle"))),
    }
}

/// Why a pickle could not be run.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the bytes ended before the pickle did.
    pub(super) ran_out: bool,
}

/// Runs the pickle that `bytes` begin with; also returns its length.
pub(super) fn run_start(
    bytes: &[u8],
    permission: &dyn Fn(&str) -> Permission,
) -> Result<(Pickle, usize), Failure> {
    let mut machine = Machine {
        bytes,
        start: 0,
        at: 0,
        ran_out: false,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        globals: Vec::new(),
        permissions: Vec::new(),
        index: HashMap::new(),
        pushes: 0,
        permission,
        refused: Vec::new(),
    };
    let singletons = [Object::None, Object::Bool(false), Object::Bool(true), Object::Tuple([].into())];
    machine.objects.extend(singletons);
    let end = machine.run();
    // A name that is refused is the better reason, whatever came after it.
    match machine.judge().and(end) {
        Ok(root) => Ok((Pickle { objects: machine.objects, globals: machine.globals, root }, machine.at)),
        Err(error) => Err(Failure { error, ran_out: machine.ran_out }),
    }
}

/// As many refused names are listed; of the others there is only the number.
const MAX_NAMES: usize = 50;

const NONE: Ref = Ref(0);
const FALSE: Ref = Ref(1);
const TRUE: Ref = Ref(2);
const UNIT: Ref = Ref(3);

struct Machine<'a> {
    bytes: &'a [u8],
    /// Where the opcode began that is being run.
    start: usize,
    at: usize,
    /// Whether a step wanted more bytes than there are.
    ran_out: bool,
    objects: Vec<Object>,
    stack: Vec<Ref>,
    /// Stack heights.
    marks: Vec<usize>,
    memo: HashMap<u32, Ref>,
    globals: Vec<String>,
    permissions: Vec<Permission>,
    index: HashMap<String, u32>,
    pushes: usize,
    permission: &'a dyn Fn(&str) -> Permission,
    /// The names that are refused, and where. The rest of the pickle is still described, to find them all.
    refused: Vec<(usize, String)>,
}

impl<'a> Machine<'a> {
    /// Runs all opcodes; gives the result.
    fn run(&mut self) -> Result<Ref> {
        loop {
            self.start = self.at;
            let start = self.start;
            if let Some(root) = self.step().context(|| format!("byte {start}"))? {
                return Ok(root);
            }
        }
    }

    /// The error that lists every refused name.
    fn judge(&self) -> Result<()> {
        let names = match self.refused.as_slice() {
            [] => return Ok(()),
            [(start, name)] => {
                let name = display_name(name);
                return Err(Error::format(format!(
                    "byte {start}: it asks for {name}, which is not on the list of allowed names"
                )));
            }
            listed => {
                let shown = listed.iter().take(MAX_NAMES);
                let mut names: Vec<String> =
                    shown.map(|(start, name)| format!("{} (byte {start})", display_name(name))).collect();
                if listed.len() > MAX_NAMES {
                    names.push(format!("{} more", listed.len() - MAX_NAMES));
                }
                names.join(", ")
            }
        };
        Err(Error::format(format!("it asks for {names}, which are not on the list of allowed names")))
    }

    /// Runs one opcode; gives the result at the end.
    fn step(&mut self) -> Result<Option<Ref>> {
        let opcode = self.u8().map_err(|_| Error::format("the pickle has no end"))?;
        match opcode {
            0x80 => {
                let protocol = self.u8()?;
                if protocol > MAX_PROTOCOL {
                    return Err(Error::unsupported(format!("pickle protocol {protocol}")));
                }
            }
            0x95 => {
                let size = self.u64()?;
                if size > (self.bytes.len() - self.at) as u64 {
                    self.ran_out = true;
                    return Err(Error::format(format!("a frame of {size} bytes reaches beyond the end")));
                }
            }
            b'.' => return self.pop().map(Some),
            b'(' => {
                self.spend(1)?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }

            b'N' => self.push(NONE)?,
            0x89 => self.push(FALSE)?,
            0x88 => self.push(TRUE)?,
            b'K' => {
                let n = self.u8()?;
                self.make(Object::Int(n.into()))?;
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.make(Object::Int(n.into()))?;
            }
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.make(Object::Int(n.into()))?;
            }
            0x8a => {
                let size = self.u8()?.into();
                self.long(size)?;
            }
            0x8b => {
                let size = self.u32()? as usize;
                self.long(size)?;
            }
            b'G' => {
                let x = f64::from_be_bytes(self.array()?);
                self.make(Object::Float(x))?;
            }
            0x8c | b'X' | 0x8d => {
                let size = self.size(opcode, 0x8c, b'X')?;
                let text = self.text(size)?.into();
                self.make(Object::Str(text))?;
            }
            b'U' | b'T' => {
                // Python 2's strings: texts where they are ASCII, as PyTorch reads them.
                let size = self.size(opcode, b'U', b'T')?;
                let bytes = self.take(size)?;
                let object = match std::str::from_utf8(bytes) {
                    Ok(text) if text.is_ascii() => Object::Str(text.into()),
                    _ => Object::Bytes(bytes.into()),
                };
                self.make(object)?;
            }
            b'C' | b'B' | 0x8e => {
                let size = self.size(opcode, b'C', b'B')?;
                let bytes = self.take(size)?.into();
                self.make(Object::Bytes(bytes))?;
            }
            0x96 => {
                let size = self.size(opcode, 0, 0)?;
                let bytes = self.take(size)?.into();
                self.make(Object::ByteArray(bytes))?;
            }

            b')' => self.push(UNIT)?,
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.make(Object::Tuple(items.into()))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.make(Object::Tuple(items.into()))?;
            }
            b']' => self.make(Object::List(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.make(Object::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            0x8f => self.make(Object::Set(Vec::new()))?,
            0x90 => {
                let items = self.pop_mark()?;
                match self.top_object()? {
                    Object::Set(set) => set.extend(items),
                    other => return Err(wrong("items can be added to a set only", other)),
                }
            }
            0x91 => return Err(Error::unsupported("a frozenset")),
            b'}' => self.make_dict(DictKind::Plain)?,
            b'd' => {
                let items = self.pop_mark()?;
                self.make_dict(DictKind::Plain)?;
                self.set_items(&items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }

            b'h' => {
                let key = self.u8()?.into();
                self.recall(key)?;
            }
            b'j' => {
                let key = self.u32()?;
                self.recall(key)?;
            }
            b'q' => {
                let key = self.u8()?.into();
                self.remember(key)?;
            }
            b'r' => {
                let key = self.u32()?;
                self.remember(key)?;
            }
            0x94 => {
                let key = self.memo.len() as u32;
                self.remember(key)?;
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = self.global(module, name)?;
                self.make(Object::Global(global))?;
            }
            0x93 => {
                let parts = self.pop_many(2)?;
                let [module, name] = [parts[0], parts[1]].map(|r| match &self.objects[r.0 as usize] {
                    Object::Str(text) => Ok(text.to_string()),
                    other => Err(wrong("a global's name must be a string", other)),
                });
                let global = self.global(&module?, &name?)?;
                self.make(Object::Global(global))?;
            }
            b'R' | 0x81 => {
                let parts = self.pop_many(2)?;
                self.call(parts[0], parts[1])?;
            }
            0x92 => {
                let parts = self.pop_many(3)?;
                match &self.objects[parts[2].0 as usize] {
                    Object::Dict(dict) if dict.items.is_empty() => self.call(parts[0], parts[1])?,
                    other => return Err(wrong("a call with keywords", other)),
                }
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = self.global(module, name)?;
                let arguments = self.pop_mark()?;
                let callee = self.add(Object::Global(global))?;
                let arguments = self.add(Object::Tuple(arguments.into()))?;
                self.call(callee, arguments)?;
            }
            b'o' => {
                let items = self.pop_mark()?;
                let (&callee, arguments) = items.split_first().ok_or_else(underflow)?;
                let arguments = self.add(Object::Tuple(arguments.into()))?;
                self.call(callee, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.make(Object::Persistent(id))?;
            }
            0x82..=0x84 => {
                return Err(Error::unsupported("a global by its number in Python's extension registry"));
            }
            0x97 | 0x98 => return Err(Error::unsupported("a buffer outside the pickle")),
            b'I' | b'L' | b'F' | b'S' | b'V' | b'g' | b'p' | b'P' => {
                let letter = char::from(opcode);
                return Err(Error::unsupported(format!("opcode {letter:?} of the text protocol 0")));
            }
            other => return Err(Error::format(format!("unknown opcode 0x{other:02x}"))),
        }
        Ok(None)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..size) else {
            self.ran_out = true;
            return Err(Error::format(format!("{size} bytes are declared, {} are left", rest.len())));
        };
        self.at += size;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The size of a string, in one byte, four or eight, as the opcode says.
    fn size(&mut self, opcode: u8, short: u8, medium: u8) -> Result<usize> {
        let size = match opcode {
            o if o == short => self.u8()?.into(),
            o if o == medium => self.u32()?.into(),
            _ => self.u64()?,
        };
        usize::try_from(size).map_err(|_| Error::format(format!("a string of {size} bytes")))
    }

    fn text(&mut self, size: usize) -> Result<&'a str> {
        std::str::from_utf8(self.take(size)?).map_err(|_| Error::format("a string is not UTF-8"))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(size) = rest.iter().position(|&b| b == b'\n') else {
            self.ran_out = true;
            return Err(Error::format("a name has no end"));
        };
        let text = self.text(size)?;
        self.at += 1;
        Ok(text)
    }

    fn long(&mut self, size: usize) -> Result<()> {
        if size > MAX_PICKLE_INT_BYTES {
            return Err(Error::format(format!(
                "an integer of {size} bytes, at most {MAX_PICKLE_INT_BYTES} are allowed"
            )));
        }
        let bytes = self.take(size)?;
        let object = if size <= 8 {
            let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [fill; 8];
            wide[..size].copy_from_slice(bytes);
            Object::Int(i64::from_le_bytes(wide))
        } else {
            Object::BigInt(bytes.into())
        };
        self.make(object)
    }

    fn spend(&mut self, count: usize) -> Result<()> {
        self.pushes += count;
        match self.pushes > MAX_PICKLE_OBJECTS {
            true => Err(Error::format(format!("more than {MAX_PICKLE_OBJECTS} objects"))),
            false => Ok(()),
        }
    }

    fn add(&mut self, object: Object) -> Result<Ref> {
        self.spend(1)?;
        self.objects.push(object);
        Ok(Ref((self.objects.len() - 1) as u32))
    }

    fn push(&mut self, r: Ref) -> Result<()> {
        self.spend(1)?;
        self.stack.push(r);
        Ok(())
    }

    fn make(&mut self, object: Object) -> Result<()> {
        let r = self.add(object)?;
        self.push(r)
    }

    fn make_dict(&mut self, kind: DictKind) -> Result<()> {
        self.make(Object::Dict(Box::new(DictObject { kind, items: Vec::new(), state: None })))
    }

    /// The lowest stack position that may be popped.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Ref> {
        if self.stack.len() == self.floor() {
            return Err(underflow());
        }
        self.stack.pop().ok_or_else(underflow)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Ref>> {
        let start =
            self.stack.len().checked_sub(count).filter(|&s| s >= self.floor()).ok_or_else(underflow)?;
        Ok(self.stack.split_off(start))
    }

    fn pop_mark(&mut self) -> Result<Vec<Ref>> {
        let mark = self.marks.pop().ok_or_else(|| Error::format("no mark is on the stack"))?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Ref> {
        self.stack[self.floor()..].last().copied().ok_or_else(underflow)
    }

    fn top_object(&mut self) -> Result<&mut Object> {
        let top = self.top()?;
        Ok(&mut self.objects[top.0 as usize])
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        let r = *self
            .memo
            .get(&key)
            .ok_or_else(|| Error::format(format!("memo entry {key} was never stored")))?;
        self.push(r)
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        let top = self.top()?;
        self.spend(1)?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn append(&mut self, items: Vec<Ref>) -> Result<()> {
        match self.top_object()? {
            Object::List(list) => list.extend(items),
            other => return Err(wrong("items can be appended to a list only", other)),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Ref]) -> Result<()> {
        let (pairs, rest) = items.as_chunks();
        for [key, _] in pairs {
            let key = &self.objects[key.0 as usize];
            if matches!(key, Object::List(_) | Object::Dict(_) | Object::Set(_) | Object::ByteArray(_)) {
                return Err(wrong("a key must not change", key));
            }
        }
        match self.top_object()? {
            Object::Dict(dict) if rest.is_empty() => dict.items.extend(pairs.iter().map(|&[k, v]| (k, v))),
            Object::Dict(_) => return Err(Error::format("a key without a value")),
            other => return Err(wrong("items can be set in a dict only", other)),
        }
        Ok(())
    }
}

fn underflow() -> Error {
    Error::format("the stack is empty")
}

fn wrong(rule: &str, found: &Object) -> Error {
    Error::format(format!("{rule}, found {}", found.kind()))
}

impl Object {
    /// Python's name for the type, for errors.
    pub(in crate::io) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::BigInt(_) => "an int",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "a bytearray",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a global",
            Self::Persistent(_) => "a storage",
            Self::Call(_) => "an object",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_name_is_listed() {
        let refuse = |_: &str| Permission::Refused;
        let error = |bytes: &[u8]| run(bytes, &refuse).err().expect("an error").to_string();
        // Two classes made and given a state, one name twice, and an opcode that does not exist.
        let pickle = b"\x80\x02ca\nB\n)R}bcos\nsystem\n(U\x02idtRca\nB\n\xff";
        assert_eq!(
            error(pickle),
            "it asks for a.B (byte 2), os.system (byte 11), which are not on the list of allowed names"
        );
        let one = "byte 2: it asks for a.B, which is not on the list of allowed names";
        assert_eq!(error(b"\x80\x02ca\nB\n."), one);
        let many: Vec<u8> = (0..60).flat_map(|i| format!("ca\nB{i}\n0").into_bytes()).collect();
        let text = error(&many);
        assert!(text.contains("a.B49 (byte") && text.contains(", 10 more, which are"), "{text}");
    }
}
