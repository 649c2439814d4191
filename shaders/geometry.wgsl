// Which object is seen at each sample, and its normal there.
struct Varying {
    @builtin(position) position: vec4<f32>,
    @location(0) normal: vec3<f32>,
    @location(1) @interpolate(flat) number: u32,
}

@vertex
fn vertex(in: VertexIn) -> Varying {
    let number = drawn[in.instance];
    let world = parts[number].world_from_local * vec4(in.position, 1.0);
    // Normals go with the inverse transpose.
    let normal = vec4(in.normal, 0.0) * parts[number].local_from_world;
    return Varying(scene.clip_from_world * world, normal.xyz, number);
}

@fragment
fn fragment(in: Varying) -> @location(0) vec2<u32> {
    return vec2(in.number + 1u, pack2x16snorm(to_square(in.normal)));
}
