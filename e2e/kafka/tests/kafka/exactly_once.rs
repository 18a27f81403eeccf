//! Kafka Streams with exactly-once: an application of sums, joins, windows and counts, killed in the middle.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tidelog_e2e_harness::{Process, Tools, until};

use crate::java::start;
use crate::support::{FETCH_LIMIT, World};

const INPUTS: [&str; 4] = ["numbers", "orders", "customers", "text"];
const OUTPUTS: [&str; 5] = ["doubled", "sums", "revenue", "windows", "counts"];
/// How often the application is started; all but the last time it is killed while it works.
const STARTS: u64 = 3;
/// Numbers that are added before each of these.
const NUMBERS: u64 = 2_000;
const CUSTOMERS: [(&str, &str); 3] = [("ann", "north"), ("bob", "south"), ("eve", "north")];

struct App {
    world: World,
    folder: TempDir,
}

impl App {
    async fn new() -> Result<Self> {
        let world = World::new(1).await?;
        let admin = world.server.client()?.admin();
        let no_config: [(&str, &str); 0] = [];
        for topic in INPUTS.into_iter().chain(OUTPUTS) {
            admin.create_topic(topic, 2, no_config).await?;
        }
        Ok(Self {
            world,
            folder: tempfile::tempdir()?,
        })
    }

    fn start(&self, number: u64) -> Result<Process> {
        let folder = self.folder.path().join(number.to_string());
        std::fs::create_dir_all(&folder)?;
        let text = "org.apache.kafka.common.serialization.Serdes$StringSerde";
        let settings = [
            format!("bootstrap.servers={}", self.world.address()),
            "application.id=sums".to_owned(),
            "processing.guarantee=exactly_once_v2".to_owned(),
            "commit.interval.ms=100".to_owned(),
            "num.stream.threads=2".to_owned(),
            // A customer is known before the first order.
            "max.task.idle.ms=3000".to_owned(),
            "replication.factor=1".to_owned(),
            format!("default.key.serde={text}"),
            format!("default.value.serde={text}"),
            format!("state.dir={}", folder.join("state").display()),
            "consumer.session.timeout.ms=6000".to_owned(),
            "consumer.auto.offset.reset=earliest".to_owned(),
            "producer.transaction.timeout.ms=10000".to_owned(),
        ];
        let source = Tools::repository()?.join("e2e/kafka/streams/Sums.java");
        start(&source.display().to_string(), &settings, &folder)
    }

    async fn send(&self, topic: &str, lines: &str) -> Result<()> {
        self.world
            .kcat(&["-P", "-K", "=", "-t", topic], lines.as_bytes())
            .await?;
        Ok(())
    }

    /// What readers of committed records see, in the order of each partition.
    async fn committed(&self, topic: &str) -> Result<Vec<(String, u64)>> {
        let level = "isolation.level=read_committed";
        let from = ["-o", "beginning", "-e", "-K", "="];
        let arguments = [&["-C", "-t", topic, "-X", level], &from[..]].concat();
        let text = self.world.kcat(&arguments, &[]).await?.text();
        let rows = text.lines().map(|line| {
            let (key, value) = line.split_once('=').context("a key and a value")?;
            Ok((key.to_owned(), value.parse()?))
        });
        rows.collect()
    }

    /// Waits until the newest value of each key of a topic is this.
    async fn settles(&self, topic: &str, expected: &BTreeMap<String, u64>) -> Result<()> {
        until(format!("{topic} has its sums"), FETCH_LIMIT, async || {
            let rows = self.committed(topic).await.ok()?;
            let newest: BTreeMap<String, u64> = rows.into_iter().collect();
            (newest == *expected).then_some(())
        })
        .await
    }
}

impl App {
    /// Waits until the newest counts of all windows sum up to these.
    async fn windows_have(&self, expected: &BTreeMap<String, u64>) -> Result<()> {
        until("all windows are counted", FETCH_LIMIT, async || {
            let rows = self.committed("windows").await.ok()?;
            let newest: BTreeMap<String, u64> = rows.into_iter().collect();
            let regions = newest.iter().filter_map(|(key, count)| {
                let (region, _) = key.split_once('@')?;
                Some((region, *count))
            });
            (sums(regions) == *expected).then_some(())
        })
        .await
    }
}

/// Sums by key.
fn sums<'a>(rows: impl IntoIterator<Item = (&'a str, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (key, value) in rows {
        *sums.entry(key.to_owned()).or_default() += value;
    }
    sums
}

fn real_text() -> Result<String> {
    let file = Tools::repository()?.join("docs/architecture.md");
    std::fs::read_to_string(&file).with_context(|| file.display().to_string())
}

fn words(text: &str) -> BTreeMap<String, u64> {
    let lower = text.to_ascii_lowercase();
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = lower.split(|letter| !is_word(letter));
    sums(words.filter(|word| !word.is_empty()).map(|word| (word, 1)))
}

fn keyed(lines: impl IntoIterator<Item = (String, String)>) -> String {
    lines
        .into_iter()
        .fold(String::new(), |mut out, (key, value)| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{key}={value}");
            out
        })
}

/// Who orders, and for how much.
fn order(number: u64) -> ((&'static str, &'static str), u64) {
    let customer = CUSTOMERS[usize::try_from(number).unwrap_or_default() % CUSTOMERS.len()];
    (customer, number % 7)
}

async fn kill_while_it_works(app: &App, process: &mut Process, before: usize) -> Result<()> {
    let more = until("something is committed", FETCH_LIMIT, async || {
        let rows = app.committed("doubled").await.ok()?;
        (rows.len() > before).then_some(())
    });
    more.await.with_context(|| process.log_tail())?;
    process.kill();
    Ok(())
}

/// The folder of a state that is lost with its process.
fn lose(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path).with_context(|| path.display().to_string())
}

#[tokio::test]
async fn each_record_counts_once_though_the_application_is_killed() -> Result<()> {
    let app = App::new().await?;
    let customers = CUSTOMERS.map(|(name, region)| (name.to_owned(), region.to_owned()));
    app.send("customers", &keyed(customers)).await?;
    let text = real_text()?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains('=')).collect();
    let text = lines.join("\n");
    let total = STARTS * NUMBERS;
    for round in 0..STARTS {
        let range = round * NUMBERS..(round + 1) * NUMBERS;
        let numbers = range.clone().map(|it| (it.to_string(), it.to_string()));
        app.send("numbers", &keyed(numbers)).await?;
        let orders = range.clone().map(|it| {
            let ((name, _), amount) = order(it);
            (name.to_owned(), amount.to_string())
        });
        app.send("orders", &keyed(orders)).await?;
        if round == 0 {
            let lines = lines
                .iter()
                .map(|line| ("k".to_owned(), (*line).to_owned()));
            app.send("text", &keyed(lines)).await?;
        }
        let before = app.committed("doubled").await?.len();
        let mut process = app.start(round)?;
        if round + 1 < STARTS {
            kill_while_it_works(&app, &mut process, before).await?;
            // Half of the time its state goes with it, and is read again from the log.
            if round % 2 == 0 {
                lose(&app.folder.path().join(round.to_string()).join("state"))?;
            }
            continue;
        }
        let odds = (0..total).filter(|number| number % 2 == 1).sum();
        let odds = sums([("odds", odds)]);
        let settled = app.settles("sums", &odds).await;
        settled.with_context(|| process.log_tail())?;
        let revenue = (0..total).map(|it| (order(it).0.1, order(it).1));
        app.settles("revenue", &sums(revenue)).await?;
        let orders = (0..total).map(|it| (order(it).0.1, 1));
        app.windows_have(&sums(orders)).await?;
        app.settles("counts", &words(&text)).await?;
    }
    let mut doubled: Vec<u64> = app
        .committed("doubled")
        .await?
        .into_iter()
        .map(|row| row.1)
        .collect();
    doubled.sort_unstable();
    let expected: Vec<u64> = (0..total).map(|number| 2 * number).collect();
    ensure!(
        doubled == expected,
        "{} doubled numbers of {total}",
        doubled.len()
    );
    Ok(())
}
