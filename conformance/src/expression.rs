//! Arithmetic in `epoch`, as Python writes it: the functions of schedules.

use crate::outcome::{Stop, unsupported};

/// An expression.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Number(f64),
    Epoch,
    Negative(Box<Self>),
    Binary(Operator, Box<[Self; 2]>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
}

/// How deep brackets may nest.
const DEPTH: usize = 50;

impl Expression {
    /// Parses a text.
    pub(crate) fn parse(text: &str) -> Result<Self, Stop> {
        let mut parser = Parser { rest: text.trim(), depth: 0 };
        match parser.sum() {
            Some(expression) if parser.rest.is_empty() => Ok(expression),
            _ => unsupported(format!("the expression {text:?}")),
        }
    }

    /// The value for an epoch.
    pub(crate) fn value(&self, epoch: f64) -> f64 {
        match self {
            Self::Number(x) => *x,
            Self::Epoch => epoch,
            Self::Negative(x) => -x.value(epoch),
            Self::Binary(operator, operands) => {
                let (a, b) = (operands[0].value(epoch), operands[1].value(epoch));
                match operator {
                    Operator::Add => a + b,
                    Operator::Sub => a - b,
                    Operator::Mul => a * b,
                    Operator::Div => a / b,
                    Operator::FloorDiv => (a / b).floor(),
                    Operator::Rem => a - b * (a / b).floor(),
                    Operator::Pow => a.powf(b),
                }
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn sum(&mut self) -> Option<Expression> {
        let mut left = self.product()?;
        loop {
            let operator = if self.take("+") {
                Operator::Add
            } else if self.take("-") {
                Operator::Sub
            } else {
                return Some(left);
            };
            left = Expression::Binary(operator, Box::new([left, self.product()?]));
        }
    }

    fn product(&mut self) -> Option<Expression> {
        let mut left = self.unary()?;
        loop {
            let operator = if self.take("//") {
                Operator::FloorDiv
            } else if self.take("/") {
                Operator::Div
            } else if self.take("%") {
                Operator::Rem
            } else if !self.rest.starts_with("**") && self.take("*") {
                Operator::Mul
            } else {
                return Some(left);
            };
            left = Expression::Binary(operator, Box::new([left, self.unary()?]));
        }
    }

    fn unary(&mut self) -> Option<Expression> {
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        let expression =
            if self.take("-") { Some(Expression::Negative(Box::new(self.unary()?))) } else { self.power() };
        self.depth -= 1;
        expression
    }

    fn power(&mut self) -> Option<Expression> {
        let base = self.atom()?;
        if self.take("**") {
            return Some(Expression::Binary(Operator::Pow, Box::new([base, self.unary()?])));
        }
        Some(base)
    }

    fn atom(&mut self) -> Option<Expression> {
        if self.take("(") {
            let inner = self.sum()?;
            return self.take(")").then_some(inner);
        }
        if self.take("epoch") {
            return Some(Expression::Epoch);
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let number = digits.parse().ok()?;
        self.rest = rest.trim_start();
        Some(Expression::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_pythons() {
        for (text, expected) in [
            ("0.9 ** epoch", 0.9f64.powf(3.0)),
            ("1 / (1 + epoch)", 0.25),
            ("-epoch ** 2", -9.0),
            ("2 * epoch // 4 - 7 % 4", -2.0),
        ] {
            assert_eq!(Expression::parse(text).unwrap().value(3.0), expected, "{text}");
        }
        assert!(Expression::parse("exp(epoch)").is_err());
        assert!(Expression::parse(&"(".repeat(1000)).is_err());
    }
}
