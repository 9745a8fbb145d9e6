//! `${name}` in a text.

use std::collections::BTreeMap;

/// A text with variables in it. `$$` stands for `$`, and any other `$` for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// Why a text has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfilled {
    /// The variable has no value here.
    Missing(String),
    /// It begins with the value of the variable, and that begins with `-`: the program would take it for
    /// an option.
    Option(String),
}

impl Template {
    /// None: a `${` is not closed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                plain.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let (name, after) = after.split_once('}')?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Variable(name.to_owned()));
                rest = after;
            } else {
                plain.push('$');
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Some(Template(parts))
    }

    /// A text without variables.
    pub(crate) fn plain(text: &str) -> Self {
        Template(vec![Part::Text(text.to_owned())])
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether it is a variable and nothing else.
    pub(crate) fn is_one_variable(&self) -> bool {
        matches!(self.0.as_slice(), [Part::Variable(_)])
    }

    pub(crate) fn fill(&self, values: &BTreeMap<String, &str>) -> Result<String, Unfilled> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Variable(name) => match values.get(name.as_str()) {
                    Some(value) => text.push_str(value),
                    None => return Err(Unfilled::Missing(name.clone())),
                },
            }
        }
        Ok(text)
    }

    /// As [`Template::fill`], for an argument of a program.
    pub(crate) fn fill_argument(
        &self,
        values: &BTreeMap<String, &str>,
    ) -> Result<String, Unfilled> {
        let text = self.fill(values)?;
        match self.0.first() {
            Some(Part::Variable(name)) if text.starts_with('-') => {
                Err(Unfilled::Option(name.clone()))
            }
            _ => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(text: &str, values: &[(&str, &'static str)]) -> Result<String, Unfilled> {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        Template::parse(text).unwrap().fill_argument(&values)
    }

    #[test]
    fn variables_are_replaced_and_dollars_kept() {
        let values = [("a.b", "1 2;$(x)"), ("minus", "-rf")];
        assert_eq!(fill("v=${a.b}!", &values), Ok("v=1 2;$(x)!".to_owned()));
        assert_eq!(
            fill("$HOME $${a.b} $", &values),
            Ok("$HOME ${a.b} $".to_owned())
        );
        assert_eq!(
            fill("${c}", &values),
            Err(Unfilled::Missing("c".to_owned()))
        );
        assert_eq!(
            fill("${minus}", &values),
            Err(Unfilled::Option("minus".to_owned()))
        );
        assert_eq!(fill("--at=${minus}", &values), Ok("--at=-rf".to_owned()));
        assert_eq!(Template::parse("${a"), None);
    }

    proptest! {
        /// A value is never read as a template itself.
        #[test]
        fn a_value_stays_as_it_is(value in "[ -~]*") {
            let values = [("a".to_owned(), value.as_str())].into();
            let filled = Template::parse("<${a}>").unwrap().fill(&values).unwrap();
            prop_assert_eq!(filled, format!("<{value}>"));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Some(template) = Template::parse(&text) {
                let _ = template.fill(&BTreeMap::new());
            }
        }
    }
}
