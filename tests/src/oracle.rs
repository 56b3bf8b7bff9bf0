//! The judges: `oracle/bronze.py`, which uses none of our code, and `tapehouse verify`, which has to agree with it.

use serde_json::Value;

use crate::{Error, Output, Site, Topic, run};

/// Violations that an error quotes.
const QUOTED: usize = 8;

/// What a judge found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Empty when all holds.
    pub violations: Vec<String>,
    /// The whole answer.
    pub answer: Value,
}

impl Verdict {
    fn of(answer: Value, violations: &Value) -> Self {
        let violations = violations.as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            violations: violations.iter().map(Value::to_string).collect(),
            answer,
        }
    }

    /// A figure of the answer.
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.answer.get(name)?.as_u64()
    }
}

/// What both judges say of one table.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The Python oracle.
    pub oracle: Verdict,
    /// `tapehouse verify`.
    pub verify: Verdict,
}

/// Exit codes of both judges: 0 all holds, 3 a violation.
const JUDGED: [i32; 2] = [0, 3];

impl Site {
    /// Asks both judges about a topic's table, compared with all that Kafka shows a read_committed consumer.
    ///
    /// # Errors
    /// When one cannot judge.
    pub fn judge(&self, topic: &Topic, rows: Option<u64>) -> Result<Judgement, Error> {
        let rows = rows.map(|rows| rows.to_string());
        let mut options: Vec<&str> = Vec::new();
        if let Some(rows) = &rows {
            options.extend(["--expect-rows", rows]);
        }
        Ok(Judgement {
            oracle: self.ask_oracle(topic, &options)?,
            verify: self.ask_verify(topic, &[])?,
        })
    }

    /// The Python oracle alone, with further options.
    ///
    /// # Errors
    /// When it cannot judge.
    pub fn ask_oracle(&self, topic: &Topic, options: &[&str]) -> Result<Verdict, Error> {
        let mut oracle = self.tools().python("oracle/bronze.py");
        let complete = format!("topic={},bootstrap={}", topic.topic, self.bootstrap());
        oracle
            .arg(self.catalog())
            .args(["--table", &topic.table, "--complete", &complete])
            .args(options);
        let answer = run(oracle)?.expect(&JUDGED)?.json()?;
        let violations = answer["violations"].clone();
        Ok(Verdict::of(answer, &violations))
    }

    /// `tapehouse verify` alone, with further options.
    ///
    /// # Errors
    /// When it cannot judge, or its exit code and its words differ.
    pub fn ask_verify(&self, topic: &Topic, options: &[&str]) -> Result<Verdict, Error> {
        let mut arguments = vec!["verify", "--table", topic.table.as_str(), "-o", "json"];
        arguments.extend(options);
        let output: Output = self.command(&arguments)?.expect(&JUDGED)?;
        let answer = output.json()?;
        let violations = answer["tables"][0]["violations"].clone();
        let verdict = Verdict::of(answer, &violations);
        let says_ok = verdict.answer["verify"] == "ok";
        if says_ok != verdict.violations.is_empty() || says_ok != (output.code == Some(0)) {
            return Err(Error::unexpected(format!(
                "verify contradicts itself: code {:?}, {}",
                output.code, verdict.answer
            )));
        }
        Ok(verdict)
    }

    /// Asks both judges and demands that all holds.
    ///
    /// # Errors
    /// [`Error::Violated`] with what they found.
    pub fn demand(&self, topic: &Topic, rows: Option<u64>) -> Result<Judgement, Error> {
        let judgement = self.judge(topic, rows)?;
        for (what, verdict) in [("oracle", &judgement.oracle), ("tapehouse verify", &judgement.verify)] {
            self.holds(verdict, format!("{what}, table {}:", topic.table))?;
        }
        Ok(judgement)
    }

    /// As [`Self::demand`] where Kafka no longer holds all that is in the table: the oracle compares nothing with Kafka.
    ///
    /// # Errors
    /// As [`Self::demand`].
    pub fn demand_of_itself(&self, topic: &Topic, rows: u64) -> Result<(), Error> {
        let mut oracle = self.tools().python("oracle/bronze.py");
        let rows = rows.to_string();
        oracle
            .arg(self.catalog())
            .args(["--table", &topic.table, "--expect-rows", &rows]);
        let answer = run(oracle)?.expect(&JUDGED)?.json()?;
        let violations = answer["violations"].clone();
        let verdict = Verdict::of(answer, &violations);
        self.holds(&verdict, format!("oracle, table {}:", topic.table))
    }

    /// Demands that a verdict on `what` names no violation.
    fn holds(&self, verdict: &Verdict, what: String) -> Result<(), Error> {
        match verdict.violations.is_empty() {
            true => Ok(()),
            false => Err(Error::Violated {
                what,
                violations: verdict.violations.iter().take(QUOTED).cloned().collect(),
                site: self.folder().to_owned(),
            }),
        }
    }

    /// Asks the oracle whether the silver tables are the fold of their bronze tables.
    ///
    /// # Errors
    /// When it cannot judge.
    pub fn ask_silver(&self) -> Result<Verdict, Error> {
        let mut oracle = self.tools().python("oracle/silver.py");
        oracle.arg(self.catalog());
        let answer = run(oracle)?.expect(&JUDGED)?.json()?;
        let violations = answer["violations"].clone();
        Ok(Verdict::of(answer, &violations))
    }

    /// As [`Self::ask_silver`], and demands it; figures by table.
    ///
    /// # Errors
    /// [`Error::Violated`] with what it found; other errors when it cannot judge.
    pub fn demand_silver(&self) -> Result<Value, Error> {
        let verdict = self.ask_silver()?;
        self.holds(&verdict, "oracle, silver tables:".to_owned())?;
        let own = self.command(&["verify", "-o", "json"])?.expect(&JUDGED)?.json()?;
        for table in own["tables"].as_array().into_iter().flatten() {
            let of_table = Verdict::of(own.clone(), &table["violations"]);
            self.holds(&of_table, format!("tapehouse verify, table {}:", table["table"]))?;
        }
        Ok(verdict.answer["tables"].clone())
    }

    /// Asks the oracle whether `silver.trader_activity` is what `silver.trades` says, and demands it; figures by table.
    ///
    /// # Errors
    /// As [`Self::demand_silver`].
    pub fn demand_activity(&self) -> Result<Value, Error> {
        let mut oracle = self.tools().python("oracle/activity.py");
        oracle.arg(self.catalog());
        let answer = run(oracle)?.expect(&JUDGED)?.json()?;
        let violations = answer["violations"].clone();
        let verdict = Verdict::of(answer, &violations);
        self.holds(&verdict, "oracle, silver.trader_activity:".to_owned())?;
        Ok(verdict.answer["tables"].clone())
    }

    /// Has `oracle/gold.py` compute all gold tables from silver, and `tapehouse verify` from the first day on; rows by table.
    ///
    /// # Errors
    /// When a cell differs, or they cannot judge.
    pub fn demand_gold(&self) -> Result<Value, Error> {
        let mut oracle = self.tools().python("oracle/gold.py");
        oracle.arg(self.catalog());
        let answer = run(oracle)?.expect(&JUDGED)?.json()?;
        let violations = answer["violations"].clone();
        let verdict = Verdict::of(answer, &violations);
        self.holds(&verdict, "oracle, gold:".to_owned())?;
        for table in [
            "gold.daily_trading_summary",
            "gold.market_overview",
            "gold.portfolio_positions",
        ] {
            let own = self
                .command(&["verify", "--table", table, "-o", "json"])?
                .expect(&JUDGED)?
                .json()?;
            let violations = own["tables"][0]["violations"].clone();
            self.holds(
                &Verdict::of(own, &violations),
                format!("tapehouse verify, table {table}:"),
            )?;
        }
        Ok(verdict.answer["tables"].clone())
    }

    /// Rows of SQL queries in DuckDB, where `t` is the table.
    ///
    /// # Errors
    /// When a query fails.
    pub fn query(&self, topic: &Topic, queries: &[&str]) -> Result<Vec<Value>, Error> {
        let mut query = self.tools().python("oracle/query.py");
        query.arg(self.catalog()).arg(&topic.table).args(queries);
        let answer = run(query)?.expect(&[0])?.json()?;
        answer
            .as_array()
            .cloned()
            .ok_or_else(|| Error::unexpected(format!("no list: {answer}")))
    }
}
