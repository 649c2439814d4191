// Depth from one light.
@group(1) @binding(0) var<uniform> light_number: vec4<u32>;

@vertex
fn vertex(in: VertexIn) -> @builtin(position) vec4<f32> {
    let world = parts[drawn[in.instance]].world_from_local * vec4(in.position, 1.0);
    return scene.lights[light_number.x].light_from_world * world;
}
