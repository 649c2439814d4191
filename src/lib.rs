//! admix tells how much synthetic data a vision detector should be trained on, and
//! where more of it starts to hurt.
//!
//! ```text
//!  scene.yaml --> generate --+                        +--> train --> eval --+
//!                            +--> data sets --> mix --+                     +--> report
//!  photographs --> augment --+    on disk             +--> (ratio x seed) --+
//! ```
//!
//! Every command follows one path: a *spec* mirrors a YAML file, a *plan* is a spec
//! that has been checked as a whole, an *instance* is what `(plan, seed, index)` draws
//! from it, and a *run* takes an instance and publishes its record atomically.
//! Renderer and trainer meet only through data sets on disk.

pub mod annotation;
pub mod audit;
pub mod augment;
pub mod cli;
pub mod dataset;
pub mod detector;
pub mod evaluation;
pub mod experiment;
pub mod generate;
pub mod html;
pub mod mix;
pub mod observer;
pub mod render;
pub mod scene;
pub mod seed;
pub mod spec;
pub mod sweep;
