//! Pooling.

use sconce::Tensor;
use sconce::functional::{self as f, AvgPoolOptions, LpPoolOptions, MaxPoolOptions};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.max_pool1d" => |a| greatest(a, f::max_pool1d_with_indices(a.input()?, max_pool(a)?)?)?;
    "nn.functional.max_pool2d" => |a| greatest(a, f::max_pool2d_with_indices(a.input()?, max_pool(a)?)?)?;
    "nn.functional.max_pool3d" => |a| greatest(a, f::max_pool3d_with_indices(a.input()?, max_pool(a)?)?)?;
    "nn.functional.avg_pool1d" => |a| f::avg_pool1d(a.input()?, avg_pool(a)?)?;
    "nn.functional.avg_pool2d" => |a| f::avg_pool2d(a.input()?, avg_pool(a)?)?;
    "nn.functional.avg_pool3d" => |a| f::avg_pool3d(a.input()?, avg_pool(a)?)?;
    "nn.functional.adaptive_avg_pool1d" => |a| f::adaptive_avg_pool1d(a.input()?, adaptive::<1>(a)?[0])?;
    "nn.functional.adaptive_avg_pool2d" => |a| f::adaptive_avg_pool2d(a.input()?, adaptive(a)?)?;
    "nn.functional.adaptive_avg_pool3d" => |a| f::adaptive_avg_pool3d(a.input()?, adaptive(a)?)?;
    "nn.functional.adaptive_max_pool1d" => |a| {
        greatest(a, f::adaptive_max_pool1d_with_indices(a.input()?, adaptive::<1>(a)?[0])?)?
    };
    "nn.functional.adaptive_max_pool2d" => |a| {
        greatest(a, f::adaptive_max_pool2d_with_indices(a.input()?, adaptive(a)?)?)?
    };
    "nn.functional.adaptive_max_pool3d" => |a| {
        greatest(a, f::adaptive_max_pool3d_with_indices(a.input()?, adaptive(a)?)?)?
    };
    "nn.functional.lp_pool1d" => |a| f::lp_pool(a.input()?, lp_pool::<1>(a)?)?;
    "nn.functional.lp_pool2d" => |a| f::lp_pool(a.input()?, lp_pool::<2>(a)?)?;
    "nn.functional.lp_pool3d" => |a| f::lp_pool(a.input()?, lp_pool::<3>(a)?)?;
    "nn.functional.max_unpool1d" => |a| unpool::<1>(a)?;
    "nn.functional.max_unpool2d" => |a| unpool::<2>(a)?;
    "nn.functional.max_unpool3d" => |a| unpool::<3>(a)?;
};

fn greatest(a: &Call, (values, indices): (Tensor, Tensor)) -> Result<Val, Stop> {
    Ok(if a.bool("return_indices")? { Val::from((values, indices)) } else { values.into() })
}

/// The windows of a maximum.
pub(crate) fn max_pool<const N: usize>(a: &Call) -> Result<MaxPoolOptions<N>, Stop> {
    Ok(MaxPoolOptions {
        kernel_size: a.sizes_of("kernel_size")?,
        stride: stride(a)?,
        padding: a.sizes_of("padding")?,
        dilation: a.sizes_of("dilation")?,
        ceil_mode: a.bool("ceil_mode")?,
    })
}

/// The windows of an average.
pub(crate) fn avg_pool<const N: usize>(a: &Call) -> Result<AvgPoolOptions<N>, Stop> {
    Ok(AvgPoolOptions {
        kernel_size: a.sizes_of("kernel_size")?,
        stride: stride(a)?,
        padding: a.sizes_of("padding")?,
        ceil_mode: a.bool("ceil_mode")?,
        count_include_pad: a.bool("count_include_pad")?,
        divisor_override: a.opt("divisor_override", Call::int)?,
    })
}

/// The windows of a power average.
pub(crate) fn lp_pool<const N: usize>(a: &Call) -> Result<LpPoolOptions<N>, Stop> {
    Ok(LpPoolOptions {
        norm_type: a.float("norm_type")?,
        kernel_size: a.sizes_of("kernel_size")?,
        stride: stride(a)?,
        ceil_mode: a.bool("ceil_mode")?,
    })
}

/// The output size, where `None` stands for the input's.
fn adaptive<const N: usize>(a: &Call) -> Result<[usize; N], Stop> {
    let given = adaptive_size::<N>(a)?;
    let shape = a.input()?.shape();
    let from = shape.len().saturating_sub(N);
    Ok(std::array::from_fn(|i| given[i].or(shape.get(from + i).copied()).unwrap_or_default()))
}

/// The output size as it is given: one for all, or one per dimension.
pub(crate) fn adaptive_size<const N: usize>(a: &Call) -> Result<[Option<usize>; N], Stop> {
    let one = |v: &Value<Tensor>| match v {
        Value::None => Ok(None),
        Value::Int(i) => {
            Ok(Some(sconce::sizes_of::<1>("output_size", i64::try_from(*i).unwrap_or(i64::MAX))?[0]))
        }
        v => unsupported(format!("output_size holds {}", v.kind())),
    };
    let value = a.value("output_size");
    let sizes = match value.items() {
        Some(items) => items.iter().map(one).collect::<Result<Vec<_>, Stop>>()?,
        None => vec![one(value)?; N],
    };
    match <[Option<usize>; N]>::try_from(sizes) {
        Ok(sizes) => Ok(sizes),
        // The library says how many there should be.
        Err(sizes) => {
            let given: Vec<i64> = sizes.iter().map(|n| n.map_or(0, |n| n as i64)).collect();
            Ok(sconce::sizes_of::<N>("output_size", given)?.map(Some))
        }
    }
}

fn unpool<const N: usize>(a: &Call) -> Result<Tensor, Stop> {
    let (x, indices) = (a.input()?, a.tensor("indices")?);
    let (kernel, stride, padding) = (a.sizes_of("kernel_size")?, stride(a)?, a.sizes_of("padding")?);
    let given = a.opt("output_size", Call::sizes)?;
    let from = x.dim().saturating_sub(N);
    let size = match given {
        // It may be the whole shape.
        Some(size) if size.len() >= N => std::array::from_fn(|i| size[size.len() - N + i]),
        Some(size) => return unsupported(format!("output_size = {size:?}")),
        None => {
            let pooled = std::array::from_fn(|i| x.shape().get(from + i).copied().unwrap_or_default());
            f::unpooled_size(pooled, kernel, stride, padding)
        }
    };
    Ok(f::max_unpool::<N>(x, indices, size)?)
}

/// The stride; that of the kernel where it is left out.
pub(crate) fn stride<const N: usize>(a: &Call) -> Result<[usize; N], Stop> {
    match a.value("stride") {
        Value::None => a.sizes_of("kernel_size"),
        Value::List(items) | Value::Tuple(items) if items.is_empty() => a.sizes_of("kernel_size"),
        Value::Str(s) => unsupported(format!("stride = {s:?}")),
        _ => a.sizes_of("stride"),
    }
}
