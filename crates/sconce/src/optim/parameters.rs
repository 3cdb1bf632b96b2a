//! What an optimiser can be given.

use crate::nn::{Module, Param, each_parameter};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// A tensor with the names it has.
#[derive(Clone, Debug)]
pub struct Named {
    /// The names, at least one; a tied parameter has several.
    pub names: Vec<String>,
    /// The tensor.
    pub tensor: Tensor,
}

impl Named {
    /// The gradient.
    ///
    /// # Errors
    ///
    /// If the module holds another tensor in place of this one by now: stepping this one would train nothing.
    pub(super) fn grad(&self) -> Result<Option<Tensor>> {
        let auto = self.tensor.auto();
        if auto.extra.as_ref().is_some_and(|extra| extra.replaced) {
            return Err(Error::argument(
                "the module holds another tensor by now, since it was converted to another dtype or parametrised: do \
                 that first, then make the optimiser",
            ));
        }
        Ok(auto.grad.clone())
    }
}

/// What can be given where parameters are wanted: a module, or a list of parameters or tensors, with names or without.
///
/// Parameters without names are called by their index.
pub trait Parameters {
    /// The parameters in order.
    fn named(self) -> Vec<Named>;
}

impl<M: Module + ?Sized> Parameters for &M {
    fn named(self) -> Vec<Named> {
        let mut list: Vec<Named> = Vec::new();
        let mut places = std::collections::HashMap::new();
        each_parameter(self.as_module(), &mut |path, parameter| {
            parameter.set_label(path);
            let place = *places.entry(parameter.id()).or_insert(list.len());
            match list.get_mut(place) {
                Some(named) => named.names.push(path.to_owned()),
                None => list.push(Named { names: vec![path.to_owned()], tensor: parameter.tensor().clone() }),
            }
        });
        list
    }
}

impl Parameters for Vec<(String, Param)> {
    fn named(self) -> Vec<Named> {
        self.into_iter().map(|(name, p)| Named { names: vec![name], tensor: p.tensor().clone() }).collect()
    }
}

impl Parameters for Vec<(String, Tensor)> {
    fn named(self) -> Vec<Named> {
        self.into_iter().map(|(name, tensor)| Named { names: vec![name], tensor }).collect()
    }
}

impl Parameters for Vec<Param> {
    fn named(self) -> Vec<Named> {
        self.into_iter().map(|p| p.tensor().clone()).collect::<Vec<_>>().named()
    }
}

impl Parameters for Vec<Tensor> {
    fn named(self) -> Vec<Named> {
        let name = |i: usize| vec![i.to_string()];
        self.into_iter().enumerate().map(|(i, tensor)| Named { names: name(i), tensor }).collect()
    }
}
