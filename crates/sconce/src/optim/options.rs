//! The part of a rule that every rule writes alike.

/// Writes the methods of [`Rule`](super::Rule) that read and set options, from the fields that are options:
///
/// ```text
/// options!(lr, betas, maximize);
/// fn lr …, fn set_lr …, fn options …, fn set_option …
/// ```
///
/// A field's type says how it is written and read: `Value: From<T>` and `T: TryFrom<&Value>`.
macro_rules! options {
    ($($name:ident),+) => {
        fn lr(&self) -> f64 {
            self.lr
        }

        fn set_lr(&mut self, lr: f64) {
            self.lr = lr;
        }

        fn options(&self) -> Vec<(&'static str, $crate::optim::Value)> {
            vec![$((stringify!($name), self.$name.into())),+]
        }

        fn set_option(&mut self, name: &str, value: &$crate::optim::Value) -> $crate::Result<bool> {
            match name {
                $(stringify!($name) => self.$name = value.try_into()?,)+
                _ => return Ok(false),
            }
            Ok(true)
        }
    };
}

/// Checks that options are not negative: `check!(Self, self.lr, self.eps)`.
macro_rules! check_non_negative {
    ($self:ident: $($name:ident),+) => {
        $($crate::optim::rule::non_negative(Self::NAME, stringify!($name), $self.$name)?;)+
    };
}

/// Checks that both betas lie in [0, 1).
pub(super) fn check_betas(rule: &str, betas: (f64, f64)) -> crate::Result<()> {
    let range = 0.0..1.0;
    if range.contains(&betas.0) && range.contains(&betas.1) {
        return Ok(());
    }
    Err(super::rule::invalid(rule, "betas", betas, "at least 0 and less than 1"))
}

/// A counter of steps; float32, as in PyTorch.
pub(super) fn counter() -> crate::Result<crate::nn::Buffer> {
    crate::Tensor::zeros((), crate::DType::F32).map(|t| crate::nn::Buffer::new(&t))
}

/// A buffer of zeros like a parameter.
pub(super) fn zeros(p: &crate::Tensor) -> crate::Result<crate::nn::Buffer> {
    p.zeros_like().map(|t| crate::nn::Buffer::new(&t))
}

/// The gradient to descend: negated to ascend, with the part of the parameter that decays it.
pub(super) fn descent(
    p: &crate::Tensor,
    grad: &crate::Tensor,
    maximize: bool,
    weight_decay: f64,
) -> crate::Result<crate::Tensor> {
    let grad = if maximize { grad.neg()? } else { grad.clone() };
    if weight_decay == 0.0 { Ok(grad) } else { grad.add(&p.mul(weight_decay)?) }
}

pub(super) use {check_non_negative, options};
