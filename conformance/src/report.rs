//! Counting and printing.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

/// How many cases passed, failed, and were not supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub unsupported: usize,
}

/// How one case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed(String),
    Unsupported(String),
}

/// The cases of one suite.
#[derive(Default)]
pub(crate) struct Suite {
    pub counts: Counts,
    groups: BTreeMap<String, Counts>,
    failures: Vec<(String, String)>,
    /// Why cases are not supported, with the number of cases.
    missing: BTreeMap<String, usize>,
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::Unsupported(_) => self.unsupported += 1,
        }
    }
}

impl Suite {
    /// Counts a case of a group: an op, a module, an optimiser or a format.
    pub(crate) fn add(&mut self, id: &str, group: &str, verdict: Verdict) {
        self.counts.add(&verdict);
        self.groups.entry(group.to_owned()).or_default().add(&verdict);
        match verdict {
            Verdict::Passed => {}
            Verdict::Failed(reason) => self.failures.push((id.to_owned(), reason)),
            Verdict::Unsupported(reason) => {
                *self.missing.entry(format!("{group}: {reason}")).or_default() += 1
            }
        }
    }

    /// The failures, the groups that have passed or failed cases, and the counts.
    pub(crate) fn text(&self, name: &str, max_failures: usize, show_unsupported: bool) -> String {
        let mut out = String::new();
        for (id, reason) in self.failures.iter().take(max_failures) {
            put(&mut out, format_args!("FAIL {name} {id}: {reason}"));
        }
        if self.failures.len() > max_failures {
            put(&mut out, format_args!("… and {} more failures", self.failures.len() - max_failures));
        }
        let tried = self.groups.iter().filter(|(_, c)| c.passed + c.failed > 0);
        let width = tried.clone().map(|(g, _)| g.len()).max().unwrap_or(0).max(5);
        if tried.clone().next().is_some() {
            put(&mut out, format_args!("{name:width$} {:>7} {:>7} {:>7}", "passed", "failed", "unsupp."));
        }
        for (group, c) in tried {
            put(
                &mut out,
                format_args!("{group:width$} {:>7} {:>7} {:>7}", c.passed, c.failed, c.unsupported),
            );
        }
        if show_unsupported {
            for (reason, n) in &self.missing {
                put(&mut out, format_args!("not supported, {n}: {reason}"));
            }
        }
        let Counts { passed, failed, unsupported } = self.counts;
        put(&mut out, format_args!("{name}: {passed} passed, {failed} failed, {unsupported} not supported"));
        out
    }
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string cannot fail");
}

/// The counts of all suites as JSON.
pub(crate) fn to_json(suites: &[(String, Suite)]) -> Json {
    let entry = |(name, suite): &(String, Suite)| {
        let Counts { passed, failed, unsupported } = suite.counts;
        (name.clone(), json!({"passed": passed, "failed": failed, "unsupported": unsupported}))
    };
    Json::Object(suites.iter().map(entry).collect::<Map<_, _>>())
}

/// The suites that passed fewer cases than the floor asks for; a suite that did not run is not compared.
pub(crate) fn below_floor(suites: &[(String, Suite)], floor: &Json) -> Result<Vec<String>, String> {
    let floor = floor.as_object().ok_or("the floor is not an object")?;
    let mut out = Vec::new();
    for (name, counts) in floor {
        let least =
            counts["passed"].as_u64().ok_or_else(|| format!("the floor of {name} has no \"passed\""))?;
        let Some((_, suite)) = suites.iter().find(|(n, _)| n == name) else { continue };
        if (suite.counts.passed as u64) < least {
            out.push(format!("{name}: {} passed, the floor is {least}", suite.counts.passed));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> Suite {
        let mut suite = Suite::default();
        suite.add("add/0", "add", Verdict::Passed);
        suite.add("add/1", "add", Verdict::Failed("shape".into()));
        suite.add("erf/0", "erf", Verdict::Unsupported("no erf".into()));
        suite
    }

    #[test]
    fn counts_and_text() {
        let suite = suite();
        assert_eq!(suite.counts, Counts { passed: 1, failed: 1, unsupported: 1 });
        let text = suite.text("ops", 10, false);
        assert!(text.contains("FAIL ops add/1: shape"), "{text}");
        assert!(text.ends_with("ops: 1 passed, 1 failed, 1 not supported\n"), "{text}");
        assert!(!text.contains("erf"), "{text}");
        assert!(suite.text("ops", 0, true).contains("not supported, 1: erf: no erf"));
    }

    #[test]
    fn json_and_floor() {
        let suites = vec![("ops".to_owned(), suite())];
        assert_eq!(to_json(&suites), json!({"ops": {"passed": 1, "failed": 1, "unsupported": 1}}));
        let floor = |n: u64| json!({"ops": {"passed": n}, "rng": {"passed": 9}});
        assert_eq!(below_floor(&suites, &floor(1)), Ok(vec![]));
        assert_eq!(below_floor(&suites, &floor(2)), Ok(vec!["ops: 1 passed, the floor is 2".to_owned()]));
        assert!(below_floor(&suites, &json!({"ops": 3})).is_err());
    }
}
