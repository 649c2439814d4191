//! The WGSL sources: one file a pass, each behind what it includes.

macro_rules! pass {
    ($($part:literal),+) => {
        concat!($(include_str!(concat!("../../../shaders/", $part, ".wgsl"))),+)
    };
}

pub(super) const GEOMETRY: &str = pass!("include/scene", "include/octahedral", "geometry");
pub(super) const SHADOW: &str = pass!("include/scene", "shadow");
pub(super) const SHADE: &str = pass!(
    "include/scene",
    "include/octahedral",
    "include/class",
    "include/pattern",
    "include/texture",
    "shade"
);
pub(super) const CLASSIFY: &str = pass!("include/scene", "include/class", "classify");
pub(super) const NORMALS: &str = pass!("include/scene", "include/class", "normals");
pub(super) const MEDIA: &str = pass!("include/scene", "include/class", "include/pattern", "media");
pub(super) const COMPOSE: &str = pass!("include/scene", "include/class", "compose");
pub(super) const ACCUMULATE: &str = pass!(
    "include/scene",
    "include/class",
    "include/warp",
    "accumulate"
);
pub(super) const RELABEL: &str = pass!("include/scene", "include/class", "include/warp", "relabel");
pub(super) const POST: &str = pass!("include/scene", "post");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_is_valid() {
        for (name, source) in [
            ("geometry", GEOMETRY),
            ("shadow", SHADOW),
            ("classify", CLASSIFY),
            ("normals", NORMALS),
            ("shade", SHADE),
            ("media", MEDIA),
            ("compose", COMPOSE),
            ("accumulate", ACCUMULATE),
            ("relabel", RELABEL),
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
        assert_eq!(wgsl, 10, "a new pass is validated here too");
    }
}
