//! `sconce merge`: one model out of several.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use sconce::merge::{self, Method, Options};
use sconce::{DType, Error};
use serde_json::json;

use super::output::{self, Target};
use super::{Entry, Failure};
use crate::input;
use crate::progress;
use crate::text::{grouped, printable};

pub(super) const ENTRY: Entry = Entry { name: "merge", arguments, run };

fn arguments() -> Command {
    let path = |id: &'static str| Arg::new(id).value_name("PATH").value_parser(value_parser!(OsString));
    let float = |id: &'static str| {
        Arg::new(id).long(id).value_name("X").value_parser(value_parser!(f64)).allow_negative_numbers(true)
    };
    Command::new("merge")
        .about("Merges models of one shape into one file: linear, slerp, task arithmetic or TIES")
        .arg(input::files())
        .arg(path("output").short('o').long("output").required(true).help("The file to write"))
        .arg(
            Arg::new("method")
                .short('m')
                .long("method")
                .value_parser(["linear", "slerp", "task", "ties"])
                .default_value("linear")
                .help("How values are merged"),
        )
        .arg(path("base").long("base").help("The model that the others were made from, for task and ties"))
        .arg(
            float("weights")
                .short('w')
                .num_args(1)
                .value_delimiter(',')
                .action(ArgAction::Append)
                .help("The models' weights, in order, separated by commas; all 1 by default"),
        )
        .arg(
            Arg::new("sum")
                .long("no-normalize")
                .action(ArgAction::SetTrue)
                .help("linear: the weighted sum, not divided by the weights' sum"),
        )
        .arg(float("t").default_value("0.5").help("slerp: from the first model (0) to the second (1)"))
        .arg(float("density").default_value("0.5").help("ties: the part of each difference that stays"))
        .arg(float("lambda").default_value("1").help("ties: scales what is added to the base"))
        .arg(Arg::new("dtype").long("dtype").help("The type of merged tensors, e.g. float16; the first model's by default"))
        .arg(output::format())
        .arg(output::shard_size())
        .arg(output::force())
        .arg(output::no_metadata())
        .arg(input::select_option())
        .arg(input::json())
        .after_help(
            "Tensors that are not floating point or not selected are copied from the base, or else the first model. All \
             models must have the same names and shapes.",
        )
}

fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let path = matches.get_one::<OsString>("output").expect("clap requires it");
    let target = Target::of(matches, path)?;
    target.check()?;
    let dtype = match matches.get_one::<String>("dtype") {
        Some(name) => {
            let dtype = DType::from_name(name);
            Some(dtype.ok_or_else(|| Error::argument(format!("no dtype is named {name:?}")))?)
        }
        None => None,
    };
    let base = matches.get_one::<OsString>("base").map(progress::open).transpose()?;
    let models = input::paths(matches).into_iter().map(progress::open).collect::<sconce::Result<Vec<_>>>()?;
    let method = method(matches, models.len());
    if matches!(method, Method::Slerp { .. }) && matches.contains_id("weights") {
        return Err(Error::argument("slerp takes --t, not weights").into());
    }
    let selector = input::given_selector(matches)?;
    let picked = input::select(base.as_ref().unwrap_or(&models[0]), selector.as_ref())?;
    let picked: HashSet<String> = picked.iter().map(|e| e.name().to_owned()).collect();
    let mut merged =
        merge::archives(method, base, models, &Options { dtype }, |e| picked.contains(e.name()))?;
    let mut left_out = Vec::new();
    if matches.get_flag("no-metadata") {
        left_out.extend(merged.archive.metadata().iter().map(|(key, _)| format!("metadata {key}")));
        merged.archive.clear_metadata();
    }
    target.save(&merged.archive)?;
    let (path, format) = (path.to_string_lossy(), target.format());
    if matches.get_flag("json") {
        let document = json!({
            "file": path,
            "format": format,
            "merged": merged.merged,
            "copied": merged.copied,
            "left_out": left_out,
        });
        writeln!(out, "{document:#}")?;
        return Ok(());
    }
    let [merged_count, copied_count] =
        [&merged.merged, &merged.copied].map(|names| grouped(names.len() as u64));
    writeln!(out, "{} ({format}): {merged_count} tensors merged, {copied_count} copied", printable(&path))?;
    for name in &merged.copied {
        writeln!(out, "  copied {}", printable(name))?;
    }
    for name in &left_out {
        writeln!(out, "  left out {}", printable(name))?;
    }
    Ok(())
}

fn method(matches: &ArgMatches, models: usize) -> Method {
    let number = |id| matches.get_one::<f64>(id).copied().unwrap_or_default();
    let given = matches.get_many::<f64>("weights");
    let weights = given.map_or_else(|| vec![1.0; models], |w| w.copied().collect());
    match matches.get_one::<String>("method").map(String::as_str) {
        Some("slerp") => Method::Slerp { t: number("t") },
        Some("task") => Method::TaskArithmetic { weights },
        Some("ties") => Method::Ties { weights, density: number("density"), lambda: number("lambda") },
        _ => Method::Linear { weights, normalize: !matches.get_flag("sum") },
    }
}
