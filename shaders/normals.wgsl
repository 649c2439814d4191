// The normal of each pixel's surface in the world, as it is packed for samples.
@group(1) @binding(0) var samples: texture_2d<u32>;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return whole_image(index, 0.0);
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> @location(0) u32 {
    let first = vec2<i32>(position.xy) * i32(scene.image.w);
    var found = textureLoad(samples, first, 0).xy;
    if SMOOTH {
        let b = textureLoad(samples, first + vec2(1, 0), 0).xy;
        let c = textureLoad(samples, first + vec2(0, 1), 0).xy;
        let d = textureLoad(samples, first + vec2(1, 1), 0).xy;
        let k = most_common(vec4(found.x, b.x, c.x, d.x));
        let normals = vec4(found.y, b.y, c.y, d.y);
        let numbers = vec4(found.x, b.x, c.x, d.x);
        found = vec2(numbers[k], normals[k]);
    }
    return select(found.y, NO_NORMAL, found.x == 0u);
}
