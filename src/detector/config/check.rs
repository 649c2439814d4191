//! What makes a training spec one that can be run.

use super::{BACKBONE_STRIDE, MAX_SIDE, ObjectnessLoss, OptimizerSpec, STRIDES, TrainSpec};
use crate::detector::backbone::FEATURE_STRIDES;
use crate::detector::predict::MAX_CANDIDATES;
use crate::spec::Problems;

impl TrainSpec {
    pub(super) fn coarsest_stride(&self) -> usize {
        let strides = self.output_strides.iter().chain(&self.fuse_strides);
        strides.copied().max().unwrap_or(BACKBONE_STRIDE)
    }

    fn check_strides(&self, problems: &mut Problems) {
        let outputs = &self.output_strides;
        let is_sorted = outputs.is_sorted_by(|a, b| a < b);
        let known = |stride: &usize| STRIDES.contains(stride);
        problems.require(
            !outputs.is_empty() && is_sorted && outputs.iter().all(known),
            "output_strides",
            format!("{outputs:?} is not an ascending list of 8, 16, 32 and 64"),
        );
        let Some(finest) = outputs.first() else {
            return;
        };
        let fused = &self.fuse_strides;
        for stride in fused {
            let problem = if !known(stride) {
                "is none of 8, 16, 32 and 64".to_owned()
            } else if outputs.contains(stride) {
                "is an output stride already; leave it out here".to_owned()
            } else if stride * 2 < *finest {
                format!("is less than half the finest output stride {finest}; leave it out")
            } else {
                continue;
            };
            problems.add("fuse_strides", format!("{stride} {problem}"));
        }
        let coarsest = self.coarsest_stride();
        for stride in STRIDES {
            let between = (*finest..coarsest).contains(&stride);
            problems.require(
                !between || outputs.contains(&stride) || fused.contains(&stride),
                "fuse_strides",
                format!("{stride} is missing between {finest} and {coarsest}; add it"),
            );
        }
    }

    fn check_segmentation(&self, problems: &mut Problems) {
        let Some(spec) = &self.segmentation else {
            return;
        };
        let strides = &spec.strides;
        let is_sorted = strides.is_sorted_by(|a, b| a < b);
        let known = |stride: &usize| FEATURE_STRIDES.contains(stride);
        problems.require(
            !strides.is_empty() && is_sorted && strides.iter().all(known),
            "segmentation.strides",
            format!("{strides:?} is not an ascending list of 8, 16 and 32"),
        );
        for (key, weight) in [
            ("segmentation.weight", spec.weight),
            ("segmentation.scale_weight", spec.scale_weight),
        ] {
            let ok = (0.0..=1e4).contains(&weight);
            problems.require(ok, key, format!("{weight} is outside 0..=10000"));
        }
        problems.require(
            spec.weight > 0.0 || spec.scale_weight > 0.0,
            "segmentation.weight",
            "neither the sum nor the paths have a weight; leave `segmentation` out",
        );
    }

    /// Adds what is wrong with the spec.
    pub(super) fn check(&self, problems: &mut Problems) {
        self.check_strides(problems);
        self.check_segmentation(problems);
        let coarsest = self.coarsest_stride().max(BACKBONE_STRIDE);
        let multiple = coarsest.min(STRIDES[STRIDES.len() - 1]);
        let window = self.window.unwrap_or(self.input);
        let sees_one_value = self.batch_size == 1 && [window.height, window.width] == [multiple; 2];
        problems.require(
            !sees_one_value,
            "batch_size",
            "1 leaves the coarsest features one value a channel to normalise; raise it or the input"
                .to_owned(),
        );
        for (key, side, most) in [
            ("input.height", self.input.height, MAX_SIDE),
            ("input.width", self.input.width, MAX_SIDE),
            ("window.height", window.height, self.input.height),
            ("window.width", window.width, self.input.width),
        ] {
            let ok = side.is_multiple_of(multiple) && (multiple..=most).contains(&side);
            // Without a window of its own the input has said it already.
            problems.require(
                ok || (key.starts_with("window") && self.window.is_none()),
                key,
                format!("{side} is not a multiple of {multiple} in {multiple}..={most}"),
            );
        }
        let named = self
            .class_agnostic
            .as_ref()
            .is_none_or(|name| !name.is_empty());
        problems.require(named, "class_agnostic", "the name is empty");
        for (key, count, most) in [
            ("head_channels", self.head_channels as u64, 1024),
            ("steps", self.steps, 10_000_000),
            ("batch_size", self.batch_size as u64, 1024),
            ("log_every", self.log_every, 1_000_000),
            (
                "assignment.cells_per_object",
                self.assignment.cells_per_object as u64,
                9,
            ),
            (
                "prediction.max_detections",
                self.prediction.max_detections as u64,
                MAX_CANDIDATES as u64,
            ),
        ] {
            let ok = (1..=most).contains(&count);
            problems.require(ok, key, format!("{count} is outside 1..={most}"));
        }
        problems.require(
            self.warmup_steps < self.steps,
            "warmup_steps",
            format!("{} leaves none of {} steps", self.warmup_steps, self.steps),
        );
        self.check_reals(problems);
    }

    fn check_reals(&self, problems: &mut Problems) {
        let mut check = |key: &str, value: f64, low: f64, high: f64| {
            let ok = (low..=high).contains(&value);
            problems.require(ok, key, format!("{value} is outside {low}..={high}"));
        };
        check("width_multiplier", self.width_multiplier, 0.1, 2.0);
        if let Some(start) = &self.start {
            check("start.backbone_rate", start.backbone_rate, 0.0, 1.0);
        }
        check("weight_averaging", self.weight_averaging, 0.0, 0.99999);
        check(
            "assignment.radius_cells",
            self.assignment.radius_cells,
            0.0,
            3.0,
        );
        check(
            "prediction.score_threshold",
            self.prediction.score_threshold,
            0.0,
            1.0,
        );
        check("prediction.nms_iou", self.prediction.nms_iou, 0.0, 1.0);
        check(
            "loss.objectness_weight",
            self.loss.objectness_weight,
            0.0,
            1e4,
        );
        check("loss.box_weight", self.loss.box_weight, 0.0, 1e4);
        check("loss.class_weight", self.loss.class_weight, 0.0, 1e4);
        check(
            "loss.image_class_weight",
            self.loss.image_class_weight,
            0.0,
            1e4,
        );
        check(
            "loss.synthetic_weight",
            self.loss.synthetic_weight,
            0.0,
            1e4,
        );
        check("loss.distance_weight", self.loss.distance_weight, 0.0, 1e4);
        match self.loss.objectness {
            ObjectnessLoss::Focal { alpha, gamma } => {
                check("loss.objectness.focal.alpha", alpha, 0.0, 1.0);
                check("loss.objectness.focal.gamma", gamma, 0.0, 10.0);
            }
            ObjectnessLoss::Quality { beta } => {
                check("loss.objectness.quality.beta", beta, 0.0, 10.0);
            }
            ObjectnessLoss::Bce { positive_weight } => {
                check(
                    "loss.objectness.bce.positive_weight",
                    positive_weight,
                    0.0,
                    1e4,
                );
            }
        }
        match self.optimizer {
            OptimizerSpec::Adamw {
                learning_rate,
                weight_decay,
            } => {
                check("optimizer.adamw.learning_rate", learning_rate, 1e-9, 10.0);
                check("optimizer.adamw.weight_decay", weight_decay, 0.0, 10.0);
            }
            OptimizerSpec::Sgd {
                learning_rate,
                momentum,
                weight_decay,
            } => {
                check("optimizer.sgd.learning_rate", learning_rate, 1e-9, 10.0);
                check("optimizer.sgd.momentum", momentum, 0.0, 0.9999);
                check("optimizer.sgd.weight_decay", weight_decay, 0.0, 10.0);
            }
        }
        let augmentation = &self.augmentation;
        check(
            "augmentation.flip_horizontal",
            augmentation.flip_horizontal,
            0.0,
            1.0,
        );
        check(
            "augmentation.flip_vertical",
            augmentation.flip_vertical,
            0.0,
            1.0,
        );
        check("augmentation.transpose", augmentation.transpose, 0.0, 1.0);
        check("augmentation.translate", augmentation.translate, 0.0, 0.5);
        for (key, interval, low) in [
            ("augmentation.brightness", augmentation.brightness, 0.0),
            ("augmentation.contrast", augmentation.contrast, 0.0),
            ("augmentation.saturation", augmentation.saturation, 0.0),
            ("augmentation.scale", augmentation.scale, 0.1),
        ] {
            check(key, interval.low(), low, 10.0);
            check(key, interval.high(), low, 10.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;

    #[test]
    fn every_problem_is_reported_at_once() {
        let message = plan("input: {height: 300, width: 320}\nsteps: 0\noutput_strides: [4]")
            .unwrap_err()
            .to_string();
        for expected in ["input.height: 300", "steps: 0", "output_strides: [4]"] {
            assert!(message.contains(expected), "{message}");
        }
        let message = plan("input: {height: 32, width: 32}\nbatch_size: 1")
            .unwrap_err()
            .to_string();
        assert!(message.contains("one value a channel"), "{message}");
    }

    #[test]
    fn strides_make_a_ladder_without_gaps() {
        let levels = |outputs: &str, fused: &str| {
            plan(&format!(
                "{{output_strides: {outputs}, fuse_strides: {fused}}}"
            ))
            .map(|plan| (plan.levels(), plan.fuses_finer()))
        };
        assert_eq!(levels("[16]", "[8, 32]").unwrap(), (vec![16, 32], true));
        assert_eq!(levels("[32]", "[64]").unwrap(), (vec![32, 64], false));
        assert_eq!(
            levels("[8, 16, 32]", "[]").unwrap(),
            (vec![8, 16, 32], false)
        );
        for (outputs, fused, expected) in [
            ("[]", "[]", "ascending"),
            ("[32, 16]", "[]", "ascending"),
            ("[12]", "[]", "ascending"),
            (
                "[32]",
                "[8]",
                "8 is less than half the finest output stride 32",
            ),
            (
                "[16]",
                "[16]",
                "16 is an output stride already; leave it out",
            ),
            ("[8, 32]", "[]", "16 is missing between 8 and 32"),
            ("[16]", "[64]", "32 is missing between 16 and 64"),
        ] {
            let message = levels(outputs, fused).unwrap_err().to_string();
            assert!(message.contains(expected), "{outputs} {fused}: {message}");
        }
        let message =
            plan("{output_strides: [32], fuse_strides: [64], input: {height: 96, width: 64}}")
                .unwrap_err()
                .to_string();
        assert!(message.contains("96 is not a multiple of 64"), "{message}");
    }

    #[test]
    fn a_segmentation_names_its_paths_and_has_a_weight() {
        let of = |settings: &str| plan(&format!("segmentation: {settings}"));
        let narrow = of("{strides: [8, 16]}").unwrap();
        assert!(narrow.reads_stride_32(), "the default fuses it");
        for (settings, expected) in [
            ("{strides: []}", "segmentation.strides: [] is not"),
            ("{strides: [16, 8]}", "ascending"),
            ("{strides: [64]}", "8, 16 and 32"),
            ("{weight: -1}", "segmentation.weight: -1 is outside"),
            ("{weight: 0, scale_weight: 0}", "leave `segmentation` out"),
        ] {
            let message = of(settings).unwrap_err().to_string();
            assert!(message.contains(expected), "{settings}: {message}");
        }
        for (segmentation, wanted) in [("{strides: [8]}", false), ("{strides: [32]}", true)] {
            let yaml = format!("{{fuse_strides: [], segmentation: {segmentation}}}");
            assert_eq!(plan(&yaml).unwrap().reads_stride_32(), wanted);
        }
    }
}
