//! Asks a person before something is done that is hard to undo.

use std::io::{self, BufRead, Write as _};

use super::{CliError, Result};

/// Asks `question` on standard error; an error of usage unless the answer is yes.
pub(crate) fn ask(question: &str) -> Result<()> {
    let failed = |error| CliError::io("the answer cannot be read", error);
    write!(io::stderr(), "{question} [y/N] ").map_err(failed)?;
    if agrees(&mut io::stdin().lock()).map_err(failed)? {
        return Ok(());
    }
    Err(CliError::usage("nothing was deleted"))
}

/// Whether the next line says yes.
fn agrees(input: &mut impl BufRead) -> io::Result<bool> {
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        let agrees = |text: &str| agrees(&mut text.as_bytes()).unwrap();
        assert!(agrees("y\n") && agrees("yes\n") && agrees(" Y "));
        assert!(!agrees("") && !agrees("\n") && !agrees("n\n") && !agrees("yesterday"));
    }
}
