//! The training log as TensorBoard reads it: `tensorboard --logdir FOLDER`.
//!
//! An event file is a row of records, each a length, its checksum, an `Event` message and
//! the message's checksum (TensorFlow's `record_writer`); the messages are the part of
//! `event.proto` and `summary.proto` that scalars need.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;

use super::DetectorError;
use super::checkpoint::LogLine;

/// TensorBoard finds event files by this part of their name.
const PREFIX: &str = "events.out.tfevents.";

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds; here since the program began, as nothing below the command line reads a
    /// clock.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    // A oneof in `summary.proto`, so that 0 must be written too.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The event file of a training.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins the file of `folder` anew with the lines so far: what an interrupted training
    /// wrote after its last checkpoint is trained, and told, again.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn begin(folder: &Path, log: &[LogLine]) -> Result<Self, DetectorError> {
        let path = folder.join(format!("{PREFIX}0.{}", env!("CARGO_PKG_NAME")));
        let file = File::create(&path).map_err(|error| unwritable(&path, error))?;
        let mut events = EventFile { path, file };
        events.write(&Event {
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        })?;
        for line in log {
            events.add(line)?;
        }
        Ok(events)
    }

    /// Adds a line of the log.
    ///
    /// # Errors
    /// A full disk.
    pub fn add(&mut self, line: &LogLine) -> Result<(), DetectorError> {
        let scalars = [
            ("loss/total", line.loss),
            ("loss/objectness", line.objectness),
            ("loss/box", line.bounding_box),
            ("loss/class", line.class),
            ("loss/image_class", line.image_class),
            ("learning_rate", line.learning_rate as f32),
            ("seconds/waited_for_data", line.waited_s as f32),
        ];
        let mut scalars = scalars.map(|(tag, value)| (tag.to_owned(), value)).to_vec();
        if let Some(segmentation) = &line.segmentation {
            scalars.push(("segmentation/loss".to_owned(), segmentation.loss));
            for path in &segmentation.paths {
                let stride = path.stride;
                scalars.extend([
                    (format!("segmentation/stride_{stride}/loss"), path.loss),
                    (
                        format!("segmentation/stride_{stride}/gradient"),
                        path.gradient,
                    ),
                    (
                        format!("segmentation/stride_{stride}/loss_without"),
                        path.loss_without,
                    ),
                ]);
            }
        }
        let value = scalars.into_iter().map(|(tag, value)| Scalar {
            tag,
            simple_value: Some(value),
        });
        self.write(&Event {
            wall_time: line.elapsed_s,
            step: line.step as i64,
            file_version: None,
            summary: Some(Summary {
                value: value.collect(),
            }),
        })
    }

    fn write(&mut self, event: &Event) -> Result<(), DetectorError> {
        let record = record(&event.encode_to_vec());
        let written = self.file.write_all(&record);
        written.map_err(|error| unwritable(&self.path, error))
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> DetectorError {
    DetectorError::Write {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

/// The checksum as records store it: rotated and moved, so that the checksum of data that
/// hold checksums is not trivial.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::{PathLine, SegmentationLine};

    #[test]
    fn records_are_framed_as_tensorboard_reads_them() {
        // The first record of any file that TensorFlow writes with wall time 0.
        let event = Event {
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        };
        let record = record(&event.encode_to_vec());
        assert_eq!(record[..8], 15u64.to_le_bytes());
        assert_eq!(record[12..14], [0x1a, 13]);
        assert_eq!(&record[14..27], b"brain.Event:2");
        assert_eq!(record.len(), 8 + 4 + 15 + 4);
        // CRC-32C of "123456789" is e3069283 (RFC 3720, appendix B.4, polynomial 1edc6f41).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // As TensorFlow masks it (tensorflow/core/lib/hash/crc32c.h), worked out apart.
        assert_eq!(masked_crc(&15u64.to_le_bytes()), 0x092b_536d);
        assert_eq!(masked_crc(b"\x1a\x0dbrain.Event:2"), 0x2951_98fc);
    }

    #[test]
    fn every_line_becomes_an_event_with_its_scalars() {
        let folder = tempfile::tempdir().unwrap();
        let line = |step| LogLine {
            step,
            loss: 1.5,
            objectness: 0.5,
            bounding_box: 1.0,
            class: 0.0,
            image_class: 0.75,
            learning_rate: 0.01,
            images: 16 * step,
            real_images: 8 * step,
            elapsed_s: step as f64,
            waited_s: 0.25,
            segmentation: Some(SegmentationLine {
                loss: 0.3,
                paths: vec![PathLine {
                    stride: 16,
                    loss: 0.4,
                    gradient: 0.125,
                    loss_without: 0.7,
                }],
            }),
        };
        let mut events = EventFile::begin(folder.path(), &[line(10)]).unwrap();
        events.add(&line(20)).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let mut rest = bytes.as_slice();
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let message = &rest[12..12 + length];
            let event = Event::decode(message).unwrap();
            let crc = u32::from_le_bytes(rest[12 + length..16 + length].try_into().unwrap());
            assert_eq!(crc, masked_crc(message));
            rest = &rest[16 + length..];
            if let Some(summary) = event.summary {
                assert_eq!(summary.value.len(), 11);
                let gradient = &summary.value[9];
                assert_eq!(gradient.tag, "segmentation/stride_16/gradient");
                assert_eq!(gradient.simple_value, Some(0.125));
                assert_eq!(summary.value[0].simple_value, Some(1.5));
                assert_eq!(summary.value[3].simple_value, Some(0.0));
                assert_eq!(summary.value[4].simple_value, Some(0.75));
                steps.push(event.step);
            }
        }
        assert_eq!(steps, [10, 20]);
    }
}
