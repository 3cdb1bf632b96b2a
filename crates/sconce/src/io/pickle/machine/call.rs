//! Globals, and what may be done with them: calls and states.

use super::{Machine, wrong};
use crate::error::{Error, Result};
use crate::io::pickle::{Call, DictObject, Object, Permission, Ref};
use crate::io::tree::DictKind;

impl Machine<'_> {
    /// Judges a name, and numbers it.
    pub(super) fn global(&mut self, module: &str, name: &str) -> Result<u32> {
        let module = match module {
            "__builtin__" => "builtins",
            "copy_reg" => "copyreg",
            other => other,
        };
        let full = format!("{module}.{name}");
        if let Some(&known) = self.index.get(&full) {
            return Ok(known);
        }
        let permission = (self.permission)(&full);
        if permission == Permission::Refused {
            self.refused.push((self.start, full.clone()));
        }
        let number = self.globals.len() as u32;
        self.globals.push(full.clone());
        self.permissions.push(permission);
        self.index.insert(full, number);
        Ok(number)
    }

    /// The global that is called: itself, or the class in `('module', class, file, source)`, by which PyTorch's
    /// older files keep a module's source beside it.
    fn callee(&self, callee: Ref) -> Result<u32> {
        let object = |r: Ref| &self.objects[r.0 as usize];
        let parts: &[Ref] = match object(callee) {
            Object::Global(callee) => return Ok(*callee),
            Object::Persistent(id) => match object(*id) {
                Object::Tuple(parts) => parts,
                _ => &[],
            },
            _ => &[],
        };
        match parts {
            [kind, class, _, _] | [class, kind, _]
                if let (Object::Global(class), Object::Str(_)) = (object(*class), object(*kind)) =>
            {
                Ok(*class)
            }
            _ => Err(wrong("only a named function can be called", object(callee))),
        }
    }

    pub(super) fn call(&mut self, callee: Ref, arguments: Ref) -> Result<()> {
        let callee = self.callee(callee)?;
        let Object::Tuple(items) = &self.objects[arguments.0 as usize] else {
            return Err(wrong("a call's arguments must be a tuple", &self.objects[arguments.0 as usize]));
        };
        match self.permissions[callee as usize] {
            Permission::Dict(kind) => {
                let items = self.dict_arguments(kind, items)?;
                self.spend(items.len())?;
                self.make(Object::Dict(Box::new(DictObject { kind, items, state: None })))
            }
            Permission::Function | Permission::Class | Permission::Refused => {
                self.make(Object::Call(Box::new(Call { callee, arguments, state: None })))
            }
            _ => Err(Error::format(format!("{} is no function", self.globals[callee as usize]))),
        }
    }

    /// The items that a dict class is called with: none, a dict, or a list of pairs.
    fn dict_arguments(&self, kind: DictKind, arguments: &[Ref]) -> Result<Vec<(Ref, Ref)>> {
        let arguments = match (kind, arguments) {
            (DictKind::Default, [_, rest @ ..]) => rest,
            (_, all) => all,
        };
        let object = match arguments {
            [] => return Ok(Vec::new()),
            [one] => &self.objects[one.0 as usize],
            _ => return Err(Error::format(format!("a dict of {} arguments", arguments.len()))),
        };
        match object {
            Object::Dict(dict) => Ok(dict.items.clone()),
            Object::List(pairs) => pairs
                .iter()
                .map(|pair| match &self.objects[pair.0 as usize] {
                    Object::Tuple(p) if p.len() == 2 => Ok((p[0], p[1])),
                    Object::List(p) if p.len() == 2 => Ok((p[0], p[1])),
                    other => Err(wrong("a dict takes pairs", other)),
                })
                .collect(),
            other => Err(wrong("a dict takes a dict or a list of pairs", other)),
        }
    }

    pub(super) fn build(&mut self, state: Ref) -> Result<()> {
        let top = self.top()?;
        match &mut self.objects[top.0 as usize] {
            Object::Dict(dict) => dict.state = Some(state),
            Object::Call(call)
                if matches!(
                    self.permissions[call.callee as usize],
                    Permission::Class | Permission::Refused
                ) =>
            {
                call.state = Some(state);
            }
            Object::Call(call) => {
                let name = &self.globals[call.callee as usize];
                return Err(Error::format(format!("the result of {name} takes no state")));
            }
            other => return Err(wrong("a state can be given to an object only", other)),
        }
        Ok(())
    }
}
