//! A registry that asks for credentials over TLS: a proxy in front of the real one.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tapehouse_tests::{
    Error, Feed, Node, NodeOptions, Servers, Service, Site, Topic, await_that, stack, unless_missing,
};

use crate::support::{PATIENCE, equal, forever, stays, with};

static PROXY: OnceLock<Result<Service, Error>> = OnceLock::new();

/// What registry_proxy.py lets in.
const BASIC: &str = "user = \"reader\"\npassword = \"reader-secret-7c1f\"\n";
const BEARER: &str = "token = \"token-secret-7c1f\"\n";
const WRONG: &str = "token = \"wrong-secret\"\n";

struct Proxy(&'static Service);

impl Proxy {
    /// A site for a topic that exists, whose registry is at `path` of the proxy at `key`; `login` is TOML.
    fn site(
        &self,
        servers: &Servers,
        folder: &Path,
        topic: &str,
        at: (&str, &str),
        login: &str,
    ) -> Result<Site, Error> {
        let (key, path) = at;
        let failed = || Error::io("the proxy's env");
        let env = std::fs::read_to_string(self.0.folder().join("env")).map_err(failed())?;
        let found = env.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let url = found.ok_or_else(|| Error::unexpected(format!("no {key} in {env}")))?;
        let ca = self.0.folder().join("certs/ca.pem");
        let settings = format!(
            "[schema_registry]\nca = \"{}\"\ntimeout_ms = 2000\n{login}",
            ca.display()
        );
        let site = Site::new(folder, servers, &[Topic::named(topic)], &settings)?;
        Ok(site.with_registry(&format!("{url}{path}")))
    }

    /// Requests that came to the proxy for a path: host and kind of credentials.
    fn requests(&self, path: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.0.folder().join("registry-proxy/requests")).unwrap_or_default();
        let of_path = log.lines().filter(|line| line.contains(path));
        of_path.map(str::to_owned).collect()
    }
}

fn with_proxy(label: &str, test: impl FnOnce(&Proxy, &Servers, &Path) -> Result<(), Error>) {
    with(stack(), label, |servers, folder| {
        let started =
            PROXY.get_or_init(|| Service::start("registry-proxy.sh", "REGISTRY_PROXY", &[servers.registry()]));
        match unless_missing(started.as_ref()) {
            Some(service) => test(&Proxy(service), servers, folder),
            None => Ok(()),
        }
    });
}

#[test]
fn a_registry_lets_in_by_password_and_by_token() {
    with_proxy("registry-in", |proxy, servers, folder| {
        let topic = Topic::named("registry.in");
        let feed = Feed::of(servers);
        feed.admin(&["create", &topic.topic, "1"])?;
        feed.produce(&topic.topic, 200, &[])?;
        for (name, login) in [("basic", BASIC), ("bearer", BEARER)] {
            let site = proxy.site(servers, &folder.join(name), &topic.topic, ("REGISTRY_PROXY", ""), login)?;
            site.catch_up("a", PATIENCE)?;
            site.demand(&topic, Some(200))?;
        }
        Ok(())
    });
}

#[test]
fn a_registry_that_refuses_is_waited_for_and_named() {
    with_proxy("registry-401", |proxy, servers, folder| {
        let topic = Topic::named("registry.refuses");
        let feed = Feed::of(servers);
        feed.admin(&["create", &topic.topic, "1"])?;
        feed.produce(&topic.topic, 200, &[])?;
        let site = proxy.site(servers, folder, &topic.topic, ("REGISTRY_PROXY", ""), WRONG)?;
        let mut node = forever(&site, "a")?;
        await_that("three attempts, each with its cause", PATIENCE, || {
            let log = node.log();
            let said = log
                .lines()
                .filter(|line| line.contains("code=\"registry\"") && line.contains("HTTP 401"));
            Ok(node.poll()?.is_none() && said.count() >= 3)
        })?;
        // Not one record is taken for undecodable.
        stays(Duration::from_secs(1), || site.progress(&topic.table))?;
        equal("the table", site.progress(&topic.table), None)?;
        equal("a line with a secret", node.log().contains("wrong-secret"), false)
    });
}

#[test]
fn what_is_wrong_with_a_registry_is_named_within_seconds() {
    with_proxy("registry-out", |proxy, servers, folder| {
        let topic = "registry.out";
        Feed::of(servers).admin(&["create", topic, "1"])?;
        let cases = [
            ("REGISTRY_PROXY", "", WRONG, "HTTP 401"),
            ("REGISTRY_EXPIRED", "", BEARER, "certificate has expired"),
            ("REGISTRY_PROXY", "/huge", BEARER, "longer than"),
            ("REGISTRY_PROXY", "/slow", BEARER, "timed out"),
            ("REGISTRY_PROXY", "/elsewhere", BEARER, "HTTP 401"),
        ];
        for (case, (key, path, login, said)) in cases.into_iter().enumerate() {
            let site = proxy.site(servers, &folder.join(case.to_string()), topic, (key, path), login)?;
            let mut node = Node::start(&site, "a", &NodeOptions::default())?;
            node.wait_for_code(4, Duration::from_secs(30))?;
            if !node.log().contains("[registry]") || !node.log().contains(said) {
                return Err(Error::unexpected(format!("{key}{path}: no `{said}` in {}", node.log())));
            }
        }
        // Another host is asked, without the credentials that the first one was given.
        let redirected = proxy.requests("/redirected");
        let bare = redirected
            .iter()
            .all(|line| line.starts_with("localhost:") && line.ends_with(" none"));
        equal(
            "redirected, without credentials",
            (redirected.is_empty(), bare),
            (false, true),
        )
    });
}
