//! Text to selector: recursive descent, with the depth of recursion limited.

use super::Kind;
use super::expr::{Comparison, Expr, Quantity};
use super::near::did_you_mean;
use super::pattern::Pattern;
use crate::tensor::DType;
use crate::{Error, Result};

/// Parentheses and negations may be nested this deep.
const DEPTH: usize = 64;
/// A longer text is no selector, in characters.
const LONGEST: usize = 1 << 16;

const PREDICATES: [&str; 4] = ["kind", "dtype", "ndim", "numel"];

pub(super) fn parse(text: &str) -> Result<Expr> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0, depth: 0 };
    parser.everything().map_err(|(at, message)| {
        let shown = if parser.chars.len() > 200 { "…" } else { text };
        Error::selector(format!("selector `{shown}`: {message} at column {}", at + 1))
    })
}

/// Where, counted in characters from 0, and what.
type Fault = (usize, String);

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn everything(&mut self) -> Result<Expr, Fault> {
        if self.chars.len() > LONGEST {
            return Err((LONGEST, "more text than a selector may have".into()));
        }
        let expr = self.or()?;
        match self.next_visible() {
            None => Ok(expr),
            Some(_) => Err(self.expected("`&`, `|` or the end")),
        }
    }

    fn or(&mut self) -> Result<Expr, Fault> {
        let mut expr = self.and()?;
        while self.take('|') {
            expr = expr.or(self.and()?);
        }
        Ok(expr)
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        let mut expr = self.not()?;
        while self.take('&') {
            expr = expr.and(self.not()?);
        }
        Ok(expr)
    }

    fn not(&mut self) -> Result<Expr, Fault> {
        let start = self.at;
        let nested = self.take('!') || self.take('(');
        if !nested {
            return self.primary();
        }
        self.depth += 1;
        if self.depth > DEPTH {
            return Err((start, format!("more than {DEPTH} parentheses and negations in each other")));
        }
        let expr = if self.chars[self.at - 1] == '!' {
            self.not()?.not()
        } else {
            let inner = self.or()?;
            if !self.take(')') {
                return Err(self.expected("`)`"));
            }
            inner
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        if self.next_visible().is_none_or(is_operator) {
            return Err(self.expected("a pattern or a predicate"));
        }
        let start = self.at;
        let word = self.word();
        let comparison = self.comparison()?;
        match (word.as_str(), comparison) {
            ("trainable", None) => Ok(Expr::Trainable),
            (word, None) if word == "rank" || PREDICATES.contains(&word) => {
                Err(self.expected(&format!("a comparison after `{word}`")))
            }
            (_, None) => Pattern::new(&word).map(Expr::Path).map_err(|(at, message)| (start + at, message)),
            ("kind", Some(sign)) => {
                let kinds = [("param", Kind::Param), ("buffer", Kind::Buffer)];
                self.choice("kind", sign, &kinds).map(|(kind, equal)| negate(Expr::Kind(kind), equal))
            }
            ("dtype", Some(sign)) => {
                let dtypes = DType::ALL.map(|dtype| (dtype.name(), dtype));
                self.choice("dtype", sign, &dtypes).map(|(dtype, equal)| negate(Expr::DType(dtype), equal))
            }
            ("ndim" | "rank", Some(sign)) => Ok(Expr::Number(Quantity::Ndim, sign, self.number()?)),
            ("numel", Some(sign)) => Ok(Expr::Number(Quantity::Numel, sign, self.number()?)),
            (word, Some(_)) => {
                let hint = did_you_mean(word, PREDICATES);
                Err((start, format!("unknown predicate `{word}`{hint}")))
            }
        }
    }

    /// What a name of a list is compared with, and whether by `==`.
    fn choice<T: Copy>(
        &mut self,
        predicate: &str,
        sign: Comparison,
        choices: &[(&str, T)],
    ) -> Result<(T, bool), Fault> {
        let equal = match sign {
            Comparison::Equal => true,
            Comparison::NotEqual => false,
            _ => {
                return Err((
                    self.at - sign.sign().len(),
                    format!("`{predicate}` takes `==` or `!=`, found `{}`", sign.sign()),
                ));
            }
        };
        self.next_visible();
        let start = self.at;
        let word = self.word();
        let names = || choices.iter().map(|(name, _)| *name);
        match choices.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => Ok((*value, equal)),
            None if word.is_empty() => Err(self.expected(&format!("a {predicate}"))),
            None => Err((start, format!("unknown {predicate} `{word}`{}", did_you_mean(&word, names())))),
        }
    }

    fn number(&mut self) -> Result<u64, Fault> {
        self.next_visible();
        let start = self.at;
        let word = self.word();
        let digits = word.replace('_', "");
        match digits.parse() {
            Ok(number) if digits.starts_with(|c: char| c.is_ascii_digit()) => Ok(number),
            _ if word.is_empty() => Err(self.expected("a number")),
            _ => Err((start, format!("expected a whole number, found `{word}`"))),
        }
    }

    fn comparison(&mut self) -> Result<Option<Comparison>, Fault> {
        use Comparison::{AtLeast, AtMost, Equal, Greater, Less, NotEqual};
        self.next_visible();
        for sign in [Equal, NotEqual, AtMost, AtLeast, Less, Greater] {
            let text = sign.sign();
            if text.chars().eq(self.chars[self.at..].iter().copied().take(text.len())) {
                self.at += text.len();
                return Ok(Some(sign));
            }
        }
        if self.peek() == Some('=') { Err(self.expected("`==`")) } else { Ok(None) }
    }

    /// Everything up to a blank or an operator; what is quoted or in `[…]` is taken as it stands.
    fn word(&mut self) -> String {
        let start = self.at;
        while let Some(c) = self.peek() {
            let close = match c {
                '\'' | '"' => c,
                '[' => ']',
                _ if c.is_whitespace() || is_operator(c) => break,
                _ => {
                    self.at += 1;
                    continue;
                }
            };
            let rest = &self.chars[self.at + 1..];
            self.at += rest.iter().position(|&c| c == close).map_or(rest.len() + 1, |i| i + 2);
        }
        self.chars[start..self.at].iter().collect()
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next_visible(&mut self) -> Option<char> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek()
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.next_visible() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn expected(&mut self, what: &str) -> Fault {
        let found = match self.next_visible() {
            None => "the end".to_owned(),
            Some(c) => format!("`{c}`"),
        };
        (self.at, format!("expected {what}, found {found}"))
    }
}

fn negate(expr: Expr, equal: bool) -> Expr {
    if equal { expr } else { expr.not() }
}

fn is_operator(c: char) -> bool {
    matches!(c, '&' | '|' | '!' | '(' | ')' | '=' | '<' | '>')
}
