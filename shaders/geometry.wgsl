// Which object is seen at each sample, its normal, and its texture coordinates there.

// Whether any surface of the family shows a picture.
override TEXTURED: bool = false;

struct Varying {
    @builtin(position) position: vec4<f32>,
    @location(0) normal: vec3<f32>,
    @location(1) @interpolate(flat) number: u32,
    @location(2) uv: vec2<f32>,
}

@vertex
fn vertex(in: VertexIn) -> Varying {
    let number = drawn[in.instance];
    let world = parts[number].world_from_local * vec4(in.position, 1.0);
    // Normals go with the inverse transpose.
    let normal = vec4(in.normal, 0.0) * parts[number].local_from_world;
    return Varying(scene.clip_from_world * world, normal.xyz, number, in.uv);
}

@fragment
fn fragment(in: Varying) -> @location(0) vec4<u32> {
    var uv = vec2(0u);
    if TEXTURED {
        // Pixels are long where a surface is seen at a small angle: between blur and aliasing.
        let sides = vec2(length(dpdx(in.uv)), length(dpdy(in.uv))) * f32(scene.image.w);
        let longer = max(sides.x, sides.y);
        let footprint = max(sqrt(sides.x * sides.y), 0.25 * longer);
        uv = vec2(pack2x16unorm(fract(in.uv)), bitcast<u32>(footprint));
    }
    return vec4(in.number + 1u, pack2x16snorm(to_square(in.normal)), uv);
}
