//! Progress on standard error: a bar with rate and time left on a terminal, plain
//! lines otherwise.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::observer::Observer;

/// How often a plain line is printed where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The observer that commands use.
pub struct Progress {
    stage: Mutex<Option<Stage>>,
    quiet: bool,
    began: Instant,
}

struct Stage {
    name: String,
    bar: ProgressBar,
    plain: bool,
    started: Instant,
    printed: Instant,
    done_before: u64,
}

impl Progress {
    /// `quiet` shows messages only.
    pub fn new(quiet: bool) -> Self {
        Progress {
            stage: Mutex::new(None),
            quiet,
            began: Instant::now(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stage>> {
        self.stage
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Stage {
    fn print_plain(&self) {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (done - self.done_before) as f64 / seconds.max(1e-9);
        let left = if done >= total {
            "done".to_owned()
        } else if rate > 0.0 {
            format!("{:.0} s left", total.saturating_sub(done) as f64 / rate)
        } else {
            "time left unknown".to_owned()
        };
        eprintln!("{}: {done}/{total}, {rate:.2}/s, {left}", self.name);
    }
}

impl Observer for Progress {
    fn begin(&self, stage: &str, total: u64, done: u64) {
        if self.quiet {
            return;
        }
        let plain = !std::io::stderr().is_terminal();
        let target = if plain {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_position(done);
        let style = ProgressStyle::with_template(
            "{prefix:<12} [{bar:30}] {pos}/{len} {per_sec} {eta} left",
        )
        .expect("the template is valid");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(stage.to_owned());
        bar.reset_eta();
        let now = Instant::now();
        *self.lock() = Some(Stage {
            name: stage.to_owned(),
            bar,
            plain,
            started: now,
            printed: now,
            done_before: done,
        });
    }

    fn advance(&self, units: u64) {
        if let Some(stage) = self.lock().as_mut() {
            stage.bar.inc(units);
            if stage.plain && stage.printed.elapsed() >= PLAIN_INTERVAL {
                stage.printed = Instant::now();
                stage.print_plain();
            }
        }
    }

    fn message(&self, text: &str) {
        match self.lock().as_ref() {
            Some(stage) if !stage.plain => stage.bar.suspend(|| eprintln!("{text}")),
            _ => eprintln!("{text}"),
        }
    }

    fn end(&self) {
        if let Some(stage) = self.lock().take() {
            if stage.plain {
                stage.print_plain();
            }
            stage.bar.finish_and_clear();
        }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
