// Classes of pixels, each with a pipeline that shades it.
const SKY = 0u;
const GROUND = 1u;
const PLAIN = 2u;
const PATTERNED = 3u;
// Where the samples of a pixel show different surfaces.
const EDGE = 4u;

// Whether a pixel has two samples along each axis, not one.
override SMOOTH: bool = true;

// Whether the ground shows the background's picture under the objects' shadows.
override CATCHER: bool = false;

// Exact in floating point.
fn class_depth(kind: u32) -> f32 {
    return f32(kind + 1u) * 0.125;
}

// Which of four samples shows what most of them show; the first among equals.
fn most_common(numbers: vec4<u32>) -> u32 {
    var best = 0u;
    var most = 0u;
    for (var k = 0u; k < 4u; k++) {
        let votes = dot(vec4(1u), vec4<u32>(numbers == vec4(numbers[k])));
        best = select(best, k, votes > most);
        most = max(most, votes);
    }
    return best;
}

// A triangle over the whole image.
fn whole_image(index: u32, depth: f32) -> vec4<f32> {
    let corner = vec2(f32((index << 1u) & 2u), f32(index & 2u));
    return vec4(corner * 2.0 - 1.0, depth, 1.0);
}

// Clip space keeps the near distance over the distance along the line of sight.
fn distance_of(stored: f32) -> f32 {
    return scene.camera_position.w / max(stored, 1e-9);
}

// No packed normal: a signed part is never below -32767.
const NO_NORMAL = 0x80008000u;
