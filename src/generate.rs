//! Sample, render, annotate and write a data set.
