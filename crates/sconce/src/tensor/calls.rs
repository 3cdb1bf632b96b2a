//! Where a recorded operation was called, for messages of anomaly mode.

use std::backtrace::Backtrace;
use std::fmt::{self, Write};
use std::sync::Arc;

/// As many places are named, from the innermost one on.
const PLACES: usize = 6;

/// What operations are made of: no place in here tells a caller which call it was.
const INSIDE: &[&str] = &["autograd", "functional", "ops", "random", "tensor"];

/// The stack of calls that led to an operation.
pub(crate) struct Calls {
    /// Resolved to names and lines only when printed.
    stack: Backtrace,
    /// Of an operation that a backward pass recorded: the name of the operation whose backward it was, and its calls.
    within: Option<(&'static str, Arc<Calls>)>,
}

impl Calls {
    pub(crate) fn capture(within: Option<(&'static str, Arc<Calls>)>) -> Arc<Self> {
        Arc::new(Self { stack: Backtrace::force_capture(), within })
    }
}

/// "called at src/net.rs:12:9 in net::Net::forward, from src/main.rs:40:18 in net::main".
impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, outer)) = &self.within {
            return write!(f, "recorded by the backward of {name}, {outer}");
        }
        let text = self.stack.to_string();
        let here = std::env::current_dir().unwrap_or_default();
        let places = places(&text, &here.to_string_lossy());
        if places.is_empty() {
            return f.write_str("called at an unknown place");
        }
        for (i, (function, line)) in places.iter().enumerate() {
            f.write_str(if i == 0 { "called " } else { ", from " })?;
            if let Some(line) = line {
                write!(f, "at {line} ")?;
            }
            write!(f, "in {function}")?;
        }
        if places.len() == PLACES {
            f.write_char('…')?;
        }
        Ok(())
    }
}

/// The functions outside of what operations are made of, each with the line if that is known, innermost first.
fn places<'a>(backtrace: &'a str, here: &str) -> Vec<(&'a str, Option<&'a str>)> {
    let mut places: Vec<(&str, Option<&str>)> = Vec::new();
    let mut lines = backtrace.lines().map(str::trim_start).peekable();
    while let Some(line) = lines.next() {
        let Some((_, function)) = line.split_once(": ") else { continue };
        let place = lines.next_if(|next| next.starts_with("at ")).map(|next| &next["at ".len()..]);
        if function.contains("__rust_begin_short_backtrace") || places.len() == PLACES {
            break;
        }
        if !is_inside(function, place, here) {
            places.push((function, place.map(|place| place.trim_start_matches("./"))));
        }
    }
    places
}

/// Whether a function belongs to an operation, or to Rust's own libraries: by its path or, where it was inlined and has
/// none, by its file. Paths below the directory `here` are printed relative to it.
fn is_inside(function: &str, place: Option<&str>, here: &str) -> bool {
    let path = function.trim_start_matches(['<', '&', '(']);
    let of_sconce = |path: &str, separators: &[char]| {
        path.split(separators).next().is_some_and(|module| INSIDE.contains(&module.trim_end_matches(".rs")))
    };
    if ["alloc::", "core::", "std::", "sconce_kernels::"].iter().any(|library| path.starts_with(library)) {
        return true;
    }
    if let Some(module) = path.strip_prefix("sconce::") {
        return of_sconce(module, &[':']);
    }
    let Some(place) = place else { return false };
    let file = match place.strip_prefix("./") {
        Some(relative) => format!("{here}/{relative}"),
        None => place.to_owned(),
    };
    // This file's own path tells where the library's lie.
    let root = &file!()[..file!().len() - "tensor/calls.rs".len()];
    file.starts_with("/rustc/")
        || file.rsplit_once(root).is_some_and(|(_, file)| of_sconce(file, &['/', '\\', ':']))
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn places_are_those_of_the_caller() {
        let text = "   0: std::backtrace::Backtrace::force_capture
             at /rustc/library/std/src/backtrace.rs:312:18
   1: apply<sconce::ops::unary::Sqrt>
             at ./src/autograd/op.rs:283:9
   2: <&sconce::tensor::Tensor as core::ops::arith::Add>::add
   3: <sconce::nn::linear::Linear as sconce::nn::layer::Layer>::forward
             at ./src/nn/linear.rs:70:5
   4: call_once<net::main>
             at /rustc/library/core/src/ops/function.rs:250:5
   5: step
             at ./examples/ops/step.rs:7:9
   6: net::main::{{closure}}
   7: std::sys::backtrace::__rust_begin_short_backtrace
   8: net::never";
        let root = std::path::Path::new(file!()).ancestors().nth(3).unwrap().to_str().unwrap();
        let linear = "<sconce::nn::linear::Linear as sconce::nn::layer::Layer>::forward";
        assert_eq!(
            places(text, &format!("/home/{root}")),
            [
                (linear, Some("src/nn/linear.rs:70:5")),
                ("step", Some("examples/ops/step.rs:7:9")),
                ("net::main::{{closure}}", None)
            ]
        );
        assert!(places("disabled backtrace", "/home").is_empty());
    }
}
