//! The JSON Schema of the configuration, judged by an independent validator. The schema and the program must agree.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tapehouse_tests::{Error, Scratch, Tools};

/// Files that both must accept.
const GOOD: [&str; 5] = [
    "",
    "[kafka]\nbootstrap_servers = \"a:1, b:2\"\nsecurity_protocol = \"plaintext\"\nstart = \"2026-01-02T09:30:00Z\"\n",
    "[kafka.properties]\nfetch.wait.max.ms = 5\n\"client.rack\" = \"a\"\n\"socket.keepalive.enable\" = true\n",
    "[commit]\nmax_age_ms = \"${AGE:-250}\"\n[http]\nlisten = \"[::1]:9464\"\ninsecure = true\n",
    "[[topics]]\ntopic = \"fx.rates\"\ntable = \"bronze.fx\"\ntimestamp_fields = [\"at\"]\n",
];

/// Files that both must refuse, with the place that the validator must name.
const WRONG: [(&str, &str); 12] = [
    ("[commit]\nmax_age = 5\n", "commit"),
    ("[commit]\nmax_age_ms = \"5\"\n", "commit.max_age_ms"),
    ("[commit]\nmax_age_ms = 5\n", "commit.max_age_ms"),
    ("[kafka]\nbootstrap_servers = \"host\"\n", "kafka.bootstrap_servers"),
    ("[kafka]\nsecurity_protocol = \"TLS\"\n", "kafka.security_protocol"),
    (
        "[kafka.properties]\nplugin.library.paths = \"x.so\"\n",
        "kafka.properties.plugin.library",
    ),
    (
        "[kafka.properties]\n\"isolation.level\" = \"read_uncommitted\"\n",
        "kafka.properties",
    ),
    ("[schema_registry]\nurl = \"http://u:p@h\"\n", "schema_registry.url"),
    ("[log]\nlevel = \"\"\n", "log.level"),
    ("[[topics]]\ntable = \"bronze.t\"\n", "topics.0"),
    ("[[topics]]\ntopic = \"a/b\"\n", "topics.0.topic"),
    ("[[topics]]\ntopic = \"t\"\ntabel = \"bronze.t\"\n", "topics.0"),
];

/// What the validator finds wrong with each file.
fn faults(tools: &Tools, schema: &Path, files: &[PathBuf]) -> Result<Value, Error> {
    let mut command = tools.python("oracle/config_schema.py");
    command.arg(schema).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("config_schema.py"))?;
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut stdin = child.stdin.take().ok_or_else(|| Error::unexpected("no stdin"))?;
    stdin
        .write_all(names.join("\n").as_bytes())
        .map_err(Error::io("stdin"))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(Error::io("config_schema.py"))?;
    serde_json::from_slice(&output.stdout).map_err(|error| Error::unexpected(format!("config_schema.py: {error}")))
}

/// What the program has against `file`, in an environment that gives what is required.
fn refusal(tools: &Tools, folder: &Path, file: &Path) -> Result<Option<String>, Error> {
    let mut command = Command::new(tools.node());
    command
        .current_dir(folder)
        .env_clear()
        .args(["config", "validate", "--config"])
        .arg(file);
    let text = fs::read_to_string(file).map_err(Error::io(file.display().to_string()))?;
    for secret in ["KAFKA_SASL_PASSWORD", "SCHEMA_REGISTRY_PASSWORD"] {
        if text.contains(&format!("${{{secret}}}")) {
            command.env(secret, "secret");
        }
    }
    // What the file sets is to be judged itself.
    for (key, value) in [
        ("kafka.bootstrap_servers", "127.0.0.1:1"),
        ("schema_registry.url", "http://127.0.0.1:1"),
        ("catalog.uri", "sqlite:////nowhere/catalog.db"),
        ("warehouse.path", "file:///nowhere/warehouse"),
    ] {
        let name = key.rsplit('.').next().unwrap_or_default();
        if !text.contains(&format!("{name} =")) {
            command.env(format!("TAPEHOUSE__{}", key.replace('.', "__").to_uppercase()), value);
        }
    }
    let output = command.output().map_err(Error::io("config validate"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((!output.status.success()).then_some(said))
}

fn judged(tools: &Tools, scratch: &Path) -> Result<(), Error> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config");
    let mut files: Vec<(PathBuf, Option<&str>)> = ["dev", "staging", "production"]
        .map(|profile| (deploy.join(format!("{profile}.toml")), None))
        .to_vec();
    let good = GOOD.iter().map(|text| (*text, None));
    for (position, (text, place)) in good.chain(WRONG.map(|(text, place)| (text, Some(place)))).enumerate() {
        let file = scratch.join(format!("{position}.toml"));
        fs::write(&file, text).map_err(Error::io("a configuration"))?;
        files.push((file, place));
    }
    let names: Vec<PathBuf> = files.iter().map(|(file, _)| file.clone()).collect();
    let found = faults(tools, &deploy.join("tapehouse.schema.json"), &names)?;
    for (file, place) in files {
        let found = &found[file.display().to_string()];
        let of_file = found
            .as_array()
            .ok_or_else(|| Error::unexpected(format!("{}: {found}", file.display())))?;
        let as_expected = match place {
            None => of_file.is_empty(),
            Some(place) => of_file.iter().any(|fault| fault == place),
        };
        let text = fs::read_to_string(&file).unwrap_or_default();
        if !as_expected {
            return Err(Error::unexpected(format!("the validator finds {found} in:\n{text}")));
        }
        let refusal = refusal(tools, scratch, &file)?;
        if refusal.is_some() != place.is_some() {
            return Err(Error::unexpected(format!("the program says {refusal:?} of:\n{text}")));
        }
    }
    Ok(())
}

#[test]
fn the_schema_says_what_the_program_says() {
    match Tools::locate() {
        Err(Error::Needs(need)) if std::env::var_os("TAPEHOUSE_REQUIRE_SERVERS").is_none() => {
            eprintln!("skipped: needs {need}");
        }
        Err(error) => panic!("{error}"),
        Ok(tools) => {
            let scratch = Scratch::new("config-schema").unwrap_or_else(|error| panic!("{error}"));
            judged(&tools, scratch.path()).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
