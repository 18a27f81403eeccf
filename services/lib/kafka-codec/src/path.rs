//! Where in a message one is, told only when something is wrong there.

use std::fmt::Write;

/// How deep structures lie in each other before the path needs memory of its own.
pub(crate) const DEPTH: usize = 6;

/// A structure, or an element of an array, that one is inside of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    field: &'static str,
    index: Option<u32>,
}

impl Step {
    /// Into a structure.
    pub(crate) const fn field(field: &'static str) -> Self {
        Self { field, index: None }
    }

    /// Into the first element of an array.
    pub(crate) const fn element(field: &'static str) -> Self {
        Self {
            field,
            index: Some(0),
        }
    }

    /// On to the next element.
    pub(crate) const fn advance(&mut self) {
        if let Some(index) = self.index {
            self.index = Some(index.saturating_add(1));
        }
    }
}

/// The path as text, such as `Topics[3].Name`; `field` may be empty.
pub(crate) fn shown(path: &[Step], field: &str) -> String {
    let mut text = String::new();
    for step in path {
        separate(&mut text);
        text.push_str(step.field);
        if let Some(index) = step.index {
            // Writing into a string cannot fail.
            let _ = write!(text, "[{index}]");
        }
    }
    if !field.is_empty() {
        separate(&mut text);
        text.push_str(field);
    }
    text
}

fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push('.');
    }
}
