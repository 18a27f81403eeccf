//! Bills for people.

use std::fmt::Write as _;

use crate::bill::{Bill, Line};
use crate::estimate::Estimate;

impl Estimate {
    /// Both bills with their arithmetic: each line is a quantity times a price, and says where the quantity
    /// comes from.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "load: {}", self.load);
        let _ = writeln!(
            text,
            "prices: `{}` of {}, list prices of {}, in {} a month of 730 hours",
            self.prices, self.date, self.region, self.currency
        );
        for source in &self.sources {
            let _ = writeln!(text, "  {source}");
        }
        for bill in [&self.tidelog, &self.kafka] {
            text.push('\n');
            text.push_str(&table(bill));
        }
        let _ = writeln!(text, "\n{}", self.verdict());
        text
    }

    /// Both totals in a line.
    fn verdict(&self) -> String {
        let (ours, theirs) = (self.tidelog.total, self.kafka.total);
        let both = format!(
            "{} {} against {} {}",
            money(ours),
            self.currency,
            money(theirs),
            self.currency
        );
        if theirs > 0.0 {
            format!("{both}: {:.0} % of it", ours / theirs * 100.0)
        } else {
            both
        }
    }
}

fn table(bill: &Bill) -> String {
    let mut rows = vec![[
        bill.of.clone(),
        "quantity".to_owned(),
        "unit".to_owned(),
        "price".to_owned(),
        "amount".to_owned(),
        "from".to_owned(),
    ]];
    rows.extend(bill.lines.iter().map(cells));
    let mut total = <[String; 6]>::default();
    "total".clone_into(&mut total[0]);
    total[4] = money(bill.total);
    rows.push(total);
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for [what, quantity, unit, price, amount, from] in &rows {
        let line = format!(
            "{what:<0$}  {quantity:>1$} {unit:<2$}  {price:>3$}  {amount:>4$}  {from}",
            widths[0], widths[1], widths[2], widths[3], widths[4]
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells(line: &Line) -> [String; 6] {
    let price = if line.per > 1.0 {
        format!("{} / {}", line.price, line.per)
    } else {
        line.price.to_string()
    };
    let quantity = if line.unit == "requests" || line.unit == "hours" {
        grouped(&format!("{:.0}", line.quantity))
    } else {
        grouped(&format!("{:.1}", line.quantity))
    };
    [
        line.what.clone(),
        quantity,
        line.unit.to_owned(),
        price,
        money(line.amount),
        line.from.clone(),
    ]
}

fn money(amount: f64) -> String {
    grouped(&format!("{amount:.2}"))
}

/// A decimal number with its thousands apart: `1,234,567.8`.
fn grouped(number: &str) -> String {
    let (whole, rest) = match number.split_once('.') {
        Some((whole, rest)) => (whole, format!(".{rest}")),
        None => (number, String::new()),
    };
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart_and_decimals_stay() {
        for (number, text) in [
            ("0", "0"),
            ("999.50", "999.50"),
            ("1234567.8", "1,234,567.8"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
