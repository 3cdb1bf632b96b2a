//! Listing the parameters of a large model.

use std::hint::black_box;

use sconce::Result;
use sconce::nn::{Linear, ModuleExt};

use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target;

fn named_parameters(_: &Options) -> Result<Call> {
    let block = || (0..5).map(|_| Linear::new(1, 1)).collect::<Result<Vec<Linear>>>();
    let model = (0..1000).map(|_| block()).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move || {
        black_box(black_box(&model).named_parameters());
        Ok(())
    }))
}

pub(super) fn lines() -> Vec<Line> {
    let line = Line::new("named_parameters of 10,000", named_parameters);
    vec![line.torch().target(Target::Seconds(1e-3)).one_thread()]
}
