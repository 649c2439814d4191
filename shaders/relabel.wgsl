// Object numbers, distances and normals of the picture, from the samples of the image that is drawn for
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
    @location(2) normal: u32,
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> Target {
    let last = vec2<i32>(textureDimensions(samples)) - 1;
    let place = origin(position.xy).place * f32(scene.image.w);
    let at = clamp(vec2<i32>(floor(place)), vec2(0), last);
    let found = textureLoad(samples, at, 0).xy;
    let is_nothing = found.x == 0u;
    let id = parts[max(found.x, 1u) - 1u].owner.x;
    let distance = select(distance_of(textureLoad(sample_depths, at, 0)), 0.0, is_nothing);
    return Target(id, distance, select(found.y, NO_NORMAL, is_nothing));
}
