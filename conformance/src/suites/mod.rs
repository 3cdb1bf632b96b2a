//! One driver per suite.

use crate::case::Case;
use crate::outcome::unsupported;
use crate::runner::Driver;

/// Every suite, in the order in which they run.
pub const SUITES: &[Driver] = &[
    Driver { name: "ops", run: |_, _| unsupported("no tensors".into()), group: |case| field(case, "op") },
    Driver {
        name: "op_errors",
        run: |_, _| unsupported("no tensors".into()),
        group: |case| field(case, "op"),
    },
    Driver {
        name: "modules",
        run: |_, _| unsupported("no modules".into()),
        group: |case| field(case, "module"),
    },
    Driver {
        name: "optim",
        run: |_, _| unsupported("no optimisers".into()),
        group: |case| field(case, "kind"),
    },
    Driver { name: "rng", run: |_, _| unsupported("no generator".into()), group: |case| field(case, "kind") },
    Driver {
        name: "files",
        run: |_, _| unsupported("no formats".into()),
        group: |case| field(case, "format"),
    },
];

fn field(case: &Case, name: &str) -> String {
    case.json[name].as_str().unwrap_or("?").to_owned()
}
