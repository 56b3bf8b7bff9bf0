use super::*;

const PARTS: &[Part] = &[Part::Kafka, Part::Registry, Part::Lake];
const ENV: &[(&str, &str)] = &[
    ("KAFKA_BOOTSTRAP_SERVERS", "env:9092"),
    ("SCHEMA_REGISTRY_URL", "http://env:8081"),
    ("ICEBERG_CATALOG_URI", "sqlite:///env/catalog.db"),
    ("ICEBERG_WAREHOUSE_PATH", "file:///env/warehouse"),
];

fn load(toml: &str, env: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tapehouse.toml");
    std::fs::write(&path, toml).unwrap();
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let flags = Flags {
        file: Some(path),
        set: set.iter().map(own).collect(),
        insecure: false,
    };
    Config::load_from(&flags, PARTS, Environment::of(env))
}

/// Faults of `toml` on top of an environment that is complete.
fn faults(toml: &str) -> Vec<Fault> {
    load(toml, ENV, &[])
        .map(|_| Vec::new())
        .unwrap_or_else(|error| error.faults)
}

#[track_caller]
fn assert_fault(toml: &str, key: &str, reason: &str) {
    let found = faults(toml);
    let fault = found.iter().find(|fault| fault.key == key);
    let fault = fault.unwrap_or_else(|| panic!("no fault of {key} in {found:?}"));
    assert!(fault.to_string().contains(reason), "{fault}");
    assert!(fault.example.is_some(), "no example: {fault}");
}

#[test]
fn the_short_names_alone_are_enough() {
    let config = load("", ENV, &[]).unwrap();
    assert_eq!(config.kafka.unwrap().bootstrap_servers, "env:9092");
    assert_eq!(config.registry.unwrap().url, "http://env:8081");
    assert_eq!(config.lake.unwrap().warehouse, "file:///env/warehouse");
    let tables: Vec<&str> = config.topics.iter().map(|topic| topic.table.as_str()).collect();
    assert_eq!(
        tables,
        ["bronze.raw_trades", "bronze.raw_orderbook", "bronze.raw_marketdata"]
    );
    assert_eq!(
        (config.commit_max_age.as_millis(), config.commit_max_bytes),
        (500, 256 << 20)
    );
    assert_eq!(config.start, Start::Earliest);
}

#[test]
fn precedence() {
    let toml = "[kafka]\nbootstrap_servers = \"file:1\"\n[commit]\nmax_age_ms = 1000\n";
    let of = |env: &[(&str, &str)], set: &[(&str, &str)]| {
        let env: Vec<_> = ENV[1..].iter().chain(env).copied().collect();
        load(toml, &env, set).unwrap().kafka.unwrap().bootstrap_servers
    };
    let (short, long) = (
        ("KAFKA_BOOTSTRAP_SERVERS", "short:1"),
        ("TAPEHOUSE__KAFKA__BOOTSTRAP_SERVERS", "long:1"),
    );
    assert_eq!(of(&[], &[]), "file:1");
    assert_eq!(of(&[short], &[]), "short:1");
    assert_eq!(of(&[short, long], &[]), "long:1");
    assert_eq!(of(&[short, long], &[("kafka.bootstrap_servers", "flag:1")]), "flag:1");
    assert_eq!(load(toml, ENV, &[]).unwrap().commit_max_age.as_millis(), 1000);
}

#[test]
fn all_missing_keys_are_named_at_once() {
    let error = load("", &[], &[]).unwrap_err();
    let keys: Vec<&str> = error.faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "kafka.bootstrap_servers",
            "schema_registry.url",
            "catalog.uri",
            "warehouse.path"
        ]
    );
    let text = error.to_string();
    assert!(text.contains("KAFKA_BOOTSTRAP_SERVERS=localhost:9092"), "{text}");
}

#[test]
fn unknown_keys_sections_and_variables() {
    assert_fault(
        "[commit]\nmax_age = 5\n",
        "commit.max_age",
        "did you mean `commit.max_age_ms`?",
    );
    assert_fault(
        "[comit]\nmax_rows = 5\n",
        "comit.max_rows",
        "did you mean `commit.max_rows`?",
    );
    assert_fault("[kafka]\nurl = 5\n", "kafka.url", "tapehouse.toml:2");
    assert_fault(
        "[[topics]]\ntopic = \"a\"\ntabel = \"b.c\"\n",
        "topics[0].tabel",
        "did you mean `table`?",
    );
    let mut env = ENV.to_vec();
    env.push(("TAPEHOUSE__COMMIT__MAX_AGES_MS", "5"));
    let text = load("", &env, &[]).unwrap_err().to_string();
    assert!(
        text.contains("environment variable TAPEHOUSE__COMMIT__MAX_AGES_MS"),
        "{text}"
    );
    assert!(text.contains("did you mean `commit.max_age_ms`?"), "{text}");
}

#[test]
fn ill_typed_values() {
    assert_fault(
        "[commit]\nmax_age_ms = \"fast\"\n",
        "commit.max_age_ms",
        "must be an integer, is a string",
    );
    assert_fault("[commit]\nmax_age_ms = 1\n", "commit.max_age_ms", "from 10 to 60000");
    assert_fault(
        "[kafka]\nsecurity_protocol = 7\n",
        "kafka.security_protocol",
        "must be a string",
    );
    assert_fault("[http]\ninsecure = \"yes\"\n", "http.insecure", "true or false");
    assert_fault("[node]\ncluster = \"\"\n", "node.cluster", "is empty");
    assert_fault("[[topics]]\ntopic = \"a b\"\n", "topics[0].topic", "letters");
    assert_fault("[[topics]]\ntable = \"b.c\"\n", "topics[0].topic", "is missing");
}

#[test]
fn bad_urls() {
    for (key, variable, value) in [
        ("schema_registry.url", "SCHEMA_REGISTRY_URL", "localhost"),
        ("catalog.uri", "ICEBERG_CATALOG_URI", "sqlite://x"),
        ("warehouse.path", "ICEBERG_WAREHOUSE_PATH", "warehouse"),
        ("kafka.bootstrap_servers", "KAFKA_BOOTSTRAP_SERVERS", "localhost"),
    ] {
        let env: Vec<_> = ENV
            .iter()
            .map(|(name, other)| (*name, if *name == variable { value } else { *other }))
            .collect();
        let error = load("", &env, &[]).unwrap_err();
        assert_eq!(error.faults.len(), 1, "{error}");
        assert_eq!(error.faults[0].key, key);
        let text = error.to_string();
        assert!(text.contains(variable) && text.contains("example:"), "{text}");
    }
}

#[test]
fn a_secret_without_value_is_a_fault_and_a_secret_is_never_told() {
    let sasl = "[kafka]\nsecurity_protocol = \"SASL_SSL\"\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\n";
    assert_fault(
        &format!("{sasl}sasl_password = \"${{MISSING}}\"\n"),
        "kafka.sasl_password",
        "MISSING",
    );
    assert_fault(sasl, "kafka.sasl_password", "is missing");
    let toml = format!("{sasl}sasl_password = \"hunter2\"\n[kafka.properties]\n\"ssl.key.password\" = \"hunter2\"\n");
    let config = load(&toml, ENV, &[]).unwrap();
    let shown = format!("{} {:?} {config:?}", show::json(&config), show::lines(&config));
    assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    let kafka = config.kafka.unwrap();
    assert!(!format!("{:?}", kafka.sasl).contains("hunter2"));
    assert_eq!(kafka.sasl.unwrap().password.reveal(), "hunter2");
}

#[test]
fn properties_pass_but_for_those_that_run_code_or_decide_what_is_read() {
    let toml = "[kafka.properties]\nfetch.wait.max.ms = 5\n";
    let mut env = ENV.to_vec();
    env.push(("TAPEHOUSE__KAFKA__PROPERTIES__SOCKET_KEEPALIVE_ENABLE", "true"));
    let properties = load(toml, &env, &[]).unwrap().kafka.unwrap().properties;
    assert_eq!(properties["fetch.wait.max.ms"], "5");
    assert_eq!(properties["socket.keepalive.enable"], "true");
    for (name, _) in super::resolve::REFUSED_PROPERTIES {
        let key = format!("kafka.properties.{name}");
        assert_fault(&format!("[kafka.properties]\n\"{name}\" = \"x\"\n"), &key, "is refused");
    }
}

#[test]
fn http_beyond_loopback_is_said_aloud() {
    assert_fault(
        "[http]\nlisten = \"0.0.0.0:9464\"\n",
        "http.listen",
        "not a loopback address",
    );
    assert!(faults("[http]\nlisten = \"0.0.0.0:9464\"\ninsecure = true\n").is_empty());
    assert!(faults("[http]\nlisten = \"[::1]:9464\"\n").is_empty());
    let open = "[grpc]\nlisten = \"0.0.0.0:50051\"\n";
    let tls = "tls_certificate = \"c.pem\"\ntls_key = \"c.key\"\n";
    let tokens = "operator_tokens_file = \"tokens\"\n";
    assert_fault(open, "grpc.listen", "neither TLS");
    assert_fault(&format!("{open}{tls}"), "grpc.listen", "no tokens");
    assert_fault(&format!("{open}{tokens}"), "grpc.listen", "no TLS");
    assert!(faults(&format!("{open}{tls}{tokens}")).is_empty());
    assert!(faults(&format!("{open}insecure = true\n")).is_empty());
}

#[test]
fn credentials_go_together() {
    assert_fault(
        "[schema_registry]\nuser = \"u\"\n",
        "schema_registry.password",
        "is missing",
    );
    assert_fault(
        "[schema_registry]\nuser = \"u\"\npassword = \"p\"\ntoken = \"t\"\n",
        "schema_registry.token",
        "either",
    );
    assert_fault(
        "[kafka]\nsasl_username = \"u\"\n",
        "kafka.sasl_username",
        "would not be used",
    );
    assert_fault(
        "[kafka]\nssl_key_location = \"/k\"\n",
        "kafka.ssl_certificate_location",
        "together",
    );
}

#[test]
fn another_topic_is_configuration_alone() {
    let config = load(
        "[[topics]]\ntopic = \"raw.trades\"\n[[topics]]\ntopic = \"fx.Rates\"\n",
        ENV,
        &[],
    )
    .unwrap();
    assert_eq!(config.topics[0], Topic::of("raw.trades"));
    assert_eq!(config.topics[1].table, "bronze.fx_rates");
    assert_eq!(config.topics_meant(&["trades".into()]).unwrap().len(), 1);
    let text = config.topics_meant(&["trade".into()]).unwrap_err().to_string();
    assert!(text.contains("did you mean `trades`?"), "{text}");
    assert_fault(
        "[[topics]]\ntopic = \"a\"\n[[topics]]\ntopic = \"a\"\n",
        "topics[1].topic",
        "twice",
    );
}

#[test]
fn a_file_that_is_not_there() {
    let flags = Flags {
        file: Some("no/such.toml".into()),
        ..Flags::default()
    };
    let text = Config::load_from(&flags, PARTS, Environment::of(ENV))
        .unwrap_err()
        .to_string();
    assert!(text.contains("--config no/such.toml: cannot be read"), "{text}");
}

#[test]
fn the_profiles_in_deploy_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config");
    for profile in ["dev", "staging", "production"] {
        let file = Some(folder.join(format!("{profile}.toml")));
        let secrets = ["KAFKA_SASL_PASSWORD", "SCHEMA_REGISTRY_PASSWORD"].map(|name| (name, "secret"));
        let secrets = if profile == "dev" { &[][..] } else { &secrets };
        let flags = Flags {
            file,
            ..Flags::default()
        };
        let config = Config::load_from(&flags, PARTS, Environment::of(secrets));
        assert!(config.is_ok(), "{profile}: {}", config.unwrap_err());
    }
}

#[test]
fn of_two_tokens_the_higher_layer_counts() {
    let toml = |key: &str| format!("[client]\nendpoint = \"https://node-1:50051\"\n{key} = \"/in/the/file\"\n");
    let of = |toml: &str, env: &[(&str, &str)], set: &[(&str, &str)]| {
        let env: Vec<_> = ENV.iter().chain(env).copied().collect();
        load(toml, &env, set).unwrap().client.unwrap().token.unwrap()
    };
    let (variable, flag) = (("TAPEHOUSE__CLIENT__TOKEN", "of-env"), ("client.token", "of-flag"));
    let is_value =
        |token: &ClientToken, expected: &str| matches!(token, ClientToken::Value(value) if value.reveal() == expected);
    let is_file =
        |token: &ClientToken, expected: &str| matches!(token, ClientToken::File(file) if file == Path::new(expected));
    assert!(is_value(&of(&toml("token_file"), &[], &[flag]), "of-flag"));
    assert!(is_value(&of(&toml("token_file"), &[variable], &[]), "of-env"));
    assert!(is_file(
        &of(&toml("token"), &[variable], &[("client.token_file", "/of/flag")]),
        "/of/flag"
    ));
    assert!(is_file(&of(&toml("token_file"), &[], &[]), "/in/the/file"));
    let both = format!("{}token = \"x\"\n", toml("token_file"));
    assert_fault(&both, "client.token_file", "at the same place");
}
