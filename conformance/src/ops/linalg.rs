//! Linear algebra.

use sconce::{LeastSquares, LstsqDriver, MatrixNorm, Operand, Tensor, keepdim};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "linalg.inv" => |a| a.tensor("A")?.inverse()?;
    "linalg.det" => |a| a.tensor("A")?.det()?;
    "linalg.slogdet" => |a| a.tensor("A")?.slogdet()?;
    "logdet" => |a| a.input()?.logdet()?;
    "linalg.solve" => |a| {
        let (x, b) = (a.tensor("A")?, a.tensor("B")?);
        match a.bool("left")? {
            true => x.solve(b)?,
            // X A = B is Aᵀ Xᵀ = Bᵀ.
            false => x.mt()?.solve(&b.mt()?)?.mt()?,
        }
    };
    "linalg.lstsq" => |a| {
        let driver = if matches!(a.value("driver"), Value::None) { LstsqDriver::default() } else { a.word("driver")? };
        let found = a.input()?.lstsq(a.tensor("b")?, a.opt("rcond", Call::float)?, driver)?;
        let LeastSquares { solution, residuals, rank, singular_values } = found;
        Val::Tuple([solution, residuals, rank, singular_values].map(Val::from).into())
    };
    "linalg.lu_factor" => |a| match a.bool("pivot")? {
        true => a.tensor("A")?.lu_factor()?,
        false => return unsupported("no exchange of rows".into()),
    };
    "linalg.cholesky" | "cholesky" => |a| a.input()?.cholesky(a.bool("upper")?)?;
    "cholesky_solve" => |a| a.input()?.cholesky_solve(a.tensor("input2")?, a.bool("upper")?)?;
    "linalg.solve_triangular" => |a| {
        let (x, b, upper, unit) = (a.input()?, a.tensor("B")?, a.bool("upper")?, a.bool("unitriangular")?);
        if a.bool("left")? { x.solve_triangular(b, upper, unit)? } else { x.solve_triangular_right(b, upper, unit)? }
    };
    "triangular_solve" => |a| {
        let (b, x, upper, unit) = (a.input()?, a.tensor("A")?, a.bool("upper")?, a.bool("unitriangular")?);
        let solution = match a.bool("transpose")? {
            true => x.mt()?.solve_triangular(b, !upper, unit)?,
            false => x.solve_triangular(b, upper, unit)?,
        };
        (solution, x.copy()?)
    };
    "linalg.eigvalsh" => |a| match a.str("UPLO")? {
        "L" | "l" => a.input()?.eigvalsh()?,
        _ => a.input()?.mt()?.eigvalsh()?,
    };
    "linalg.svdvals" => |a| {
        // How they are found is up to the library.
        a.value("driver");
        a.tensor("A")?.svdvals()?
    };
    "linalg.matrix_rank" => |a| {
        let (atol, rtol) = tolerances(a)?;
        a.input()?.matrix_rank(atol, rtol, a.bool("hermitian")?)?
    };
    "linalg.pinv" => |a| {
        let (atol, rtol) = tolerances(a)?;
        if a.bool("hermitian")? { a.input()?.pinv_hermitian(atol, rtol)? } else { a.input()?.pinv(atol, rtol)? }
    };
    "pinverse" => |a| a.input()?.pinv(None, Some(a.operand("rcond")?))?;
    "linalg.cond" => |a| a.input()?.cond(a.opt("p", matrix_order)?)?;
    "linalg.matrix_norm" => |a| {
        let [rows, columns] = pair(&a.ints("dim")?)?;
        let x = asked(a)?;
        x.matrix_norm(matrix_order(a, "ord")?, [rows, columns], a.bool("keepdim")?)?
    };
    "linalg.norm" => |a| norm(a, "ord")?;
    "linalg.vander" => |a| {
        let x = a.tensor("x")?;
        x.vander(a.opt("N", Call::size)?.unwrap_or(x.shape().last().copied().unwrap_or(1)))?
    };
    "linalg.tensorinv" => |a| a.input()?.tensorinv(a.size("ind")?)?;
    "linalg.matrix_power" => |a| a.input()?.matrix_power(a.int("n")?)?;
    "matrix_exp" => |a| a.input()?.matrix_exp()?;
};

/// The input in the dtype asked for.
fn asked(a: &Call) -> Result<Tensor, Stop> {
    let x = a.input()?;
    Ok(x.to(a.dtype_or(x.dtype())?)?)
}

type Tolerance<'a> = Option<Operand<'a>>;

/// Below which singular values count as 0: `tol` and `rcond` are the old names.
fn tolerances(a: &Call) -> Result<(Tolerance<'_>, Tolerance<'_>), Stop> {
    let given = |name: &str| match a.value(name) {
        Value::None => Ok(None),
        _ => a.operand(name).map(Some),
    };
    if a.has("tol") {
        return Ok((given("tol")?, Some(Operand::Scalar(0.0.into()))));
    }
    if a.has("rcond") {
        return Ok((None, given("rcond")?));
    }
    Ok((given("atol")?, given("rtol")?))
}

fn matrix_order(a: &Call, name: &str) -> Result<MatrixNorm, Stop> {
    Ok(match a.value(name) {
        Value::Str(_) => a.word(name)?,
        _ => MatrixNorm::Order(a.float(name)?),
    })
}

fn pair(dims: &[i64]) -> Result<[isize; 2], Stop> {
    match dims {
        [rows, columns] => Ok([*rows as isize, *columns as isize]),
        other => unsupported(format!("dim = {other:?}: a matrix has two dimensions here")),
    }
}

/// `linalg.norm`: of a matrix where an order is given for two dimensions, else of a vector.
fn norm(a: &Call, name: &str) -> Result<Tensor, Stop> {
    let (x, dims, keep) = (asked(a)?, a.dims("dim")?, a.bool("keepdim")?);
    let ordered = !matches!(a.value(name), Value::None);
    let of_matrix = ordered && dims.as_ref().map_or(x.dim(), Vec::len) == 2;
    if of_matrix {
        let dims = dims.map_or(Ok([0, 1]), |d| pair(&d))?;
        return Ok(x.matrix_norm(matrix_order(a, name)?, dims, keep)?);
    }
    let order = if ordered { a.float(name)? } else { 2.0 };
    Ok(if keep { x.norm(order, keepdim(dims))? } else { x.norm(order, dims)? })
}
