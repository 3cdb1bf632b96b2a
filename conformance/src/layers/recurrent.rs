//! Recurrent layers and cells.

use sconce::Tensor;
use sconce::nn::{self, CellConfig, Recurrence, RecurrentConfig};

use super::{Row, called, modules};
use crate::outcome::{Stop, unsupported};
use crate::registry::Call;
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Row] = modules! {
    "nn.RNN"(
        "input_size", "hidden_size", "num_layers=1", "nonlinearity=tanh", "bias=True", "batch_first=False",
        "dropout=0.0", "bidirectional=False"
    ) => |a| {
        let rnn = nn::RNN::with(a.size("input_size")?, a.size("hidden_size")?, config(a)?)?;
        called(rnn, &["input", "hx=None"], |rnn, a| Ok(rnn.forward(a.input()?, a.opt_tensor("hx")?)?.into()))
    };
    "nn.GRU"(
        "input_size", "hidden_size", "num_layers=1", "bias=True", "batch_first=False", "dropout=0.0",
        "bidirectional=False"
    ) => |a| {
        let gru = nn::GRU::with(a.size("input_size")?, a.size("hidden_size")?, config(a)?)?;
        called(gru, &["input", "hx=None"], |gru, a| Ok(gru.forward(a.input()?, a.opt_tensor("hx")?)?.into()))
    };
    "nn.LSTM"(
        "input_size", "hidden_size", "num_layers=1", "bias=True", "batch_first=False", "dropout=0.0",
        "bidirectional=False", "proj_size=0"
    ) => |a| {
        let lstm = nn::LSTM::with(a.size("input_size")?, a.size("hidden_size")?, config(a)?)?;
        called(lstm, &["input", "hx=None"], |lstm, a| {
            let (y, states) = lstm.forward(a.input()?, states(a)?)?;
            Ok(Val::Tuple(vec![y.into(), states.into()]))
        })
    };
    "nn.RNNCell"("input_size", "hidden_size", "bias=True", "nonlinearity=tanh") => |a| {
        let cell = nn::RNNCell::with(a.size("input_size")?, a.size("hidden_size")?, cell(a)?)?;
        called(cell, &["input", "hx=None"], |cell, a| Ok(cell.forward(a.input()?, a.opt_tensor("hx")?)?.into()))
    };
    "nn.GRUCell"("input_size", "hidden_size", "bias=True") => |a| {
        let cell = nn::GRUCell::with(a.size("input_size")?, a.size("hidden_size")?, cell(a)?)?;
        called(cell, &["input", "hx=None"], |cell, a| Ok(cell.forward(a.input()?, a.opt_tensor("hx")?)?.into()))
    };
    "nn.LSTMCell"("input_size", "hidden_size", "bias=True") => |a| {
        let cell = nn::LSTMCell::with(a.size("input_size")?, a.size("hidden_size")?, cell(a)?)?;
        called(cell, &["input", "hx=None"], |cell, a| Ok(cell.forward(a.input()?, states(a)?)?.into()))
    };
};

/// The first hidden and cell states.
fn states(a: &Call) -> Result<Option<(&Tensor, &Tensor)>, Stop> {
    match (a.value("hx"), a.value("hx").items()) {
        (Value::None, _) => Ok(None),
        (_, Some([Value::Tensor(h), Value::Tensor(c)])) => Ok(Some((h, c))),
        (other, _) => unsupported(format!("hx is {}", other.kind())),
    }
}

fn nonlinearity(a: &Call) -> Result<Recurrence, Stop> {
    if !a.has("nonlinearity") {
        return Ok(Recurrence::Tanh);
    }
    match a.str("nonlinearity")? {
        "tanh" => Ok(Recurrence::Tanh),
        "relu" => Ok(Recurrence::Relu),
        other => unsupported(format!("nonlinearity = {other:?}")),
    }
}

fn config(a: &Call) -> Result<RecurrentConfig, Stop> {
    let proj_size = if a.has("proj_size") { a.size("proj_size")? } else { 0 };
    Ok(RecurrentConfig {
        num_layers: a.size("num_layers")?,
        bias: a.bool("bias")?,
        batch_first: a.bool("batch_first")?,
        dropout: a.float("dropout")?,
        bidirectional: a.bool("bidirectional")?,
        proj_size: (proj_size > 0).then_some(proj_size),
        nonlinearity: nonlinearity(a)?,
        ..Default::default()
    })
}

fn cell(a: &Call) -> Result<CellConfig, Stop> {
    // PyTorch takes any value for true that Python does.
    let bias = match a.value("bias") {
        Value::Str(text) => !text.is_empty(),
        _ => a.bool("bias")?,
    };
    Ok(CellConfig { bias, nonlinearity: nonlinearity(a)?, ..Default::default() })
}
