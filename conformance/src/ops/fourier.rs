//! Fourier transforms and complex numbers.

use sconce::{FftNorm, Tensor};

use super::rows;
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "fft.fft" => |a| along(a, Tensor::fft)?;
    "fft.ifft" => |a| along(a, Tensor::ifft)?;
    "fft.rfft" => |a| along(a, Tensor::rfft)?;
    "fft.irfft" => |a| along(a, Tensor::irfft)?;
    "fft.fft2" | "fft.fftn" => |a| a.input()?.fftn(a.opt("s", Call::ints)?, a.dims("dim")?, norm(a)?)?;
    "complex" => |a| Tensor::complex(a.tensor("real")?, a.tensor("imag")?)?;
    "view_as_real" => |a| a.input()?.view_as_real()?;
    "view_as_complex" => |a| a.input()?.view_as_complex()?;
};

type Along = fn(&Tensor, Option<usize>, isize, FftNorm) -> sconce::Result<Tensor>;

fn along(a: &Call, f: Along) -> Result<Tensor, Stop> {
    Ok(f(a.input()?, a.opt("n", Call::size)?, a.dim("dim")?, norm(a)?)?)
}

fn norm(a: &Call) -> Result<FftNorm, Stop> {
    match a.value("norm") {
        Value::None => Ok(FftNorm::default()),
        _ => a.word("norm"),
    }
}
