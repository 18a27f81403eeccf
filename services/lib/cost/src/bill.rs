//! Uses times prices.

use serde::Serialize;

use crate::prices::PriceList;
use crate::uses::{Kind, Use};

/// A quantity times a price.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What is paid for.
    pub what: String,
    /// How much in a month.
    pub quantity: f64,
    /// What is counted.
    pub unit: &'static str,
    /// The price of `per` units.
    pub price: f64,
    /// How many units have the price.
    pub per: f64,
    /// What it comes to.
    pub amount: f64,
    /// Where the quantity comes from.
    pub from: String,
}

/// What a month costs, line by line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// What it is the bill of.
    pub of: String,
    /// What is paid for, in the order in which it was named.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: f64,
}

impl Bill {
    /// Prices each use. Storage has a line for each step of its price that it reaches.
    pub fn new(of: impl Into<String>, uses: &[Use], prices: &PriceList) -> Self {
        let mut lines = Vec::with_capacity(uses.len());
        for used in uses {
            if used.kind == Kind::Stored {
                lines.extend(stored(used, prices));
            } else {
                lines.push(line(
                    used,
                    used.quantity,
                    prices.price(used.kind),
                    used.from.clone(),
                ));
            }
        }
        let total = lines.iter().fold(0.0, |sum, line| sum + line.amount);
        Self {
            of: of.into(),
            lines,
            total,
        }
    }
}

fn line(used: &Use, quantity: f64, price: f64, from: String) -> Line {
    let per = used.kind.per();
    Line {
        what: used.what.clone(),
        quantity,
        unit: used.kind.unit(),
        price,
        per,
        amount: quantity / per * price,
        from,
    }
}

/// The lines of stored bytes, which may cost less the more there are.
fn stored(used: &Use, prices: &PriceList) -> Vec<Line> {
    let steps = prices.steps();
    let is_one = steps.len() == 1;
    let mut lines = Vec::new();
    let (mut below, mut rest) = (0.0, used.quantity);
    for step in steps {
        let room = step.up_to_gib.map_or(f64::INFINITY, |up_to| up_to - below);
        let here = rest.min(room);
        let from = if is_one || lines.is_empty() {
            used.from.clone()
        } else {
            format!("what is beyond {below:.0} GiB")
        };
        lines.push(line(used, here, step.per_gib_month, from));
        rest -= here;
        if rest <= 0.0 {
            break;
        }
        below += room;
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(storage: &str) -> PriceList {
        let file = format!("[object_store]\nstorage = {storage}\n");
        PriceList::load("s3", Some(&file), &[]).unwrap()
    }

    fn gib(quantity: f64) -> Use {
        Use::new(Kind::Stored, "stored", quantity, "it lies there".to_owned())
    }

    #[test]
    fn requests_are_paid_by_the_thousand_and_the_rest_by_the_unit() {
        let prices = PriceList::load("s3", None, &[]).unwrap();
        let uses = [
            Use::new(Kind::ClassA, "puts", 2_000_000.0, String::new()),
            Use::new(Kind::ClassB, "gets", 10_000_000.0, String::new()),
            Use::new(Kind::Machine, "brokers", 2_190.0, String::new()),
        ];
        let bill = Bill::new("x", &uses, &prices);
        let amounts: Vec<String> = bill
            .lines
            .iter()
            .map(|l| format!("{:.3}", l.amount))
            .collect();
        assert_eq!(amounts, ["10.000", "4.000", "357.408"]);
        assert_eq!(format!("{:.3}", bill.total), "371.408");
    }

    #[test]
    fn storage_is_paid_step_by_step() {
        let steps = "[{ up_to_gib = 100, per_gib_month = 3 }, { up_to_gib = 150, per_gib_month = 2 }, \
                     { per_gib_month = 1 }]";
        for (stored, parts, total) in [
            (0.0, vec![0.0], 0.0),
            (40.0, vec![40.0], 120.0),
            (100.0, vec![100.0], 300.0),
            (170.0, vec![100.0, 50.0, 20.0], 420.0),
        ] {
            let bill = Bill::new("x", &[gib(stored)], &list(steps));
            let quantities: Vec<f64> = bill.lines.iter().map(|line| line.quantity).collect();
            assert_eq!(quantities, parts, "{stored}");
            assert!((bill.total - total).abs() < 1e-9, "{stored}");
        }
    }

    proptest! {
        #[test]
        fn steps_lose_no_byte_and_never_cost_more_than_the_first(stored in 0.0..1e9f64) {
            let prices = PriceList::load("s3", None, &[]).unwrap();
            let bill = Bill::new("x", &[gib(stored)], &prices);
            let sum: f64 = bill.lines.iter().map(|line| line.quantity).sum();
            prop_assert!((sum - stored).abs() <= stored * 1e-9);
            prop_assert!(bill.total <= stored * prices.price(Kind::Stored) * (1.0 + 1e-9));
        }
    }
}
