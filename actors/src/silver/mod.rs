//! The parts of the silver merge actor.

pub(crate) mod batch;
pub(crate) mod compactor;
pub(crate) mod failure;
pub(crate) mod one_merge;
pub(crate) mod portion;
pub(crate) mod progress;
pub(crate) mod quarantine;
