//! Derivatives of functions: Jacobians, Hessians and their products with vectors; PyTorch's `torch.autograd.functional`.
//!
//! A function takes the inputs as a slice and returns a tensor, or a vector of them. It is called on the inputs without
//! their history; with [`create_graph`](FunctionalOptions::create_graph) on views of those that require grad, so that what is
//! returned can be differentiated further. No `.grad` is touched.

use super::{Backward, enable_grad, grad};
use crate::tensor::Tensor;
use crate::{Context, Error, Result};

/// Settings of the functions in this module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionalOptions {
    /// Records what is computed, so that the results can be differentiated. Default: false.
    pub create_graph: bool,
    /// Refuses an output that does not depend on an input, instead of giving zeros. Default: false.
    pub strict: bool,
}

/// What a function may return: one tensor, or a vector of them. Results that there are for each output come likewise.
pub trait Outputs: Sized {
    /// One value for each output.
    type Each<T>;

    /// The outputs in order.
    fn tensors(self) -> Vec<Tensor>;

    /// One value for each output, from as many.
    fn each<T>(values: Vec<T>) -> Self::Each<T>;
}

impl Outputs for Tensor {
    type Each<T> = T;

    fn tensors(self) -> Vec<Tensor> {
        vec![self]
    }

    fn each<T>(mut values: Vec<T>) -> T {
        values.pop().expect("a value for the one output")
    }
}

impl Outputs for Vec<Tensor> {
    type Each<T> = Vec<T>;

    fn tensors(self) -> Vec<Tensor> {
        self
    }

    fn each<T>(values: Vec<T>) -> Vec<T> {
        values
    }
}

/// The Jacobian of a function: for each output and input, all derivatives of the one with respect to the other, in the
/// shape of the output followed by that of the input. PyTorch's `jacobian` in reverse mode: one backward per element of
/// the outputs.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::functional::{FunctionalOptions, jacobian};
///
/// let x = Tensor::from_vec(vec![1.0f64, 2.0], [2])?;
/// let y = Tensor::from_vec(vec![3.0f64, 5.0], [2])?;
/// let found = jacobian(|x| x[0].mul(&x[1]), &[&x, &y], FunctionalOptions::default())?;
/// assert_eq!(found[0].shape(), [2, 2]);
/// assert_eq!(found[0].to_vec::<f64>()?, [3.0, 0.0, 0.0, 5.0]);
/// assert_eq!(found[1].to_vec::<f64>()?, [1.0, 0.0, 0.0, 2.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// If the function fails, an input is neither floating point nor complex, or `strict` finds an output that does not
/// depend on an input.
pub fn jacobian<O: Outputs>(
    f: impl Fn(&[Tensor]) -> Result<O>,
    inputs: &[&Tensor],
    how: FunctionalOptions,
) -> Result<O::Each<Vec<Tensor>>> {
    let call = Call::new("jacobian", how);
    let (inputs, outputs) = call.run(f, inputs)?;
    let each = outputs.iter().enumerate().map(|(i, y)| call.jacobian(i, y, &inputs));
    each.collect::<Result<_>>().map(O::each)
}

/// The Hessian of a function with one output of one element: for each pair of inputs the second derivatives, in the shape
/// of the first followed by that of the second. PyTorch's `hessian`.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::functional::{FunctionalOptions, hessian};
///
/// let x = Tensor::from_vec(vec![1.0f64, 2.0], [2])?;
/// let found = hessian(|x| x[0].pow(3)?.sum(()), &[&x], FunctionalOptions::default())?;
/// assert_eq!(found[0][0].to_vec::<f64>()?, [6.0, 0.0, 0.0, 12.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As [`jacobian`]; also if the output does not have one element, or `strict` finds a first derivative that does not
/// depend on an input.
pub fn hessian(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[&Tensor],
    how: FunctionalOptions,
) -> Result<Vec<Vec<Tensor>>> {
    let call = Call::new("hessian", how);
    let (inputs, output) = call.run_to_number(f, inputs)?;
    let first = call.first(&output, &inputs)?;
    first.iter().enumerate().map(|(i, d)| call.jacobian(i, d, &inputs)).collect()
}

/// The outputs of a function, and the product of a vector with its Jacobian: the gradients of the inputs if `v` are those
/// of the outputs. PyTorch's `vjp`.
///
/// `v` has the shapes of the outputs; `None` stands for 1 where there is one output of one element.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::functional::{FunctionalOptions, vjp};
///
/// let x = Tensor::from_vec(vec![1.0f64, 2.0], [2])?;
/// let v = Tensor::from_vec(vec![1.0f64, 10.0], [2])?;
/// let (y, found) = vjp(|x| x[0].mul(&x[0]), &[&x], Some(&[&v]), FunctionalOptions::default())?;
/// assert_eq!(y.to_vec::<f64>()?, [1.0, 4.0]);
/// assert_eq!(found[0].to_vec::<f64>()?, [2.0, 40.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As [`jacobian`]; also if `v` does not fit the outputs.
pub fn vjp<O: Outputs>(
    f: impl Fn(&[Tensor]) -> Result<O>,
    inputs: &[&Tensor],
    v: Option<&[&Tensor]>,
    how: FunctionalOptions,
) -> Result<(O::Each<Tensor>, Vec<Tensor>)> {
    let call = Call::new("vjp", how);
    let (inputs, outputs) = call.run(f, inputs)?;
    let v = call.vector(v, "output", &outputs.iter().collect::<Vec<_>>())?;
    let found = call.grad(&some(&outputs), &inputs, &v, how.create_graph)?;
    let found = call.filled(found, &inputs, |i| format!("the outputs do not depend on input {i}"))?;
    Ok((O::each(call.cut(outputs)), found))
}

/// The outputs of a function, and the product of its Jacobian with a vector: the change of the outputs if the inputs
/// change by `v`. PyTorch's `jvp`, by two backward passes.
///
/// `v` has the shapes of the inputs; `None` stands for 1 where there is one input of one element.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::functional::{FunctionalOptions, jvp};
///
/// let x = Tensor::from_vec(vec![1.0f64, 2.0], [2])?;
/// let v = Tensor::from_vec(vec![1.0f64, 10.0], [2])?;
/// let (_, found) = jvp(|x| x[0].mul(&x[0])?.cumsum(0), &[&x], Some(&[&v]), FunctionalOptions::default())?;
/// assert_eq!(found.to_vec::<f64>()?, [2.0, 42.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As [`jacobian`]; also if `v` does not fit the inputs, or an operation's backward cannot be differentiated.
pub fn jvp<O: Outputs>(
    f: impl Fn(&[Tensor]) -> Result<O>,
    inputs: &[&Tensor],
    v: Option<&[&Tensor]>,
    how: FunctionalOptions,
) -> Result<(O::Each<Tensor>, O::Each<Tensor>)> {
    let call = Call::new("jvp", how);
    let v = call.vector(v, "input", inputs)?;
    let (inputs, outputs) = call.run(f, inputs)?;
    // The product of a vector with the Jacobian is linear in the vector; its derivative is the Jacobian.
    let free = outputs.iter().map(|y| y.zeros_like()?.requires_grad_(true)).collect::<Result<Vec<_>>>()?;
    let linear = call.grad(&some(&outputs), &inputs, &free, true)?;
    call.check_dependent(&linear, |i| format!("the outputs do not depend on input {i}"))?;
    let found = call.grad(&linear, &free, &v, how.create_graph)?;
    let found = call.filled(found, &outputs, |i| format!("output {i} does not depend on the inputs"))?;
    Ok((O::each(call.cut(outputs)), O::each(found)))
}

/// The output of a function with one output of one element, and the product of a vector with its Hessian; PyTorch's
/// `vhp`. Cheaper than [`hvp`], with the same numbers where the second derivatives are continuous.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::functional::{FunctionalOptions, vhp};
///
/// let x = Tensor::from_vec(vec![1.0f64, 2.0], [2])?;
/// let v = Tensor::from_vec(vec![1.0f64, 10.0], [2])?;
/// let (y, found) = vhp(|x| x[0].pow(3)?.sum(()), &[&x], Some(&[&v]), FunctionalOptions::default())?;
/// assert_eq!(y.item()?, 9.0);
/// assert_eq!(found[0].to_vec::<f64>()?, [6.0, 120.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As [`hessian`]; also if `v` does not fit the inputs.
pub fn vhp(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[&Tensor],
    v: Option<&[&Tensor]>,
    how: FunctionalOptions,
) -> Result<(Tensor, Vec<Tensor>)> {
    let call = Call::new("vhp", how);
    let v = call.vector(v, "input", inputs)?;
    let (inputs, output) = call.run_to_number(f, inputs)?;
    let first = call.first(&output, &inputs)?;
    let found = call.grad(&some(&first), &inputs, &v, how.create_graph)?;
    let found =
        call.filled(found, &inputs, |i| format!("the first derivatives do not depend on input {i}"))?;
    Ok((call.cut(vec![output]).swap_remove(0), found))
}

/// The output of a function with one output of one element, and the product of its Hessian with a vector; PyTorch's
/// `hvp`, by three backward passes.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::functional::{FunctionalOptions, hvp};
///
/// let x = Tensor::from_vec(vec![1.0f64, 2.0], [2])?;
/// let v = Tensor::from_vec(vec![1.0f64, 10.0], [2])?;
/// let (_, found) = hvp(|x| x[0].pow(3)?.sum(()), &[&x], Some(&[&v]), FunctionalOptions::default())?;
/// assert_eq!(found[0].to_vec::<f64>()?, [6.0, 120.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As [`vhp`].
pub fn hvp(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[&Tensor],
    v: Option<&[&Tensor]>,
    how: FunctionalOptions,
) -> Result<(Tensor, Vec<Tensor>)> {
    let call = Call::new("hvp", how);
    let v = call.vector(v, "input", inputs)?;
    let (inputs, output) = call.run_to_number(f, inputs)?;
    let first = call.first(&output, &inputs)?;
    let free = inputs.iter().map(|x| x.zeros_like()?.requires_grad_(true)).collect::<Result<Vec<_>>>()?;
    let linear = call.grad(&some(&first), &inputs, &free, true)?;
    call.check_dependent(&linear, |i| format!("the first derivatives do not depend on input {i}"))?;
    let found = call.grad(&linear, &free, &v, how.create_graph)?;
    let found = call.filled(found, &inputs, |i| {
        format!("the first derivative with respect to input {i} does not depend on the inputs")
    })?;
    Ok((call.cut(vec![output]).swap_remove(0), found))
}

fn some(tensors: &[Tensor]) -> Vec<Option<Tensor>> {
    tensors.iter().cloned().map(Some).collect()
}

/// One call of a function of this module.
struct Call {
    name: &'static str,
    how: FunctionalOptions,
}

impl Call {
    fn new(name: &'static str, how: FunctionalOptions) -> Self {
        Self { name, how }
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::autograd(format!("{}: {message}", self.name))
    }

    /// Calls a function; the inputs that it was called on, and its outputs.
    fn run<O: Outputs>(
        &self,
        f: impl Fn(&[Tensor]) -> Result<O>,
        inputs: &[&Tensor],
    ) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let fresh = |x: &Tensor| match self.how.create_graph && x.requires_grad() {
            true => x.view(x.shape()),
            false => x.detach().requires_grad_(true),
        };
        enable_grad(|| {
            let inputs = inputs.iter().copied().map(fresh).collect::<Result<Vec<_>>>()?;
            let outputs = f(&inputs)?.tensors();
            Ok::<_, Error>((inputs, outputs))
        })
        .context(|| self.name)
    }

    /// As [`run`](Self::run), of a function with one output of one element.
    fn run_to_number(
        &self,
        f: impl Fn(&[Tensor]) -> Result<Tensor>,
        inputs: &[&Tensor],
    ) -> Result<(Vec<Tensor>, Tensor)> {
        let (inputs, mut outputs) = self.run(f, inputs)?;
        let output = outputs.swap_remove(0);
        if output.numel() != 1 {
            return Err(Error::shape(format!(
                "{}: the output must have one element, found shape {:?}",
                self.name,
                output.shape()
            )));
        }
        Ok((inputs, output))
    }

    /// A vector for a product: of the shapes of `like`.
    fn vector(&self, v: Option<&[&Tensor]>, what: &str, like: &[&Tensor]) -> Result<Vec<Tensor>> {
        let Some(v) = v else {
            return match like {
                [one] if one.numel() == 1 => Ok(vec![one.detach().ones_like()?]),
                _ => Err(Error::argument(format!(
                    "{}: `v` can be left out for one {what} of one element only, found {} of shapes {:?}",
                    self.name,
                    like.len(),
                    like.iter().map(|x| x.shape()).collect::<Vec<_>>()
                ))),
            };
        };
        if v.len() != like.len() {
            return Err(Error::argument(format!(
                "{}: `v` has {} tensors for {} {what}s",
                self.name,
                v.len(),
                like.len()
            )));
        }
        for (i, (v, like)) in v.iter().zip(like).enumerate() {
            if v.shape() != like.shape() {
                return Err(Error::shape(format!(
                    "{}: `v[{i}]` has shape {:?} for {what} {i} of shape {:?}",
                    self.name,
                    v.shape(),
                    like.shape()
                )));
            }
        }
        Ok(v.iter().map(|v| if self.how.create_graph { Tensor::clone(v) } else { v.detach() }).collect())
    }

    /// Gradients where there are any: an output that does not require grad contributes none.
    fn grad(
        &self,
        outputs: &[Option<Tensor>],
        inputs: &[Tensor],
        cotangents: &[Tensor],
        create_graph: bool,
    ) -> Result<Vec<Option<Tensor>>> {
        let roots: Vec<(&Tensor, Option<&Tensor>)> = outputs
            .iter()
            .zip(cotangents)
            .filter_map(|(y, v)| Some((y.as_ref().filter(|y| y.requires_grad())?, Some(v))))
            .collect();
        if roots.is_empty() {
            return Ok(vec![None; inputs.len()]);
        }
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        grad(&roots, &inputs, Backward { retain_graph: true, create_graph }).context(|| self.name)
    }

    /// The recorded first derivatives of a number.
    fn first(&self, output: &Tensor, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let one = output.detach().ones_like()?;
        let found = self.grad(&[Some(output.clone())], inputs, &[one], true)?;
        self.check_dependent(&found, |i| {
            format!("the first derivative with respect to input {i} does not depend on the inputs")
        })?;
        found.into_iter().zip(inputs).map(|(d, x)| d.map_or_else(|| x.zeros_like(), Ok)).collect()
    }

    /// The derivatives of output `i` with respect to each input.
    fn jacobian(&self, i: usize, output: &Tensor, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut rows: Vec<Vec<Tensor>> = vec![Vec::with_capacity(output.numel()); inputs.len()];
        for element in 0..output.numel() {
            let one = output.detach().zeros_like()?;
            one.view(-1)?.select(0, element as isize)?.fill_(1)?;
            let found = self.grad(&[Some(output.clone())], inputs, &[one], self.how.create_graph)?;
            let found =
                self.filled(found, inputs, |input| format!("output {i} does not depend on input {input}"))?;
            rows.iter_mut().zip(found).for_each(|(row, d)| row.push(d));
        }
        let each = rows.iter().zip(inputs).map(|(rows, input)| {
            let shape: Vec<usize> = output.shape().iter().chain(input.shape()).copied().collect();
            if rows.is_empty() {
                return Tensor::zeros(shape, input.dtype());
            }
            Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0)?.view(shape)
        });
        each.collect::<Result<_>>().context(|| self.name)
    }

    /// Refuses, if strict, what does not lead on to a derivative.
    fn check_dependent(&self, found: &[Option<Tensor>], complaint: impl Fn(usize) -> String) -> Result<()> {
        match found.iter().position(|d| !d.as_ref().is_some_and(Tensor::requires_grad)) {
            Some(i) if self.how.strict => Err(self.error(format!("strict: {}", complaint(i)))),
            _ => Ok(()),
        }
    }

    /// Zeros of the shapes of `like` where there is no derivative; an error instead if strict.
    fn filled(
        &self,
        found: Vec<Option<Tensor>>,
        like: &[Tensor],
        complaint: impl Fn(usize) -> String,
    ) -> Result<Vec<Tensor>> {
        if let Some(i) = found.iter().position(Option::is_none)
            && self.how.strict
        {
            return Err(self.error(format!("strict: {}", complaint(i))));
        }
        if self.how.create_graph {
            let constant = |i| format!("result {i} does not depend on the inputs, so it has no derivative");
            self.check_dependent(&found, constant)?;
        }
        found.into_iter().zip(like).map(|(d, x)| d.map_or_else(|| x.detach().zeros_like(), Ok)).collect()
    }

    /// Results without history, unless that was asked for.
    fn cut(&self, outputs: Vec<Tensor>) -> Vec<Tensor> {
        if self.how.create_graph { outputs } else { outputs.iter().map(Tensor::detach).collect() }
    }
}
