//! How work below `cli` tells its progress without printing, and learns the time
//! without reading the clock.

use std::time::Duration;

/// Receives the progress of a long piece of work. Implementations must be cheap:
/// `advance` is called once a unit, from any worker thread.
pub trait Observer: Sync {
    /// A stage of `total` units begins, of which `done` are already there from an
    /// earlier run.
    fn begin(&self, stage: &str, total: u64, done: u64);
    /// `units` more units are done.
    fn advance(&self, units: u64);
    /// Something that the user should read, such as a warning or a unit's result.
    fn message(&self, text: &str);
    /// The stage has ended.
    fn end(&self);
    /// Time since the program began, for records of how long a unit took.
    fn elapsed(&self) -> Duration;
}

/// An observer that ignores everything, for tests and for inner stages.
pub struct Silent;

impl Observer for Silent {
    fn begin(&self, _stage: &str, _total: u64, _done: u64) {}
    fn advance(&self, _units: u64) {}
    fn message(&self, _text: &str) {}
    fn end(&self) {}
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}
