// Depth from the light.
@vertex
fn vertex(in: VertexIn) -> @builtin(position) vec4<f32> {
    return scene.light_from_world * world_position(in);
}
