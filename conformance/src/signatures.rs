//! Parameter names of every function: `ops/signatures.json`, and what it leaves out.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Param {
    pub name: String,
    /// What it is when the call does not give it; `None` for one that must be given.
    pub default: Option<Json>,
    pub keyword_only: bool,
}

/// One way to call a function.
pub(crate) type Overload = Vec<Param>;

/// The overloads of every function, by name.
pub(crate) struct Signatures(HashMap<String, Vec<Overload>>);

/// Functions of the suites that the file has not, or only as `(*args, **kwargs)`.
const MORE: &[(&str, &[&str])] = &[
    ("bernoulli", &["input", "p=None"]),
    ("bernoulli_", &["input", "p=0.5"]),
    ("cauchy_", &["input", "median=0.0", "sigma=1.0"]),
    ("copy", &["input", "src", "non_blocking=False"]),
    ("exponential_", &["input", "lambd=1.0"]),
    ("geometric_", &["input", "p"]),
    ("log_normal_", &["input", "mean=1.0", "std=2.0"]),
    ("multinomial", &["input", "num_samples", "replacement=False"]),
    ("nn.functional.adaptive_max_pool1d", &["input", "output_size", "return_indices=False"]),
    ("nn.functional.adaptive_max_pool2d", &["input", "output_size", "return_indices=False"]),
    ("nn.functional.adaptive_max_pool3d", &["input", "output_size", "return_indices=False"]),
    ("nn.functional.alpha_dropout", &["input", "p=0.5", "training=False", "inplace=False"]),
    ("nn.functional.dropout1d", &["input", "p=0.5", "training=True", "inplace=False"]),
    ("nn.functional.dropout2d", &["input", "p=0.5", "training=True", "inplace=False"]),
    ("nn.functional.dropout3d", &["input", "p=0.5", "training=True", "inplace=False"]),
    ("nn.functional.feature_alpha_dropout", &["input", "p=0.5", "training=False", "inplace=False"]),
    ("nn.functional.max_pool1d", MAX_POOL),
    ("nn.functional.max_pool2d", MAX_POOL),
    ("nn.functional.max_pool3d", MAX_POOL),
    (
        "nn.functional.triplet_margin_with_distance_loss",
        &[
            "anchor",
            "positive",
            "negative",
            "*",
            "distance_function=None",
            "margin=1.0",
            "swap=False",
            "reduction=mean",
        ],
    ),
    (
        "nn.functional.rrelu",
        &["input", "lower=0.125", "upper=0.3333333333333333", "training=False", "inplace=False"],
    ),
    ("nn.init.constant_", &["tensor", "val"]),
    ("nn.init.dirac_", &["tensor", "groups=1"]),
    ("nn.init.eye_", &["tensor"]),
    ("nn.init.kaiming_normal_", KAIMING),
    ("nn.init.kaiming_uniform_", KAIMING),
    ("nn.init.normal_", &["tensor", "mean=0.0", "std=1.0"]),
    ("nn.init.ones_", &["tensor"]),
    ("nn.init.orthogonal_", &["tensor", "gain=1"]),
    ("nn.init.sparse_", &["tensor", "sparsity", "std=0.01"]),
    ("nn.init.trunc_normal_", &["tensor", "mean=0.0", "std=1.0", "a=-2.0", "b=2.0"]),
    ("nn.init.uniform_", &["tensor", "a=0.0", "b=1.0"]),
    ("nn.init.xavier_normal_", &["tensor", "gain=1.0"]),
    ("nn.init.xavier_uniform_", &["tensor", "gain=1.0"]),
    ("nn.init.zeros_", &["tensor"]),
    ("nonzero", &["input", "*", "as_tuple=False"]),
    ("normal", &["mean", "std=1.0", "size=None", "*", "dtype=None"]),
    ("normal_", &["input", "mean=0.0", "std=1.0"]),
    ("rand", &["size", "*", "dtype=None"]),
    ("rand_like", &["input", "*", "dtype=None"]),
    ("randint", &["low", "high", "size", "*", "dtype=None"]),
    ("randint", &["high", "size", "*", "dtype=None"]),
    ("randint_like", &["input", "low", "high", "*", "dtype=None"]),
    ("randint_like", &["input", "high", "*", "dtype=None"]),
    ("randn", &["size", "*", "dtype=None"]),
    ("randn_like", &["input", "*", "dtype=None"]),
    ("random_", &["input", "from=None", "to=None"]),
    ("randperm", &["n", "*", "dtype=None"]),
    ("uniform_", &["input", "from=0.0", "to=1.0"]),
    ("unique", &["input", "sorted=True", "return_inverse=False", "return_counts=False", "dim=None"]),
    ("unique_consecutive", &["input", "return_inverse=False", "return_counts=False", "dim=None"]),
];

const KAIMING: &[&str] = &["tensor", "a=0", "mode=fan_in", "nonlinearity=leaky_relu"];

const MAX_POOL: &[&str] = &[
    "input",
    "kernel_size",
    "stride=None",
    "padding=0",
    "dilation=1",
    "ceil_mode=False",
    "return_indices=False",
];

impl Signatures {
    /// Reads `ops/signatures.json` below a corpus; a corpus without the suite has none.
    pub(crate) fn read(corpus: &Path) -> Result<Self, String> {
        let path = corpus.join("ops/signatures.json");
        if !path.exists() {
            return Self::parse(&Json::Object(serde_json::Map::new()));
        }
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let json = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&json).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Parses the text of a signatures file.
    pub(crate) fn parse(json: &Json) -> Result<Self, String> {
        let mut map = HashMap::new();
        for (op, overloads) in json.as_object().ok_or("not an object")? {
            let wrong = || format!("the overloads of {op} are malformed");
            let parse = |overload: &Json| {
                let names = overload.as_array()?.iter().map(Json::as_str).collect::<Option<Vec<_>>>()?;
                Some(overload_of(&names))
            };
            let overloads = overloads.as_array().ok_or_else(wrong)?;
            map.insert(op.clone(), overloads.iter().map(parse).collect::<Option<_>>().ok_or_else(wrong)?);
        }
        let mut more: HashMap<String, Vec<Overload>> = HashMap::new();
        for (op, names) in MORE {
            more.entry((*op).to_owned()).or_default().push(overload_of(names));
        }
        map.extend(more);
        Ok(Self(map))
    }

    /// The ways to call a function or its in-place form.
    pub(crate) fn overloads(&self, op: &str) -> Vec<Overload> {
        let stem = op.strip_suffix('_').filter(|s| !s.ends_with('_'));
        match self.0.get(op).or_else(|| self.0.get(stem?)) {
            Some(overloads) if !overloads.is_empty() => overloads.clone(),
            _ if op.starts_with("__") => vec![overload_of(&["input", "other"])],
            _ => vec![overload_of(&["input", "*", "memory_format=None"])],
        }
    }
}

/// Parses `"name"`, `"name=default"` and `"*"`.
pub(crate) fn overload_of(names: &[&str]) -> Overload {
    let mut keyword_only = false;
    let mut params = Vec::new();
    for name in names {
        if *name == "*" {
            keyword_only = true;
            continue;
        }
        let (name, default) = match name.split_once('=') {
            Some((name, default)) => (name, Some(default_of(name, default))),
            None => (*name, None),
        };
        params.push(Param { name: name.to_owned(), default, keyword_only });
    }
    params
}

fn default_of(name: &str, text: &str) -> Json {
    match (name, text) {
        // PyTorch prints the defaults of these as numbers of its own enums.
        ("dtype" | "memory_format", _) | (_, "None") => Json::Null,
        (_, "True") => Json::Bool(true),
        (_, "False") => Json::Bool(false),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_keywords() {
        let json =
            r#"{"f": [["input", "dims=[0, 1]", "*", "mode=mean", "eps=1e-05", "flag=True"]], "g": []}"#;
        let signatures = Signatures::parse(&serde_json::from_str(json).unwrap()).unwrap();
        let found: Vec<_> = signatures.overloads("f_")[0]
            .iter()
            .map(|p| format!("{} {} {}", p.name, p.default.clone().unwrap_or_default(), p.keyword_only))
            .collect();
        let expected = [
            "input null false",
            "dims [0,1] false",
            "mode \"mean\" true",
            "eps 0.00001 true",
            "flag true true",
        ];
        assert_eq!(found, expected);
        assert_eq!(signatures.overloads("g").len(), 1);
        assert_eq!(signatures.overloads("__radd__")[0][1].name, "other");
        assert_eq!(signatures.overloads("randint").len(), 2);
    }
}
