//! Faults of the configuration end with exit code 78 and say key, reason, place and example.

use std::path::Path;

use crate::support::{Ended, run};

const COMPLETE: &[(&str, &str)] = &[
    ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    ("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1"),
    ("ICEBERG_CATALOG_URI", "sqlite:////nowhere/catalog.db"),
    ("ICEBERG_WAREHOUSE_PATH", "file:///nowhere/warehouse"),
];

fn with_file(toml: &str, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tapehouse.toml"), toml).unwrap();
    run(folder.path(), args, env)
}

#[track_caller]
fn assert_fault(toml: &str, env: &[(&str, &str)], expected: &[&str]) {
    for command in [&["config", "validate"][..], &["run"]] {
        let ended = with_file(toml, command, env);
        ended.assert_code(78).assert_stderr("example:");
        for text in expected {
            ended.assert_stderr(text);
        }
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
}

#[test]
fn missing_keys_are_named_at_once_each_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["run"][..], &["run", "--until-caught-up"], &["config", "show"]] {
        let ended = run(folder.path(), command, &[]);
        ended
            .assert_code(78)
            .assert_stderr("kafka.bootstrap_servers: is missing");
        ended
            .assert_stderr("KAFKA_BOOTSTRAP_SERVERS=localhost:9092")
            .assert_stderr("schema_registry.url: is missing");
        ended
            .assert_stderr("catalog.uri: is missing")
            .assert_stderr("warehouse.path: is missing");
    }
    // A command asks for what it needs only.
    let ended = run(folder.path(), &["tables"], &[]);
    ended.assert_code(78).assert_stderr("catalog.uri");
    assert!(!ended.stderr.contains("kafka"), "{}", ended.stderr);
}

#[test]
fn unknown_ill_typed_and_impossible_values() {
    assert_fault(
        "[commit]\nmax_age = 5\n",
        COMPLETE,
        &["commit.max_age: unknown key", "toml:2", "commit.max_age_ms`?"],
    );
    assert_fault(
        "[commit]\nmax_age_ms = \"5\"\n",
        COMPLETE,
        &["commit.max_age_ms: must be an integer", "toml:2"],
    );
    assert_fault(
        "[catalog]\nuri = \"sqlite\"\n",
        &COMPLETE[..2],
        &["catalog.uri: `sqlite` is not a URL"],
    );
    assert_fault(
        "[schema_registry]\nurl = \"host\"\n",
        &COMPLETE[..1],
        &["schema_registry.url: `host` is not a URL"],
    );
    assert_fault(
        "[[topics]]\ntable = \"a.b\"\n",
        COMPLETE,
        &["topics[0].topic: is missing"],
    );
    assert_fault("not toml\n", COMPLETE, &["is not TOML", "tapehouse.toml:1"]);
    let mut env = COMPLETE.to_vec();
    env.push(("TAPEHOUSE__COMMIT__MAX_ROWS", "many"));
    assert_fault(
        "",
        &env,
        &["commit.max_rows: must be an integer", "TAPEHOUSE__COMMIT__MAX_ROWS"],
    );
}

#[test]
fn a_missing_secret_and_properties_that_run_code() {
    let toml = "[kafka]\nsecurity_protocol = \"SASL_SSL\"\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\n\
                sasl_password = \"${NO_SUCH_SECRET}\"\n[kafka.properties]\n\"plugin.library.paths\" = \"x.so\"\n";
    assert_fault(
        toml,
        COMPLETE,
        &[
            "kafka.sasl_password: ",
            "NO_SUCH_SECRET",
            "toml:5",
            "plugin.library.paths: is refused",
        ],
    );
}

#[test]
fn secrets_are_masked_wherever_the_configuration_is_shown() {
    let toml = "[kafka]\nsecurity_protocol = \"SASL_SSL\"\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"user-1\"\n\
                sasl_password = \"${SECRET}\"\n[schema_registry]\ntoken = \"hunter2\"\n";
    let mut env = COMPLETE.to_vec();
    env.push(("SECRET", "hunter2"));
    for args in [&["config", "show"][..], &["config", "show", "-o", "json"]] {
        let ended = with_file(toml, args, &env);
        ended.assert_code(0);
        assert!(
            ended.stdout.contains("user-1") && ended.stdout.contains("***"),
            "{}",
            ended.stdout
        );
        assert!(!ended.stdout.contains("hunter2"), "{}", ended.stdout);
    }
}

#[test]
fn flag_then_long_name_then_short_name_then_dotenv_then_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("tapehouse.toml"),
        "[kafka]\nbootstrap_servers = \"file:1\"\n",
    )
    .unwrap();
    let shown = |args: &[&str], env: &[(&str, &str)]| {
        let env: Vec<_> = COMPLETE[1..].iter().chain(env).copied().collect();
        let all: Vec<&str> = ["config", "show", "-o", "json"].iter().chain(args).copied().collect();
        let ended = run(folder.path(), &all, &env);
        ended.assert_code(0);
        ended.json()["settings"]["kafka.bootstrap_servers"]["value"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(shown(&[], &[]), "file:1");
    std::fs::write(folder.path().join(".env"), "KAFKA_BOOTSTRAP_SERVERS=dotenv:1\n").unwrap();
    assert_eq!(shown(&[], &[]), "dotenv:1");
    let short = ("KAFKA_BOOTSTRAP_SERVERS", "short:1");
    assert_eq!(shown(&[], &[short]), "short:1");
    let long = ("TAPEHOUSE__KAFKA__BOOTSTRAP_SERVERS", "long:1");
    assert_eq!(shown(&[], &[short, long]), "long:1");
    assert_eq!(
        shown(&["--set", "kafka.bootstrap_servers=flag:1"], &[short, long]),
        "flag:1"
    );
}

#[test]
fn the_example_environment_is_enough_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.env.example");
    std::fs::copy(example, folder.path().join(".env")).unwrap();
    run(folder.path(), &["config", "validate"], &[]).assert_code(0);
}

#[test]
fn every_key_is_documented_with_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let shown = run(folder.path(), &["config", "show", "-o", "json"], COMPLETE).json();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (key, setting) in shown["settings"].as_object().unwrap() {
        let (section, name) = key.split_once('.').unwrap();
        let section = page
            .split(&format!("## `[{section}]`"))
            .nth(1)
            .unwrap_or_else(|| panic!("no section {section}"));
        let section = section.split("\n## ").next().unwrap();
        let row = section.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{key} is not in docs/configuration.md"));
        if setting["origin"] == "default" {
            let default = match &setting["value"] {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert!(
                row.contains(&format!("`{default}`")),
                "{key}: its default {default} is not in: {row}"
            );
        }
    }
}

#[test]
fn the_published_schema_is_that_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(folder.path(), &["config", "schema"], &[]);
    printed.assert_code(0);
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/tapehouse.schema.json");
    let published = std::fs::read_to_string(published).unwrap_or_default();
    assert!(
        published == printed.stdout,
        "the keys have changed: tapehouse config schema > deploy/config/tapehouse.schema.json"
    );
}
