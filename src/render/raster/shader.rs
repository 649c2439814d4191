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

    const PASSES: [(&str, &str); 10] = [
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
    ];

    fn parsed(name: &str, source: &str) -> (naga::Module, naga::valid::ModuleInfo) {
        let module = naga::front::wgsl::parse_str(source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
        let info = naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::default(),
        )
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
        (module, info)
    }

    #[test]
    fn every_pass_is_valid() {
        for (name, source) in PASSES {
            parsed(name, source);
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders")).unwrap();
        let wgsl = files
            .filter(|f| f.as_ref().unwrap().path().is_file())
            .count();
        assert_eq!(wgsl, PASSES.len(), "a new pass is validated here too");
    }

    /// The constants of a pass that a pipeline chooses, and the values of each.
    fn choices(module: &naga::Module) -> Vec<(String, Vec<f64>)> {
        let values = |constant: &naga::Override| {
            let name = constant.name.clone().unwrap();
            let ty = &module.types[constant.ty].inner;
            let values = match (name.as_str(), ty.scalar_kind().unwrap()) {
                (_, naga::ScalarKind::Bool) => 0..=1,
                ("CLASS" | "LIGHTS", _) => 0..=4,
                _ => panic!("say which values {name} has"),
            };
            (name, values.map(f64::from).collect())
        };
        module.overrides.iter().map(|(_, o)| values(o)).collect()
    }

    #[test]
    fn every_pass_is_valid_with_every_choice_of_its_constants() {
        let mut tried = std::collections::BTreeMap::new();
        for (name, source) in PASSES {
            let (module, info) = parsed(name, source);
            let choices = choices(&module);
            let count: usize = choices.iter().map(|(_, values)| values.len()).product();
            for number in 0..count {
                let mut rest = number;
                let pick = |(constant, values): &(String, Vec<f64>)| {
                    let value = values[rest % values.len()];
                    rest /= values.len();
                    (constant.clone(), value)
                };
                let constants: naga::back::PipelineConstants = choices.iter().map(pick).collect();
                let fixed = naga::back::pipeline_constants::process_overrides(
                    &module, &info, None, &constants,
                );
                let (fixed, info) =
                    fixed.unwrap_or_else(|error| panic!("{name} {constants:?}: {error}"));
                let options = naga::back::spv::Options::default();
                naga::back::spv::write_vec(&fixed, &info, &options, None)
                    .unwrap_or_else(|error| panic!("{name} {constants:?}: {error}"));
            }
            tried.insert(name, count);
        }
        // Five classes, none to four lights, and six that are on or off.
        assert_eq!(tried["shade"], 5 * 5 * 64);
        assert_eq!((tried["post"], tried["accumulate"]), (1, 8));
    }
}
