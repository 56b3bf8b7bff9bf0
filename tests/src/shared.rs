//! One broker and registry for all tests of a test binary.

use std::io::Write as _;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Backend, Error, Servers, Tools};

/// Set to 1: what is missing is a failure, not a reason to skip.
const REQUIRE_VARIABLE: &str = "TAPEHOUSE_REQUIRE_SERVERS";

static SERVERS: OnceLock<Result<Servers, Error>> = OnceLock::new();
/// Held for writing by tests that take a server away from all.
static TURNS: RwLock<()> = RwLock::new(());

/// How long the servers are this test's.
#[derive(Debug)]
pub enum Access {
    /// Together with others.
    Shared(RwLockReadGuard<'static, ()>),
    /// Alone: the test may stop servers, and has to start them again.
    Alone(RwLockWriteGuard<'static, ()>),
}

/// The servers, for one test.
#[derive(Debug)]
pub struct Stack {
    servers: &'static Servers,
    _access: Access,
}

impl std::ops::Deref for Stack {
    type Target = Servers;

    fn deref(&self) -> &Servers {
        self.servers
    }
}

/// The servers, shared with other tests; `None` where something is missing: the test then has to end.
///
/// # Panics
/// When the servers do not come up, or something is missing that the environment requires.
pub fn stack() -> Option<Stack> {
    let access = Access::Shared(TURNS.read().unwrap_or_else(PoisonError::into_inner));
    servers().map(|servers| Stack {
        servers,
        _access: access,
    })
}

/// As [`stack`], with no other test beside it: for those that stop a server.
///
/// # Panics
/// As [`stack`].
pub fn stack_alone() -> Option<Stack> {
    let access = Access::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner));
    servers().map(|servers| Stack {
        servers,
        _access: access,
    })
}

fn servers() -> Option<&'static Servers> {
    let started = SERVERS.get_or_init(|| Servers::start(&Tools::locate()?, Backend::of_environment()?));
    unless_missing(started.as_ref())
}

/// What was made, or `None` (said on standard error) where something is missing that it needs: the test then has to end.
///
/// # Panics
/// When it failed otherwise, or something is missing that the environment requires.
pub fn unless_missing<T>(made: Result<T, &Error>) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(Error::Needs(what)) if std::env::var_os(REQUIRE_VARIABLE).is_none_or(|value| value != "1") => {
            // Past the capture of the test runner: what was not tested has to be said.
            let _ = writeln!(std::io::stderr(), "skipped: needs {what}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
