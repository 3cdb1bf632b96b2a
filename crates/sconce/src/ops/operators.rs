//! `&a + &b` and the like: the methods, panicking with their errors.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::tensor::Tensor;
use crate::tensor::scalar::Scalar;

#[track_caller]
fn expect(result: crate::Result<Tensor>) -> Tensor {
    match result {
        Ok(tensor) => tensor,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $reversed:ident;)*) => {$(
        impl $trait<&Tensor> for &Tensor {
            type Output = Tensor;
            #[doc = concat!("[`Tensor::", stringify!($method), "`].\n\n# Panics\n\nWhere that returns an error.")]
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                expect(Tensor::$method(self, other))
            }
        }

        impl $trait<Tensor> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                expect(Tensor::$method(&self, &other))
            }
        }

        impl $trait<&Tensor> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                expect(Tensor::$method(&self, other))
            }
        }

        impl $trait<Tensor> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                expect(Tensor::$method(self, &other))
            }
        }

        operators!(@number $trait $method $reversed f32 f64 i32 i64);
    )*};
    (@number $trait:ident $method:ident $reversed:ident $($t:ty)*) => {$(
        impl $trait<$t> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: $t) -> Tensor {
                expect(Tensor::$method(self, other))
            }
        }

        impl $trait<$t> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: $t) -> Tensor {
                expect(Tensor::$method(&self, other))
            }
        }

        impl $trait<&Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                expect($reversed(Scalar::from(self), other))
            }
        }

        impl $trait<Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                expect($reversed(Scalar::from(self), &other))
            }
        }
    )*};
}

fn add(x: Scalar, y: &Tensor) -> crate::Result<Tensor> {
    y.add(x)
}

fn sub(x: Scalar, y: &Tensor) -> crate::Result<Tensor> {
    y.rsub(x)
}

fn mul(x: Scalar, y: &Tensor) -> crate::Result<Tensor> {
    y.mul(x)
}

fn div(x: Scalar, y: &Tensor) -> crate::Result<Tensor> {
    y.rdiv(x)
}

operators! {
    Add add add;
    Sub sub sub;
    Mul mul mul;
    Div div div;
}

impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        expect(Tensor::neg(self))
    }
}

impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        expect(Tensor::neg(&self))
    }
}
