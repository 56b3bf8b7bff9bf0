//! The trading calendar beside `exchange_calendars` XNYS: there is no difference from 2020 to 2030, so none is explained here.

use serde_json::{Value, json};
use tapehouse_core::calendar::Calendar;
use tapehouse_tests::{Error, Tools, run, unless_missing};

fn compare(tools: &Tools) -> Result<(), Error> {
    let mut oracle = tools.python("oracle/calendar_xnys.py");
    oracle.args(["2020-01-01", "2030-12-31"]);
    let theirs = run(oracle)?.expect(&[0])?.json()?;
    let theirs = theirs.as_array().cloned().unwrap_or_default();
    let calendar = Calendar::nyse();
    let (first, last) = calendar.days();
    let sessions = calendar.sessions(first, last);
    let sessions = sessions.map_err(|error| Error::unexpected(error.to_string()))?;
    let ours = sessions
        .iter()
        .map(|session| json!([session.day, session.open_us, session.close_us, session.is_early_close]));
    let ours: Vec<Value> = ours.collect();
    let only = |of: &[Value], other: &[Value]| {
        let differing = of.iter().filter(|session| !other.contains(session));
        differing.map(Value::to_string).collect::<Vec<_>>()
    };
    let (ours_only, theirs_only) = (only(&ours, &theirs), only(&theirs, &ours));
    if theirs.len() < 2_700 || !ours_only.is_empty() || !theirs_only.is_empty() {
        return Err(Error::unexpected(format!(
            "they have {} sessions; ours alone: {ours_only:?}; theirs alone: {theirs_only:?}",
            theirs.len()
        )));
    }
    Ok(())
}

#[test]
fn sessions_and_closes_are_those_of_exchange_calendars() {
    let located = Tools::locate();
    let Some(tools) = unless_missing(located.as_ref()) else {
        return;
    };
    compare(tools).unwrap_or_else(|error| panic!("{error}"));
}
