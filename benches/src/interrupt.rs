//! Ctrl-C and SIGTERM: the bench ends at its next step, so that its servers are stopped. A terminal sends Ctrl-C to the running
//! contestant too, which makes that step near.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Notes both signals from now on, instead of dying of them.
///
/// # Errors
/// When the system does not let it.
pub fn watch() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            INTERRUPTED.store(true, Ordering::Relaxed);
            // The thread stays, so that a second signal does not kill the bench while it stops its servers.
            std::future::pending::<()>().await;
        });
    });
    Ok(())
}

/// Whether a signal came.
pub fn happened() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Ends the bench here when a signal came.
///
/// # Errors
/// Then.
pub fn check() -> Outcome<()> {
    match happened() {
        true => Err("interrupted".into()),
        false => Ok(()),
    }
}
