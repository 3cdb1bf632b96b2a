//! Stand-in until the kernels' math arrives.
use std::ops::*;
pub(crate) trait Float:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    fn from_f64(x: f64) -> Self;
    fn exp(self) -> Self;
    fn expm1(self) -> Self;
    fn ln(self) -> Self;
    fn log1p(self) -> Self;
    fn log2(self) -> Self;
    fn log10(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tan(self) -> Self;
    fn sinh(self) -> Self;
    fn cosh(self) -> Self;
    fn tanh(self) -> Self;
    fn erf(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    fn sigmoid(self) -> Self;
    fn round_ties_even(self) -> Self;
    fn pow(self, e: Self) -> Self;
}
macro_rules! f { ($($t:ident),*) => {$( impl Float for $t {
    fn from_f64(x: f64) -> Self { x as $t }
    fn exp(self) -> Self { $t::exp(self) } fn expm1(self) -> Self { $t::exp_m1(self) } fn ln(self) -> Self { $t::ln(self) } fn log1p(self) -> Self { $t::ln_1p(self) } fn log2(self) -> Self { $t::log2(self) } fn log10(self) -> Self { $t::log10(self) }
    fn sin(self) -> Self { $t::sin(self) } fn cos(self) -> Self { $t::cos(self) } fn tan(self) -> Self { $t::tan(self) } fn sinh(self) -> Self { $t::sinh(self) } fn cosh(self) -> Self { $t::cosh(self) } fn tanh(self) -> Self { $t::tanh(self) }
    fn erf(self) -> Self { self } fn sqrt(self) -> Self { $t::sqrt(self) } fn abs(self) -> Self { $t::abs(self) } fn floor(self) -> Self { $t::floor(self) } fn ceil(self) -> Self { $t::ceil(self) } fn trunc(self) -> Self { $t::trunc(self) } fn sigmoid(self) -> Self { 1.0/(1.0+(-self).exp()) }
    fn round_ties_even(self) -> Self { $t::round_ties_even(self) } fn pow(self, e: Self) -> Self { $t::powf(self, e) }
} )*}; }
f!(f32, f64);
