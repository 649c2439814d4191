//! COCO metrics of detections.
