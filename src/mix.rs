//! Builds training sets at exact real/synthetic ratios.
