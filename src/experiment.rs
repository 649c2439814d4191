//! The grid of ratios and seeds, its statistics and its report.
