// The class of each pixel, as its depth, with its object number and its distance.
@group(1) @binding(0) var samples: texture_2d<u32>;
@group(1) @binding(1) var sample_depths: texture_depth_2d;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return whole_image(index, 0.0);
}

struct Target {
    @location(0) id: u32,
    @location(1) distance: f32,
    @builtin(frag_depth) kind: f32,
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> Target {
    let first = vec2<i32>(position.xy) * i32(scene.image.w);
    var found = textureLoad(samples, first, 0).xy;
    var owner = vec2(0, 0);
    var is_edge = false;
    if SMOOTH {
        let b = textureLoad(samples, first + vec2(1, 0), 0).xy;
        let c = textureLoad(samples, first + vec2(0, 1), 0).xy;
        let d = textureLoad(samples, first + vec2(1, 1), 0).xy;
        let ids = vec4(found.x, b.x, c.x, d.x);
        let bent = distance(unpack2x16snorm(found.y), unpack2x16snorm(d.y))
            + distance(unpack2x16snorm(b.y), unpack2x16snorm(c.y));
        is_edge = any(ids != ids.xxxx) || bent > 0.25;
        let k = most_common(ids);
        owner = vec2<i32>(vec2(k & 1u, k >> 1u));
        found.x = ids[k];
    }
    let stored = textureLoad(sample_depths, first + owner, 0);
    let pattern = parts[max(found.x, 1u) - 1u].pips.w;
    var kind = select(PLAIN, PATTERNED, pattern > 0.0);
    // Without a texture or a picture the ground is like any plain object.
    let is_special = CATCHER || scene.ground_texture.x > 0.0 || scene.ground_texture.w > 0.0;
    kind = select(kind, select(PLAIN, GROUND, is_special), found.x == 1u);
    kind = select(kind, SKY, found.x == 0u);
    kind = select(kind, EDGE, is_edge);
    // The ground and what lies beyond it are no object.
    let id = parts[max(found.x, 1u) - 1u].owner.x;
    return Target(id, select(distance_of(stored), 0.0, found.x == 0u), class_depth(kind));
}
