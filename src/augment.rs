//! Degrades and transforms images as a camera would, with boxes carried along.
