//! Random numbers.

use sconce::{DType, Tensor};

use super::{in_place, rows};
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "rand" => |a| Tensor::rand(a.ints("size")?, a.dtype_or(DType::F32)?)?;
    "randn" => |a| Tensor::randn(a.ints("size")?, a.dtype_or(DType::F32)?)?;
    "randint" => |a| {
        let low = a.opt("low", Call::int)?.unwrap_or(0);
        Tensor::randint(low, a.int("high")?, a.ints("size")?, a.dtype_or(DType::I64)?)?
    };
    "randint_like" => |a| {
        let (x, low) = (a.input()?, a.opt("low", Call::int)?.unwrap_or(0));
        Tensor::randint(low, a.int("high")?, x.shape(), a.dtype_or(x.dtype())?)?
    };
    "randperm" => |a| Tensor::randperm(a.size("n")?)?.to(a.dtype_or(DType::I64)?)?;
    "multinomial" => |a| a.input()?.multinomial(a.size("num_samples")?, a.bool("replacement")?)?;
    "rand_like" => |a| a.input()?.rand_like()?;
    "randn_like" => |a| a.input()?.randn_like()?;
    "bernoulli" => |a| a.input()?.bernoulli()?;
    "uniform_" => |a| {
        let (from, to) = (a.float("from")?, a.float("to")?);
        in_place(a, |x| x.uniform_(from, to))?
    };
    "normal_" => |a| {
        let (mean, std) = (a.float("mean")?, a.float("std")?);
        in_place(a, |x| x.normal_(mean, std))?
    };
    "normal" => |a| normal(a)?;
    "bernoulli_" => |a| {
        let p = a.float("p")?;
        in_place(a, |x| x.bernoulli_(p))?
    };
    "exponential_" => |a| {
        let rate = a.float("lambd")?;
        in_place(a, |x| x.exponential_(rate))?
    };
    "cauchy_" => |a| {
        let (median, sigma) = (a.float("median")?, a.float("sigma")?);
        in_place(a, |x| x.cauchy_(median, sigma))?
    };
    "log_normal_" => |a| {
        let (mean, std) = (a.float("mean")?, a.float("std")?);
        in_place(a, |x| x.log_normal_(mean, std))?
    };
    "geometric_" => |a| {
        let p = a.float("p")?;
        in_place(a, |x| x.geometric_(p))?
    };
    "random_" => |a| match (a.opt("from", Call::int)?, a.opt("to", Call::int)?) {
        (None, None) => in_place(a, |x| x.random_())?,
        (Some(high), None) => in_place(a, |x| x.random_range_(0, high))?,
        (low, Some(high)) => in_place(a, |x| x.random_range_(low.unwrap_or(0), high))?,
    };
};

/// `normal(mean, std, size)`; with two numbers it is a new tensor, filled by `normal_`.
fn normal(a: &Call) -> Result<Tensor, Stop> {
    if let (Value::Tensor(_), _) | (_, Value::Tensor(_)) = (a.value("mean"), a.value("std")) {
        return Ok(Tensor::normal(a.operand("mean")?, a.operand("std")?)?);
    }
    let (mean, std) = (a.float("mean")?, a.float("std")?);
    let x = Tensor::zeros(a.ints("size")?, a.dtype_or(DType::F32)?)?;
    x.normal_(mean, std)?;
    Ok(x)
}
