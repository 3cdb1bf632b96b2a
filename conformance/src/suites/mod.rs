//! One driver per suite.

mod files;
mod modules;
mod op_errors;
pub(crate) mod ops;
pub(crate) mod optim;
mod rng;

use crate::case::Case;
use crate::runner::Driver;

/// Every suite, in the order in which they run.
pub(crate) const SUITES: &[Driver] = &[
    Driver { name: "ops", run: ops::run, group: |case| field(case, &["op"]) },
    Driver { name: "op_errors", run: op_errors::run, group: |case| field(case, &["op"]) },
    Driver { name: "modules", run: modules::run, group: |case| field(case, &["module", "model"]) },
    Driver { name: "optim", run: optim::run, group: |case| field(case, &["optimizer", "kind"]) },
    Driver {
        name: "rng",
        run: rng::run,
        group: |case| match case.json["calls"][0]["op"].as_str() {
            Some(op) => op.to_owned(),
            None => field(case, &["init", "module", "kind"]),
        },
    },
    Driver { name: "files", run: files::run, group: |case| field(case, &["format"]) },
];

/// The first of the fields that a case has.
fn field(case: &Case, names: &[&str]) -> String {
    names.iter().find_map(|name| case.json[*name].as_str()).unwrap_or("?").to_owned()
}
