// Object numbers and distances of the picture, from the samples of the image that is drawn for
// its lens.
@group(1) @binding(0) var samples: texture_2d<u32>;
@group(1) @binding(1) var sample_depths: texture_depth_2d;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return whole_image(index, 0.0);
}

struct Target {
    @location(0) id: u32,
    @location(1) distance: f32,
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> Target {
    let last = vec2<i32>(textureDimensions(samples)) - 1;
    let place = origin(position.xy).place * f32(scene.image.w);
    let at = clamp(vec2<i32>(floor(place)), vec2(0), last);
    let found = textureLoad(samples, at, 0).x;
    let id = parts[max(found, 1u) - 1u].owner.x;
    return Target(id, select(distance_of(textureLoad(sample_depths, at, 0)), 0.0, found == 0u));
}
