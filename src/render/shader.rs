//! The WGSL sources: one file a pass, each behind the shared include.

macro_rules! pass {
    ($name:literal) => {
        concat!(
            include_str!("../../shaders/include/scene.wgsl"),
            include_str!(concat!("../../shaders/", $name, ".wgsl"))
        )
    };
}

pub(super) const SHADOW: &str = pass!("shadow");
pub(super) const FORWARD: &str = pass!("forward");
pub(super) const GROUND_TRUTH: &str = pass!("ground_truth");
pub(super) const POST: &str = pass!("post");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_is_valid() {
        for (name, source) in [
            ("shadow", SHADOW),
            ("forward", FORWARD),
            ("ground_truth", GROUND_TRUTH),
            ("post", POST),
        ] {
            let module = naga::front::wgsl::parse_str(source)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
            naga::valid::Validator::new(
                naga::valid::ValidationFlags::all(),
                naga::valid::Capabilities::default(),
            )
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders")).unwrap();
        let wgsl = files
            .filter(|f| f.as_ref().unwrap().path().is_file())
            .count();
        assert_eq!(wgsl, 4, "a new pass is validated here too");
    }
}
