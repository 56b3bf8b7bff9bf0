use super::*;

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"T","fields":[{fields}]}}"#)
}

fn field(name: &str, of: &str) -> String {
    format!(r#"{{"name":"{name}","type":{of}}}"#)
}

/// A record type of `depth` records, each the only field of the next.
fn nested(depth: usize) -> String {
    (0..depth).fold("\"string\"".to_owned(), |inner, n| {
        format!(r#"{{"type":"record","name":"R{n}","fields":[{}]}}"#, field("f", &inner))
    })
}

/// Each of `depth` types has two fields of the type before.
fn doubling(depth: usize) -> String {
    let types = (1..depth).map(|n| {
        let before = format!("\"R{}\"", n - 1);
        let pair = [field("a", &before), field("b", &before)].join(",");
        field(
            &format!("f{n}"),
            &format!(r#"{{"type":"record","name":"R{n}","fields":[{pair}]}}"#),
        )
    });
    let first = field(
        "f0",
        r#"{"type":"record","name":"R0","fields":[{"name":"a","type":"int"}]}"#,
    );
    record(&std::iter::once(first).chain(types).collect::<Vec<_>>().join(","))
}

#[test]
fn what_a_few_lines_can_write_out_is_limited() {
    assert!(check(&doubling(8)).is_ok());
    let error = check(&doubling(40)).unwrap_err();
    assert!(error.contains("fields, every name written out"), "{error}");
    assert!(check(&nested(30)).is_ok());
    assert!(check(&nested(33)).unwrap_err().contains("32 deep"));
    let wide = |fields: usize| {
        let fields: Vec<_> = (0..fields).map(|n| field(&format!("f{n}"), "\"int\"")).collect();
        record(&fields.join(","))
    };
    assert!(check(&wide(4000)).is_ok());
    assert!(check(&wide(5000)).is_err());
    let fixed = |size: u64| {
        record(&field(
            "f",
            &format!(r#"["null",{{"type":"fixed","name":"F","size":{size}}}]"#),
        ))
    };
    assert!(check(&fixed(4096)).unwrap().empty_bytes >= 4096);
    assert!(check(&fixed(2_000_000_000)).is_err());
    assert!(check(&fixed(0)).is_err());
    assert!(check(&format!("{}{}", " ".repeat(MAX_TEXT_BYTES), wide(1))).is_err());
}

#[test]
fn null_items_count_as_whole_ones() {
    let level =
        r#"{"type":"record","name":"L","fields":[{"name":"price","type":"double"},{"name":"size","type":"double"}]}"#;
    let swell = |items: &str| {
        check(&record(&field("f", &format!(r#"{{"type":"array","items":{items}}}"#))))
            .unwrap()
            .swell
    };
    assert_eq!(swell(level), 2);
    assert_eq!(swell(&format!(r#"["null",{level}]"#)), 64);
    assert_eq!(swell(r#"["null",{"type":"fixed","name":"F","size":1000}]"#), 1032);
    assert_eq!(check(&record(&field("f", level))).unwrap().swell, 1);
}

#[test]
fn a_record_that_holds_itself_is_named() {
    let next = field("next", r#"["null","N"]"#);
    let error = check(&format!(r#"{{"type":"record","name":"N","fields":[{next}]}}"#)).unwrap_err();
    assert_eq!(error, "record `N` holds itself");
    let error = check(&format!(
        r#"{{"type":"record","name":"N","namespace":"a.b","fields":[{}]}}"#,
        field("next", r#"{"type":"array","items":"a.b.N"}"#)
    ))
    .unwrap_err();
    assert_eq!(error, "record `a.b.N` holds itself");
}

#[test]
fn a_name_used_twice_is_no_recursion() {
    let level = r#"{"type":"record","name":"Level","fields":[{"name":"price","type":"double"}]}"#;
    let bids = field("bids", &format!(r#"{{"type":"array","items":{level}}}"#));
    let asks = field("asks", r#"{"type":"array","items":"Level"}"#);
    assert!(check(&record(&format!("{bids},{asks}"))).is_ok());
}

#[test]
fn names_that_readers_cannot_tell_apart_or_use_are_refused() {
    let two = |a: &str, b: &str| record(&format!("{},{}", field(a, "\"int\""), field(b, "\"int\"")));
    assert!(check(&two("price", "size")).is_ok());
    assert!(check(&two("Price", "price")).unwrap_err().contains("ignore case"));
    assert!(check(&two("price", "price")).is_err());
    for name in ["a.b", "", "1a", "a-b", "ü"] {
        assert!(
            check(&two("price", name)).unwrap_err().contains("no Avro name"),
            "{name}"
        );
    }
}

#[test]
fn what_is_no_record_is_refused() {
    for json in [
        "",
        "{",
        "\"string\"",
        r#"{"type":"array","items":"int"}"#,
        "[]",
        "7",
        &record(""),
    ] {
        assert!(check(json).is_err(), "{json}");
    }
}
