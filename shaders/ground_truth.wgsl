// Object identifiers and distance at one sample a pixel, and the pixels that each
// object would cover if nothing hid it.
@group(1) @binding(0) var<storage, read_write> amodal: array<atomic<u32>>;

struct Varying {
    @builtin(position) position: vec4<f32>,
    @location(0) @interpolate(flat) instance: u32,
}

struct Target {
    @location(0) id: u32,
    @location(1) depth: f32,
}

@vertex
fn vertex(in: VertexIn) -> Varying {
    return Varying(scene.clip_from_world * world_position(in), in.instance);
}

// The ground's identifier is 0: it becomes instance -1.
@vertex
fn ground_vertex(@builtin(vertex_index) index: u32) -> Varying {
    return Varying(scene.clip_from_world * vec4(ground_position(index), 1.0), 0xffffffffu);
}

// The distance is from the camera's plane, which is what clip space keeps in w.
@fragment
fn visible(in: Varying) -> Target {
    return Target(in.instance + 1u, 1.0 / in.position.w);
}

// Shapes are convex and seen from outside, so that a pixel has one front face of each.
@fragment
fn count(in: Varying) {
    atomicAdd(&amodal[in.instance], 1u);
}
